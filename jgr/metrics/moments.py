"""Mean and covariance of a stream of vectors, in float64."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Num

MIN_BLOCK = 256  # rows that are held at least, so that few features do not mean many small products
NEGATIVE = 1e-6  # the share of the largest eigenvalue up to which a negative one is rounding


def finite_rows(features: Num[np.ndarray, "..."], what: str = "features") -> Num[np.ndarray, "n d"]:
    """The features, one row an image, as they are.

    Args:
        features: Any array of numbers.
        what: What the message calls them.

    Raises:
        ValueError: If they are not a matrix, or not finite.
    """
    rows = np.asarray(features)
    if rows.ndim != 2 or rows.shape[1] == 0:
        raise ValueError(f"{what} must be [images, features], not of shape {list(rows.shape)}")
    if not np.isfinite(rows).all():
        bad = int((~np.isfinite(rows)).any(axis=1).sum())
        raise ValueError(f"{what} of {bad} of {len(rows)} images are not finite")
    return rows


class Moments:
    """Count, mean and covariance, updated batch by batch.

    Rows are held until there are more of them than features: as long as the covariance must be singular, the rows
    themselves say more than it does, and cost less. Then they are taken into a scatter matrix in blocks of fixed size
    (Chan, Golub & LeVeque 1983, equation 1.5), so that how a stream is cut into batches changes no bit; the order of
    rows and of merges changes rounding only.
    """

    def __init__(self) -> None:
        self._taken: int | None = 0  # rows in the mean and the scatter matrix; None: a covariance of unknown count
        self._mean: Float[np.ndarray, "d"] | None = None
        self._scatter: Float[np.ndarray, "d d"] | None = None
        self._buffer: Float[np.ndarray, "block d"] | None = None
        self._held = 0

    @classmethod
    def from_statistics(
        cls, mean: Float[np.ndarray, "d"], covariance: Float[np.ndarray, "..."], n: int | None = None
    ) -> "Moments":
        """Moments from what others stored, such as `mu` and `sigma` of pytorch-fid's files.

        Args:
            mean: The mean.
            covariance: The unbiased covariance (divided by n - 1), [d, d].
            n: How many images they are of, if that is known. Without it, no images can be added.

        Raises:
            ValueError: If a value is not finite, or the shapes do not fit, or the matrix is not symmetric.
        """
        mean, covariance = np.array(mean, np.float64), np.array(covariance, np.float64)
        if mean.ndim != 1 or covariance.shape != 2 * mean.shape:
            raise ValueError(
                f"no mean and covariance: their shapes are {list(mean.shape)} and {list(covariance.shape)}"
            )
        if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
            raise ValueError("the mean or the covariance is not finite")
        if np.abs(covariance - covariance.T).max() > NEGATIVE * np.abs(covariance).max():
            raise ValueError("not a covariance: it is not symmetric")
        if n is not None and n < 2:
            raise ValueError(f"a covariance needs at least 2 images, not {n}")
        moments = cls()
        moments._taken, moments._mean = n, mean
        moments._scatter = covariance if n is None else covariance * (n - 1)
        return moments

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> "Moments":
        """What `to_arrays` gave, bit for bit; also an open `.npz` file of it."""
        moments = cls()
        if "mean" in arrays:
            moments._taken = int(arrays["taken"]) if "taken" in arrays else None
            moments._mean, moments._scatter = np.array(arrays["mean"]), np.array(arrays["scatter"])
        if "rows" in arrays:
            moments._hold(np.asarray(arrays["rows"]))
        return moments

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Everything there is, as arrays for `np.savez`."""
        arrays: dict[str, np.ndarray] = {}
        if self._mean is not None and self._scatter is not None:
            arrays |= {"mean": self._mean, "scatter": self._scatter}
            if self._taken is not None:
                arrays["taken"] = np.array(self._taken)
        if self._held:
            arrays["rows"] = self._rows
        return arrays

    @property
    def n(self) -> int | None:
        """How many rows were taken in; None if statistics came without it."""
        return None if self._taken is None else self._taken + self._held

    @property
    def dim(self) -> int:
        """How many features a row has.

        Raises:
            ValueError: Without any row.
        """
        if self._mean is not None:
            return len(self._mean)
        if self._buffer is not None:
            return self._buffer.shape[1]
        raise ValueError("no images were given")

    @property
    def mean(self) -> Float[np.ndarray, "d"]:
        """The mean.

        Raises:
            ValueError: Without any row.
        """
        if self._mean is None:
            if not self._held:
                raise ValueError("no images were given")
            return self._rows.mean(axis=0)
        if not self._held or self._taken is None:
            return self._mean.copy()
        return self._mean + (self._rows.mean(axis=0) - self._mean) * (self._held / (self._taken + self._held))

    @property
    def covariance(self) -> Float[np.ndarray, "d d"]:
        """The unbiased covariance (divided by n - 1).

        Raises:
            ValueError: With fewer than two rows.
        """
        if self._taken is None:
            assert self._scatter is not None
            return self._scatter.copy()
        return self._total()[2] / (self._at_least_two() - 1)

    def factor(self) -> Float[np.ndarray, "d r"]:
        """A matrix whose product with its transpose is the covariance.

        With no more rows than features, the centred rows over sqrt(n - 1). Otherwise the Cholesky factor or, where the
        covariance is singular, eigenvectors times roots of eigenvalues, without those that are negative by rounding.

        Raises:
            ValueError: With fewer than two rows, or if the covariance is not finite or has an eigenvalue that is
                negative beyond rounding.
        """
        n = None if self._taken is None else self._at_least_two()
        if n is not None and n <= self.dim and n == self._held:
            rows = self._rows
            return (rows - rows.mean(axis=0)).T / np.sqrt(n - 1)
        covariance = self.covariance
        if not np.isfinite(covariance).all():
            raise ValueError("the covariance is not finite: features are too large")
        if n is None or n > self.dim:
            try:
                return np.linalg.cholesky(covariance)
            except np.linalg.LinAlgError:
                pass  # singular, or no covariance at all
        values, vectors = np.linalg.eigh(covariance)
        if values[0] < -NEGATIVE * abs(values[-1]):
            raise ValueError(
                f"not a covariance: its smallest eigenvalue is {values[0]:.3g}, its largest {values[-1]:.3g}"
            )
        rank = self.dim if n is None else min(self.dim, n - 1)  # more than that is rounding
        keep = (values > 0) & (np.arange(self.dim) >= self.dim - rank)
        return vectors[:, keep] * np.sqrt(values[keep])

    def update(self, features: Num[np.ndarray, "batch d"], mask: Bool[np.ndarray, "batch"] | None = None) -> None:
        """Takes in the rows where `mask` is true; all of them without a mask.

        Raises:
            ValueError: If a row is not finite or has another number of features than the ones before.
        """
        rows = np.asarray(features)
        self._hold(finite_rows(rows if mask is None else rows[np.asarray(mask)]))

    def merge(self, other: "Moments") -> None:
        """Takes in what another stream gathered.

        Raises:
            ValueError: If the other has another number of features, or either has no count.
        """
        if self._taken is None or other._taken is None:
            raise ValueError("statistics without their number of images cannot be merged")
        if other._taken:
            self._take(*other._parts())
        if other._held:
            self._hold(other._rows.copy())

    @property
    def _rows(self) -> Float[np.ndarray, "held d"]:
        assert self._buffer is not None
        return self._buffer[: self._held]

    def _at_least_two(self) -> int:
        assert self._taken is not None
        n = self._taken + self._held
        if n < 2:
            raise ValueError(f"a covariance needs at least 2 images, not {n}")
        return n

    def _hold(self, rows: Num[np.ndarray, "batch d"]) -> None:
        if not len(rows):
            return
        if self._taken is None:
            raise ValueError("statistics without their number of images cannot take more images")
        if (self._mean is not None or self._buffer is not None) and rows.shape[1] != self.dim:
            raise ValueError(f"rows have {rows.shape[1]} features, those before had {self.dim}")
        if self._buffer is None:
            self._buffer = np.empty((max(MIN_BLOCK, rows.shape[1]), rows.shape[1]))
        while len(rows):
            if self._held == len(self._buffer):
                self._take(*_moments(self._buffer))
                self._held = 0
            part = rows[: len(self._buffer) - self._held]
            self._buffer[self._held : self._held + len(part)] = part
            self._held += len(part)
            rows = rows[len(part) :]

    def _take(self, n: int, mean: Float[np.ndarray, "d"], scatter: Float[np.ndarray, "d d"]) -> None:
        if self._taken:
            n, mean, scatter = _merged(self._parts(), (n, mean, scatter))
        elif self._buffer is not None and len(mean) != self.dim:
            raise ValueError(f"rows have {len(mean)} features, those before had {self.dim}")
        self._taken, self._mean, self._scatter = n, mean, scatter

    def _parts(self) -> tuple[int, Float[np.ndarray, "d"], Float[np.ndarray, "d d"]]:
        assert self._taken is not None
        assert self._mean is not None
        assert self._scatter is not None
        return self._taken, self._mean, self._scatter

    def _total(self) -> tuple[int, Float[np.ndarray, "d"], Float[np.ndarray, "d d"]]:
        self._at_least_two()
        if not self._held:
            return self._parts()
        return _merged(self._parts(), _moments(self._rows)) if self._taken else _moments(self._rows)


def _moments(rows: Float[np.ndarray, "n d"]) -> tuple[int, Float[np.ndarray, "d"], Float[np.ndarray, "d d"]]:
    mean = rows.mean(axis=0)
    centred = rows - mean
    return len(rows), mean, centred.T @ centred  # a product with its own transpose costs half


def _merged(
    a: tuple[int, Float[np.ndarray, "d"], Float[np.ndarray, "d d"]],
    b: tuple[int, Float[np.ndarray, "d"], Float[np.ndarray, "d d"]],
) -> tuple[int, Float[np.ndarray, "d"], Float[np.ndarray, "d d"]]:
    if a[1].shape != b[1].shape:
        raise ValueError(f"rows have {len(b[1])} features, those before had {len(a[1])}")
    n = a[0] + b[0]
    shift = b[1] - a[1]
    scatter = np.outer(shift * (a[0] * b[0] / n), shift)
    scatter += a[2]
    scatter += b[2]
    return n, a[1] + shift * (b[0] / n), scatter
