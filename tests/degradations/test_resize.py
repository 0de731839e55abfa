import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jgr.degradations.resize import Downsample, imresize, imresize_numpy, modcrop
from jgr.errors import ConfigError


def _image(height, width, channels=3, seed=0):
    return np.random.default_rng(seed).random((height, width, channels)).astype(np.float32)


def _keys_cubic(x):
    """Keys 1981, equation 4, with a = -1/2."""
    x = abs(x)
    if x < 1:
        return (1.5 * x - 2.5) * x * x + 1
    return ((-0.5 * x + 2.5) * x - 4) * x + 2 if x < 2 else 0.0


KERNELS = {
    "cubic": (_keys_cubic, 2, True),
    "linear": (lambda x: max(0.0, 1 - abs(x)), 1, True),
    "box": (lambda x: 1.0 if -0.5 <= x < 0.5 else 0.0, 0.5, True),
    "nearest": (lambda x: 1.0 if -0.5 <= x < 0.5 else 0.0, 0.5, False),
}


def _resized_row(row, new, scale, method):
    """One row, pixel by pixel, from the definition: kernel around each new centre, mirrored border, weights to one."""
    kernel, radius, antialias = KERNELS[method]
    shrink = min(scale, 1.0) if antialias else 1.0
    resized = []
    for index in range(new):
        centre = (index + 0.5) / scale - 0.5
        total = weight = 0.0
        for pixel in range(math.floor(centre - radius / shrink) - 1, math.ceil(centre + radius / shrink) + 2):
            mirrored = pixel % (2 * len(row))
            value = row[min(mirrored, 2 * len(row) - 1 - mirrored)]
            share = kernel((centre - pixel) * shrink)
            total, weight = total + share * value, weight + share
        resized.append(total / weight)
    return resized


@pytest.mark.parametrize("method", KERNELS)
@pytest.mark.parametrize(
    ("old", "new", "scale"), [(21, 7, 1 / 3), (8, 32, 4.0), (11, 6, 0.5), (9, 13, 13 / 9), (3, 1, 1 / 3)]
)
def test_rows_are_the_definition(method, old, new, scale):
    row = _image(1, old, 1)
    expected = _resized_row(row[0, :, 0].astype(np.float64), new, scale, method)
    height = math.ceil(scale)  # of one row that is constant
    result = imresize_numpy(row, height, new, method, scale=scale)
    np.testing.assert_allclose(result[..., 0], np.tile(expected, (height, 1)), atol=1e-12)


@pytest.mark.parametrize("size", [(20, 31), (94, 124), (130, 70), (12, 16)])
def test_it_is_pillows_and_jaxs_resize_away_from_the_border(size):
    image = _image(47, 62)
    resized = imresize_numpy(image, *size)
    pillow = [
        np.asarray(Image.fromarray(channel).resize(size[::-1], Image.Resampling.BICUBIC))
        for channel in image.transpose(2, 0, 1)
    ]
    ours = jax.image.resize(image, (*size, 3), "cubic", antialias=True)
    inside = (slice(5, -5), slice(5, -5))
    np.testing.assert_allclose(resized[inside], np.stack(pillow, axis=-1)[inside], atol=1e-6)
    np.testing.assert_allclose(resized[inside], np.asarray(ours)[inside], atol=1e-5)
    assert np.abs(resized - np.asarray(ours)).max() > 0.01  # there they weigh what is left, where MATLAB mirrors


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_border_is_that_of_the_mirrored_image(scale):
    image = _image(4 * scale, 5 * scale)
    wide = np.pad(image, ((4 * scale,) * 2, (5 * scale,) * 2, (0, 0)), mode="symmetric")
    np.testing.assert_allclose(imresize_numpy(image, 4, 5), imresize_numpy(wide, 12, 15)[4:8, 5:10], atol=1e-12)


def test_weights_of_an_impulse():
    row = np.zeros((1, 9, 1))
    row[0, 4] = 1
    # Keys' kernel at 1/4, 3/4, 5/4 and 7/4
    inner = np.array([-0.0234375, -0.0703125, 0.2265625, 0.8671875])
    np.testing.assert_array_equal(imresize_numpy(row, 1, 18, scale=None)[0, 5:13, 0], [*inner, *inner[::-1]])
    # shrinking by two stretches it to twice the width
    column = np.zeros((16, 1, 1))
    column[7] = 1
    np.testing.assert_allclose(
        imresize_numpy(column, 8, 1)[1:6, 0, 0], [0, -0.03515625, 0.43359375, 0.11328125, -0.01171875], atol=1e-15
    )


def test_sizes_that_were_rounded_up_keep_the_scale():
    image = _image(7, 9)
    np.testing.assert_allclose(
        imresize_numpy(image, 4, 5, "box", scale=0.5)[:3, :4],
        image[:6, :8].reshape(3, 2, 4, 2, 3).mean(axis=(1, 3)),
        atol=1e-7,
    )
    with pytest.raises(ValueError, match=r"a new side of 3 must be 4, its 7 pixels times scale = 0\.5"):
        imresize_numpy(image, 3, 5, scale=0.5)
    with pytest.raises(ValueError, match="a new side of 0 must be positive"):
        imresize_numpy(image, 0, 5)


def test_the_device_agrees_with_the_host_on_batches():
    images = np.stack([_image(24, 36, seed=seed) for seed in range(3)])
    for size, method in (((8, 12), "cubic"), ((48, 72), "linear")):
        resized = imresize(jnp.asarray(images), *size, method)
        np.testing.assert_allclose(resized, [imresize_numpy(image, *size, method) for image in images], atol=1e-6)
        np.testing.assert_allclose(resized[1], imresize(jnp.asarray(images[1]), *size, method), atol=1e-6)


def test_the_gradient_is_the_adjoint():
    image, weights = jnp.asarray(_image(12, 16)), jnp.asarray(_image(4, 8, seed=1))
    gradient = jax.grad(lambda image: (imresize(image, 4, 8) * weights).sum())(image)
    direction = jnp.asarray(_image(12, 16, seed=2))
    np.testing.assert_allclose((gradient * direction).sum(), (imresize(direction, 4, 8) * weights).sum(), rtol=1e-5)


def test_modcrop():
    assert modcrop(np.zeros((2, 13, 16, 1)), 4).shape == (2, 12, 16, 1)
    with pytest.raises(ValueError, match="3x16 has no multiple of 4"):
        modcrop(np.zeros((3, 16, 1)), 4)


def test_downsample_is_a_degradation():
    images = np.stack([_image(12, 16, seed=seed) for seed in range(2)])
    batch = {"image": jnp.asarray(images), "index": jnp.arange(2)}
    degraded = Downsample(scale=4)(batch, jax.random.split(jax.random.key(0), 2))
    assert degraded["image"].shape == (2, 3, 4, 3)
    np.testing.assert_allclose(degraded["image"][1], imresize_numpy(images[1], 3, 4), atol=1e-6)
    np.testing.assert_array_equal(degraded["target"], images)
    assert [Downsample(scale=3, method=method).name for method in KERNELS] == [
        "bicubic-x3",
        "bilinear-x3",
        "box-x3",
        "nearest-x3",
    ]


def test_downsample_says_what_does_not_fit():
    with pytest.raises(ConfigError, match="scale = 0 must be at least 1"):
        Downsample(scale=0)
    with pytest.raises(ConfigError, match="scale = 5 must divide both sides of the images, which are 10x16"):
        Downsample(scale=5).apply({"image": jnp.zeros((10, 16, 1))}, jax.random.key(0))
