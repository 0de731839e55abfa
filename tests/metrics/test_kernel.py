import numpy as np
import pytest

from jgr.metrics import kernel
from jgr.metrics.kernel import kernel_distance, kernel_distance_subsets

X, Y = np.random.RandomState(0).randn(500, 16), np.random.RandomState(1).randn(400, 16) * 1.1 + 0.2


def by_definition(x, y):
    def k(a, b):
        return (a @ b.T / a.shape[1] + 1) ** 3

    def off_diagonal_mean(gram):
        return gram[~np.eye(len(gram), dtype=bool)].mean()

    return off_diagonal_mean(k(x, x)) + off_diagonal_mean(k(y, y)) - 2 * k(x, y).mean()


def test_unbiased_estimate_of_all_rows():
    assert kernel_distance(X, Y) == pytest.approx(0.19400225522248427, rel=1e-12)
    assert kernel_distance(X[:400], Y) == pytest.approx(0.19493087572557855, rel=1e-12)


@pytest.mark.parametrize("block", [7, 100, 400, 450])
def test_blocks_change_rounding_only(block, monkeypatch):
    monkeypatch.setattr(kernel, "BLOCK", block)
    assert kernel_distance(X[::4], Y[::3]) == pytest.approx(by_definition(X[::4], Y[::3]), rel=1e-11)


def test_is_symmetric_and_permutation_and_rotation_invariant():
    rotation = np.linalg.qr(np.random.RandomState(2).randn(16, 16))[0]
    expected = pytest.approx(kernel_distance(X, Y), rel=1e-10)
    assert kernel_distance(Y, X) == expected
    assert kernel_distance(X[::-1], np.random.RandomState(3).permutation(Y)) == expected
    assert kernel_distance(X @ rotation, Y @ rotation) == expected


def test_is_unbiased_where_distributions_are_equal():
    rng = np.random.RandomState(0)
    values = np.array([kernel_distance(rng.randn(40, 4), rng.randn(30, 4)) for _ in range(400)])
    assert abs(values.mean()) < 4 * values.std() / 20  # a biased estimate is 15 times as far off
    assert values.min() < 0


def test_subsets_are_drawn_as_torch_fidelity_draws_them():
    # metric_kid.py: rng.choice of input 1, then of input 2, for each subset
    rng = np.random.RandomState(2020)
    values = []
    for _ in range(5):
        x = X[rng.choice(500, 100, replace=False)]
        y = Y[rng.choice(400, 100, replace=False)]
        values.append(by_definition(x, y))
    mean, std = kernel_distance_subsets(X, Y, num_subsets=5, subset_size=100)
    assert mean == pytest.approx(np.mean(values), rel=1e-11)
    assert std == pytest.approx(np.std(values), rel=1e-9)
    assert kernel_distance_subsets(X, Y, 5, 100, seed=1) != (mean, std)


def test_one_subset_of_everything_is_the_whole():
    mean, std = kernel_distance_subsets(X[:400], Y, num_subsets=1, subset_size=400)
    assert mean == pytest.approx(0.19493087572557855, rel=1e-11)
    assert std == 0.0


def test_float32_features_are_not_multiplied_in_float32():
    x, y = X.astype(np.float32), Y.astype(np.float32)
    assert kernel_distance(x, y) == pytest.approx(by_definition(x.astype(float), y.astype(float)), rel=1e-11)


def test_what_cannot_be_compared():
    with pytest.raises(ValueError, match=r"subsets of 1000 .* 500 and 400"):
        kernel_distance_subsets(X, Y)
    with pytest.raises(ValueError, match=r"at least 2 images .* 1 and 400"):
        kernel_distance(X[:1], Y)
    with pytest.raises(ValueError, match="differ: 16 and 15"):
        kernel_distance(X, Y[:, :15])
    with pytest.raises(ValueError, match="1 of 2 images are not finite"):
        kernel_distance(X, np.array([[np.nan] * 16, [0.0] * 16]))
    for sizes in ((0, 100), (5, 1)):
        with pytest.raises(ValueError, match="there must be subsets"):
            kernel_distance_subsets(X, Y, *sizes)
