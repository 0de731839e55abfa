import numpy as np
import pytest

from jgr.metrics.moments import Moments


def moments_of(rows, splits=()):
    moments = Moments()
    for part in np.split(np.asarray(rows), splits):
        moments.update(part)
    return moments


def features(n, d, seed=0):
    return np.random.RandomState(seed).randn(n, d) * 5 + 100


@pytest.mark.parametrize(("n", "d"), [(1000, 8), (3000, 300), (300, 300), (5, 8), (2, 1)])
def test_moments_equal_numpy_and_no_bit_depends_on_the_batches(n, d):
    rows = features(n, d)
    whole, parts = moments_of(rows), moments_of(rows, sorted(np.random.RandomState(1).randint(0, n, 7)))
    np.testing.assert_allclose(whole.mean, rows.mean(0), rtol=1e-12)
    np.testing.assert_allclose(whole.covariance, np.cov(rows.T).reshape(d, d), rtol=1e-10, atol=1e-11)
    np.testing.assert_array_equal(whole.mean, parts.mean)
    np.testing.assert_array_equal(whole.covariance, parts.covariance)
    assert whole.n == parts.n == n


@pytest.mark.parametrize("cuts", [(400,), (1, 2), (700, 1999), (0, 1000, 1300)])
def test_merging_in_any_order_equals_one_stream(cuts):
    rows = features(2000, 300)
    parts = np.split(rows, cuts)
    for order in (parts, parts[::-1]):
        merged = Moments()
        for part in order:
            merged.merge(moments_of(part))
        assert merged.n == 2000
        np.testing.assert_allclose(merged.mean, rows.mean(0), rtol=1e-12)
        np.testing.assert_allclose(merged.covariance, np.cov(rows.T), rtol=1e-10, atol=1e-10)


def test_a_stream_merged_with_itself_counts_twice():
    rows = features(700, 300)
    moments = moments_of(rows)
    moments.merge(moments)
    np.testing.assert_allclose(moments.covariance, np.cov(np.concatenate([rows, rows]).T), rtol=1e-10, atol=1e-10)


def test_masked_rows_do_not_count():
    rows = features(10, 3)
    padded = Moments()
    padded.update(np.concatenate([rows, np.full((6, 3), np.nan)]), np.arange(16) < 10)
    np.testing.assert_array_equal(padded.covariance, moments_of(rows).covariance)
    assert padded.n == 10


@pytest.mark.parametrize(
    ("rows", "rank"),
    [
        (features(20, 64), 20),  # centred rows
        (features(500, 64), 64),  # Cholesky
        (np.repeat(features(500, 32), 2, axis=1), None),  # singular: every feature twice
        (np.ones((500, 4)), 0),
    ],
)
def test_the_factor_times_its_transpose_is_the_covariance(rows, rank):
    moments = moments_of(rows)
    factor = moments.factor()
    np.testing.assert_allclose(factor @ factor.T, moments.covariance, atol=1e-12 * (1 + moments.covariance.max()))
    assert rank is None or factor.shape == (rows.shape[1], rank)


def test_statistics_of_fewer_images_than_features_have_that_rank():
    rows = features(20, 64)
    factor = Moments.from_statistics(rows.mean(0), np.cov(rows.T), 20).factor()
    assert factor.shape == (64, 19)
    np.testing.assert_allclose(factor @ factor.T, np.cov(rows.T), atol=1e-11)


@pytest.mark.parametrize("n", [0, 1, 5, 300, 1000])
def test_stored_arrays_restore_every_bit_and_go_on(n, tmp_path):
    rows, more = features(n, 300), features(400, 300, seed=1)
    moments = moments_of(rows)
    np.savez(tmp_path / "moments.npz", **moments.to_arrays())
    with np.load(tmp_path / "moments.npz", allow_pickle=False) as arrays:
        restored = Moments.from_arrays(arrays)
    assert restored.n == n
    for each in (moments, restored):
        each.update(more)
    np.testing.assert_array_equal(moments.mean, restored.mean)
    np.testing.assert_array_equal(moments.covariance, restored.covariance)


def test_statistics_of_others():
    rows, more = features(100, 8), features(50, 8, seed=1)
    mean, covariance = rows.mean(0), np.cov(rows.T)
    known = Moments.from_statistics(mean, covariance, 100)
    known.update(more)
    both = np.concatenate([rows, more])
    np.testing.assert_allclose(known.mean, both.mean(0), rtol=1e-12)
    np.testing.assert_allclose(known.covariance, np.cov(both.T), rtol=1e-10, atol=1e-11)

    unknown = Moments.from_arrays(Moments.from_statistics(mean, covariance).to_arrays())
    assert unknown.n is None
    np.testing.assert_array_equal(unknown.covariance, covariance)
    with pytest.raises(ValueError, match="without their number of images"):
        unknown.update(more)
    with pytest.raises(ValueError, match="without their number of images"):
        known.merge(unknown)


@pytest.mark.parametrize(
    ("mean", "covariance", "n", "message"),
    [
        (np.zeros(2), np.eye(3), None, "shapes"),
        (np.zeros(2), np.array([[1.0, np.nan], [np.nan, 1.0]]), None, "not finite"),
        (np.array([0.0, np.inf]), np.eye(2), None, "not finite"),
        (np.zeros(2), np.array([[1.0, 0.5], [0.0, 1.0]]), None, "not symmetric"),
        (np.zeros(2), np.eye(2), 1, "at least 2"),
    ],
)
def test_statistics_that_are_none(mean, covariance, n, message):
    with pytest.raises(ValueError, match=message):
        Moments.from_statistics(mean, covariance, n)


def test_what_cannot_be_taken_in():
    with pytest.raises(ValueError, match="no images"):
        _ = Moments().mean
    with pytest.raises(ValueError, match="at least 2 images, not 1"):
        _ = moments_of(np.ones((1, 2))).covariance
    with pytest.raises(ValueError, match="at least 2 images, not 1"):
        moments_of(np.ones((1, 2))).factor()
    with pytest.raises(ValueError, match="2 of 3 images are not finite"):
        Moments().update(np.array([[1.0, np.nan], [np.inf, 1.0], [0.0, 0.0]]))
    moments = moments_of(np.ones((3, 2)))
    with pytest.raises(ValueError, match="have 3 features, those before had 2"):
        moments.update(np.ones((3, 3)))
    for n in (3, 1000):
        with pytest.raises(ValueError, match="features"):
            moments.merge(moments_of(np.ones((n, 3))))
    assert moments.n == 3
