"""Kernel distance (KID on Inception features): the squared maximum mean discrepancy of a cubic kernel."""

import numpy as np
from jaxtyping import Float, Num

from jgr.metrics.moments import finite_rows

BLOCK = 2048  # side of the part of the kernel matrix that is in memory: 32 MiB in float64


def kernel_distance(x: Num[np.ndarray, "n d"], y: Num[np.ndarray, "m _"]) -> float:
    """Unbiased squared maximum mean discrepancy of all rows, with the kernel (x.y / d + 1)^3.

    Bińkowski et al. 2018, section 4 and equation 4; n and m may differ. Nothing is drawn, so the value is that of the
    features alone. It is computed in float64, in blocks; it may be negative where the distributions are close.

    Args:
        x: Features of one set of images.
        y: Features of the other, as many a row.

    Raises:
        ValueError: With fewer than two rows in either, features that are not finite, or of different length.
    """
    x, y = _pair(x, y)
    if min(len(x), len(y)) < 2:
        raise ValueError(f"a kernel distance needs at least 2 images of each; there are {len(x)} and {len(y)}")
    return _unbiased(x, y)


def kernel_distance_subsets(
    x: Num[np.ndarray, "n d"],
    y: Num[np.ndarray, "m _"],
    num_subsets: int = 100,
    subset_size: int = 1000,
    seed: int = 2020,
) -> tuple[float, float]:
    """Mean and standard deviation of `kernel_distance` over random subsets.

    This is how KID is usually reported. The defaults and the subsets are those of torch-fidelity: for each, rows of
    `x`, then rows of `y`, without replacement, from `np.random.RandomState(seed)`. It computes in float32, we in
    float64.

    Args:
        x: Features of the first set of images; torch-fidelity's input 1, by custom the generated ones.
        y: Features of the second.
        num_subsets: How many subsets.
        subset_size: How many rows of each are in a subset.
        seed: Of the subsets.

    Returns:
        The mean, and the standard deviation over subsets (ddof 0).

    Raises:
        ValueError: As `kernel_distance`, or if either has fewer rows than a subset.
    """
    if num_subsets < 1 or subset_size < 2:
        raise ValueError(f"there must be subsets, of at least 2 images: not {num_subsets} of {subset_size}")
    x, y = _pair(x, y)
    if min(len(x), len(y)) < subset_size:
        raise ValueError(
            f"subsets of {subset_size} need as many images of each; there are {len(x)} and {len(y)}: take "
            "num_subsets=0 (kid_full, kd_full), which is of all images at once"
        )
    rng = np.random.RandomState(seed)
    values = [
        _unbiased(
            x[rng.choice(len(x), subset_size, replace=False)],
            y[rng.choice(len(y), subset_size, replace=False)],
        )
        for _ in range(num_subsets)
    ]
    return float(np.mean(values)), float(np.std(values))


def _pair(
    x: Num[np.ndarray, "n d"], y: Num[np.ndarray, "m _"]
) -> tuple[Num[np.ndarray, "n d"], Num[np.ndarray, "m d"]]:
    x, y = finite_rows(x), finite_rows(y)
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"the numbers of features differ: {x.shape[1]} and {y.shape[1]}")
    return x, y


def _unbiased(x: Num[np.ndarray, "n d"], y: Num[np.ndarray, "m d"]) -> float:
    n, m = len(x), len(y)
    within = _sum_within(x) / (n * (n - 1)) + _sum_within(y) / (m * (m - 1))
    between = sum(_kernel(a, b).sum() for a in _blocks(x) for b in _blocks(y))
    return float(within - 2 * between / (n * m))


def _sum_within(x: Num[np.ndarray, "n d"]) -> float:
    """The sum over the kernel matrix without its diagonal; a block below the diagonal counts as the one above."""
    total = 0.0
    for i, a in enumerate(_blocks(x)):
        kernel = _kernel(a, a)
        total += kernel.sum() - np.trace(kernel)
        total += 2 * sum(_kernel(a, b).sum() for j, b in enumerate(_blocks(x)) if j > i)
    return total


def _blocks(x: Num[np.ndarray, "n d"]) -> list[Num[np.ndarray, "block d"]]:
    return [x[start : start + BLOCK] for start in range(0, len(x), BLOCK)]


def _kernel(x: Num[np.ndarray, "n d"], y: Num[np.ndarray, "m d"]) -> Float[np.ndarray, "n m"]:
    left = np.asarray(x, np.float64)
    right = left if y is x else np.asarray(y, np.float64)  # a product with its own transpose costs half
    base = left @ right.T
    base /= x.shape[1]
    base += 1.0
    return base * base * base
