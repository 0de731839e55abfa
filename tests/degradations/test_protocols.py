import dataclasses
import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.data
import skimage.metrics
from PIL import Image

import jgr.metrics
from jgr.degradations.degradation import Degradation, Pipeline
from jgr.degradations.jpeg import JPEG
from jgr.degradations.kernels import GaussianKernel, Kernel, MotionKernel
from jgr.degradations.light import LowLight
from jgr.degradations.noise import GaussianNoise
from jgr.degradations.protocols import (
    Deblurring,
    GaussianDenoising,
    Inpainting,
    JPEGArtifacts,
    Seeded,
    SuperResolution,
)
from jgr.degradations.resize import Downsample, imresize_numpy
from jgr.errors import ConfigError, DataError
from jgr.metrics.pairs import PSNR, SSIM


def _photograph(height=60, width=84, channels=3):
    photograph = np.ascontiguousarray(skimage.data.astronaut()[20 : 20 + height, 180 : 180 + width])
    return photograph if channels == 3 else photograph[..., :1]


def _read(path):
    pixels = np.asarray(Image.open(path))
    return pixels if pixels.ndim == 3 else pixels[..., None]


def _decibels(image, target):
    return 10 * np.log10(255**2 / np.mean((image.astype(np.float64) - target) ** 2))


def _value(metric, images, targets):
    """As the metrics of evaluations have it."""
    return float(metric.values(None, jnp.asarray(images, jnp.float32), jnp.asarray(targets, jnp.float32)).mean())


# Gaussian noise


@pytest.mark.parametrize("channels", [1, 3])
def test_noise_is_that_of_the_published_code(channels):
    image = _photograph(channels=channels)
    record = GaussianDenoising(sigma=25 / 255)(image)
    noisy = np.float32(image / 255.0)  # KAIR, main_test_dncnn.py: the same image, seed, generator and types
    np.random.seed(0)
    noisy += np.random.normal(0, 25 / 255.0, noisy.shape)
    np.testing.assert_array_equal(record["image"], noisy)
    assert record["image"].dtype == record["target"].dtype == record["sigma"].dtype == np.float32
    assert record["image"].min() < 0  # not clipped
    np.testing.assert_array_equal(record["target"], np.float32(image / 255.0))
    assert record["sigma"].shape == ()
    assert record["sigma"] == np.float32(25 / 255)


def test_noise_is_seeded_for_each_image():
    protocol, image, other = GaussianDenoising(sigma=0.1), _photograph(), _photograph()[::-1]
    first = protocol(image)["image"]
    np.testing.assert_allclose(
        first - np.float32(image / 255), protocol(other)["image"] - np.float32(other / 255), atol=1e-6
    )
    np.testing.assert_array_equal(first, protocol(image)["image"])
    assert not np.array_equal(first, GaussianDenoising(sigma=0.1, seed=1)(image)["image"])


def test_clipped_noise_is_another_protocol():
    image = _photograph()
    plain, clipped = GaussianDenoising(sigma=50 / 255), GaussianDenoising(sigma=50 / 255, clip=True)
    np.testing.assert_array_equal(clipped(image)["image"], np.clip(plain(image)["image"], 0, 1))
    assert (plain.name, clipped.name) == ("awgn-s50-seed0-unclipped", "awgn-s50-seed0-clipped")
    assert GaussianDenoising(sigma=25 / 255, seed=3).name == "awgn-s25-seed3-unclipped"
    assert GaussianDenoising(sigma=2.5 / 255).name == "awgn-s2.5-seed0-unclipped"


@pytest.mark.slow
@pytest.mark.parametrize("level", [15, 25, 50])
def test_noisy_bsd68_has_the_psnr_of_its_sigma(test_data, level):
    """10 log10 1 / sigma^2, within four standard deviations of the mean square of as many Gaussian numbers."""
    paths = sorted((test_data / "denoising/bsd68").glob("*.png"))
    assert len(paths) == 68
    protocol = GaussianDenoising(sigma=level / 255)
    for path in paths:
        record = protocol(_read(path))
        psnr = float(jgr.metrics.psnr(record["image"][None], record["target"][None])[0])
        spread = 10 / np.log(10) * np.sqrt(2 / record["image"].size)
        assert abs(psnr + 20 * np.log10(level / 255)) < 4 * spread


# Super-resolution


def test_low_resolution_images_are_rounded_and_targets_cropped():
    image = _photograph(61, 86)
    record = SuperResolution(scale=4)(image)
    np.testing.assert_array_equal(record["target"], image[:60, :84])
    assert record["image"].shape == (15, 21, 3)
    assert record["image"].dtype == record["target"].dtype == np.uint8
    exact = np.clip(imresize_numpy(image[:60, :84], 15, 21), 0, 255)
    assert np.abs(record["image"] - exact).max() <= 0.5 + 1e-9
    assert SuperResolution(scale=3).name == Downsample(scale=3).name == "bicubic-x3"


def test_overshoot_does_not_wrap():
    image = np.kron(np.array([[0, 255], [255, 0]], np.uint8), np.ones((32, 32), np.uint8))[..., None]
    small = SuperResolution(scale=4)(image)["image"]
    assert set(np.unique(small[:7, :7])) == {0}
    assert set(np.unique(small[:7, 9:])) == {255}


def _bicubic(image, scale):
    """Restored by `imresize` itself: uint8 again."""
    record = SuperResolution(scale=scale)(image)
    height, width, _ = record["target"].shape
    enlarged = imresize_numpy(record["image"], height, width, scale=float(scale))
    return np.clip(np.floor(enlarged + 0.5), 0, 255).astype(np.uint8), record["target"]


def _luma(image):
    """MATLAB's rgb2ycbcr of uint8 without its rounding."""
    return image @ np.array([65.481, 128.553, 24.966]) / 255 + 16


def _matlab_score(image, target, crop):
    inside = (slice(crop, -crop), slice(crop, -crop))
    image, target = image[inside], target[inside]
    options = dict(data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
    return _decibels(image, target), skimage.metrics.structural_similarity(image, target, **options)


@pytest.mark.parametrize(("scale", "psnr", "ssim"), [(2, 33.66, 0.9299), (3, 30.39, 0.8682), (4, 28.42, 0.8104)])
def test_bicubic_on_set5_is_the_published_number(test_data, scale, psnr, ssim):
    """The row "Bicubic" of RCAN (Zhang et al. 2018, table 2) and others, whose code shrinks and enlarges luma alone.

    Luma of uint8, rounded; not rounded between the two resizes; rounded again.
    """
    scores = []
    for path in sorted((test_data / "sr/set5").iterdir()):
        image = _read(path)
        record = SuperResolution(scale=scale, luma=True)(image)
        luma = record["target"].astype(np.float64)
        height, width = luma.shape[:2]
        np.testing.assert_allclose(luma[..., 0], _luma(image[:height, :width]), atol=0.5 + 1e-9)
        enlarged = 255 * imresize_numpy(record["image"], height, width, scale=float(scale))
        enlarged = np.clip(np.floor(enlarged + 0.5), 0, 255)
        scores.append(_matlab_score(enlarged[..., 0], luma[..., 0], scale))
    assert len(scores) == 5
    np.testing.assert_array_less(np.abs(np.mean(scores, axis=0) - (psnr, ssim)), (0.005, 0.00005))


@pytest.mark.parametrize(("scale", "psnr", "ssim"), [(2, 33.65, 0.9296), (3, 30.39, 0.8680), (4, 28.42, 0.8102)])
def test_bicubic_in_colour_on_set5_with_rounded_luma(test_data, scale, psnr, ssim):
    """The protocol itself, scored as MATLAB's rgb2ycbcr of uint8 images does it: luma is rounded."""
    scores = []
    for path in sorted((test_data / "sr/set5").iterdir()):
        lumas = [np.floor(_luma(image) + 0.5) for image in _bicubic(_read(path), scale)]
        scores.append(_matlab_score(*lumas, scale))
    np.testing.assert_array_less(np.abs(np.mean(scores, axis=0) - (psnr, ssim)), (0.02, 0.0005))


@pytest.mark.parametrize(("scale", "psnr"), [(2, 33.682), (3, 30.405), (4, 28.431)])
def test_bicubic_in_colour_on_set5_with_float_luma(test_data, scale, psnr):
    """Luma that is not rounded, as in today's evaluation code; the numbers were measured with another imresize."""
    values = []
    for path in sorted((test_data / "sr/set5").iterdir()):
        image, target = (_luma(image)[scale:-scale, scale:-scale] for image in _bicubic(_read(path), scale))
        values.append(_decibels(image, target))
    np.testing.assert_allclose(np.mean(values), psnr, atol=0.001)


@pytest.mark.slow
def test_jgrs_metrics_give_the_same(test_data):
    metric, values = PSNR(color="y", crop=3), []
    for path in sorted((test_data / "sr/set5").iterdir()):
        values.append(_value(metric, *(image[None] / 255 for image in _bicubic(_read(path), 3))))
    np.testing.assert_allclose(np.mean(values), 30.405, atol=0.001)


# JPEG

CLASSIC5 = [(10, 27.82, 0.7595), (20, 30.12, 0.8344), (30, 31.48, 0.8666), (40, 32.43, 0.8849)]


@pytest.mark.parametrize(("quality", "psnr", "ssim"), CLASSIC5)
def test_jpeg_on_classic5_is_the_published_number(test_data, quality, psnr, ssim):
    paths = sorted((test_data / "jpeg/classic5").iterdir())
    assert len(paths) == 5
    records = [JPEGArtifacts(quality=quality)(_read(path)) for path in paths]
    images, targets = (np.stack([record[name] for record in records]) for name in ("image", "target"))
    assert images.dtype == targets.dtype == np.uint8
    assert np.mean([_decibels(*pair) for pair in zip(images, targets, strict=True)]) == pytest.approx(psnr, abs=0.01)
    if quality == 10:  # the others by the slow test
        assert _value(PSNR(color="gray"), images / 255, targets / 255) == pytest.approx(psnr, abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize(("quality", "psnr", "ssim"), CLASSIC5)
def test_jpeg_on_classic5_has_the_published_ssim(test_data, quality, psnr, ssim):
    records = [JPEGArtifacts(quality=quality)(_read(path)) for path in sorted((test_data / "jpeg/classic5").iterdir())]
    images, targets = (np.stack([record[name] for record in records]) / 255 for name in ("image", "target"))
    assert _value(PSNR(color="gray"), images, targets) == pytest.approx(psnr, abs=0.01)
    assert _value(SSIM(color="gray"), images, targets) == pytest.approx(ssim, abs=0.0005)


def test_colour_jpeg_has_its_subsampling_in_the_name():
    image = _photograph()
    protocol = JPEGArtifacts(quality=30, subsampling="4:2:0")
    record = protocol(image)
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=30)  # 4:2:0 is libjpeg's default
    np.testing.assert_array_equal(record["image"], np.asarray(Image.open(file)))
    np.testing.assert_array_equal(record["target"], image)
    assert record["quality"] == np.float32(0.3)
    assert (protocol.name, JPEGArtifacts(quality=30).name) == ("jpeg-q30-color420", "jpeg-q30")
    assert not np.array_equal(JPEGArtifacts(quality=30, subsampling="4:4:4")(image)["image"], record["image"])
    with pytest.raises(DataError, match="a colour image: set the protocol's subsampling"):
        JPEGArtifacts(quality=30)(image)
    with pytest.raises(DataError, match="an image of 4 channels"):
        JPEGArtifacts(quality=30)(np.zeros((8, 8, 4), np.uint8))


# Inpainting


def test_masks_are_seeded_for_each_image():
    image = np.maximum(_photograph(), 1)
    protocol = Inpainting(keep=0.2)
    record = protocol(image)
    known = np.random.RandomState(0).rand(60, 84) < 0.2
    np.testing.assert_array_equal(record["mask"], known[..., None].astype(np.float32))
    np.testing.assert_array_equal(record["image"], np.where(known[..., None], image, 0))
    np.testing.assert_array_equal(record["target"], image)
    assert record["image"].dtype == np.uint8
    assert record["mask"].dtype == np.float32
    assert abs(record["mask"].mean() - 0.2) < 4 * np.sqrt(0.2 * 0.8 / known.size)
    assert (protocol.name, Inpainting(keep=0.1, seed=2).name) == ("pixels-keep20-seed0", "pixels-keep10-seed2")


def test_a_mask_that_hides_everything_is_an_error():
    with pytest.raises(DataError, match=r"hides all pixels of an image of 2x2: raise keep = 0\.01"):
        Inpainting(keep=0.01)(np.zeros((2, 2, 1), np.uint8))
    with pytest.raises(ConfigError, match=r"keep = 0\.0 must be above 0, which hides every pixel"):
        Inpainting(keep=0.0)


# Deblurring


def test_blur_wraps_around_as_the_fourier_transform_does():
    image = _photograph()
    kernel = MotionKernel(size=9, length=7.0, angle=30.0)
    record = Deblurring(kernel=kernel)(image)
    centred = np.zeros(image.shape[:2])
    centred[:9, :9] = record["kernel"]
    spectrum = np.fft.fft2(np.roll(centred, (-4, -4), (0, 1)))[..., None]
    expected = np.fft.ifft2(spectrum * np.fft.fft2(image / 255, axes=(0, 1)), axes=(0, 1)).real
    np.testing.assert_allclose(record["image"], expected, atol=1e-6)
    np.testing.assert_allclose(record["kernel"], kernel(jax.random.key(5)), atol=1e-7)
    assert record["sigma"] == 0


def test_noise_is_added_after_the_blur():
    image, kernel = _photograph(), GaussianKernel(size=5, sigma=1.6)
    plain, noisy = Deblurring(kernel=kernel), Deblurring(kernel=kernel, sigma=2.55 / 255, seed=4)
    noise = np.random.RandomState(4).normal(0, 0.01, image.shape)
    np.testing.assert_allclose(noisy(image)["image"], plain(image)["image"] + noise, atol=1e-6)
    assert noisy(image)["sigma"] == np.float32(2.55 / 255)
    assert noisy.name == f"blur-{kernel.name}-wrap-awgn-s2.55-seed4"


@pytest.mark.parametrize(
    ("boundary", "mode"),
    [("reflect", "reflect"), ("symmetric", "symmetric"), ("replicate", "edge"), ("zero", "constant")],
)
def test_boundaries_are_numpys(boundary, mode):
    image, kernel = _photograph(20, 24), GaussianKernel(size=5, sigma=2.0)
    wide = np.pad(image, ((8, 8), (8, 8), (0, 0)), mode=mode)
    expected = Deblurring(kernel=kernel)(wide)["image"][8:-8, 8:-8]
    np.testing.assert_allclose(Deblurring(kernel=kernel, boundary=boundary)(image)["image"], expected, atol=1e-6)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Flat(Kernel):
    total: float
    name = "flat"

    def __call__(self, key):
        return jnp.full((3, 3), self.total / 9)


def test_kernels_that_do_not_fit_are_refused():
    for total in (2.0, float("nan")):
        with pytest.raises(DataError, match=f"kernel flat sums to {total:g}, not to 1"):
            Deblurring(kernel=_Flat(total=total))(_photograph())
    with pytest.raises(DataError, match="an image of 10x84 is too small: the protocol needs 15 pixels a side"):
        Deblurring(kernel=GaussianKernel(size=15, sigma=2.0))(_photograph(10))


# Any degradation


def test_a_seeded_degradation_depends_on_the_image_alone():
    image, other = _photograph(), _photograph()[::-1]
    protocol = Seeded(degradation=GaussianNoise(sigma=0.1))
    first, second = protocol(image), protocol(other)
    again = Seeded(degradation=GaussianNoise(sigma=0.1))(np.asfortranarray(image))
    np.testing.assert_array_equal(first["image"], again["image"])
    noise, other_noise = (record["image"] - record["target"] for record in (first, second))
    assert not np.allclose(noise, other_noise)
    assert abs(np.corrcoef(noise.ravel(), other_noise.ravel())[0, 1]) < 4 / np.sqrt(noise.size)
    assert noise.std() == pytest.approx(0.1, rel=0.03)
    assert not np.array_equal(first["image"], Seeded(degradation=GaussianNoise(sigma=0.1), seed=1)(image)["image"])
    np.testing.assert_array_equal(first["target"], np.float32(image / 255))
    assert first["sigma"] == np.float32(0.1)
    assert all(isinstance(value, np.ndarray | np.generic) for value in first.values())
    assert protocol.name == f"{protocol.degradation.name}-seed0"


def test_low_light_as_a_protocol():
    image = _photograph(16, 16)
    dark = Seeded(degradation=LowLight(exposure=0.5, gamma=2.0))
    np.testing.assert_allclose(dark(image)["image"], 0.5 * (image / 255) ** 2, atol=1e-6)
    both = Seeded(degradation=Pipeline(steps=(dark.degradation, GaussianNoise(sigma=0.02))))
    assert (both(image)["image"] - dark(image)["image"]).std() == pytest.approx(0.02, rel=0.15)


def test_the_device_protocol_agrees_with_libjpeg():
    image = _photograph(channels=1)
    ours, theirs = Seeded(degradation=JPEG(quality=10.0))(image), JPEGArtifacts(quality=10)(image)
    assert (np.abs(255 * ours["image"] - theirs["image"]) < 0.01).mean() > 0.999
    np.testing.assert_allclose(ours["quality"], theirs["quality"], rtol=1e-6)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Logarithm(Degradation):
    name = "log"

    def apply(self, record, key):
        return {**record, "image": jnp.log(record["image"])}


def test_what_a_seeded_degradation_cannot_do_is_the_datas_fault():
    with pytest.raises(DataError, match="scale = 4 must divide both sides of the images, which are 10x12"):
        Seeded(degradation=Downsample(scale=4))(_photograph(10, 12))
    with pytest.raises(DataError, match="log gives values that are not finite"):
        Seeded(degradation=_Logarithm())(np.zeros((8, 8, 1), np.uint8))


@pytest.mark.parametrize(
    "protocol",
    [
        GaussianDenoising(sigma=0.1),
        SuperResolution(scale=4),
        JPEGArtifacts(quality=10),
        Inpainting(keep=0.5),
        Seeded(degradation=GaussianNoise(sigma=0.1)),
    ],
)
def test_images_that_are_too_small_are_refused(protocol):
    with pytest.raises(DataError, match=r"is too small: the protocol needs \d pixels a side"):
        protocol(np.zeros((0 if protocol.name != "bicubic-x4" else 3, 9, 1), np.uint8))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GaussianDenoising(sigma=25.0), r"sigma = 25 must be .* write 25/255"),
        (lambda: GaussianDenoising(sigma=-0.1), r"sigma = -0\.1 must be at least 0"),
        (lambda: GaussianDenoising(sigma=0.1, seed=-1), r"seed = -1 must be from 0"),
        (lambda: SuperResolution(scale=1), "scale = 1 must be at least 2"),
        (lambda: JPEGArtifacts(quality=0), "quality = 0 must be from 1 to 100"),
        (lambda: Deblurring(kernel=_Flat(total=1.0), sigma=2.55), r"sigma = 2\.55 must be"),
        (lambda: Seeded(degradation=GaussianNoise(sigma=0.1), seed=2**32), "seed = 4294967296 must be from 0"),
    ],
)
def test_impossible_values_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
