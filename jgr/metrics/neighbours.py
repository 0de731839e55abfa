"""Precision, recall, density and coverage: which features lie in whose neighbourhood.

A neighbourhood is the ball around a feature vector that reaches to its k-th nearest neighbour of the same set.
Distances come from products in float64, after the mean is taken off. Two are equal if their squares differ by less than
1e-12 of the vectors' squared lengths, and one below that is 0: so duplicates are at distance 0, a neighbour at the very
radius is on the ball, and neither depends on how the work is cut into blocks.

Is a point on the ball in it? By default it is (`<=`; Kynkäänniemi et al. 2019). The reference code of density and
coverage says no (`strict=True`): where many features are duplicates, that gives 0 where `<=` gives 1. For equal sets
density is 1 + 1/k with `<=`, and 1 with `<`; the other three are 1.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float, Int, Num

from jgr.metrics.moments import finite_rows

ROUNDING = 1e-12  # of a sum of squares: some thousand float64 steps, far below what float32 features resolve
BLOCK = 1024  # rows of the distance matrix that are in memory


def neighbour_distances(features: Num[np.ndarray, "n d"], k: int) -> Float[np.ndarray, "n {k}"]:
    """Euclidean distances to the k nearest others, ascending: column j - 1 holds `radii(features, j)`.

    Args:
        features: One row an image.
        k: How many neighbours, the vector itself left out. A duplicate of it counts.

    Raises:
        ValueError: With k or fewer rows, or features that are not finite.
    """
    features = finite_rows(features)
    if not 1 <= k < len(features):
        raise ValueError(f"{k} neighbours need at least {max(k, 1) + 1} images and k >= 1; there are {len(features)}")
    nearest = np.empty((len(features), k))
    mean = features.mean(axis=0, dtype=np.float64)
    for start, products, rows, columns in _products(features, features, mean):
        products *= -2
        products += columns
        own = np.arange(len(rows))
        products[own, start + own] = np.inf
        products.partition(k - 1, axis=1)
        found = np.sort(products[:, :k], axis=1) + rows[:, None]
        found[found <= 2 * ROUNDING * rows[:, None]] = 0.0
        nearest[start : start + len(rows)] = found
    return np.sqrt(nearest)


def radii(features: Num[np.ndarray, "n d"], k: int) -> Float[np.ndarray, "n"]:
    """Euclidean distance of each row to its k-th nearest other.

    Args:
        features: One row an image.
        k: Which neighbour, the vector itself left out. A duplicate of it counts.

    Raises:
        ValueError: With k or fewer rows, or features that are not finite.
    """
    return neighbour_distances(features, k)[:, k - 1]


def precision(
    real: Num[np.ndarray, "n d"],
    real_radii: Float[np.ndarray, "n"],
    fake: Num[np.ndarray, "m _"],
    strict: bool = False,
) -> float:
    """The share of generated features in some real one's neighbourhood (Kynkäänniemi et al. 2019, section 2)."""
    return float((_counts(real, real_radii, fake, strict)[0] > 0).mean())


def recall(
    real: Num[np.ndarray, "n d"],
    fake: Num[np.ndarray, "m _"],
    fake_radii: Float[np.ndarray, "m"],
    strict: bool = False,
) -> float:
    """The share of real features in some generated one's neighbourhood (Kynkäänniemi et al. 2019, section 2)."""
    return precision(fake, fake_radii, real, strict)


def density(
    real: Num[np.ndarray, "n d"],
    real_radii: Float[np.ndarray, "n"],
    fake: Num[np.ndarray, "m _"],
    k: int,
    strict: bool = False,
) -> float:
    """In how many real neighbourhoods a generated feature lies, over k (Naeem et al. 2020, section 3); may exceed 1.

    Args:
        real: Features of real images.
        real_radii: `radii(real, k)`.
        fake: Features of generated images.
        k: The neighbour that the radii reach to.
        strict: Whether a point on a ball is out of it.
    """
    return float(_counts(real, real_radii, fake, strict)[0].mean() / k)


def coverage(
    real: Num[np.ndarray, "n d"],
    real_radii: Float[np.ndarray, "n"],
    fake: Num[np.ndarray, "m _"],
    strict: bool = False,
) -> float:
    """The share of real features with a generated one in their neighbourhood (Naeem et al. 2020, section 3)."""
    return float(_counts(real, real_radii, fake, strict)[1].mean())


def precision_recall(
    real: Num[np.ndarray, "n d"], fake: Num[np.ndarray, "m _"], k: int = 3, strict: bool = False
) -> tuple[float, float]:
    """Precision and recall (Kynkäänniemi et al. 2019).

    Args:
        real: Features of real images.
        fake: Features of generated images.
        k: The neighbour that a ball reaches to.
        strict: Whether a point on a ball is out of it.

    Raises:
        ValueError: With k or fewer rows in either, features that are not finite, or of different length.
    """
    real, fake = _same_width(real, fake)
    return precision(real, radii(real, k), fake, strict), recall(real, fake, radii(fake, k), strict)


def density_coverage(
    real: Num[np.ndarray, "n d"], fake: Num[np.ndarray, "m _"], k: int = 5, strict: bool = False
) -> tuple[float, float]:
    """Density and coverage (Naeem et al. 2020, whose code has `strict=True`).

    Args:
        real: Features of real images.
        fake: Features of generated images.
        k: The neighbour that a ball reaches to.
        strict: Whether a point on a ball is out of it.

    Raises:
        ValueError: With k or fewer real rows, no generated row, features that are not finite, or of different length.
    """
    real, fake = _same_width(real, fake)
    balls, covered = _counts(real, radii(real, k), fake, strict)
    return float(balls.mean() / k), float(covered.mean())


def _counts(
    centres: Num[np.ndarray, "n d"],
    centre_radii: Float[np.ndarray, "n"],
    points: Num[np.ndarray, "m _"],
    strict: bool,
) -> tuple[Int[np.ndarray, "m"], Bool[np.ndarray, "n"]]:
    """In how many balls each point lies, and whether any point lies in each ball."""
    centres, points = _same_width(centres, points)
    if len(centre_radii) != len(centres):
        raise ValueError(f"{len(centres)} rows have {len(centre_radii)} radii")
    if not len(points):
        raise ValueError("no images were given")
    counts, covered = np.empty(len(points), np.int64), np.zeros(len(centres), bool)
    tie = 1 + ROUNDING if strict else 1 - ROUNDING
    mean = centres.mean(axis=0, dtype=np.float64)
    for start, products, rows, columns in _products(points, centres, mean):
        reach = centre_radii**2 - tie * columns
        products *= -2
        products += tie * rows[:, None]
        inside = products < reach if strict else products <= reach
        counts[start : start + len(rows)] = np.count_nonzero(inside, axis=1)
        covered |= inside.any(axis=0)
    return counts, covered


def _products(
    a: Num[np.ndarray, "n d"], b: Num[np.ndarray, "m d"], mean: Float[np.ndarray, "d"]
) -> Iterator[tuple[int, Float[np.ndarray, "block m"], Float[np.ndarray, "block"], Float[np.ndarray, "m"]]]:
    """Inner products of rows of `a` with all of `b`, less the mean: where they start, and both squared lengths."""
    right = b - mean
    columns = np.einsum("ij,ij->i", right, right)
    for start in range(0, len(a), BLOCK):
        left = a[start : start + BLOCK] - mean
        yield start, left @ right.T, np.einsum("ij,ij->i", left, left), columns


def _same_width(
    real: Num[np.ndarray, "n d"], fake: Num[np.ndarray, "m _"]
) -> tuple[Num[np.ndarray, "n d"], Num[np.ndarray, "m d"]]:
    real, fake = finite_rows(real), finite_rows(fake)
    if real.shape[1] != fake.shape[1]:
        raise ValueError(f"the numbers of features differ: {real.shape[1]} and {fake.shape[1]}")
    return real, fake
