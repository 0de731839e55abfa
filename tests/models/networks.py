"""What the tests of several restoration networks share."""

import jax
import jax.numpy as jnp
import numpy as np


def images_of(*shape, seed=0):
    return jax.random.uniform(jax.random.key(seed), shape)


def shapes_of(network, channels=None, side=32):
    images = jnp.zeros((1, side, side, channels or network.channels))
    return jax.eval_shape(lambda key: network.init(key, images, train=True), jax.random.key(0))


def num_parameters(network):
    return sum(leaf.size for leaf in jax.tree.leaves(shapes_of(network)["params"]))


def drawn(network, channels=None):
    """Variables of which none is what it starts as, drawn without a compilation."""
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        values = rng.standard_normal(leaf.shape).astype(np.float32)
        if len(leaf.shape) > 1:
            return values / np.sqrt(np.prod(leaf.shape[:-1]), dtype=np.float32)
        if path[-1].key in ("scale", "var", "temperature"):
            return 1 + 0.2 * np.tanh(values)
        return 0.3 * values

    return jax.tree_util.tree_map_with_path(lambda *leaf: jnp.asarray(draw(*leaf)), shapes_of(network, channels))


def of_twin(twin, images):
    """What the twin makes of NHWC images."""
    import torch

    with torch.no_grad():
        made = twin(torch.tensor(np.asarray(images)).permute(0, 3, 1, 2))
    return np.moveaxis(made.numpy(), -3, -1)
