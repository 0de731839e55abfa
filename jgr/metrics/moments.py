"""Mean and covariance of a stream of vectors, in float64."""

import numpy as np
from jaxtyping import Bool, Float, Num


class Moments:
    """Count, mean and scatter matrix, updated batch by batch (Chan, Golub & LeVeque 1983, equation 1.5).

    Merging is associative up to rounding: neither batch size nor order matters beyond about 1e-12.
    """

    def __init__(self) -> None:
        self.n = 0
        self._mean: Float[np.ndarray, "d"] | None = None
        self._scatter: Float[np.ndarray, "d d"] | None = None

    def update(self, features: Num[np.ndarray, "batch d"], mask: Bool[np.ndarray, "batch"]) -> None:
        """Takes in the rows where `mask` is true."""
        rows = np.asarray(features, np.float64)[np.asarray(mask)]
        if len(rows):
            mean = rows.mean(axis=0)
            centred = rows - mean
            self._take(len(rows), mean, centred.T @ centred)

    def merge(self, other: "Moments") -> None:
        """Takes in what another stream gathered."""
        if other.n:
            self._take(other.n, other.mean, other._scatter)

    @property
    def mean(self) -> Float[np.ndarray, "d"]:
        """The mean.

        Raises:
            ValueError: Without any row.
        """
        if self._mean is None:
            raise ValueError("no images were given")
        return self._mean

    @property
    def covariance(self) -> Float[np.ndarray, "d d"]:
        """The unbiased covariance (divided by n - 1).

        Raises:
            ValueError: With fewer than two rows.
        """
        if self._scatter is None or self.n < 2:
            raise ValueError(f"a covariance needs at least 2 images, not {self.n}")
        return self._scatter / (self.n - 1)

    def _take(self, n: int, mean: Float[np.ndarray, "d"], scatter: Float[np.ndarray, "d d"] | None) -> None:
        if self._mean is None or self._scatter is None:
            self.n, self._mean, self._scatter = n, mean, scatter
            return
        total = self.n + n
        shift = mean - self._mean
        self._scatter = self._scatter + scatter + np.outer(shift, shift) * (self.n * n / total)
        self._mean = self._mean + shift * (n / total)
        self.n = total
