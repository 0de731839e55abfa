"""Networks that correct a first guess of holes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jgr.degradations.masks import Mask, RandomPixels
from jgr.errors import ConfigError
from jgr.layers.fill import fill_holes
from jgr.losses.restoration import L2
from jgr.models.edsr import EDSR
from jgr.models.filled import Filled
from jgr.models.unet import DRUNet
from jgr.tasks.restoration import Restoration


class Nothing(nn.Module):
    """Gives a tenth of the image and counts its channels."""

    multiple = 4
    channels = 1

    @nn.compact
    def __call__(self, images, *, train):
        assert images.shape[-1] == 2
        return 0.1 * images[..., :1]


IMAGES = jnp.asarray(np.random.default_rng(0).random((2, 8, 8, 1)), jnp.float32)
MASK = jnp.asarray(np.random.default_rng(1).random((2, 8, 8, 1)) < 0.5, jnp.float32)
SEEN = jnp.concatenate([IMAGES * MASK, MASK], axis=-1)


@pytest.mark.parametrize(("residual", "factor"), [(False, 0.1), (True, 1.1)])
def test_the_network_sees_the_guess_and_is_added_to_it_where_that_is_said(residual, factor):
    network = Filled(network=Nothing(), residual=residual)
    guess = jax.jit(fill_holes)(SEEN[..., :1], SEEN[..., 1:])
    np.testing.assert_allclose(network.apply({}, SEEN, train=False), factor * guess, rtol=1e-6)
    assert (network.multiple, network.channels) == (4, 1)


def test_an_untrained_residual_network_gives_the_guess():
    network = Filled(network=EDSR(scale=1, channels=1, width=4, blocks=1))
    variables = jax.jit(lambda key: network.init(key, SEEN, train=False))(jax.random.key(0))
    guess = jax.jit(fill_holes)(SEEN[..., :1], SEEN[..., 1:])
    np.testing.assert_allclose(network.apply(variables, SEEN, train=False), guess, atol=1e-6)


def test_the_type_of_number_reaches_the_network():
    network = Filled(network=DRUNet(width=4, levels=2, blocks=1), dtype=jnp.bfloat16)
    assert network.network.dtype == jnp.bfloat16
    with pytest.raises(ConfigError, match="Nothing has no field dtype"):
        Filled(network=Nothing(), dtype=jnp.bfloat16)


def test_a_task_inpaints_with_it_and_keeps_what_is_known():
    task = Restoration(
        network=Filled(network=DRUNet(width=4, levels=2, blocks=1), residual=True),
        degradation=Mask(generator=RandomPixels(keep=0.5)),
        inputs=("mask",),
        keep_known=True,
        loss=L2(),
    )
    keys = jax.random.split(jax.random.key(0), 2)
    state = jax.jit(task.init)(jax.random.key(1), {"image": IMAGES})
    pair = task.degrade({"image": IMAGES}, keys)
    restored = np.asarray(jax.jit(task.restore)(state, pair, keys))
    known = np.asarray(pair["mask"]) > 0
    np.testing.assert_array_equal(restored[known], np.asarray(IMAGES)[known])
    assert np.isfinite(restored).all()
