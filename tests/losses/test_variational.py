import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jgr.errors import ConfigError
from jgr.losses.gaussian import DiagonalGaussian
from jgr.losses.variational import ELBO, Annealing, Bound, ImportanceWeighted

DIMS, PIXELS, BATCH = 2, 3, 4


@pytest.fixture(scope="module")
def model():
    """A linear-Gaussian model x = W z + b + .5 e, whose likelihood and posterior are known."""
    draw = np.random.default_rng(0)
    return {
        "weights": jnp.asarray(draw.normal(size=(DIMS, PIXELS)), jnp.float32),
        "bias": jnp.asarray(draw.normal(size=PIXELS), jnp.float32),
    }


@pytest.fixture(scope="module")
def images():
    return jnp.asarray(np.random.default_rng(1).normal(size=(BATCH, PIXELS)), jnp.float32)


SCALE = 0.5


def bound_of(model, images, posterior, num_samples, seed=0):
    def log_likelihood(params, latents):
        means = latents @ params["weights"] + params["bias"][None, None]
        noise = DiagonalGaussian(mean=means, log_variance=jnp.full_like(means, 2 * np.log(SCALE)))
        return noise.log_prob(jnp.broadcast_to(images[None], means.shape))

    noise = jax.random.normal(jax.random.key(seed), (num_samples, BATCH, DIMS))
    return Bound(posterior, noise, model, log_likelihood)


def some_posterior():
    draw = np.random.default_rng(2)
    return DiagonalGaussian(
        mean=jnp.asarray(0.5 * draw.normal(size=(BATCH, DIMS)), jnp.float32), log_variance=jnp.full((BATCH, DIMS), -1.0)
    )


def log_evidence(model, images):
    weights = np.asarray(model["weights"], np.float64)
    covariance = weights.T @ weights + SCALE**2 * np.eye(PIXELS)
    return scipy.stats.multivariate_normal.logpdf(images, np.asarray(model["bias"]), covariance)


def test_a_prior_of_each_record_is_the_exact_likelihoods_too(model, images):
    draw = np.random.default_rng(5)
    prior = DiagonalGaussian(
        mean=jnp.asarray(draw.normal(size=(BATCH, DIMS)), jnp.float32),
        log_variance=jnp.asarray(0.3 * draw.normal(size=(BATCH, DIMS)), jnp.float32),
    )
    weights, covariances = np.asarray(model["weights"], np.float64), np.exp(np.asarray(prior.log_variance, np.float64))
    wanted = [
        scipy.stats.multivariate_normal.logpdf(
            image,
            np.asarray(model["bias"]) + mean @ weights,
            (weights.T * variance) @ weights + SCALE**2 * np.eye(PIXELS),
        )
        for image, mean, variance in zip(np.asarray(images), np.asarray(prior.mean), covariances, strict=True)
    ]
    bound = bound_of(model, images, some_posterior(), 20_000)._replace(prior=lambda params: prior)
    loss, metrics = ImportanceWeighted(num_samples=20_000)(bound, jnp.int32(0))
    assert abs(-loss - np.mean(wanted)) < 0.1
    one, of_one = ELBO()(
        bound_of(model, images, some_posterior(), 20_000)._replace(prior=lambda params: prior), jnp.int32(0)
    )
    np.testing.assert_allclose(of_one["elbo"], metrics["elbo"], rtol=0.02)
    assert of_one["elbo"] < np.mean(wanted)
    np.testing.assert_allclose(one, -of_one["elbo"], rtol=1e-5)


def test_importance_weighting_approaches_the_exact_likelihood(model, images):
    """A probabilistic principal component analysis: within .05 nat at 5,000 samples, and from below."""
    values = {}
    for num_samples in (1, 50, 5000):
        loss, _ = ImportanceWeighted(num_samples=num_samples)(
            bound_of(model, images, some_posterior(), num_samples), jnp.int32(0)
        )
        values[num_samples] = -float(loss)
    exact = log_evidence(model, images).mean()
    assert values[5000] == pytest.approx(exact, abs=0.05)
    assert values[1] < values[50] < exact + 0.05


def test_elbo_is_the_likelihood_less_the_divergence(model, images):
    posterior = some_posterior()
    bound = bound_of(model, images, posterior, 20_000)
    loss, metrics = ELBO()(bound, jnp.int32(0))
    assert float(metrics["elbo"]) == pytest.approx(-float(loss), rel=1e-5)
    sampled = bound.log_weights(model, posterior.at(bound.noise), posterior)
    assert float(metrics["elbo"]) == pytest.approx(float(sampled.mean()), abs=0.05)


def test_beta_weighs_the_divergence_alone_and_the_report_stays(model, images):
    posterior = some_posterior()
    bound = bound_of(model, images, posterior, 8)
    one, reported = ELBO()(bound, jnp.int32(0))
    four, again = ELBO(beta=4.0)(bound, jnp.int32(0))
    assert float(four - one) == pytest.approx(3 * float(posterior.divergence().sum(axis=-1).mean()), rel=1e-5)
    assert again["elbo"] == reported["elbo"]


def test_free_bits_cost_nothing_by_the_batchs_mean(model, images):
    posterior = DiagonalGaussian(
        mean=jnp.array([[0.0, 3.0], [0.2, 3.0], [0.0, 3.0], [2.0, 3.0]]), log_variance=jnp.zeros((BATCH, DIMS))
    )
    bound = bound_of(model, images, posterior, 8)
    free, metrics = ELBO(free_bits=1.0)(bound, jnp.int32(0))
    # means of the two latents' divergences: (.02 + 2) / 4 = .505, of which all is free, and 4.5
    assert float(free + metrics["elbo"]) == pytest.approx(1.0 - 0.505, rel=1e-4)
    slope = jax.grad(
        lambda m: ELBO(free_bits=1.0)(bound._replace(posterior=posterior.replace(mean=m)), jnp.int32(0))[0]
    )
    of_likelihood = jax.grad(
        lambda m: ELBO(beta=0.0)(bound._replace(posterior=posterior.replace(mean=m)), jnp.int32(0))[0]
    )
    difference = slope(posterior.mean) - of_likelihood(posterior.mean)
    np.testing.assert_allclose(difference[:, 0], 0.0, atol=1e-6)
    np.testing.assert_allclose(difference[:, 1], 3.0 / BATCH, rtol=1e-4)


def test_double_reparameterisation_has_the_same_value_and_model_gradient(model, images):
    bound = bound_of(model, images, some_posterior(), 16)
    plain, doubly = (
        jax.value_and_grad(
            lambda params, d=d: ImportanceWeighted(num_samples=16, doubly_reparameterized=d)(
                bound._replace(params=params), jnp.int32(0)
            )[0]
        )(model)
        for d in (False, True)
    )
    np.testing.assert_allclose(plain[0], doubly[0], rtol=1e-6)
    for name in model:
        np.testing.assert_allclose(plain[1][name], doubly[1][name], rtol=1e-4, atol=1e-6)


def test_double_reparameterisation_has_the_same_expected_posterior_gradient_and_less_variance(model, images):
    posterior = some_posterior()

    def slope(seed, doubly):
        def loss(mean):
            bound = bound_of(model, images, posterior.replace(mean=mean), 8, seed)
            return ImportanceWeighted(num_samples=8, doubly_reparameterized=doubly)(bound, jnp.int32(0))[0]

        return jax.grad(loss)(posterior.mean)

    seeds = jnp.arange(8000)
    plain, doubly = (jax.jit(jax.vmap(lambda seed, d=d: slope(seed, d)))(seeds) for d in (False, True))
    error = np.sqrt((np.var(plain, axis=0) + np.var(doubly, axis=0)) / len(seeds))
    assert (np.abs(plain.mean(axis=0) - doubly.mean(axis=0)) < 4 * error).all()
    assert np.abs(plain.mean(axis=0)).max() > 10 * error.max()  # there is something to agree on
    assert np.var(doubly, axis=0).sum() < np.var(plain, axis=0).sum()


def test_doubly_reparameterised_gradient_is_the_papers(model, images):
    """Tucker et al. 2019, equation 8: sum of w^2 d log w / dz * dz / dphi, written out."""
    posterior = some_posterior()
    bound = bound_of(model, images, posterior, 5)

    def loss(mean):
        changed = bound._replace(posterior=posterior.replace(mean=mean))
        return ImportanceWeighted(num_samples=5, doubly_reparameterized=True)(changed, jnp.int32(0))[0]

    latents = posterior.at(bound.noise)
    log_weights = bound.log_weights(model, latents, posterior)
    slopes = jax.grad(lambda z: bound.log_weights(model, z, posterior).sum())(latents)
    shares = jax.nn.softmax(log_weights, axis=0)
    expected = -(jnp.square(shares)[..., None] * slopes).sum(axis=0) / BATCH
    np.testing.assert_allclose(jax.grad(loss)(posterior.mean), expected, rtol=1e-4, atol=1e-6)


def test_annealing():
    linear = Annealing(steps=100)
    np.testing.assert_allclose([linear(s) for s in (0, 25, 100, 1000)], [0, 0.25, 1, 1], atol=1e-6)
    cyclical = Annealing(kind="cyclical", steps=100, cycles=4, rise=0.5)
    # cycles of 25 steps, each 12.5 of rise and 12.5 at 1
    np.testing.assert_allclose(
        [cyclical(s) for s in (0, 5, 20, 25, 30, 99, 100, 500)], [0, 0.4, 1, 0, 0.4, 1, 1, 1], atol=1e-6
    )
    falling = Annealing(steps=100, start=9.0)
    np.testing.assert_allclose([falling(s) for s in (0, 25, 100, 1000)], [9, 7, 1, 1], atol=1e-6)


def test_annealing_weighs_the_divergence(model, images):
    bound = bound_of(model, images, some_posterior(), 4)
    annealed = ELBO(beta=2.0, annealing=Annealing(steps=10))
    for step, beta in ((0, 0.0), (5, 1.0), (10, 2.0)):
        loss, metrics = annealed(bound, jnp.int32(step))
        assert metrics["beta"] == beta
        assert float(loss) == pytest.approx(float(ELBO(beta=beta)(bound, jnp.int32(0))[0]), rel=1e-6)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ELBO(beta=-1.0), "beta = -1.0 must not be negative"),
        (lambda: ELBO(num_samples=0), "num_samples = 0 must be at least 1"),
        (lambda: Annealing(), "steps = '50%': outside a config"),
        (lambda: Annealing(steps=5, rise=0.0), "rise = 0.0 must be a share"),
        (lambda: Annealing(steps=5, start=-1.0), "start = -1.0 must be at least 0"),
        (lambda: Annealing(steps=5, cycles=0), "cycles = 0 must be at least 1"),
    ],
)
def test_impossible_values(make, words):
    with pytest.raises(ConfigError, match=words):
        make()
