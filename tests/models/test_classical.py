"""Classical methods: what they gain on a photograph, beside published values, and what they refuse."""

import numpy as np
import pytest
import scipy.ndimage
import skimage.data
from PIL import Image

from jgr.errors import ConfigError, DataError
from jgr.models.classical import (
    BM3D,
    Bicubic,
    Biharmonic,
    Degraded,
    NonLocalMeans,
    RichardsonLucy,
    ShotAverage,
    TotalVariation,
    Wavelet,
    Wiener,
)

SIGMA = 25 / 255


def photograph(channels=1, height=64, width=64):
    if channels == 3:
        return skimage.data.astronaut()[40 : 40 + height, 180 : 180 + width] / 255
    return skimage.data.camera()[60 : 60 + height, 200 : 200 + width, None] / 255


def psnr(image, clean):
    return 10 * np.log10(1 / np.mean((np.clip(image, 0, 1) - clean) ** 2, dtype=np.float64))


def noise(shape, sigma):
    return np.random.RandomState(0).normal(0, sigma, shape)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("method", [NonLocalMeans(), TotalVariation(), Wavelet(), BM3D()], ids=lambda m: m.name)
def test_denoisers_gain(method, channels):
    """On Set12 TV gains 7.3 dB, NLM 8.1 and BM3D 9.6; of a small crop less is asked."""
    clean = photograph(channels, 24, 44)  # of this size BM3D is compiled in its own tests, too
    record = {"image": (clean + noise(clean.shape, SIGMA)).astype(np.float32), "sigma": np.float32(SIGMA)}
    restored = method(record)
    assert restored.dtype == np.float32
    assert restored.shape == clean.shape
    assert psnr(restored, clean) > psnr(record["image"], clean) + 4
    np.testing.assert_array_equal(restored, method(record))


@pytest.mark.parametrize("channels", [1, 3])
def test_an_average_of_shots_takes_their_motion_back(channels):
    clean = photograph(channels)
    moved = [np.roll(clean, way, axis=(0, 1)) for way in ((2, -1), (0, 0), (-2, 2))]
    rng = np.random.default_rng(0)
    noisy = [each + rng.normal(0, SIGMA, clean.shape) for each in (clean, *moved)]
    record = {"image": noisy[0].astype(np.float32), "shots": np.concatenate(noisy[1:], axis=-1).astype(np.float32)}
    aligned, plain = ShotAverage()(record), ShotAverage(aligned=False)(record)
    # The noise of four shots has a quarter of the variance: 6 dB less.
    assert abs(psnr(aligned, clean) - psnr(noisy[0], clean) - 6.02) < 0.5
    assert psnr(plain, clean) < psnr(aligned, clean) - 1
    np.testing.assert_allclose(plain, np.mean(noisy, axis=0), atol=1e-5)
    alone = {"image": record["image"], "shots": record["shots"][..., :0]}
    np.testing.assert_array_equal(ShotAverage()(alone), record["image"])


@pytest.mark.parametrize("method", [NonLocalMeans(), TotalVariation(), Wavelet()], ids=lambda m: m.name)
def test_without_noise_the_image_comes_back(method):
    image = photograph().astype(np.float32)
    np.testing.assert_allclose(method({"image": image, "sigma": np.float32(0)}), image, atol=1e-6)


@pytest.mark.parametrize("method", [Wiener(), RichardsonLucy()], ids=lambda m: m.name)
@pytest.mark.parametrize("channels", [1, 3])
def test_deconvolution_gains_at_the_border_too(method, channels):
    clean = photograph(channels)
    axis = np.arange(9) - 4
    kernel = np.exp(-(axis[:, None] ** 2 + axis[None] ** 2) / (2 * 1.6**2))
    kernel = (kernel / kernel.sum()).astype(np.float32)
    image = scipy.ndimage.convolve(clean, kernel[..., None], mode="mirror") + noise(clean.shape, 2 / 255)
    record = {"image": image.astype(np.float32), "kernel": kernel, "sigma": np.float32(2 / 255)}
    restored = method(record)
    assert psnr(restored, clean) > psnr(image, clean) + 1
    border = np.ones(clean.shape, bool)
    border[5:-5, 5:-5] = False
    assert psnr(restored[border], clean[border]) > psnr(image[border], clean[border])


def test_a_single_point_as_kernel_changes_nothing():
    image = photograph().astype(np.float32)
    kernel = np.zeros((5, 5), np.float32)
    kernel[2, 2] = 1
    record = {"image": image, "kernel": kernel, "sigma": np.float32(0)}
    # Wiener's gain is 1 / (1 + (0.0011 / 0.1)² |L|²), with at most 1 in the Laplacian |L|: at least 1 - 1.3e-4.
    np.testing.assert_allclose(Wiener()(record), image, atol=1e-3)
    np.testing.assert_allclose(RichardsonLucy()(record), image, atol=1e-6)


def test_biharmonic_fills_holes_and_keeps_the_rest():
    clean = photograph(3)
    mask = (np.random.RandomState(0).rand(64, 64, 1) > 0.5).astype(np.float32)
    record = {"image": (clean * mask).astype(np.float32), "mask": mask}
    restored = Biharmonic()(record)
    np.testing.assert_array_equal(restored[mask[..., 0] == 1], record["image"][mask[..., 0] == 1])
    assert psnr(restored, clean) > 25


def test_biharmonic_continues_a_plane():
    """A linear ramp solves the biharmonic equation."""
    ramp = np.broadcast_to(np.linspace(0.2, 0.8, 24, dtype=np.float32)[None, :, None], (24, 24, 1))
    mask = np.ones((24, 24, 1), np.float32)
    mask[8:14, 9:15] = 0
    np.testing.assert_allclose(Biharmonic()({"image": ramp * mask, "mask": mask}), ramp, atol=1e-5)


def test_bicubic_enlarges_and_degraded_is_the_input():
    image = np.random.RandomState(0).randint(0, 256, (8, 6, 3)).astype(np.uint8)
    assert Bicubic(scale=3)({"image": image}).shape == (24, 18, 3)
    np.testing.assert_allclose(Bicubic(scale=1)({"image": image}), image / 255, atol=1e-6)
    np.testing.assert_array_equal(Degraded()({"image": image}), (image / np.float32(255)).astype(np.float32))


def test_names_hold_the_parameters():
    assert NonLocalMeans().name == "nlm-p5-d6-h0.8"
    assert NonLocalMeans(patch_size=7, strength=0.6, fast=False).name == "nlm-p7-d6-h0.6-weighted"
    assert TotalVariation(weight_factor=0.5).name == "tv-w0.5"
    assert Bicubic(scale=4).name == "bicubic-x4"


def test_what_a_record_lacks_is_named():
    image = photograph().astype(np.float32)
    kernel = np.full((3, 3), 1 / 9, np.float32)
    cases = [(NonLocalMeans(), "sigma"), (TotalVariation(), "sigma"), (Wavelet(), "sigma"), (BM3D(), "sigma")]
    cases += [(Wiener(), "kernel"), (RichardsonLucy(), "kernel"), (Biharmonic(), "mask")]
    for method, missing in cases:
        with pytest.raises(DataError, match=f"{method.name}: the record has no {missing}, only image"):
            method({"image": image})
    with pytest.raises(DataError, match="write 25/255"):
        NonLocalMeans()({"image": image, "sigma": np.float32(25)})
    with pytest.raises(DataError, match="kernel sums to"):
        Wiener()({"image": image, "sigma": np.float32(0), "kernel": kernel * 2})
    with pytest.raises(DataError, match="not finite"):
        Degraded()({"image": np.full((4, 4, 1), np.nan, np.float32)})
    with pytest.raises(ConfigError, match=r"strength = 0\.0 must be positive"):
        NonLocalMeans(strength=0.0)
    with pytest.raises(ConfigError, match="scale = 0 must be at least 1"):
        Bicubic(scale=0)


@pytest.mark.slow
@pytest.mark.parametrize(("sigma", "set12"), [(15, 31.19), (25, 28.50), (50, 24.79)])
def test_non_local_means_on_bsd68(test_data, sigma, set12):
    """Set12 is measured elsewhere; by BM3D's published values BSD68 is 1.1 to 1.4 dB below it."""
    values = []
    for file in sorted((test_data / "denoising/bsd68").iterdir()):
        clean = np.asarray(Image.open(file))[..., None]
        noisy = (clean.astype(np.float32) / 255 + noise(clean.shape, sigma / 255)).astype(np.float32)
        restored = NonLocalMeans()({"image": noisy, "sigma": np.float32(sigma / 255)})
        levels = np.round(np.clip(restored, 0, 1) * 255)
        values.append(10 * np.log10(255**2 / np.mean((levels.astype(np.float64) - clean) ** 2)))
    print(f"non-local means on BSD68, sigma {sigma}: {np.mean(values):.3f} dB")
    assert len(values) == 68
    assert set12 - 2 < np.mean(values) < set12
