import numpy as np
import pytest
import scipy.linalg

from jgr.metrics.gaussian import frechet_distance, frechet_distance_of_gaussians
from jgr.metrics.moments import Moments


def moments_of(rows):
    moments = Moments()
    moments.update(np.asarray(rows))
    return moments


def distance(a, b):
    return frechet_distance(moments_of(a), moments_of(b))


def exact(a, b):
    """From centred rows: tr (A B)^(1/2) is the sum of singular values of their product, no covariance is made."""
    centred = [(x - x.mean(0)) / np.sqrt(len(x) - 1) for x in (a, b)]
    cross = scipy.linalg.svdvals(centred[0] @ centred[1].T).sum()
    shift = a.mean(0) - b.mean(0)
    return shift @ shift + sum((c**2).sum() for c in centred) - 2 * cross


def normal(n, d, seed, scale=1.0, shift=0.0):
    return np.random.RandomState(seed).randn(n, d) * scale + shift


X, Y = normal(500, 16, 0), normal(400, 16, 1, 1.1, 0.2)


def test_unit_gaussians_one_apart_in_each_of_2048_dimensions():
    # pytorch-fid, tests/test_fid_score.py
    identity = np.eye(2048)
    assert frechet_distance_of_gaussians(np.zeros(2048), identity, np.ones(2048), identity) == 2048.0


def test_three_constant_images_divide_by_two():
    # pytorch-fid, tests/test_fid_score.py: images of 0, 0.5 and 1, and a "network" that gives the mean colour
    moments = moments_of(np.array([[0.0] * 3, [0.5] * 3, [1.0] * 3]))
    np.testing.assert_allclose(moments.mean, [0.5] * 3)
    np.testing.assert_allclose(moments.covariance, np.full((3, 3), 0.25))


def test_singular_covariances():
    # compare_gan, metrics/fid_score_test.py
    real, generated = np.ones((100, 2)), 9 * np.ones((100, 2))
    real[:50, 0] = 2
    generated[50:, 0] = 2
    assert distance(real, generated) == pytest.approx(89.091, abs=5e-4)


def test_four_images_of_four_features():
    # torch-fidelity, test_fid_stats_fn.py: roots of real eigenvalues gave nan
    rng = np.random.RandomState(1)
    a, b = rng.randn(4, 4), rng.randn(4, 4)
    assert distance(a, b) == pytest.approx(exact(a, b), rel=1e-10)


@pytest.mark.parametrize("n", [2, 4, 16, 64, 256, 1024])
@pytest.mark.parametrize("d", [2, 8, 64, 128])
def test_equals_the_eigenvalues_of_the_product(n, d):
    # torch-fidelity, test_fid_stats_fn.py. With n <= d most eigenvalues of the product are rounding, 1e-16 of
    # the largest, whose roots are 1e-8 of its root: the reference is no better than that then
    rng = np.random.RandomState(2023)
    a, b = rng.randn(n, d), rng.randn(n, d)
    eigenvalues = np.linalg.eigvals(np.cov(a.T) @ np.cov(b.T)).astype(complex)
    shift = a.mean(0) - b.mean(0)
    expected = shift @ shift + np.trace(np.cov(a.T) + np.cov(b.T)) - 2 * np.sqrt(eigenvalues).real.sum()
    assert distance(a, b) == pytest.approx(expected, rel=1e-10 if n > d else 1e-6)
    assert distance(a, b) == pytest.approx(exact(a, b), rel=1e-10)


def test_equals_the_square_root_of_the_product():
    assert distance(X, Y) == pytest.approx(1.430038328296149, abs=1e-12)
    root = scipy.linalg.sqrtm(np.cov(X.T) @ np.cov(Y.T)).real
    shift = X.mean(0) - Y.mean(0)
    assert distance(X, Y) == pytest.approx(shift @ shift + np.trace(np.cov(X.T) + np.cov(Y.T) - 2 * root), abs=1e-9)


def test_diagonal_gaussians_in_closed_form():
    a, b = np.linspace(0.5, 2, 32), np.linspace(2, 0.5, 32)
    value = frechet_distance_of_gaussians(np.zeros(32), np.diag(a), np.full(32, 0.5), np.diag(b))
    assert value == pytest.approx(13.452647956201007, rel=1e-12)
    assert value == pytest.approx(((np.sqrt(a) - np.sqrt(b)) ** 2).sum() + 32 * 0.25, rel=1e-12)


@pytest.mark.parametrize(("n", "d"), [(500, 16), (30, 64), (900, 600)])
def test_is_zero_for_equal_moments(n, d):
    rows = normal(n, d, 0)
    assert abs(distance(rows, rows)) < 1e-13 * 2 * d
    assert abs(distance(rows, np.random.RandomState(1).permutation(rows))) < 1e-13 * 2 * d


@pytest.mark.parametrize(("n", "d"), [(300, 12), (20, 64)])
def test_is_symmetric_and_permutation_and_rotation_invariant(n, d):
    a, b = normal(n, d, 0), normal(n + 10, d, 1, 1.2, 0.3)
    rotation = scipy.linalg.qr(normal(d, d, 2))[0]
    assert distance(a, b) == pytest.approx(distance(b, a), rel=1e-11)
    assert distance(a, b) == pytest.approx(distance(a[::-1], np.random.RandomState(1).permutation(b)), rel=1e-11)
    assert distance(a, b) == pytest.approx(distance(a @ rotation, b @ rotation), rel=1e-10)


def test_rises_with_the_mean_by_its_square():
    shifts = np.array([0.0, 0.1, 0.5, 2.0])
    np.testing.assert_allclose([distance(X, X + shift) for shift in shifts], 16 * shifts**2, atol=1e-11)


@pytest.mark.parametrize("sizes", [(20, 30), (63, 64), (20, 500), (500, 20), (65, 65)])
def test_fewer_images_than_features(sizes):
    a, b = normal(sizes[0], 64, 0), normal(sizes[1], 64, 1, 1.1, 0.1)
    assert distance(a, b) == pytest.approx(exact(a, b), rel=1e-11)
    stored = [Moments.from_statistics(x.mean(0), np.cov(x.T), len(x)) for x in (a, b)]
    assert frechet_distance(*stored) == pytest.approx(exact(a, b), rel=1e-11)
    assert frechet_distance_of_gaussians(a.mean(0), np.cov(a.T), b.mean(0), np.cov(b.T)) == pytest.approx(
        exact(a, b), rel=1e-6
    )


@pytest.mark.parametrize("ratio", [1e-1, 1e-5, 1e-7])
def test_many_features_of_which_few_vary_much(ratio):
    # Eigenvalues of the product with its own transpose are wrong by 1e-6 of the distance from a ratio of 1e-5 on
    d = 520
    rotation = scipy.linalg.qr(normal(d, d, 3))[0]
    scale = np.where(np.arange(d) < 20, 1.0, ratio)
    a, b = ((normal(1100, d, seed) * scale) @ rotation for seed in (1, 2))
    roots = [scipy.linalg.qr((x - x.mean(0)) / np.sqrt(len(x) - 1), mode="r")[0][:d] for x in (a, b)]
    shift = a.mean(0) - b.mean(0)
    cross = scipy.linalg.svdvals(roots[0] @ roots[1].T).sum()
    expected = shift @ shift + sum((r**2).sum() for r in roots) - 2 * cross
    assert distance(a, b) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_what_is_no_covariance_raises(order):
    # ignite, test_fid.py; the other is singular and the product would hide it
    pair = [np.array([[-1.0, 1.0], [1.0, 1.0]]), np.zeros((2, 2))]
    with pytest.raises(ValueError, match="not a covariance"):
        frechet_distance_of_gaussians(np.zeros(2), pair[order[0]], np.zeros(2), pair[order[1]])


def test_what_cannot_be_compared():
    with pytest.raises(ValueError, match="numbers of features differ: 16 and 15"):
        distance(X, Y[:, :15])
    with pytest.raises(ValueError, match="at least 2 images, not 1"):
        distance(X, Y[:1])
    with pytest.raises(ValueError, match="no images"):
        frechet_distance(moments_of(X), Moments())
    with pytest.raises(ValueError, match="not finite"):
        frechet_distance_of_gaussians(np.zeros(2), np.eye(2), np.zeros(2), np.full((2, 2), np.inf))
    with np.errstate(over="ignore", invalid="ignore"), pytest.raises(ValueError, match="too large"):
        distance(X * 1e200, Y)
