"""BM3D beside a plain NumPy version, and beside published numbers."""

import time

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.fft
import skimage.data
from PIL import Image

from jgr.errors import DataError
from jgr.models.bm3d import bior15_matrix, bm3d, dct_matrix, stages, threshold_groups, wiener_groups


def noisy_crop(height, width, sigma, channels=1):
    clean = skimage.data.camera()[100 : 100 + height, 200 : 200 + width, None] / 255
    clean = np.repeat(clean, channels, axis=2)
    return clean.astype(np.float32), (clean + np.random.RandomState(0).normal(0, sigma, clean.shape)).astype(np.float32)


def psnr(image, clean):
    return 10 * np.log10(1 / np.mean((np.clip(np.asarray(image), 0, 1) - clean) ** 2, dtype=np.float64))


def protocol_psnr(restored, clean):
    levels = np.round(np.clip(np.asarray(restored), 0, 1) * 255)
    return 10 * np.log10(255**2 / np.mean((levels.astype(np.float64) - clean) ** 2))


def bsd68(test_data, sigma, every=1):
    """The gray protocol: noise re-seeded for each image, not clipped."""
    for file in sorted((test_data / "denoising/bsd68").iterdir())[::every]:
        clean = np.asarray(Image.open(file))[..., None]
        noise = np.random.RandomState(0).normal(0, sigma, clean.shape)
        yield clean, (clean.astype(np.float32) / 255 + noise).astype(np.float32)


# the plain version


def wavelet(signal):
    """Periodic bior1.5 of a vector, with the coefficients that wavelet libraries print."""
    half = np.array([0.0165728152, -0.0165728152, -0.1215339780, 0.1215339780, 0.7071067812])
    taps = np.concatenate([half, half[::-1]])
    if len(signal) == 1:
        return signal
    num = len(signal)
    low = [sum(taps[k] * signal[(i + k - 4) % num] for k in range(10)) for i in range(0, num, 2)]
    high = [(signal[i] - signal[i + 1]) / np.sqrt(2) for i in range(0, num, 2)]
    return np.concatenate([wavelet(np.array(low)), high])


def haar_matrix(size):
    if size == 1:
        return np.eye(1)
    return np.concatenate([np.kron(haar_matrix(size // 2), [1, 1]), np.kron(np.eye(size // 2), [1, -1])]) / np.sqrt(2)


def plain_stage(noisy, guide, sigma, stage, first):
    size, step, radius = stage.patch_size, stage.step, stage.search_radius
    matrix = np.stack([wavelet(row) for row in np.eye(8)], axis=1) if first else scipy.fft.dct(np.eye(size), axis=0)
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    inverse = np.linalg.inv(matrix)
    height, width, channels = noisy.shape
    more = [(0, max(0, size - side) or -(side - size) % step) for side in (height, width)]
    noisy, guide = (np.pad(x.astype(np.float64), (*more, (0, 0)), mode="symmetric") for x in (noisy, guide))
    ends = [side - size + 1 for side in noisy.shape[:2]]
    patches = {(i, j): guide[i : i + size, j : j + size] for i in range(ends[0]) for j in range(ends[1])}
    top, bottom = np.zeros_like(noisy), np.zeros_like(noisy)
    window = np.outer(np.kaiser(size, 2), np.kaiser(size, 2))
    for i in range(0, ends[0], step):
        for j in range(0, ends[1], step):
            near = [p for p in patches if abs(p[0] - i) <= radius and abs(p[1] - j) <= radius]
            distance = {p: np.mean((patches[p] - patches[i, j])[..., 0] ** 2) * 255**2 for p in near}
            alike = [p for p in sorted(near, key=distance.get) if distance[p] <= stage.max_distance]
            group = alike[: 2 ** int(np.log2(min(len(alike), stage.group_size)))]
            haar = haar_matrix(len(group))
            for c in range(channels):

                def forward(image, group=group, haar=haar, c=c):
                    stack = [matrix @ image[y : y + size, x : x + size, c] @ matrix.T for y, x in group]
                    return np.tensordot(haar, np.stack(stack), 1)

                spectrum = forward(noisy)
                if first:
                    gain = (np.abs(spectrum) > 2.7 * sigma).astype(np.float64)
                else:
                    gain = forward(guide) ** 2 / (forward(guide) ** 2 + sigma**2)
                gain[0, 0, 0] = 1
                weight = 1 / np.sum(gain**2)
                for (y, x), coefficients in zip(group, np.tensordot(haar.T, spectrum * gain, 1), strict=True):
                    restored = inverse @ coefficients @ inverse.T
                    top[y : y + size, x : x + size, c] += weight * window * restored
                    bottom[y : y + size, x : x + size, c] += weight * window
    return (top / bottom)[:height, :width]


@pytest.mark.parametrize(("height", "width", "sigma"), [(24, 44, 25 / 255), (24, 44, 50 / 255), (7, 30, 25 / 255)])
def test_both_stages_equal_the_plain_version(height, width, sigma):
    """The last is mirrored to one row of patches, too few to fill every group."""
    _, noisy = noisy_crop(height, width, sigma)
    first, second = stages(sigma)
    basic = np.asarray(threshold_groups(jnp.asarray(noisy), sigma, first))
    assert_close(basic, plain_stage(noisy, noisy, sigma, first, True))
    final = wiener_groups(jnp.asarray(noisy), jnp.asarray(basic), sigma, second)
    assert_close(final, plain_stage(noisy, basic, sigma, second, False))


def assert_close(ours, plain):
    """In float32 two patches that are equally far to five digits may change places in a group: few pixels differ."""
    error = np.abs(np.asarray(ours) - plain)
    assert np.mean(error < 1e-5) > 0.75
    assert error.max() < 2e-3


def test_bands_fit_together(monkeypatch):
    """An image of one band and of five: the same."""
    _, noisy = noisy_crop(67, 40, 25 / 255)
    first = stages(25 / 255)[0]
    at_once = threshold_groups(jnp.asarray(noisy), 25 / 255, first)
    monkeypatch.setattr("jgr.models.bm3d._BLOCKS_AT_ONCE", 1)
    threshold_groups.clear_cache()
    np.testing.assert_allclose(threshold_groups(jnp.asarray(noisy), 25 / 255, first), at_once, atol=2e-5)
    threshold_groups.clear_cache()


def test_transforms_keep_white_noise_and_the_mean():
    for matrix in (bior15_matrix(8), dct_matrix(8)):
        np.testing.assert_allclose(np.linalg.norm(matrix, axis=1), 1)
        np.testing.assert_allclose(matrix.sum(axis=1), [8**0.5] + [0] * 7, atol=1e-12)
    np.testing.assert_allclose(dct_matrix(10), scipy.fft.dct(np.eye(10), axis=0, norm="ortho"), atol=1e-12)


def test_without_noise_the_image_comes_back():
    clean, _ = noisy_crop(24, 44, 0)
    np.testing.assert_allclose(bm3d(jnp.asarray(clean), 0.0), clean, atol=1e-5)


@pytest.mark.parametrize("value", [0.0, 0.004, 0.5])
def test_a_constant_image_comes_back(value):
    image = jnp.full((24, 44, 1), value)
    np.testing.assert_allclose(bm3d(image, 25 / 255), image, atol=1e-5)


def test_luminance_is_restored_as_a_gray_image():
    """Luminance, of norm 1, is sqrt(3) times the mean of the channels, and groups are its own."""
    sigma = 25 / 255
    clean, noisy = noisy_crop(24, 44, sigma, channels=3)
    color = np.asarray(bm3d(jnp.asarray(noisy), sigma))
    luminance = jnp.asarray(noisy.mean(axis=-1, keepdims=True) * 3**0.5)
    gray = np.asarray(bm3d(luminance, sigma)) / 3**0.5
    np.testing.assert_allclose(color.mean(axis=-1, keepdims=True), gray, atol=2e-3)
    assert np.mean(np.abs(color.mean(axis=-1, keepdims=True) - gray) < 1e-5) > 0.75  # see `assert_close`
    # The two opponent colours are nothing but noise here: filtering them must remove most of its power.
    assert (color - color.mean(axis=-1, keepdims=True)).var() < 0.1 * (noisy - noisy.mean(-1, keepdims=True)).var()
    assert psnr(color, clean) > psnr(bm3d(jnp.asarray(noisy[..., :1]), sigma), clean[..., :1])


def test_a_crop_of_a_photograph(test_data):
    sigma = 25 / 255
    clean, noisy = next(bsd68(test_data, sigma))
    clean, noisy = clean[:128, :128], noisy[:128, :128]
    gain = protocol_psnr(bm3d(jnp.asarray(noisy), sigma), clean) - protocol_psnr(noisy, clean)
    assert gain > 5  # 28.57 - 20.17 over all of BSD68


@pytest.mark.slow
@pytest.mark.parametrize(("sigma", "published"), [(15, 31.08), (25, 28.57), (50, 25.60)])
def test_bsd68(test_data, sigma, published):
    """Published: Zhang et al. 2017 (DnCNN), table II."""
    values, times = [], []
    for clean, noisy in bsd68(test_data, sigma / 255):
        start = time.perf_counter()
        restored = np.asarray(bm3d(jnp.asarray(noisy), sigma / 255))
        times.append(time.perf_counter() - start)
        values.append(protocol_psnr(restored, clean))
    print(f"BM3D on BSD68, sigma {sigma}: {np.mean(values):.3f} dB, {np.median(times):.2f} s an image")
    assert len(values) == 68
    assert abs(np.mean(values) - published) < 0.1
    assert np.median(times) < 10


def test_mistakes():
    with pytest.raises(DataError, match="write 25/255"):
        bm3d(jnp.zeros((16, 16, 1)), 25.0)
    with pytest.raises(DataError, match="2 channels must have 1"):
        bm3d(jnp.zeros((16, 16, 2)), 0.1)
