import numpy as np
import pytest
from scipy.spatial.distance import cdist

from jgr.metrics import neighbours
from jgr.metrics.neighbours import (
    coverage,
    density,
    density_coverage,
    neighbour_distances,
    precision,
    precision_recall,
    radii,
    recall,
)

REAL, FAKE = np.random.RandomState(0).randn(500, 16), np.random.RandomState(1).randn(400, 16) * 1.1 + 0.2


def all_four(real, fake, k, strict=False):
    return (*precision_recall(real, fake, k, strict), *density_coverage(real, fake, k, strict))


def test_both_conventions():
    assert all_four(REAL, FAKE, 3) == pytest.approx((0.61, 0.902, 0.6008333333333333, 0.658), rel=1e-12)
    assert all_four(REAL, FAKE, 5, strict=True) == pytest.approx((0.7125, 0.948, 0.608, 0.818), rel=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("k", [1, 3, 5])
def test_equal_sets(dtype, k):
    # every ball holds its centre, k - 1 neighbours inside and one on it, and that one counts with <= only
    rows = (REAL * 3 + 50).astype(dtype)
    assert all_four(rows, rows, k, strict=True) == (1.0, 1.0, 1.0, 1.0)
    assert all_four(rows, rows, k) == (1.0, 1.0, pytest.approx(1 + 1 / k), 1.0)


def test_mode_collapse_is_precise_and_forgets():
    # torch-fidelity, test_prc_convention.py
    generated, real = 0.1 * np.random.RandomState(0).randn(200, 16), 3 * np.random.RandomState(1).randn(200, 16)
    p, r = precision_recall(real, generated, 3)
    assert p > 0.8
    assert r < 0.3


@pytest.mark.parametrize("k", [1, 5])
def test_coverage_of_equal_distributions(k):
    # Naeem et al. 2020, proposition: 1 - (n-1)...(n-k) / ((2n-1)...(2n-k)); no distance of the data is in it
    n = 60
    expected = 1 - np.prod([(n - i) / (2 * n - i) for i in range(1, k + 1)])
    rng = np.random.RandomState(0)
    values = [density_coverage(rng.randn(n, 8), rng.randn(n, 8), k)[1] for _ in range(200)]
    assert np.mean(values) == pytest.approx(expected, abs=4 * np.std(values) / np.sqrt(200))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_duplicates_are_at_distance_zero(dtype, offset):
    # k duplicates of every vector: balls have radius 0, and only `<=` has anything in them
    rows = np.repeat(np.random.RandomState(0).randn(50, 64) + offset, 4, axis=0).astype(dtype)
    np.testing.assert_array_equal(radii(rows, 3), 0.0)
    assert radii(rows, 4).min() > 1
    generated = rows[np.random.RandomState(1).permutation(200)]
    assert all_four(rows, generated, 3) == (1.0, 1.0, pytest.approx(4 / 3), 1.0)
    assert all_four(rows, generated, 3, strict=True) == (0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize("block", [1, 37, 499, 5000])
def test_blocks_change_nothing(block, monkeypatch):
    rows = (REAL + 20).astype(np.float32)
    pairs = ((REAL, FAKE), (rows, rows))
    expected = [all_four(*pair, 5, strict) for pair in pairs for strict in (False, True)]
    distances = radii(REAL, 5)
    monkeypatch.setattr(neighbours, "BLOCK", block)
    np.testing.assert_allclose(radii(REAL, 5), distances, rtol=1e-12)
    assert [all_four(*pair, 5, strict) for pair in pairs for strict in (False, True)] == expected


def test_neighbour_distances_equal_scipy():
    distances = np.sort(cdist(REAL, REAL), axis=1)[:, 1:6]
    np.testing.assert_allclose(neighbour_distances(REAL, 5), distances, rtol=1e-10)
    np.testing.assert_array_equal(radii(REAL, 3), neighbour_distances(REAL, 5)[:, 2])


def test_shared_radii_give_the_same_values():
    real_distances, fake_radii = neighbour_distances(REAL, 5), radii(FAKE, 3)
    assert precision_recall(REAL, FAKE) == (
        precision(REAL, real_distances[:, 2], FAKE),
        recall(REAL, FAKE, fake_radii),
    )
    assert density_coverage(REAL, FAKE) == (
        density(REAL, real_distances[:, 4], FAKE, k=5),
        coverage(REAL, real_distances[:, 4], FAKE),
    )


def test_permutation_and_rotation_change_nothing():
    rotation = np.linalg.qr(np.random.RandomState(2).randn(16, 16))[0]
    expected = pytest.approx(all_four(REAL, FAKE, 5), rel=1e-12)
    assert all_four(REAL[::-1], np.random.RandomState(3).permutation(FAKE), 5) == expected
    assert all_four(REAL @ rotation + 7, FAKE @ rotation + 7, 5) == expected


def test_what_cannot_be_compared():
    with pytest.raises(ValueError, match="3 neighbours need at least 4 images"):
        precision_recall(REAL, FAKE[:3])
    with pytest.raises(ValueError, match="5 neighbours need at least 6 images"):
        density_coverage(REAL[:5], FAKE)
    with pytest.raises(ValueError, match="0 neighbours"):
        radii(REAL, 0)
    with pytest.raises(ValueError, match="differ: 16 and 15"):
        precision_recall(REAL, FAKE[:, :15])
    with pytest.raises(ValueError, match="not finite"):
        density_coverage(REAL, np.full((10, 16), np.nan))
    with pytest.raises(ValueError, match="no images"):
        density_coverage(REAL, FAKE[:0])
