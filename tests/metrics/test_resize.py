import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jgr.errors import ConfigError
from jgr.metrics import resize

SIZES = [
    ((32, 32), (299, 299)),
    ((28, 45), (299, 299)),
    ((1, 3), (7, 5)),
    ((331, 512), (299, 299)),
    ((64, 64), (9, 64)),
]


def _images(size, batch=2):
    return jnp.asarray(np.random.default_rng(sum(size)).integers(0, 256, (batch, *size, 3), dtype=np.uint8))


def _tensorflow_kernel(image, size):
    """`ResizeBilinear` of TensorFlow 1 on CPU, pixel by pixel, in float32: resize_bilinear_op.cc."""
    real = np.float32
    values = np.asarray(image).astype(real)

    def interpolation(old, new):
        scale = real(old) / real(new)
        for index in range(new):
            position = real(index) * scale
            floor = np.floor(position)
            yield max(int(floor), 0), min(int(np.ceil(position)), old - 1), position - floor

    resized = np.empty((*size, image.shape[2]), real)
    across = list(interpolation(image.shape[1], size[1]))
    for row, (upper, lower, down) in enumerate(interpolation(image.shape[0], size[0])):
        for column, (left, right, over) in enumerate(across):
            top = values[upper, left] + (values[upper, right] - values[upper, left]) * over
            bottom = values[lower, left] + (values[lower, right] - values[lower, left]) * over
            resized[row, column] = top + (bottom - top) * down
    return resized


@pytest.mark.parametrize(("old", "new"), SIZES)
@pytest.mark.parametrize("compiled", [True, False])
def test_tf1_bilinear_is_tensorflows_kernel_bit_by_bit(old, new, compiled):
    images = _images(old, batch=1)
    function = jax.jit(resize.tf1_bilinear, static_argnums=1) if compiled else resize.tf1_bilinear
    np.testing.assert_array_equal(function(images, new)[0], _tensorflow_kernel(images[0], new))


def test_the_inception_input_stays_exact_in_one_program():
    images = _images((32, 32))
    fed = jax.jit(resize.inception_input, static_argnums=1)(images, "tf1_bilinear")
    exact = np.stack([_tensorflow_kernel(image, (299, 299)) for image in images])
    np.testing.assert_array_equal(fed, (exact - np.float32(128)) * np.float32(0.0078125))  # the constants of the graph


@pytest.mark.parametrize(("name", "black", "white"), [("tf1_bilinear", -1, 127 / 128), ("legacy_pytorch", -1, 1)])
def test_the_inception_input_of_black_and_white(name, black, white):
    images = jnp.array([0, 255], jnp.uint8).reshape(2, 1, 1, 1)  # gray
    fed = resize.inception_input(images, name)
    assert fed.shape == (2, 299, 299, 3)
    np.testing.assert_allclose(fed[0], black, atol=1e-7)
    np.testing.assert_allclose(fed[1], white, atol=1e-7)


def test_impossible_inputs_are_named():
    with pytest.raises(ConfigError, match="'bicubic' must be one of tf1_bilinear, legacy_pytorch, clean"):
        resize.inception_input(_images((8, 8)), "bicubic")
    with pytest.raises(ConfigError, match="not 2"):
        resize.inception_input(_images((8, 8))[..., :2], "clean")


@pytest.mark.parametrize(("old", "new"), SIZES)
def test_legacy_pytorch_is_torchs_interpolate(old, new):
    torch = pytest.importorskip("torch")
    images = _images(old)
    expected = torch.nn.functional.interpolate(
        torch.tensor(np.asarray(images)).permute(0, 3, 1, 2).float(), size=new, mode="bilinear", align_corners=False
    )
    resized = jax.jit(resize.legacy_pytorch, static_argnums=1)(images, new)
    np.testing.assert_allclose(resized, expected.permute(0, 2, 3, 1), atol=1e-4 * 255, rtol=0)


def test_legacy_pytorch_without_torch():
    # Two pixels to four: positions -1/4, 1/4, 3/4, 5/4, kept inside.
    images = jnp.array([0, 100], jnp.uint8).reshape(1, 1, 2, 1)
    np.testing.assert_allclose(resize.legacy_pytorch(images, (1, 4)).ravel(), [0, 25, 75, 100])


@pytest.mark.parametrize(("old", "new"), SIZES)
def test_clean_is_pillows_bicubic_on_float_channels(old, new):
    images = _images(old)
    channels = [
        Image.fromarray(np.asarray(image[..., channel], np.float32)).resize(new[::-1], Image.Resampling.BICUBIC)
        for image in images
        for channel in range(3)
    ]
    expected = np.stack([np.asarray(channel) for channel in channels]).reshape(2, 3, *new).transpose(0, 2, 3, 1)
    resized = jax.jit(resize.clean, static_argnums=1)(images, new)
    np.testing.assert_allclose(resized, expected.clip(0, 255), atol=0.01, rtol=0)
    if new == (299, 299) and max(old) < 299:
        assert expected.min() < 0  # the clip was needed
        assert expected.max() > 255


@pytest.mark.parametrize("name", resize.RESIZES)
def test_a_resize_to_the_same_size_changes_nothing(name):
    images = _images((19, 23))
    np.testing.assert_array_equal(resize.RESIZES[name](images, (19, 23)), images.astype(np.float32))


def test_the_resizes_disagree():
    # Why they are protocols: enlarging 32 to 299 moves TensorFlow's grid by half a pixel.
    images = _images((32, 32))
    tf1, torch, clean = (
        resize.RESIZES[name](images, (299, 299)) for name in ("tf1_bilinear", "legacy_pytorch", "clean")
    )
    assert abs(tf1 - torch).mean() > 5
    assert abs(torch - clean).mean() > 5
