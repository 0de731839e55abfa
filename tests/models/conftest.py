"""What every restoration network is asked."""

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"


@pytest.fixture
def twins(monkeypatch):
    """experiments/torch_restoration_a.py: the same networks in PyTorch."""
    pytest.importorskip("torch")
    monkeypatch.syspath_prepend(EXPERIMENTS)
    import torch_restoration_a

    return torch_restoration_a


@pytest.fixture
def twins_b(monkeypatch):
    """experiments/torch_restoration_b.py, likewise."""
    pytest.importorskip("torch")
    monkeypatch.syspath_prepend(EXPERIMENTS)
    import torch_restoration_b

    return torch_restoration_b


@pytest.fixture(scope="session")
def initial():
    """A network's first variables."""
    return lambda network, images: jax.jit(partial(network.init, train=False))(jax.random.key(1), images)


@pytest.fixture(scope="session")
def applied():
    """A network's result outside training."""
    return lambda network, variables, images: jax.jit(partial(network.apply, train=False))(variables, images)


@pytest.fixture(scope="session")
def num_parameters():
    """Trainable numbers of a network that is given so many channels."""

    def count(network, inputs, side=16):
        images = jnp.zeros((1, side, side, inputs))
        variables = jax.eval_shape(lambda key: network.init(key, images, train=False), jax.random.key(0))
        return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))

    return count


@pytest.fixture(scope="session")
def reach():
    """The largest distance of a pixel of the input from one of the result that depends on it, by gradients."""

    def measure(network, inputs):
        multiple, scale = getattr(network, "multiple", 1), getattr(network, "scale", 1)
        start = -(-(network.radius + 3) // multiple) * multiple  # of a block of pixels, from where radius + 3 are left
        images = jax.random.uniform(jax.random.key(0), (1, 2 * start + multiple, 2 * start + multiple, inputs))

        shapes = jax.eval_shape(partial(network.init, train=False), jax.random.key(1), images)
        variables = {name: jax.tree.map(lambda leaf: jnp.ones(leaf.shape), tree) for name, tree in shapes.items()}
        rng = np.random.default_rng(0)  # no parameter zero, as some start; drawn here, which needs no compilation
        params = jax.tree.map(
            lambda leaf: jnp.asarray(0.3 * rng.standard_normal(leaf.shape), jnp.float32), variables.pop("params")
        )

        @jax.jit
        def gradient(params, images, pixel):
            def value(images):
                result = network.apply({"params": params, **variables}, images, train=False)
                block = jax.lax.dynamic_slice(result[0], (pixel * scale, pixel * scale, 0), (scale, scale, 1))
                return block.sum()

            return jax.grad(value)(images)

        distances = []
        for pixel in range(start, start + multiple):
            _, rows, columns, _ = np.nonzero(gradient(params, images, pixel))
            distances += [abs(rows - pixel).max(), abs(columns - pixel).max()]
        return max(distances)

    return measure


@pytest.fixture(scope="session")
def overfit():
    """How many times smaller the squared error of one batch becomes by some steps of Adam."""

    def train(network, images, targets, num_steps=40, learning_rate=3e-3):
        variables = dict(jax.jit(lambda key: network.init(key, images, train=True))(jax.random.key(0)))
        params = variables.pop("params")
        optimizer = optax.adam(learning_rate)

        @jax.jit
        def step(params, variables, opt_state):
            def loss(params):
                result, changed = network.apply(
                    {"params": params, **variables}, images, train=True, mutable=list(variables)
                )
                return jnp.mean((result - targets) ** 2), changed

            (value, changed), gradients = jax.value_and_grad(loss, has_aux=True)(params)
            updates, opt_state = optimizer.update(gradients, opt_state)
            return optax.apply_updates(params, updates), changed, opt_state, value

        opt_state, losses = optimizer.init(params), []
        for _ in range(num_steps):
            params, variables, opt_state, value = step(params, variables, opt_state)
            losses.append(float(value))
        return losses[0] / losses[-1]

    return train
