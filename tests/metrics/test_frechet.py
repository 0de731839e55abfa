import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from jgr.metrics.frechet import PixelFrechetDistance, frechet_distance
from jgr.metrics.moments import Moments


def moments_of(rows, splits=()):
    moments = Moments()
    for part in np.split(np.asarray(rows, np.float64), splits):
        moments.update(part, np.ones(len(part), bool))
    return moments


def distance(a, b):
    a, b = moments_of(a), moments_of(b)
    return frechet_distance(a.mean, a.covariance, b.mean, b.covariance)


def test_unit_gaussians_one_apart_in_each_of_512_dimensions():
    # pytorch-fid, tests/test_fid_score.py
    identity = np.eye(512)
    assert frechet_distance(np.zeros(512), identity, np.ones(512), identity) == pytest.approx(512.0, rel=1e-12)


def test_singular_covariances():
    # compare_gan, metrics/fid_score_test.py
    real, generated = np.ones((100, 2)), 9 * np.ones((100, 2))
    real[:50, 0] = 2
    generated[50:, 0] = 2
    assert distance(real, generated) == pytest.approx(89.091, abs=1e-3)


def test_diagonal_gaussians_in_closed_form():
    a, b = np.linspace(0.5, 2, 32), np.linspace(2, 0.5, 32)
    expected = ((np.sqrt(a) - np.sqrt(b)) ** 2).sum() + 32 * 0.25
    assert expected == pytest.approx(13.452647956201007, rel=1e-12)
    assert frechet_distance(np.zeros(32), np.diag(a), np.full(32, 0.5), np.diag(b)) == pytest.approx(
        expected, rel=1e-10
    )


def test_equals_the_square_root_of_the_product():
    a, b = np.random.RandomState(0).randn(500, 16), np.random.RandomState(1).randn(400, 16) * 1.1 + 0.2
    assert distance(a, b) == pytest.approx(1.430038328296149, abs=1e-9)  # scipy.linalg.sqrtm of the product
    root = scipy.linalg.sqrtm(np.cov(a.T) @ np.cov(b.T)).real
    shift = a.mean(0) - b.mean(0)
    assert distance(a, b) == pytest.approx(shift @ shift + np.trace(np.cov(a.T) + np.cov(b.T) - 2 * root), abs=1e-9)


def test_is_zero_for_equal_moments_symmetric_and_rotation_invariant():
    rows, other = np.random.RandomState(0).randn(300, 12), np.random.RandomState(1).randn(200, 12) + 0.3
    rotation = scipy.linalg.qr(np.random.RandomState(2).randn(12, 12))[0]
    assert abs(distance(rows, rows)) < 1e-10
    assert distance(rows, other) == pytest.approx(distance(other, rows), rel=1e-10)
    assert distance(rows, other) == pytest.approx(distance(rows @ rotation, other @ rotation), rel=1e-10)


def test_fewer_images_than_features():
    a, b = np.random.RandomState(0).randn(20, 64), np.random.RandomState(1).randn(30, 64)
    # tr (A B)^(1/2) is the sum of singular values of the product of the centred features
    centred = [(x - x.mean(0)) / np.sqrt(len(x) - 1) for x in (a, b)]
    cross = np.linalg.svd(centred[0] @ centred[1].T, compute_uv=False).sum()
    shift = a.mean(0) - b.mean(0)
    expected = shift @ shift + sum((c**2).sum() for c in centred) - 2 * cross
    assert distance(a, b) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_what_is_no_covariance_raises(order):
    pair = [np.array([[-1.0, 1.0], [1.0, 1.0]]), np.zeros((2, 2))]
    with pytest.raises(ValueError, match="not a covariance"):
        frechet_distance(np.zeros(2), pair[order[0]], np.zeros(2), pair[order[1]])


def test_moments_equal_numpy_however_they_are_split():
    rows = np.random.RandomState(0).randn(1000, 8) * 5 + 100
    for moments in (moments_of(rows), moments_of(rows, [1, 300, 301, 999])):
        np.testing.assert_allclose(moments.mean, rows.mean(0), rtol=1e-12)
        np.testing.assert_allclose(moments.covariance, np.cov(rows.T), rtol=1e-11, atol=1e-12)
    merged, other = moments_of(rows[:400]), moments_of(rows[400:])
    merged.merge(other)
    merged.merge(Moments())
    assert merged.n == 1000
    np.testing.assert_allclose(merged.covariance, np.cov(rows.T), rtol=1e-11, atol=1e-12)


def test_masked_rows_do_not_count():
    rows = np.random.RandomState(0).randn(10, 3)
    padded = Moments()
    padded.update(np.concatenate([rows, np.full((6, 3), np.nan)]), np.arange(16) < 10)
    np.testing.assert_array_equal(padded.covariance, moments_of(rows).covariance)
    assert padded.n == 10


def test_moments_of_nothing():
    with pytest.raises(ValueError, match="no images"):
        _ = Moments().mean
    with pytest.raises(ValueError, match="at least 2"):
        _ = moments_of(np.ones((1, 2))).covariance


def test_pixels_are_scaled_to_one_and_the_protocol_says_what_was_compared():
    metric = PixelFrechetDistance()
    features = np.asarray(metric.features(jnp.array([[[[0], [255]]]], jnp.uint8)))
    np.testing.assert_array_equal(features, [[0.0, 1.0]])
    assert metric.protocol(1000, "test") == "fd_pixels_u8_n1000_test"
    black, white = Moments(), Moments()
    for moments, level in ((black, 0), (white, 255)):
        images = jnp.full((4, 2, 2, 1), level, jnp.uint8)
        moments.update(np.asarray(metric.features(images)), np.ones(4, bool))
    assert metric.compute(black, white) == pytest.approx(4.0)  # 4 pixels, 1 apart, no spread
