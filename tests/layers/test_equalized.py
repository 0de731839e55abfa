import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jgr.errors import ConfigError
from jgr.layers.equalized import EqualizedConv, EqualizedDense
from jgr.layers.fir import conv_downsampled


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (EqualizedDense(400), (64, 900)),
        (EqualizedDense(400, learning_rate=0.01), (64, 900)),
        (EqualizedConv(64, use_bias=False), (4, 16, 16, 100)),
        (EqualizedConv(64, 1), (4, 16, 16, 100)),
    ],
)
def test_unit_variance_stays_at_the_start(layer, shape):
    inputs = jax.random.normal(jax.random.key(0), shape)
    made, variables = jax.jit(layer.init_with_output)(jax.random.key(1), inputs)
    inside = made[:, 1:-1, 1:-1] if made.ndim == 4 else made  # zeros beyond the border take from the variance
    assert abs(float(jnp.square(inside).mean()) - 1) < 0.03
    assert "bias" in variables["params"] or not layer.use_bias


def test_learning_rate_of_a_layer_is_that_of_what_its_weights_do():
    """Adam moves every weight by one step: the effective matrix by rate / sqrt(inputs), the bias by rate."""
    inputs = jnp.eye(100)

    def effect(rate):
        layer = EqualizedDense(3, bias=1.0, learning_rate=rate)
        params = layer.init(jax.random.key(0), inputs)["params"]
        moved = jax.tree.map(lambda leaf: leaf + 1.0, params)
        zero = jnp.zeros_like(inputs)
        apply = lambda params, inputs: layer.apply({"params": params}, inputs)  # noqa: E731
        np.testing.assert_allclose(apply(params, zero), 1.0, rtol=1e-6)  # the bias that was asked for
        bias = apply(moved, zero) - apply(params, zero)
        return apply(params, inputs), bias, apply(moved, inputs) - apply(params, inputs) - bias

    (made, bias, matrix), (slow_made, slow_bias, slow_matrix) = effect(1.0), effect(0.01)
    np.testing.assert_allclose(made, slow_made, rtol=1e-5)  # the same start
    np.testing.assert_allclose(bias, 1.0, rtol=1e-5)
    np.testing.assert_allclose(matrix, 0.1, atol=1e-5)
    np.testing.assert_allclose(slow_bias, 0.01, rtol=1e-3)
    np.testing.assert_allclose(slow_matrix, 0.001, atol=1e-5)


def test_convolution_of_the_scaled_kernel_with_and_without_halving():
    images = jax.random.normal(jax.random.key(0), (2, 8, 6, 5))
    plain, halving = EqualizedConv(4), EqualizedConv(4, downsample=True)
    variables = jax.tree.map(lambda leaf: leaf + 0.5, plain.init(jax.random.key(1), images))
    kernel, bias = variables["params"]["kernel"] / np.sqrt(45), variables["params"]["bias"].reshape(1, 1, 1, -1)

    expected = lax.conv_general_dilated(images, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    np.testing.assert_allclose(plain.apply(variables, images), expected + bias, atol=1e-5)
    np.testing.assert_allclose(halving.apply(variables, images), conv_downsampled(images, kernel) + bias, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EqualizedDense(0), "features = 0"),
        (lambda: EqualizedDense(2, learning_rate=0.0), "learning_rate = 0.0 must be positive"),
        (lambda: EqualizedConv(2, 4), "kernel_size = 4 must be odd"),
    ],
)
def test_impossible_fields_are_named(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
