from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jgr.errors import ConfigError
from jgr.layers.attention import SelfAttention

IMAGES = jax.random.normal(jax.random.key(0), (2, 4, 6, 16))


def drawn(layer, gamma):
    variables = jax.jit(partial(layer.init, train=True))(jax.random.key(1), IMAGES)
    variables["params"]["gamma"] += gamma
    return variables


def applied(layer, variables):
    return jax.jit(partial(layer.apply, train=False))(variables, IMAGES)


def by_pixels(params, images):
    """Every pixel's attention by itself."""
    images = np.asarray(images, np.float64)
    query, key, value, result = (
        np.asarray(params[name]["kernel"], np.float64) for name in ("query", "key", "value", "result")
    )
    made = images.copy()
    for image, out in zip(images, made, strict=True):
        blocks = [
            image[row : row + 2, column : column + 2].reshape(4, -1)
            for row in range(0, image.shape[0], 2)
            for column in range(0, image.shape[1], 2)
        ]
        keys = np.stack([(block @ key).max(0) for block in blocks])
        values = np.stack([(block @ value).max(0) for block in blocks])
        for row, column in np.ndindex(image.shape[:2]):
            weights = np.exp(keys @ (image[row, column] @ query))
            out[row, column] += float(params["gamma"]) * (weights / weights.sum()) @ values @ result
    return made


def test_every_pixel_adds_what_it_attends_to():
    layer = SelfAttention()
    variables = drawn(layer, 0.7)
    expected = by_pixels(variables["params"], IMAGES)
    assert np.abs(expected - np.asarray(IMAGES)).max() > 0.1
    np.testing.assert_allclose(applied(layer, variables), expected, atol=1e-5)


def test_it_starts_as_the_identity_and_gamma_gets_a_gradient():
    layer = SelfAttention(spectral_norm=True)
    variables = drawn(layer, 0.0)
    assert set(variables) == {"params", "spectral"}

    def loss(params):
        made = layer.apply({**variables, "params": params}, IMAGES, train=False)
        return (made**2).sum(), made

    gradients, made = jax.jit(jax.grad(loss, has_aux=True))(variables["params"])
    np.testing.assert_array_equal(made, IMAGES)
    assert abs(float(gradients["gamma"])) > 1e-2


def test_parameter_count():
    # 384 channels: BigGAN's generator for CIFAR-10, two matrices to 1/8, one to 1/2 and one from it, and gamma
    variables = jax.eval_shape(
        lambda key: SelfAttention().init(key, jnp.zeros((1, 16, 16, 384)), train=True), jax.random.key(0)
    )
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == 2 * 384 * 48 + 2 * 384 * 192 + 1


def test_bfloat16_changes_little():
    variables = drawn(SelfAttention(), 0.7)
    exact, half = applied(SelfAttention(), variables), applied(SelfAttention(dtype=jnp.bfloat16), variables)
    assert 0 < float(jnp.abs(half - exact).max()) < 0.03


@pytest.mark.parametrize("shape", [(1, 3, 4, 8), (1, 4, 5, 8), (1, 4, 4, 7)])
def test_impossible_images_are_named(shape):
    with pytest.raises(ConfigError, match=f"{shape[1]}x{shape[2]} pixels of {shape[3]} channels"):
        SelfAttention().init(jax.random.key(0), jnp.zeros(shape), train=True)
