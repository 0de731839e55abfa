import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.data
from skimage.metrics import structural_similarity

from jgr.metrics.similarity import ms_ssim, ssim

# Left out of references/metrics.md 1.6 and 1.7: torchmetrics' 7x7 pair (two sigmas and a padded map), compare_gan's
# MS-SSIM of 64x64 images (five levels do not fit), and pairs that are not in scikit-image.


def by_scikit_image(image, target, data_range=1.0):
    return structural_similarity(
        image,
        target,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=data_range,
        channel_axis=-1,
    )


def noisy_camera():
    clean = skimage.data.camera()
    noisy = np.clip(clean + 20 * np.random.RandomState(5).randn(512, 512), 0, 255).astype(np.uint8)
    return clean[None, :, :, None] / 255.0, noisy[None, :, :, None] / 255.0


def levels_pair(seed, shape, amplitude):
    clean = np.random.RandomState(seed).randint(0, 256, shape)
    noisy = np.clip(clean + np.random.RandomState(seed + 1).randint(-amplitude, amplitude + 1, shape), 0, 255)
    return clean / 255.0, noisy / 255.0


def blurred(image):
    return (image + np.roll(image, 1, 0) + np.roll(image, 1, 1)) / 3


def test_camera_with_noise():
    value = float(ssim(*noisy_camera())[0])
    assert value == pytest.approx(0.357959091663361, abs=5e-4)  # IPOL's program, another border
    assert value == pytest.approx(0.357964, abs=1e-6)
    # references/metrics.md: float images measured with the range of scikit-image's old default
    assert float(ssim(*noisy_camera(), data_range=2.0)[0]) == pytest.approx(0.530210, abs=1e-6)
    levels = [255 * x for x in noisy_camera()]
    assert float(ssim(*levels, data_range=255.0)[0]) == pytest.approx(value, abs=1e-6)


def test_a_colour_pair_of_levels():
    # references/metrics.md, 1.6: the valid region, mean over channels
    assert float(ssim(*levels_pair(3, (1, 64, 64, 3), 30))[0]) == pytest.approx(0.9731932678365919, abs=1e-6)


@pytest.mark.parametrize("name", ["camera", "astronaut", "coffee", "chelsea", "page"])
@pytest.mark.parametrize(
    "degrade",
    [
        lambda x: np.clip(x + 20 / 255 * np.random.RandomState(0).randn(*x.shape), 0, 1),
        lambda x: np.clip(x + 2 / 255 * np.random.RandomState(0).randn(*x.shape), 0, 1),
        blurred,
        lambda x: 0.9 * x + 0.1,
    ],
    ids=["noise20", "noise2", "blurred", "paler"],
)
def test_equals_scikit_image(name, degrade):
    image = getattr(skimage.data, name)()[:301, :268] / 255.0  # a width that is no multiple of a tile
    image = image.reshape(*image.shape[:2], -1)
    degraded = degrade(image)
    assert float(ssim(image[None], degraded[None])[0]) == pytest.approx(by_scikit_image(image, degraded), abs=1e-6)


@pytest.mark.parametrize("shape", [(11, 11, 1), (11, 80, 3), (43, 12, 4), (100, 120, 3)])
def test_equals_scikit_image_on_unrelated_noise_of_any_size(shape):
    images, targets = np.random.RandomState(0).rand(2, 3, *shape)
    expected = [by_scikit_image(i, t) for i, t in zip(images, targets, strict=True)]
    np.testing.assert_allclose(ssim(images, targets), expected, atol=1e-6)


def test_a_flat_image_beside_a_step():
    # the hardest for float32: variances of 0 far from the image's mean
    step = np.zeros((1, 128, 128, 1))
    step[:, :, 64:] = 1
    flat = np.full_like(step, 0.5)
    assert float(ssim(step, flat)[0]) == pytest.approx(by_scikit_image(step[0], flat[0]), abs=3e-6)


def test_lower_bound():
    # dm_pix, metrics_test.py, test_ssim_lowerbound
    ramp = np.meshgrid(np.linspace(-1, 1, 11), np.linspace(-1, 1, 11))[0][None, ..., None]
    np.testing.assert_allclose(ssim(ramp, -ramp, k1=1e-5, k2=1e-5), [-1.0], atol=1e-6)


def test_identical_images_are_one():
    images = np.random.RandomState(0).rand(2, 176, 176, 3)
    np.testing.assert_array_equal(ssim(images, images), [1.0, 1.0])
    np.testing.assert_array_equal(ms_ssim(images, images), [1.0, 1.0])


@pytest.mark.parametrize(("measure", "shape"), [(ssim, (1, 64, 64, 3)), (ms_ssim, (1, 161, 161, 1))])
def test_gradient_at_identical_and_at_flat_images(measure, shape):
    # dm_pix, test_ssim_finite_grad
    for image in (np.zeros(shape), np.random.RandomState(0).rand(*shape)):
        image = jnp.asarray(image, jnp.float32)
        gradient = jax.grad(lambda x, y: measure(x, y).sum())(image, image)
        np.testing.assert_allclose(gradient, np.zeros_like(image), atol=1e-10)


def test_gradient_equals_finite_differences():
    image, target = (jnp.asarray(x, jnp.float32) for x in levels_pair(3, (1, 20, 45, 2), 60))
    direction = jnp.asarray(np.random.RandomState(0).randn(*image.shape), jnp.float32)

    def along(t):
        return ssim(image + t * direction, target)[0]

    numeric = (float(along(1e-2)) - float(along(-1e-2))) / 2e-2
    assert float(jax.grad(along)(0.0)) == pytest.approx(numeric, rel=5e-3)


def test_a_pair_does_not_depend_on_its_batch_and_jits():
    images, targets = (np.asarray(x) for x in levels_pair(7, (3, 40, 50, 3), 40))
    images[1, 3, 3, 0] = np.nan
    together = np.asarray(jax.jit(ssim)(images, targets))
    assert np.isnan(together[1])
    for i in (0, 2):
        np.testing.assert_allclose(ssim(images[i : i + 1], targets[i : i + 1]), together[i : i + 1], rtol=1e-6)
    traced = jax.jit(lambda x, y, data_range: ssim(x, y, data_range=data_range))(images, targets, 2.0)
    np.testing.assert_allclose(traced, ssim(images, targets, data_range=2.0), rtol=1e-6)


def test_the_path_of_accelerators_gives_the_same(monkeypatch):
    images, targets = levels_pair(3, (3, 40, 50, 3), 30)
    looped = np.asarray(ssim(images, targets))
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    jax.clear_caches()
    np.testing.assert_allclose(ssim(images, targets), looped, rtol=1e-6)
    jax.clear_caches()


def test_ms_ssim_of_even_sizes():
    # references/metrics.md, 1.7
    assert float(ms_ssim(*levels_pair(5, (1, 192, 176, 1), 40))[0]) == pytest.approx(0.9620930461343243, abs=1e-6)
    assert float(ms_ssim(*noisy_camera())[0]) == pytest.approx(0.79339, abs=1e-5)


def ms_ssim_in_float64(image, target):
    """One plane, from the paper's equations and scikit-image's filter."""
    product = 1.0
    for level, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        # l = 1 where c1 is far above the means: SSIM of a huge k1 is the contrast term
        value = structural_similarity(
            image,
            target,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=1.0,
            K1=0.01 if level == 4 else 1e6,
        )
        product *= max(value, 0.0) ** weight
        odd = [(0, side % 2) for side in image.shape]
        image, target = (np.pad(x, odd, mode="symmetric") for x in (image, target))
        image, target = ((x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]) / 4 for x in (image, target))
    return product


@pytest.mark.parametrize("size", [(181, 177), (161, 161), (162, 200)])
def test_ms_ssim_of_odd_sizes(size):
    camera = skimage.data.camera()[100 : 100 + size[0], 150 : 150 + size[1]] / 255.0
    noisy = np.clip(camera + 20 / 255 * np.random.RandomState(0).randn(*size), 0, 1)
    expected = ms_ssim_in_float64(camera, noisy)
    assert float(ms_ssim(camera[None, ..., None], noisy[None, ..., None])[0]) == pytest.approx(expected, abs=2e-6)


def test_ms_ssim_of_colour_is_the_mean_of_products():
    images, targets = levels_pair(5, (2, 170, 164, 3), 80)
    planes = [ms_ssim(images[..., i : i + 1], targets[..., i : i + 1]) for i in range(3)]
    np.testing.assert_allclose(ms_ssim(images, targets), np.mean(planes, axis=0), rtol=1e-6)


def test_ms_ssim_of_a_negative_is_zero_with_a_finite_gradient():
    image = jnp.asarray(np.random.RandomState(0).rand(1, 161, 161, 1), jnp.float32)
    assert float(ms_ssim(image, 1.0 - image)[0]) == 0.0
    gradient = jax.grad(lambda x: ms_ssim(x, 1.0 - image).sum())(image)
    np.testing.assert_array_equal(gradient, np.zeros_like(image))
    assert np.isnan(ms_ssim(image.at[0, 0, 0, 0].set(jnp.nan), image)[0])


def test_images_that_are_too_small():
    with pytest.raises(ValueError, match="at least 11x11, not 10x64"):
        ssim(np.zeros((1, 10, 64, 3)), np.zeros((1, 10, 64, 3)))
    with pytest.raises(ValueError, match="at least 161x161, not 160x200"):
        ms_ssim(np.zeros((1, 160, 200, 3)), np.zeros((1, 160, 200, 3)))


@pytest.mark.parametrize("measure", [ssim, ms_ssim])
def test_bad_pairs(measure):
    floats = np.zeros((1, 161, 161, 1), np.float32)
    with pytest.raises(TypeError, match="images are uint8"):
        measure(floats.astype(np.uint8), floats)
    with pytest.raises(ValueError, match=r"\(1, 161, 161, 1\).*\(1, 161, 162, 1\)"):
        measure(floats, np.zeros((1, 161, 162, 1)))
    with pytest.raises(ValueError, match="data_range"):
        measure(floats, floats, data_range=0.0)
