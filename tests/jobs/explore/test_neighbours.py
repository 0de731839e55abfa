import numpy as np
import pytest
from scipy.spatial.distance import cdist

from jgr.jobs.explore.neighbours import Nearest


def search(queries, candidates, k, chunk):
    nearest = Nearest(queries, k)
    for start in range(0, len(candidates), chunk):
        part = candidates[start : start + chunk]
        nearest.update(part, np.arange(start, start + len(part)))
    return nearest


@pytest.mark.parametrize("chunk", [1, 7, 64, 300])
def test_pixels_as_by_brute_force_in_integers(chunk):
    """Few levels, so that many candidates are equally near: the first of them come first, however work is cut."""
    generator = np.random.default_rng(0)
    queries, candidates = (generator.integers(0, 4, (n, 5), np.uint8) * np.uint8(85) for n in (9, 300))
    squares = ((queries[:, None].astype(np.int64) - candidates[None].astype(np.int64)) ** 2).sum(-1)
    expected = np.argsort(squares, axis=1, kind="stable")[:, :6]
    found = search(queries, candidates, 6, chunk)
    np.testing.assert_array_equal(found.indices, expected)
    np.testing.assert_array_equal(found.distances, np.sqrt(np.take_along_axis(squares, expected, 1)))


def test_features_as_by_scipy_and_a_copy_at_distance_0():
    generator = np.random.default_rng(1)
    queries, candidates = (100 + generator.normal(size=(n, 40)).astype(np.float32) for n in (4, 200))
    candidates[[17, 150]] = queries[2]
    found = search(queries, candidates, 5, 64)
    distances = cdist(queries, candidates)
    np.testing.assert_array_equal(found.indices, np.argsort(distances, axis=1, kind="stable")[:, :5])
    np.testing.assert_allclose(found.distances, np.sort(distances, axis=1)[:, :5], rtol=1e-6)
    assert found.indices[2, :2].tolist() == [17, 150]
    assert found.distances[2, :2].tolist() == [0, 0]
