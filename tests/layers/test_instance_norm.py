import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jgr.layers.conv import conv
from jgr.layers.instance_norm import instance_norm

IMAGES = 3 + 2 * jax.random.normal(jax.random.key(0), (2, 5, 6, 3))
WEIGHTS = jax.random.normal(jax.random.key(1), IMAGES.shape)


def by_flax(images):
    norm = nn.InstanceNorm(epsilon=1e-5, use_bias=False, use_scale=False, use_fast_variance=False)
    return norm.apply({}, images)


def close(one, other):
    np.testing.assert_allclose(one, other, rtol=0, atol=2e-5 * float(jnp.abs(other).max()))


def test_agrees_with_flax():
    made = jax.jit(instance_norm)(IMAGES)
    close(made, by_flax(IMAGES))
    np.testing.assert_allclose(made.mean((1, 2)), 0, atol=1e-6)
    np.testing.assert_allclose(made.std((1, 2)), 1, atol=1e-5)


def test_gradients_of_both_orders_are_those_of_automatic_differentiation():
    def slopes(norm):
        first = jax.grad(lambda images: jnp.sum(WEIGHTS * jnp.sin(norm(images))))
        second = jax.grad(lambda images: jnp.square(first(images)).sum())
        return jax.jit(lambda images: (first(images), second(images)))(IMAGES)

    for one, other in zip(slopes(instance_norm), slopes(by_flax), strict=True):
        close(one, other)


def test_a_flat_image_gives_zeros():
    value, gradient = jax.value_and_grad(lambda images: instance_norm(images).sum())(jnp.full((1, 4, 4, 1), 1e3))
    assert float(value) == 0
    assert np.isfinite(gradient).all()


def test_statistics_of_bfloat16_are_float32():
    half = IMAGES.astype(jnp.bfloat16)
    made, slopes = jax.vjp(instance_norm, half)
    assert made.dtype == jnp.bfloat16
    assert slopes(made)[0].dtype == jnp.bfloat16
    np.testing.assert_allclose(made.astype(jnp.float32), by_flax(half.astype(jnp.float32)), atol=0.02)


def test_a_result_that_is_needed_besides_its_gradient_is_computed_once():
    """Three layers have three convolutions forward and five back: none is there twice."""
    kernel = jnp.ones((3, 3, 3, 3))

    def network(kernel):
        hidden = IMAGES
        for _ in range(3):
            hidden = nn.relu(instance_norm(conv(hidden, kernel)))
        return hidden

    both = jax.jit(lambda kernel: (network(kernel), jax.grad(lambda kernel: network(kernel).sum() ** 2)(kernel)))
    assert both.lower(kernel).compile().as_text().count(" convolution(") == 8
