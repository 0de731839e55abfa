import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jgr.errors import ConfigError, DataError
from jgr.losses.likelihoods import Bernoulli, DiscretizedLogisticMixture, Gaussian

INDEX = jnp.arange(3)


@pytest.fixture
def keys():
    return jax.random.split(jax.random.key(0), 3)


def outputs(count, channels, *, size=2, seed=0, scale=1.0):
    return scale * jax.random.normal(jax.random.key(seed), (count, size, size, channels))


def test_bernoulli_is_scipys():
    images = (np.random.default_rng(0).random((3, 2, 2, 1)) > 0.5).astype(np.float32)
    logits = outputs(3, 1)
    expected = scipy.stats.bernoulli.logpmf(images, 1 / (1 + np.exp(-np.asarray(logits, np.float64)))).sum((1, 2, 3))
    np.testing.assert_allclose(Bernoulli().log_prob({}, logits, jnp.asarray(images)), expected, rtol=1e-5)


def test_bernoulli_is_finite_at_extreme_logits():
    images = jnp.ones((1, 2, 2, 1))
    for logit, expected in ((-200.0, -800.0), (0.0, -4 * np.log(2)), (200.0, 0.0)):
        np.testing.assert_allclose(
            Bernoulli().log_prob({}, jnp.full((1, 2, 2, 1), logit), images), [expected], atol=1e-5
        )


def test_dynamic_binarisation_is_anew_and_keeps_the_mean(keys):
    images = jnp.full((3, 40, 40, 1), 0.3)
    once, again = (Bernoulli().prepared(images, INDEX, k) for k in (keys, jax.random.split(jax.random.key(1), 3)))
    assert set(np.unique(once)) == {0.0, 1.0}
    assert (once != again).any()
    np.testing.assert_allclose(once.mean(axis=(1, 2, 3)), 0.3, atol=0.05)  # 1,600 pixels: .011 standard error


def test_fixed_binarisation_is_the_records_own(keys):
    images = jnp.full((3, 8, 8, 1), 0.5)
    fixed = Bernoulli(binarisation="fixed")
    once, again = (fixed.prepared(images, INDEX, k) for k in (keys, jax.random.split(jax.random.key(1), 3)))
    np.testing.assert_array_equal(once, again)
    assert (once[0] != once[1]).any()
    moved = fixed.prepared(images, INDEX[::-1], keys)
    np.testing.assert_array_equal(moved[::-1], once)


def test_threshold(keys):
    images = jnp.array([0.0, 0.49, 0.5, 1.0]).reshape(1, 2, 2, 1)
    prepared = Bernoulli(binarisation="threshold").prepared(images, INDEX[:1], keys[:1])
    np.testing.assert_array_equal(prepared.reshape(-1), [0, 0, 1, 1])


@pytest.mark.parametrize("learned", [False, True])
def test_gaussian_is_scipys(learned):
    likelihood = Gaussian(scale=0.3, learned=learned, squashed=False)
    images, means = jax.random.uniform(jax.random.key(1), (3, 2, 2, 3)), outputs(3, 3)
    expected = scipy.stats.norm.logpdf(images, means, 0.3).sum((1, 2, 3))
    np.testing.assert_allclose(likelihood.log_prob(likelihood.init(), means, images), expected, rtol=1e-5)
    assert bool(likelihood.init()) == learned


def test_a_learned_scale_is_best_at_the_errors_own():
    likelihood = Gaussian(learned=True, squashed=False)
    images = jnp.full((1, 4, 4, 1), 0.5)
    errors = 0.2 * jnp.sign(outputs(1, 1, size=4))
    slope = jax.grad(lambda s: likelihood.log_prob({"log_scale": s}, images + errors, images).sum())
    np.testing.assert_allclose(slope(jnp.log(0.2)), 0.0, atol=1e-3)
    assert slope(jnp.log(0.1)) > 0 > slope(jnp.log(0.4))


def test_dequantised_levels_fill_their_intervals(keys):
    images = jnp.stack([jnp.full((50, 50, 1), level / 255) for level in (0, 100, 255)])
    prepared = Gaussian(dequantised=True).prepared(images, INDEX, keys)
    np.testing.assert_array_equal(np.floor(prepared * 256), np.broadcast_to(images * 255, images.shape).round())
    np.testing.assert_allclose(prepared.mean(axis=(1, 2, 3)) * 256, [0.5, 100.5, 255.5], atol=0.03)


@pytest.mark.parametrize("scale", [0.02, 1.0, 6.0])
def test_gray_levels_sum_to_one(scale):
    """Every pixel alone: all 256 levels of it."""
    likelihood = DiscretizedLogisticMixture(num_mixtures=3)
    made = jnp.broadcast_to(outputs(1, likelihood.num_outputs(1), size=1, scale=scale), (256, 1, 1, 9))
    images = (jnp.arange(256) / 255).reshape(256, 1, 1, 1)
    assert jnp.exp(likelihood.log_prob({}, made, images)).sum() == pytest.approx(1.0, abs=1e-5)


def test_green_and_blue_sum_to_the_probability_of_red():
    """All 65,536 colours of a red: what is left is the mixture of red alone, whatever the coefficients."""
    likelihood = DiscretizedLogisticMixture(num_mixtures=1)
    made = outputs(1, likelihood.num_outputs(3), size=1).at[..., 4:7].add(-1.0)  # narrower
    levels = jnp.arange(256) / 255
    green, blue = (part.reshape(-1) for part in jnp.meshgrid(levels, levels))
    for red in (0, 31, 200):
        images = jnp.stack([jnp.full(65_536, red / 255), green, blue], axis=-1).reshape(-1, 1, 1, 3)
        total = jnp.exp(likelihood.log_prob({}, jnp.broadcast_to(made, (65_536, 1, 1, 10)), images)).sum()
        alone = likelihood.log_prob({}, made[..., jnp.array([0, 1, 4])], images[:1, ..., :1])
        assert total == pytest.approx(float(jnp.exp(alone[0])), rel=1e-3)


def test_one_logistic_is_scipys():
    """log p = log(F(x + half) - F(x - half)), in float64."""
    likelihood = DiscretizedLogisticMixture(num_mixtures=1)
    mean, log_scale = 0.1, -2.0
    made = jnp.broadcast_to(jnp.array([0.3, mean, log_scale]), (256, 1, 1, 3))
    images = (jnp.arange(256) / 255).reshape(256, 1, 1, 1)
    edges = np.concatenate([[-np.inf], (np.arange(255) + 0.5) / 127.5 - 1, [np.inf]])
    expected = np.log(np.diff(scipy.stats.logistic.cdf(edges, mean, np.exp(log_scale))))
    np.testing.assert_allclose(likelihood.log_prob({}, made, images), expected, rtol=2e-4)


def test_mixture_is_finite_far_away_and_differentiable():
    likelihood = DiscretizedLogisticMixture(num_mixtures=2)
    images = jnp.array([0.0, 128 / 255, 1.0]).reshape(3, 1, 1, 1)
    made = jnp.broadcast_to(jnp.array([0.0, 0.0, 30.0, -9.0, -30.0, -9.0]), (3, 1, 1, 6))
    value, slope = jax.value_and_grad(lambda o: likelihood.log_prob({}, o, images).sum())(made)
    assert jnp.isfinite(value)
    assert jnp.isfinite(slope).all()


def test_samples_of_gray_have_the_mean_of_their_probabilities():
    likelihood = DiscretizedLogisticMixture(num_mixtures=2)
    one = outputs(1, likelihood.num_outputs(1), size=1, seed=3, scale=0.3) - 1.0
    made = jnp.broadcast_to(one, (4000, 1, 1, one.shape[-1]))
    drawn = likelihood.sample({}, made, jax.random.split(jax.random.key(0), 4000))
    assert likelihood.supports(drawn).all()
    levels = jnp.arange(256) / 255
    probability = jnp.exp(likelihood.log_prob({}, made[:256], levels.reshape(256, 1, 1, 1)))
    assert drawn.mean() == pytest.approx(float((probability * levels).sum()), abs=0.025)  # .008 standard error


def test_samples_of_colour_have_the_mean_that_is_shown():
    """One narrow logistic, whose green leans on red and blue on both: means by hand, in [-1, 1]."""
    likelihood = DiscretizedLogisticMixture(num_mixtures=1)
    coefficients = jnp.array([0.5, -0.3, 0.4])
    one = jnp.concatenate([jnp.array([0.0, 0.4, -0.2, 0.1, -5.0, -5.0, -5.0]), jnp.arctanh(coefficients)])
    made = jnp.broadcast_to(one, (2000, 1, 1, 10))
    red, green = 0.4, -0.2 + 0.5 * 0.4
    expected = np.array([red, green, 0.1 - 0.3 * red + 0.4 * green]) / 2 + 0.5
    np.testing.assert_allclose(likelihood.mean({}, made[:1])[0, 0, 0], expected, atol=1e-5)
    drawn = likelihood.sample({}, made, jax.random.split(jax.random.key(0), 2000))
    assert likelihood.supports(drawn).all()
    np.testing.assert_allclose(drawn.mean(axis=(0, 1, 2)), expected, atol=0.002)  # .0002 standard error, and rounding


def test_more_axes_of_samples_change_nothing():
    for likelihood, channels in ((Bernoulli(), 1), (Gaussian(), 1), (DiscretizedLogisticMixture(num_mixtures=2), 3)):
        images = jnp.round(jax.random.uniform(jax.random.key(2), (3, 2, 2, channels)))
        made = jnp.stack([outputs(3, likelihood.num_outputs(channels), seed=s) for s in range(2)])
        both = likelihood.log_prob({}, made, images)
        np.testing.assert_allclose(both, [likelihood.log_prob({}, part, images) for part in made], rtol=1e-5)


@pytest.mark.parametrize(
    ("likelihood", "value", "words"),
    [
        (Bernoulli(binarisation="none"), 0.25, "value 0.25 .* 0 and 1; set likelihood.binarisation"),
        (Bernoulli(), 1.5, "value 1.5 .* 0 and 1"),
        (Gaussian(), -0.5, r"value -0.5 .* \[0, 1\]"),
        (DiscretizedLogisticMixture(), 0.123, "value 0.123 .* multiples of 1/255 from 0 to 1"),
    ],
)
def test_values_outside_the_support_are_told_and_have_no_likelihood(likelihood, value, words):
    images = np.zeros((2, 2, 2, 1), np.float32)
    likelihood.check(images)
    images[1, 0, 1] = value
    with pytest.raises(DataError, match=words):
        likelihood.check(images)
    made = jnp.zeros((2, 2, 2, likelihood.num_outputs(1)))
    values = likelihood.log_prob(likelihood.init(), made, jnp.asarray(images))
    assert jnp.isfinite(values[0])
    assert jnp.isnan(values[1])


def test_mixtures_are_for_gray_and_colour():
    with pytest.raises(ConfigError, match="1 or 3 channels, not 4"):
        DiscretizedLogisticMixture().num_outputs(4)
