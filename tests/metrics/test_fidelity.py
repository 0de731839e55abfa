import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.data
from skimage.metrics import peak_signal_noise_ratio

from jgr.metrics.fidelity import decibels, mae, mse, pooled_psnr, psnr


def noisy_camera():
    clean = skimage.data.camera()
    noisy = np.clip(clean + 20 * np.random.RandomState(5).randn(512, 512), 0, 255).astype(np.uint8)
    return clean[None, :, :, None], noisy[None, :, :, None]


def four_pairs():
    """Pairs of ever more noise."""
    images = np.random.RandomState(0).rand(4, 32, 24, 3)
    noise = np.random.RandomState(1).randn(*images.shape) * np.array([0.01, 0.05, 0.1, 0.2]).reshape(4, 1, 1, 1)
    return images, np.clip(images + noise, 0, 1)


def test_camera_with_noise():
    # IPOL's PSNR of scikit-image's picture
    clean, noisy = noisy_camera()
    levels = psnr(noisy.astype(np.float32), clean.astype(np.float32), data_range=255.0)
    unit = psnr(noisy / 255.0, clean / 255.0, data_range=1.0)
    np.testing.assert_allclose(levels, [22.409353363576034], atol=1e-5)
    np.testing.assert_allclose(unit, levels, atol=1e-5)


def test_a_colour_pair_of_levels():
    # references/metrics.md, 1.6
    clean = np.random.RandomState(3).randint(0, 256, (1, 64, 64, 3))
    noisy = np.clip(clean + np.random.RandomState(4).randint(-30, 31, clean.shape), 0, 255)
    np.testing.assert_allclose(psnr(noisy / 255.0, clean / 255.0), [23.52982445856305], atol=1e-5)


def test_the_pair_of_torchmetrics():
    # torchmetrics, PeakSignalNoiseRatio's docstring
    images, targets = (np.array(x, np.float32).reshape(1, 2, 2, 1) for x in ([[0, 1], [2, 3]], [[3, 2], [1, 0]]))
    assert float(psnr(images, targets, data_range=3.0)[0]) == pytest.approx(2.5527, abs=5e-5)
    assert float(pooled_psnr(images, targets, data_range=3.0)) == pytest.approx(2.5527, abs=5e-5)


def test_equals_scikit_image_and_numpy():
    images, targets = four_pairs()
    expected = [peak_signal_noise_ratio(t, i, data_range=1) for i, t in zip(images, targets, strict=True)]
    np.testing.assert_allclose(psnr(images, targets), expected, atol=1e-5)
    np.testing.assert_allclose(mse(images, targets), ((images - targets) ** 2).mean((1, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(mae(images, targets), np.abs(images - targets).mean((1, 2, 3)), rtol=1e-6)


def test_pooled_is_of_the_mean_error_and_below_the_mean():
    images, targets = four_pairs()
    expected = peak_signal_noise_ratio(targets, images, data_range=1)  # of all as one image
    assert float(pooled_psnr(images, targets)) == pytest.approx(expected, abs=1e-5)
    errors = jnp.concatenate([mse(images[:1], targets[:1]), mse(images[1:], targets[1:])])
    assert float(decibels(errors.mean(), data_range=1.0)) == pytest.approx(expected, abs=1e-5)
    assert float(pooled_psnr(images, targets)) < float(psnr(images, targets).mean()) - 3


def test_twice_the_range_is_six_decibels():
    images, targets = four_pairs()
    difference = psnr(images, targets, data_range=2.0) - psnr(images, targets)
    np.testing.assert_allclose(difference, 20 * np.log10(2), atol=1e-5)


def test_large_images_keep_their_digits():
    images = np.random.RandomState(0).rand(1, 1024, 1024, 3).astype(np.float32)
    targets = images + np.float32(0.1)
    expected = ((images.astype(np.float64) - targets) ** 2).mean()
    np.testing.assert_allclose(mse(images, targets), [expected], rtol=1e-6)


def test_identical_images_and_nan():
    images, targets = four_pairs()
    targets[0], images[2, 5, 5, 1] = images[0], np.nan
    values = np.asarray(psnr(images, targets))
    assert values[0] == np.inf
    assert np.isnan(values[2])
    assert np.isfinite(values[[1, 3]]).all()
    assert float(pooled_psnr(images[:1], targets[:1])) == np.inf
    assert np.isnan(pooled_psnr(images, targets))


def test_jit_gradient_and_a_traced_range():
    images, targets = (jnp.asarray(x, jnp.float32) for x in four_pairs())
    jitted = jax.jit(lambda x, y, data_range: psnr(x, y, data_range=data_range))(images, targets, 2.0)
    np.testing.assert_allclose(jitted, psnr(images, targets, data_range=2.0), rtol=1e-6)
    gradient = jax.grad(lambda x: mse(x, targets).sum())(images)
    np.testing.assert_allclose(gradient, 2 * (images - targets) / images[0].size, rtol=1e-5, atol=1e-9)


def test_a_lower_precision_is_computed_in_float32():
    images = np.full((1, 64, 64, 1), 0.5, np.float16)
    targets = np.full((1, 64, 64, 1), 0.501, np.float16)
    np.testing.assert_allclose(mse(images, targets), [np.square(np.float64(targets[0, 0, 0, 0]) - 0.5)], rtol=1e-6)


@pytest.mark.parametrize("measure", [mse, mae, psnr, pooled_psnr])
@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_integers_are_refused(measure, dtype):
    integers, floats = np.zeros((1, 4, 4, 1), dtype), np.zeros((1, 4, 4, 1), np.float32)
    with pytest.raises(TypeError, match=f"images are {np.dtype(dtype)}.*to_float"):
        measure(integers, floats)
    with pytest.raises(TypeError, match=f"targets are {np.dtype(dtype)}"):
        measure(floats, integers)


def test_other_shapes_are_named():
    # broadcasting would give a number
    with pytest.raises(ValueError, match=r"\(2, 4, 4, 3\).*\(2, 4, 4, 1\)"):
        psnr(np.zeros((2, 4, 4, 3)), np.zeros((2, 4, 4, 1)))
    with pytest.raises(ValueError, match=r"\(2, 4, 4, 3\).*\(4, 4, 3\)"):
        mse(np.zeros((2, 4, 4, 3)), np.zeros((4, 4, 3)))


@pytest.mark.parametrize("data_range", [0, -1.0, float("nan")])
def test_a_range_must_be_positive(data_range):
    with pytest.raises(ValueError, match="data_range"):
        psnr(np.zeros((1, 4, 4, 1)), np.ones((1, 4, 4, 1)), data_range=data_range)
