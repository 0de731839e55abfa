import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.spatial import geometric_slerp

from jgr.jobs.explore.codes import slerp, truncated


def between(first, second, fractions):
    """`slerp` at several fractions of one way."""
    many = [jnp.tile(jnp.asarray(end, jnp.float32), (len(fractions), 1)) for end in (first, second)]
    return np.asarray(jax.jit(slerp)(*many, jnp.asarray(fractions, jnp.float32)))


def test_slerp_is_that_of_scipy_on_a_sphere():
    first, second = (vector / np.linalg.norm(vector) for vector in np.random.default_rng(0).normal(size=(2, 7)))
    fractions = np.linspace(0, 1, 9)
    expected = geometric_slerp(first, second, fractions)
    np.testing.assert_allclose(between(first, second, fractions), expected, atol=1e-6)
    np.testing.assert_allclose(between(5 * first, 5 * second, fractions), 5 * expected, atol=5e-6)


def test_slerp_begins_and_ends_exactly():
    first, second = np.random.default_rng(1).normal(size=(2, 512)).astype(np.float32)
    np.testing.assert_array_equal(between(first, second, [0.0, 1.0]), [first, second])


@pytest.mark.parametrize("angle", [0.0, 1e-7, 1e-5, 9e-4, 1.1e-3, 1e-2, 1.0])
def test_slerp_of_any_angle_however_small(angle):
    """The angle grows evenly along the way: sin and cos of half of it at half way, in float64."""
    ends = np.array([[1.0, 0.0], [np.cos(angle), np.sin(angle)]])
    fractions = np.array([0.0, 0.25, 0.5, 1.0])
    expected = np.stack([np.cos(fractions * angle), np.sin(fractions * angle)], axis=1)
    np.testing.assert_allclose(between(*ends, fractions), expected, atol=3e-7)


@pytest.mark.parametrize("second", [[-3.0, -4.0], [0.0, 0.0]])
def test_slerp_stays_finite_where_there_is_no_way_around(second):
    way = between([3.0, 4.0], second, [0.0, 0.5, 1.0])
    assert np.isfinite(way).all()
    assert (np.linalg.norm(way, axis=1) <= 5 + 1e-6).all()
    np.testing.assert_array_equal(way[[0, 2]], [[3.0, 4.0], second])


@pytest.mark.parametrize("threshold", [0.3, 0.7, 2.0])
def test_truncated_latents_are_of_the_truncated_normal_distribution(threshold):
    keys = jax.random.split(jax.random.key(0), 200)
    latents = jax.vmap(lambda key: jax.random.normal(key, (100,)))(keys)
    drawn = np.asarray(truncated(latents, keys, threshold))
    assert np.abs(drawn).max() <= threshold
    kept = np.abs(latents) <= threshold
    np.testing.assert_array_equal(drawn[kept], np.asarray(latents)[kept])
    expected = stats.truncnorm(-threshold, threshold)
    assert stats.kstest(drawn.ravel(), expected.cdf).pvalue > 0.01
    assert drawn.var() == pytest.approx(expected.var(), rel=0.03)
    # Values drawn again have that distribution by themselves: they do not follow those they replace.
    assert stats.kstest(drawn[~kept], expected.cdf).pvalue > 0.01
    assert abs(np.corrcoef(drawn[~kept], np.asarray(latents)[~kept])[0, 1]) < 0.05
