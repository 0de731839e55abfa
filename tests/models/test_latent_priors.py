import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats

from jgr.errors import ConfigError
from jgr.models.latent_priors import GaussianMixture, SecondStage
from jgr.rng import record_keys


def keys_of(count, seed=0):
    return record_keys(jax.random.key(seed), jnp.arange(count))


def test_mixture_density_is_scipys():
    mixture = GaussianMixture(latent_dim=2, num_components=3)
    latents = jax.random.normal(jax.random.key(1), (5, 2))
    params = {
        "means": jnp.array([[0.0, 1.0], [-2.0, 0.5], [1.0, 1.0]]),
        "log_scales": jnp.array([[0.0, -1.0], [0.5, 0.2], [-0.3, 0.0]]),
        "logits": jnp.array([0.0, 1.0, -1.0]),
    }
    shares = np.exp(params["logits"]) / np.exp(params["logits"]).sum()
    density = sum(
        share * scipy.stats.multivariate_normal.pdf(latents, mean, np.diag(np.exp(2 * np.asarray(log_scale))))
        for share, mean, log_scale in zip(shares, params["means"], params["log_scales"], strict=True)
    )
    np.testing.assert_allclose(mixture.apply({"params": params}, latents, keys_of(5)), -np.log(density), rtol=1e-4)


def test_mixture_samples_have_its_moments():
    mixture = GaussianMixture(latent_dim=1, num_components=2)
    params = {
        "means": jnp.array([[-2.0], [3.0]]),
        "log_scales": jnp.log(jnp.array([[0.5], [1.0]])),
        "logits": jnp.log(jnp.array([0.25, 0.75])),
    }
    noise = jax.random.normal(jax.random.key(2), (20_000, 1))
    drawn = mixture.apply({"params": params}, noise, keys_of(20_000), method="transform")
    mean = 0.25 * -2 + 0.75 * 3
    variance = 0.25 * (0.25 + 4) + 0.75 * (1 + 9) - mean**2
    assert drawn.mean() == pytest.approx(mean, abs=0.06)
    assert drawn.var() == pytest.approx(variance, rel=0.05)


@pytest.mark.parametrize(
    "prior", [GaussianMixture(latent_dim=2, num_components=8), SecondStage(latent_dim=2, widths=(32, 32))]
)
def test_a_ring_is_learned(prior):
    """Latents on a circle, where N(0, 1) puts most of its mass inside."""
    angle = jax.random.uniform(jax.random.key(3), (2048,), maxval=2 * jnp.pi)
    ring = 2.0 * jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=1)
    params = prior.init(jax.random.key(0), ring[:2], keys_of(2))["params"]
    adam = optax.adam(1e-2)

    @jax.jit
    def step(params, opt_state, number):
        loss = lambda p: prior.apply({"params": p}, ring, keys_of(2048, number)).mean()  # noqa: E731
        value, slopes = jax.value_and_grad(loss)(params)
        changes, opt_state = adam.update(slopes, opt_state)
        return optax.apply_updates(params, changes), opt_state, value

    opt_state = adam.init(params)
    for number in range(400):
        params, opt_state, value = step(params, opt_state, number)
    noise = jax.random.normal(jax.random.key(4), (2000, 2))
    drawn = prior.apply({"params": params}, noise, keys_of(2000, 5), method="transform")
    radius = jnp.linalg.norm(drawn, axis=1)
    assert jnp.mean(jnp.abs(radius - 2.0) < 0.8) > 0.75  # of N(0, 1) it is .45
    assert jnp.isfinite(value)


def test_samples_are_made_one_by_one():
    prior = SecondStage(latent_dim=3, widths=(8,))
    noise = jax.random.normal(jax.random.key(1), (4, 3))
    params = prior.init(jax.random.key(0), noise, keys_of(4))["params"]
    together = prior.apply({"params": params}, noise, keys_of(4), method="transform")
    alone = prior.apply({"params": params}, noise[2:3], keys_of(4)[2:3], method="transform")
    np.testing.assert_allclose(together[2:3], alone, rtol=1e-5, atol=1e-6)


def test_impossible_sizes():
    with pytest.raises(ConfigError, match="num_components = 0 must be at least 1"):
        GaussianMixture(latent_dim=2, num_components=0)
    with pytest.raises(ConfigError, match=r"widths = \(4, 0\) must be at least 1"):
        SecondStage(latent_dim=2, widths=(4, 0))
