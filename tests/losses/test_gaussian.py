import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jgr.losses.gaussian import BOUND, DiagonalGaussian


@pytest.fixture
def posterior():
    return DiagonalGaussian(
        mean=jnp.array([[0.5, -1.0, 0.0], [2.0, 0.1, -0.3]]),
        log_variance=jnp.array([[-1.0, 0.5, 0.0], [0.2, -3.0, 1.0]]),
    )


def test_log_density_is_scipys(posterior):
    values = np.random.default_rng(0).normal(size=(4, 2, 3)).astype(np.float32)
    expected = scipy.stats.norm.logpdf(values, posterior.mean, np.exp(0.5 * np.asarray(posterior.log_variance)))
    np.testing.assert_allclose(posterior.log_prob(jnp.asarray(values)), expected.sum(axis=-1), rtol=1e-5)


@pytest.mark.parametrize("prior", ["standard", "other"])
def test_divergence_is_the_mean_of_log_ratios(posterior, prior):
    """Monte Carlo over 200,000 samples: the standard error of a ratio of this spread is below .01."""
    other = None if prior == "standard" else DiagonalGaussian(posterior.mean + 0.4, posterior.log_variance * 0.5 - 0.2)
    reference = DiagonalGaussian.standard(posterior.mean) if other is None else other
    samples = posterior.at(jax.random.normal(jax.random.key(0), (200_000, 2, 3)))
    ratio = posterior.log_prob(samples) - reference.log_prob(samples)
    np.testing.assert_allclose(posterior.divergence(other).sum(axis=-1), ratio.mean(axis=0), atol=0.03)


def test_divergence_vanishes_at_the_prior_and_only_there(posterior):
    assert not DiagonalGaussian.standard(posterior.mean).divergence().any()
    assert not posterior.divergence(posterior).any()
    assert (posterior.divergence() >= 0).all()
    assert posterior.divergence().sum() > 1


def test_samples_have_its_mean_and_spread(posterior):
    samples = posterior.at(jax.random.normal(jax.random.key(1), (100_000, 2, 3)))
    np.testing.assert_allclose(samples.mean(axis=0), posterior.mean, atol=0.02)
    np.testing.assert_allclose(samples.var(axis=0), jnp.exp(posterior.log_variance), rtol=0.03)


def test_log_variance_is_bounded_and_free_near_zero():
    raw = jnp.array([[-1e6, -0.1, 0.0, 0.1, 1e6]])
    bounded = DiagonalGaussian.bounded(jnp.zeros_like(raw), raw)
    np.testing.assert_allclose(bounded.log_variance, [[-BOUND, -0.1, 0.0, 0.1, BOUND]], atol=1e-4)
    assert jnp.isfinite(bounded.divergence()).all()
    assert jnp.isfinite(jax.grad(lambda x: DiagonalGaussian.bounded(x, x).divergence().sum())(raw[:, 1:4])).all()
