import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jgr.errors import ConfigError
from jgr.layers.fir import upsampled
from jgr.layers.modulated_conv import ModulatedConv, modulated_conv


def drawn(*shapes):
    rng = np.random.default_rng(0)
    return [jnp.asarray(rng.standard_normal(shape), jnp.float32) for shape in shapes]


def one_by_one(images, kernel, scales, demodulate, upsample):
    """An ordinary convolution for each image, with its own modulated and demodulated kernel (equations 1 and 3)."""
    results = []
    for image, scale in zip(images, scales, strict=True):
        weights = kernel * scale.reshape(1, 1, -1, 1)
        if demodulate:
            weights = weights / jnp.sqrt(jnp.square(weights).sum((0, 1, 2), keepdims=True) + 1e-8)
        if upsample:  # with a frame, whose inner pixels see what the filter spreads beyond the border
            image = upsampled(jnp.pad(image[None], ((0, 0), (2, 2), (2, 2), (0, 0))))[0]
        made = lax.conv_general_dilated(
            image[None], weights, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        results.append(made[:, 4:-4, 4:-4] if upsample else made)
    return jnp.concatenate(results)


@pytest.mark.parametrize(
    ("side", "demodulate", "upsample"), [(3, True, False), (3, True, True), (1, False, False), (1, True, True)]
)
def test_equals_a_convolution_of_each_image_with_its_own_kernel(side, demodulate, upsample):
    arguments = drawn((3, 6, 5, 7), (side, side, 7, 4), (3, 7))

    def value_and_gradients(function):
        def loss(*arguments):
            made = function(*arguments)
            return jnp.sin(made).sum(), made

        return jax.jit(jax.grad(loss, (0, 1, 2), has_aux=True))(*arguments)

    got = value_and_gradients(lambda *a: modulated_conv(*a, demodulate=demodulate, upsample=upsample))
    expected = value_and_gradients(lambda *a: one_by_one(*a, demodulate, upsample))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * float(jnp.abs(b).max())), got, expected
    )


def test_demodulation_makes_the_scale_of_a_style_not_matter_and_unit_variance():
    images, kernel, scales = drawn((2, 12, 12, 32), (3, 3, 32, 32), (2, 32))
    made = modulated_conv(images, kernel, scales)
    np.testing.assert_allclose(modulated_conv(images, 7.0 * kernel, 0.2 * scales), made, atol=1e-4)
    assert abs(float(jnp.square(made[:, 1:-1, 1:-1]).mean()) - 1) < 0.1


def test_layer_starts_with_scales_of_one_and_leaves_the_variance():
    images, styles = drawn((4, 12, 12, 64), (4, 16))
    layer = ModulatedConv(8, demodulate=False)
    made, variables = jax.jit(layer.init_with_output)(jax.random.key(0), images, 0 * styles)
    assert abs(float(jnp.square(made[:, 1:-1, 1:-1]).mean()) - 1) < 0.1
    kernel = variables["params"]["kernel"] / np.sqrt(9 * 64)
    np.testing.assert_allclose(
        made, modulated_conv(images, kernel, jnp.ones((4, 64)), demodulate=False), rtol=0, atol=1e-5
    )


def test_bfloat16():
    images, styles = drawn((2, 8, 8, 16), (2, 6))
    layer = ModulatedConv(8, upsample=True)
    made, variables = jax.jit(layer.init_with_output)(jax.random.key(0), images, styles)
    half = layer.clone(dtype=jnp.bfloat16).apply(variables, images, styles)
    assert half.dtype == jnp.bfloat16
    assert 0 < float(jnp.abs(half.astype(jnp.float32) - made).max()) < 0.03 * float(jnp.abs(made).max())


@pytest.mark.parametrize(("fields", "message"), [({"features": 0}, "features = 0"), ({"kernel_size": 2}, "odd")])
def test_impossible_fields_are_named(fields, message):
    with pytest.raises(ConfigError, match=message):
        ModulatedConv(**{"features": 4} | fields)
