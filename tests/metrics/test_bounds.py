import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jgr.metrics.bounds import (
    RunningBound,
    active_units,
    active_units_of_moments,
    bits_per_dim,
    chunked_importance_weighted_bound,
    importance_weighted_bound,
)
from jgr.metrics.moments import Moments

# x = W z + noise, z ~ N(0, I): log p(x) is known. The proposal is the exact posterior shifted and widened.
LOADINGS = np.random.RandomState(0).randn(6, 3)
NOISE = 0.5
RECORDS = np.random.RandomState(1).randn(8, 3) @ LOADINGS.T + NOISE * np.random.RandomState(2).randn(8, 6)
KEYS = jax.random.split(jax.random.key(3), len(RECORDS))


def exact_log_likelihood():
    covariance = LOADINGS @ LOADINGS.T + NOISE**2 * np.eye(6)
    quadratic = np.einsum("ni,ij,nj->n", RECORDS, np.linalg.inv(covariance), RECORDS)
    return -0.5 * (quadratic + np.linalg.slogdet(covariance)[1] + 6 * math.log(2 * math.pi))


def log_weights(keys):
    """Of one sample a key; keys are [chunk, records]."""
    covariance = np.linalg.inv(np.eye(3) + LOADINGS.T @ LOADINGS / NOISE**2)
    mean = jnp.asarray(RECORDS @ LOADINGS @ covariance / NOISE**2 + 0.1, jnp.float32)
    scale = jnp.asarray(1.3 * np.linalg.cholesky(covariance), jnp.float32)

    def normal(x, sigma):
        return (-0.5 * jnp.square(x / sigma) - jnp.log(sigma) - 0.5 * math.log(2 * math.pi)).sum(-1)

    def of_record(key, x, mean):
        noise = jax.random.normal(key, (3,))
        z = mean + scale @ noise
        proposal = normal(noise, 1.0) - jnp.log(jnp.diag(scale)).sum()
        return normal(x - jnp.asarray(LOADINGS, jnp.float32) @ z, NOISE) + normal(z, 1.0) - proposal

    records = jnp.asarray(RECORDS, jnp.float32)
    return jax.vmap(jax.vmap(of_record), in_axes=(0, None, None))(keys, records, mean)


@functools.partial(jax.jit, static_argnums=(0, 1))
def bound(num_samples, chunk, keys=KEYS):
    return chunked_importance_weighted_bound(log_weights, keys, num_samples=num_samples, chunk=chunk)


@functools.partial(jax.jit, static_argnums=0)
def first_log_weights(num_samples):
    """[samples, records]: those that the bound of so many samples is made of."""
    samples = jnp.arange(num_samples)
    return log_weights(jax.vmap(lambda i: jax.vmap(lambda key: jax.random.fold_in(key, i))(KEYS))(samples))


def test_reaches_the_exact_log_likelihood_of_a_linear_gaussian_model():
    np.testing.assert_allclose(bound(5000, 250), exact_log_likelihood(), atol=0.05)


def test_rises_from_the_elbo_with_k():
    weights = first_log_weights(2000)
    # the same samples in ever larger groups, the bound averaged over the groups
    bounds = [float(importance_weighted_bound(weights.reshape(-1, k, 8), axis=1).mean()) for k in (1, 5, 50, 500)]
    assert bounds[0] == pytest.approx(float(weights.mean()), rel=1e-6)  # of one sample: the ELBO
    assert bounds[0] + 0.2 < bounds[1] < bounds[2] < bounds[3] < exact_log_likelihood().mean() + 0.01


@pytest.mark.parametrize("chunk", [1, 7, 64, 100, 1000])
def test_the_chunk_does_not_matter(chunk):
    np.testing.assert_allclose(bound(100, chunk), bound(100, 10), rtol=2e-6)


def test_chunks_equal_all_samples_at_once_and_records_stand_alone():
    at_once = importance_weighted_bound(first_log_weights(30), axis=0)
    np.testing.assert_allclose(bound(30, 8), at_once, rtol=2e-6)
    swapped = KEYS.at[0].set(jax.random.key(99))
    np.testing.assert_array_equal(bound(30, 8, swapped)[1:], bound(30, 8)[1:])
    assert bound(30, 8, swapped)[0] != bound(30, 8)[0]


def streamed(weights, chunk):
    running = RunningBound.empty(weights.shape[1])
    for start in range(0, len(weights), chunk):
        running = running.update(jnp.asarray(weights[start : start + chunk], jnp.float32))
    assert int(running.count) == len(weights)
    return np.asarray(running.value)


@pytest.mark.parametrize("offset", [-1e5, -700.0, 0.0, 700.0, 1e5])
def test_extreme_weights_neither_overflow_nor_vanish(offset):
    weights = np.round(np.random.RandomState(0).randn(40, 3) * 64) / 64 + offset  # exact in float32
    largest = weights.max(0)
    expected = largest + np.log(np.exp(weights - largest).mean(0))
    for chunk in (1, 9, 40):
        np.testing.assert_allclose(streamed(weights, chunk), expected, rtol=2e-7, atol=1e-5)
    np.testing.assert_allclose(
        importance_weighted_bound(jnp.asarray(weights.T, jnp.float32), axis=1), expected, rtol=2e-7, atol=1e-5
    )


def test_a_long_stream_keeps_its_digits():
    weights = -500 + np.round(np.random.RandomState(0).randn(5000, 2) * 512) / 1024
    expected = -500 + np.log(np.exp(weights + 500).mean(0))
    np.testing.assert_allclose(streamed(weights, 10), expected, atol=1e-4)


@pytest.mark.parametrize("chunk", [1, 2, 4])
def test_weights_of_zero_infinity_and_nan(chunk):
    inf, nan = np.inf, np.nan
    weights = np.array([[-inf, -inf, 0.0, 0.0], [-inf, 0.0, inf, nan], [-inf, -inf, 0.0, 0.0], [-inf, 0.0, 0.0, 1.0]])
    expected = [-inf, math.log(0.5), inf, nan]
    np.testing.assert_allclose(streamed(weights, chunk), expected, rtol=1e-6)
    np.testing.assert_allclose(
        importance_weighted_bound(jnp.asarray(weights, jnp.float32), axis=0), expected, rtol=1e-6
    )


def test_gradient_is_that_of_the_normalised_weights():
    weights = jnp.asarray(np.random.RandomState(0).randn(6, 2) - 300, jnp.float32)

    def chunked(weights):
        return RunningBound.empty(2).update(weights[:2]).update(weights[2:]).value.sum()

    np.testing.assert_allclose(jax.grad(chunked)(weights), jax.nn.softmax(weights, axis=0), rtol=1e-4)


def test_a_model_that_convolves():
    images = jnp.asarray(np.random.RandomState(0).rand(4, 8, 8, 1), jnp.float32)
    network = nn.Conv(1, (3, 3))
    params = network.init(jax.random.key(0), images)

    def weights(keys):
        noise = jax.vmap(jax.vmap(lambda key: jax.random.normal(key, (8, 8, 1))))(keys)
        decoded = network.apply(params, (images[None] + noise).reshape(-1, 8, 8, 1))
        return -jnp.square(decoded).sum((1, 2, 3)).reshape(keys.shape)

    keys = jax.random.split(jax.random.key(1), 4)
    bound = jax.jit(
        functools.partial(chunked_importance_weighted_bound, weights), static_argnames=("num_samples", "chunk")
    )
    np.testing.assert_allclose(bound(keys, num_samples=5, chunk=2), bound(keys, num_samples=5, chunk=5), rtol=1e-5)


def test_one_chunk_is_compiled_however_many_there_are():
    kernel = jnp.ones((3, 3, 1, 1))

    def weights(keys):
        noise = jax.vmap(jax.vmap(lambda key: jax.random.normal(key, (8, 8, 1))))(keys).reshape(-1, 8, 8, 1)
        convolved = jax.lax.conv_general_dilated(
            noise, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return convolved.sum((1, 2, 3)).reshape(keys.shape)

    keys = jax.random.split(jax.random.key(1), 4)
    bound = functools.partial(chunked_importance_weighted_bound, weights, num_samples=40, chunk=2)
    assert jax.jit(bound).lower(keys).as_text().count("stablehlo.convolution") == 1


def test_impossible_arguments():
    for wrong in ({"num_samples": 0, "chunk": 1}, {"num_samples": 1, "chunk": 0}):
        with pytest.raises(ValueError, match="at least 1"):
            chunked_importance_weighted_bound(log_weights, KEYS, **wrong)
    with pytest.raises(ValueError, match=r"\(5, 1\).*\(5, 8\)"):
        chunked_importance_weighted_bound(lambda keys: jnp.zeros((5, 1)), KEYS, num_samples=5, chunk=5)


def test_bits_per_dim_of_uniform_data_is_eight_however_it_is_scaled():
    dims = 28 * 28
    levels = jnp.asarray([dims * math.log(256.0)])  # each of 256 levels as likely as another
    np.testing.assert_allclose(bits_per_dim(levels, dims, scale=1.0), [8.0], rtol=1e-6)
    # level + noise in [0, 256), divided by 256: a density of 1; divided by 255, of 255/256 in each dimension
    np.testing.assert_allclose(bits_per_dim(jnp.zeros(1), dims, scale=256.0), [8.0], rtol=1e-6)
    np.testing.assert_allclose(
        bits_per_dim(jnp.asarray([dims * math.log(256 / 255)]), dims, scale=255.0), [8.0], rtol=1e-6
    )


def means_of_known_variance():
    """1,000 records; variances 1, 0.0121, 0.0081 and 0."""
    columns = np.random.RandomState(0).randn(1000, 4)
    columns = (columns - columns.mean(0)) / columns.std(0, ddof=1)
    return columns * [1.0, 0.11, 0.09, 0.0] + [0.0, 50.0, -50.0, 3.0]


def test_active_units():
    means = means_of_known_variance()
    assert float(active_units(jnp.asarray(means, jnp.float32))) == 2
    assert float(active_units(jnp.asarray(means, jnp.float32), threshold=0.008)) == 3
    moments = Moments()
    for part in np.split(means, [1, 400]):
        moments.update(part, np.ones(len(part), bool))
    assert active_units_of_moments(moments) == 2
    assert active_units_of_moments(moments, threshold=0.008) == 3


def test_active_units_of_what_has_none():
    means = means_of_known_variance()
    means[3, 0] = np.nan
    assert np.isnan(active_units(jnp.asarray(means, jnp.float32)))
    with pytest.raises(ValueError, match="at least 2"):
        active_units(jnp.zeros((1, 4)))
