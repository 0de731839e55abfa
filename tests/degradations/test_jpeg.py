import functools
import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.data
from PIL import Image

from jgr.degradations.jpeg import JPEG, jpeg, quantisation_tables
from jgr.degradations.parameters import Choice, Uniform
from jgr.errors import ConfigError

SUBSAMPLINGS = ["4:4:4", "4:2:2", "4:2:0"]
compiled = jax.jit(jpeg, static_argnums=(2, 3))


def _libjpeg(image, quality, subsampling="4:2:0"):
    file = io.BytesIO()
    pixels = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    pixels.save(file, "JPEG", quality=quality, subsampling=subsampling)
    return np.asarray(Image.open(file)).reshape(image.shape)


def _ours(image, quality, subsampling="4:2:0"):
    result = 255 * np.asarray(compiled(jnp.asarray(image / 255, jnp.float32), jnp.float32(quality), subsampling))
    np.testing.assert_allclose(result, np.round(result), atol=1e-4)  # levels
    return np.round(result).astype(np.uint8)


def _agreement(ours, theirs):
    """Shares of equal values, and of those within one level."""
    error = np.abs(ours.astype(int) - theirs)
    return (error == 0).mean(), (error <= 1).mean()


def _psnr(image, target):
    return 10 * np.log10(255**2 / np.mean((image.astype(float) - target) ** 2))


def _photograph(height, width, channels):
    photograph = np.ascontiguousarray(skimage.data.astronaut()[20 : 20 + height, 180 : 180 + width])
    return photograph if channels == 3 else photograph[..., :1]


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("size", [(61, 83), (5, 6), (3, 4)])  # (3, 4): chroma of two columns is not smoothed
def test_colour_is_libjpegs(subsampling, size):
    image = _photograph(*size, 3)
    for quality in (1, 10, 50, 90, 100):
        equal, near = _agreement(_ours(image, quality, subsampling), _libjpeg(image, quality, subsampling))
        assert equal >= 0.999
        assert near >= 0.9999


@pytest.mark.parametrize("size", [(61, 83), (64, 64), (1, 1)])
def test_gray_is_libjpegs(size):
    image = _photograph(*size, 1)
    for quality in (1, 10, 50, 90, 100):
        equal, near = _agreement(_ours(image, quality), _libjpeg(image, quality))
        assert equal >= 0.999
        assert near >= 0.9999


def test_tables_are_libjpegs_at_every_quality():
    ours = jax.jit(jax.vmap(quantisation_tables))(jnp.arange(1.0, 101.0))
    for quality in range(1, 101):
        file = io.BytesIO()
        Image.new("RGB", (8, 8)).save(file, "JPEG", quality=quality)
        theirs = Image.open(file).quantization
        np.testing.assert_array_equal(ours[quality - 1].reshape(2, 64), [theirs[0], theirs[1]])


def test_classic5_is_libjpegs(test_data):
    images = [np.asarray(Image.open(path))[..., None] for path in sorted((test_data / "jpeg/classic5").iterdir())]
    assert len(images) == 5
    for quality in (10, 20, 30, 40):
        difference, shares = [], []
        for image in images:
            ours, theirs = _ours(image, quality), _libjpeg(image, quality)
            difference.append(_psnr(ours, image) - _psnr(theirs, image))
            shares.append(_agreement(ours, theirs))
        assert abs(np.mean(difference)) < 1e-3
        assert np.min(shares, axis=0)[0] >= 0.999
        assert np.min(shares, axis=0)[1] >= 0.9999


@pytest.mark.slow
@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
def test_bsds500_is_libjpegs(test_data, subsampling):
    for path in sorted((test_data / "color/bsds500_test").iterdir())[:40]:
        image = np.asarray(Image.open(path))
        for quality in (10, 75, 95):
            ours, theirs = _ours(image, quality, subsampling), _libjpeg(image, quality, subsampling)
            equal, near = _agreement(ours, theirs)
            assert equal >= 0.999
            assert near >= 0.9999
            assert abs(_psnr(ours, image) - _psnr(theirs, image)) < 1e-3


@functools.partial(jax.jit, static_argnums=(3, 4))
def _gradient(image, weights, quality, subsampling, differentiable):
    return jax.grad(lambda image: (weights * jpeg(image, quality, subsampling, differentiable)).sum())(image)


def test_the_straight_through_gradient_is_that_of_the_identity():
    """At quality 100 every step is 1, and the DCT is orthonormal."""
    image = jnp.asarray(_photograph(16, 24, 1) / 255 * 0.5 + 0.25, jnp.float32)
    weights = jax.random.normal(jax.random.key(0), image.shape)
    np.testing.assert_allclose(_gradient(image, weights, 100.0, "4:2:0", True), weights, atol=2e-3)
    assert not _gradient(image, weights, 100.0, "4:2:0", False).any()


def test_the_gradient_of_colour_keeps_brightness():
    """A brighter image is as much brighter afterwards, whatever is done to its colours."""
    image = jnp.asarray(_photograph(16, 32, 3) / 255 * 0.25 + 0.375, jnp.float32)  # nothing is clipped
    np.testing.assert_allclose(_gradient(image, jnp.ones_like(image), 50.0, "4:2:0", True), 1.0, atol=5e-3)


def test_being_differentiable_does_not_change_the_values():
    image = jnp.asarray(_photograph(32, 48, 3) / 255, jnp.float32)
    np.testing.assert_array_equal(compiled(image, 30.0, "4:2:0", True), compiled(image, 30.0, "4:2:0", False))


def test_input_is_clipped_and_rounded_to_levels():
    image = jnp.asarray(_photograph(16, 16, 1) / 255, jnp.float32)
    plain = functools.partial(compiled, quality=90.0)
    np.testing.assert_array_equal(plain(image + 0.4 / 255), plain(image))
    np.testing.assert_array_equal(plain(image * 4 - 1), plain(jnp.clip(image * 4 - 1, 0, 1)))


def test_other_channels_are_refused():
    with pytest.raises(ValueError, match="1 or 3 channels, not 4"):
        jpeg(jnp.zeros((8, 8, 4)), 50.0)


def test_each_record_has_its_own_quality():
    images = jnp.asarray(np.stack([_photograph(32, 32, 1)] * 8) / 255, jnp.float32)
    degrade = jax.jit(JPEG(quality=Choice(values=(10.0, 40.0, 90.0))))
    degraded = degrade({"image": images}, jax.random.split(jax.random.key(1), 8))
    qualities = np.asarray(degraded["quality"])
    assert set(np.round(100 * qualities)) == {10, 40, 90}
    assert degraded["quality"].dtype == jnp.float32
    for image, quality, result in zip(images, qualities, degraded["image"], strict=True):
        expected = _libjpeg(np.round(255 * np.asarray(image)).astype(np.uint8), round(100 * quality))
        np.testing.assert_allclose(255 * result, expected, atol=1.01)
    np.testing.assert_array_equal(degraded["target"], images)


def test_a_drawn_quality_is_a_whole_number():
    degrade = jax.jit(JPEG(quality=Uniform(low=30.0, high=95.0)).apply)
    record = degrade({"image": jnp.zeros((8, 8, 1))}, jax.random.key(0))
    quality = 100 * float(record["quality"])
    assert quality == pytest.approx(round(quality), abs=1e-4)
    assert 30 <= quality <= 95


def test_names():
    assert JPEG(quality=10.0).name == "jpeg-q10"
    assert JPEG(quality=Uniform(low=30.0, high=95.0)).name == "jpeg-q30..95"
    assert JPEG(quality=10.0, subsampling="4:4:4").name == "jpeg-q10-444"


@pytest.mark.parametrize(
    ("quality", "message"),
    [
        (0.0, "quality = 0 must be at least 1 and at most 100"),
        (101.0, "quality = 101 must be at least 1 and at most 100"),
        (9.5, "quality = 9.5 must be a whole"),
    ],
)
def test_impossible_qualities_are_refused(quality, message):
    with pytest.raises(ConfigError, match=message):
        JPEG(quality=quality)
