import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jgr.degradations.inputs import check_image, check_sigma
from jgr.degradations.noise import GaussianNoise, PoissonGaussianNoise, PoissonNoise, SaltAndPepper, Speckle
from jgr.degradations.parameters import Choice, Mixture, Uniform
from jgr.degradations.values import Clip, Quantise
from jgr.errors import ConfigError, DataError

LEVELS = np.array([0.1, 0.4, 0.9], np.float32)  # of the three channels
FLAT = jnp.broadcast_to(jnp.asarray(LEVELS).reshape(1, 1, 3), (120, 100, 3))
COUNT = FLAT.shape[0] * FLAT.shape[1]
KEY = jax.random.key(3)


def degraded(degradation, image=FLAT, key=KEY, **record):
    return jax.jit(degradation.apply)({"image": image, **record}, key)


def assert_moments(image, mean, variance, kurtosis=3.0):
    """Of each channel, within 4 standard errors: variance / n, and variance² (kurtosis - 1) / n."""
    image = np.asarray(image, np.float64).reshape(-1, image.shape[-1])
    n, variance = len(image), np.asarray(variance, np.float64)
    assert (np.abs(image.mean(0) - mean) <= 4 * np.sqrt(variance / n)).all()
    assert (np.abs(image.var(0) - variance) <= 4 * variance * np.sqrt((kurtosis - 1) / n)).all()


def test_gaussian_noise_has_its_sigma_and_is_white():
    out = degraded(GaussianNoise(sigma=25 / 255))
    assert_moments(out["image"], LEVELS, np.full(3, (25 / 255) ** 2))
    assert float(out["sigma"]) == pytest.approx(25 / 255)
    noise = np.asarray(out["image"] - FLAT)
    for pair in (noise[1:] * noise[:-1], noise[:, 1:] * noise[:, :-1], noise[..., 1:] * noise[..., :-1]):
        assert abs(pair.mean()) < 4 * (25 / 255) ** 2 / np.sqrt(pair.size)
    assert out["image"].min() < 0  # not clipped


def test_sigmas_add_in_quadrature():
    out = degraded(GaussianNoise(sigma=0.3), sigma=jnp.float32(0.4))
    assert float(out["sigma"]) == pytest.approx(0.5)


def test_gray_noise_is_the_same_in_all_channels():
    noise = np.asarray(degraded(GaussianNoise(sigma=0.1, gray=1.0))["image"] - FLAT)
    np.testing.assert_allclose(noise[..., 1], noise[..., 0], atol=2e-7)
    sensor = degraded(PoissonGaussianNoise(gain=0.02, gray=1.0))["image"]
    luma = 0.299 * 0.1 + 0.587 * 0.4 + 0.114 * 0.9  # BT.601
    assert_moments(sensor, LEVELS, np.full(3, 0.02 * luma))
    np.testing.assert_allclose(*(np.asarray(sensor - FLAT)[..., i] for i in (0, 2)), atol=2e-7)


def test_drawn_sigma_is_told_and_differs_between_records():
    keys = jax.random.split(KEY, 64)
    images = jnp.zeros((64, 40, 40, 1))
    out = jax.jit(GaussianNoise(sigma=Uniform(low=0.0, high=55 / 255)))({"image": images}, keys)
    sigma = np.asarray(out["sigma"])
    assert 0 <= sigma.min() < 10 / 255
    assert 45 / 255 < sigma.max() <= 55 / 255
    measured = np.asarray(out["image"]).std(axis=(1, 2, 3))
    np.testing.assert_allclose(measured, sigma, rtol=4 / np.sqrt(2 * 1600))


@pytest.mark.parametrize("peak", [3.0, 60.0])
def test_poisson_noise_counts_photons(peak):
    image = degraded(PoissonNoise(peak=peak))["image"]
    # A Poisson variable's fourth standardised moment is 3 + 1 / mean.
    assert_moments(image, LEVELS, LEVELS / peak, kurtosis=3 + 1 / (LEVELS * peak))
    counts = np.asarray(image) * peak
    np.testing.assert_allclose(counts, np.round(counts), atol=1e-4)
    dark = (np.asarray(image)[..., 0] == 0).mean()
    expected = np.exp(-peak * LEVELS[0])
    assert abs(dark - expected) <= 4 * np.sqrt(expected * (1 - expected) / COUNT)


def test_poisson_noise_passes_the_gradient_of_its_mean():
    gradient = jax.grad(lambda image: degraded(PoissonNoise(peak=9.0), image)["image"].sum())(FLAT[:3, :3])
    np.testing.assert_array_equal(gradient, 1.0)


def test_sensor_noise_has_affine_variance():
    image = degraded(PoissonGaussianNoise(gain=0.01, sigma=0.05))["image"]
    assert_moments(image, LEVELS, 0.01 * LEVELS + 0.05**2)
    dark = jax.grad(lambda x: degraded(PoissonGaussianNoise(gain=0.1), x)["image"].sum())(jnp.zeros((4, 4, 1)))
    assert np.isfinite(dark).all()


def test_salt_and_pepper_replace_their_shares():
    image = np.asarray(degraded(SaltAndPepper(share=0.2, salt=0.25))["image"])
    for value, share in ((1.0, 0.05), (0.0, 0.15)):
        assert abs((image == value).mean() - share) <= 4 * np.sqrt(share * (1 - share) / image.size)
    kept = (image != 0) & (image != 1)
    np.testing.assert_array_equal(image[kept], np.asarray(FLAT)[kept])


def test_speckle_is_relative_to_the_image():
    assert_moments(degraded(Speckle(sigma=0.2))["image"], LEVELS, (0.2 * LEVELS) ** 2)


@pytest.mark.parametrize(
    "degradation",
    [
        GaussianNoise(sigma=Uniform(low=0.0, high=0.2), gray=0.5),
        PoissonNoise(peak=Uniform(low=5.0, high=50.0)),
        PoissonGaussianNoise(gain=0.1, sigma=0.1),
        SaltAndPepper(share=Uniform(low=0.1, high=0.5)),
        Speckle(sigma=Mixture(parts=(0.1, Uniform(low=0.2, high=0.3)))),
    ],
    ids=lambda degradation: type(degradation).__name__,
)
def test_noise_follows_from_the_key_alone(degradation):
    images = jax.random.uniform(KEY, (4, 8, 7, 3))
    keys = jax.random.split(KEY, 4)
    whole = jax.jit(degradation)({"image": images}, keys)
    np.testing.assert_array_equal(whole["target"], images)
    single = degraded(degradation, images[2], keys[2])
    for name, value in single.items():
        np.testing.assert_allclose(whole[name][2], value, atol=1e-6)
    assert not np.allclose(degraded(degradation, images[2], keys[1])["image"], single["image"])


def test_clip_and_quantise():
    values = jnp.asarray([-0.3, 0.0, 0.49 / 255, 0.5 / 255, 1.0, 1.2]).reshape(1, 6, 1)
    np.testing.assert_array_equal(degraded(Clip(), values)["image"].ravel(), np.clip(values.ravel(), 0, 1))
    rounded = degraded(Quantise(), values)["image"].ravel() * 255
    np.testing.assert_allclose(rounded, [-76, 0, 0, 1, 255, 306], rtol=1e-6)
    scores = jax.grad(lambda x: (degraded(Quantise(levels=5), x)["image"] ** 2).sum())(values)
    np.testing.assert_allclose(scores, 2 * np.floor(np.asarray(values) * 4 + 0.5) / 4, rtol=1e-6)


def test_names():
    assert GaussianNoise(sigma=25 / 255).name == "awgn-s25"
    assert GaussianNoise(sigma=Uniform(low=0.0, high=55 / 255)).name == "awgn-s0..55"
    assert GaussianNoise(sigma=Choice(values=(15 / 255, 50 / 255)), gray=0.4).name == "awgn-s15|50-gray0.4"
    assert GaussianNoise(sigma=0.2, gray=1.0).name == "awgn-s51-gray"
    assert PoissonNoise(peak=30.0).name == "poisson-p30"
    assert PoissonGaussianNoise(gain=0.01, sigma=5 / 255).name == "sensor-a0.01-s5"
    assert SaltAndPepper(share=0.1).name == "saltpepper-p0.1"
    assert SaltAndPepper(share=0.1, salt=0.3).name == "saltpepper-p0.1-salt0.3"
    assert Speckle(sigma=0.1).name == "speckle-s0.1"
    assert (Clip().name, Quantise().name, Quantise(levels=16).name) == ("clip", "u8", "levels16")
    assert Mixture(parts=(1.0, Uniform(low=0.5, high=1.0)), weights=(3.0, 7.0)).label() == "(0.3:1|0.7:0.5..1)"


def test_impossible_values():
    with pytest.raises(ConfigError, match=r"sigma = 25 must be at least 0 and at most 1; .* write 25/255"):
        GaussianNoise(sigma=25.0)
    with pytest.raises(ConfigError, match=r"sigma = 0..55 must .* write 25/255"):
        GaussianNoise(sigma=Uniform(low=0.0, high=55.0))
    with pytest.raises(ConfigError, match=r"gray = 2 must be"):
        GaussianNoise(sigma=0.1, gray=2.0)
    with pytest.raises(ConfigError, match=r"peak = 0 must be above 0"):
        PoissonNoise(peak=0.0)
    with pytest.raises(ConfigError, match=r"gain = 30 must be at least 0 and at most 1"):
        PoissonGaussianNoise(gain=30.0)
    with pytest.raises(ConfigError, match=r"sigma = 5 must .* write 25/255"):
        PoissonGaussianNoise(gain=0.1, sigma=5.0)
    with pytest.raises(ConfigError, match=r"share = 10 must be"):
        SaltAndPepper(share=10.0)
    with pytest.raises(ConfigError, match=r"salt = 3 must be"):
        SaltAndPepper(share=0.1, salt=3.0)
    with pytest.raises(ConfigError, match=r"sigma = 25 must be .* relative to the image"):
        Speckle(sigma=25.0)
    with pytest.raises(ConfigError, match=r"levels = 1 must be at least 2"):
        Quantise(levels=1)
    with pytest.raises(ConfigError, match=r"parts is empty"):
        Mixture(parts=())
    with pytest.raises(ConfigError, match=r"weights = \(1.0,\) must be one for each of the 2 parts"):
        Mixture(parts=(1.0, 2.0), weights=(1.0,))
    with pytest.raises(ConfigError, match=r"weights = \(-1.0, 1.0\) must not be negative"):
        Mixture(parts=(1.0, 2.0), weights=(-1.0, 1.0))


def test_mixture_draws_its_parts_by_weight():
    mixture = Mixture(parts=(5.0, Uniform(low=0.0, high=1.0)), weights=(0.3, 0.7))
    assert mixture.bounds == (0.0, 5.0)
    drawn = np.asarray(jax.vmap(mixture.sample)(jax.random.split(KEY, 4000)))
    assert abs((drawn == 5).mean() - 0.3) <= 4 * np.sqrt(0.21 / 4000)
    assert abs(drawn[drawn < 5].mean() - 0.5) <= 4 * np.sqrt(1 / 12 / 2800)


def test_arrays_of_a_user_are_checked():
    good = np.full((2, 3, 1), 1.3, np.float32)
    check_image(good, "a.npy")
    check_image(np.full((2, 2, 3), 255, np.uint8), "a.png")
    bad = good.copy()
    bad[1, 2, 0] = np.nan
    with pytest.raises(DataError, match=r"a.npy: 1 of 6 values are not finite, the first is nan at \(1, 2, 0\)"):
        check_image(bad, "a.npy")
    with pytest.raises(DataError, match=r"a.npy: float values from 0 to 200 are not in units of .* divide by 255"):
        check_image(np.array([0.0, 200.0]), "a.npy")
    check_sigma(25 / 255, "--sigma")
    with pytest.raises(DataError, match=r"--sigma: sigma = 25 must be from 0 to 1: .* write 25/255"):
        check_sigma(25.0, "--sigma")
    with pytest.raises(DataError, match=r"sigma = nan must be from 0 to 1$"):
        check_sigma(np.array([0.1, np.nan]), "--sigma")
