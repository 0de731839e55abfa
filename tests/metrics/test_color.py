import jax.numpy as jnp
import numpy as np
import pytest
import skimage.color
import skimage.data

from jgr.images import to_float, to_uint8
from jgr.metrics.color import crop_border, gray, luma, quantised
from jgr.metrics.fidelity import psnr


def pixels(*values):
    return jnp.asarray(values, jnp.float32).reshape(1, 1, len(values), 3)


def test_luma_is_studio_swing():
    values = luma(pixels([0, 0, 0], [1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]))
    expected = np.array([16, 235, 16 + 65.481, 16 + 128.553, 16 + 24.966]) / 255
    np.testing.assert_allclose(values.ravel(), expected, rtol=1e-6)


def test_luma_equals_scikit_image_in_either_range():
    image = skimage.data.astronaut()[None, ::8, ::8]
    expected = skimage.color.rgb2ycbcr(image)[..., :1]  # 16 to 235
    np.testing.assert_allclose(luma(to_float(image)), expected / 255, atol=2e-7)
    np.testing.assert_allclose(luma(jnp.asarray(image, jnp.float32), data_range=255.0), expected, atol=5e-5)


def test_gray_is_full_range():
    values = gray(pixels([0, 0, 0], [1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]))
    np.testing.assert_allclose(values.ravel(), [0, 1, 0.299, 0.587, 0.114], rtol=1e-6)


def test_a_change_of_colour_alone_leaves_the_luma():
    image = np.random.RandomState(0).uniform(0.3, 0.7, (1, 8, 8, 3))
    shift = np.array([128.553, -65.481, 0.0]).reshape(1, 1, 1, 3) / 1000
    assert float(psnr(image, image + shift)[0]) < 25
    assert float(psnr(luma(jnp.asarray(image)), luma(jnp.asarray(image + shift)))[0]) > 120


def test_crop_border():
    images = jnp.arange(2 * 5 * 6).reshape(2, 5, 6, 1).astype(jnp.float32)
    np.testing.assert_array_equal(crop_border(images, 2), images[:, 2:3, 2:4])
    np.testing.assert_array_equal(crop_border(images, 0), images)


@pytest.mark.parametrize("width", [3, 4, -1])
def test_a_border_that_leaves_nothing(width):
    with pytest.raises(ValueError, match=f"border of {width} pixels.*5x6"):
        crop_border(jnp.zeros((2, 5, 6, 1)), width)


@pytest.mark.parametrize("transform", [luma, gray])
def test_only_rgb_has_a_luma(transform):
    with pytest.raises(ValueError, match="1 channels"):
        transform(jnp.zeros((1, 4, 4, 1)))


def test_quantised_keeps_levels_rounds_half_up_and_clips():
    levels = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(quantised(to_float(levels)), to_float(levels))
    between = jnp.asarray([0.49, 0.5, 0.51, 1.5, 300.0, -5.0]) / 255.0
    np.testing.assert_array_equal(to_uint8(quantised(between)), [0, 1, 1, 2, 255, 0])


def test_nan_does_not_become_black():
    values = np.asarray(quantised(jnp.asarray([jnp.nan, jnp.inf, -jnp.inf, 0.0])))
    np.testing.assert_array_equal(values, [np.nan, 1.0, 0.0, 0.0])
