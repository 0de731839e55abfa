"""The nearest images of a large set, exactly, while it passes by in chunks."""

import numpy as np
from jaxtyping import Float, Int, Num

from jgr.metrics.neighbours import ROUNDING


class Nearest:
    """The nearest candidates so far of each query; of equally near ones those that came first.

    Squared Euclidean distances come from products in float64: of integers, such as pixel levels, they have no error; of
    other features one of some 1e-15 of the squared lengths, and below `jgr.metrics.neighbours.ROUNDING` of them it
    is 0.

    Args:
        queries: One row an image.
        k: How many are kept of each.
    """

    def __init__(self, queries: Num[np.ndarray, "n d"], k: int) -> None:
        self._queries = queries.astype(np.float64)
        self._lengths = _squares(self._queries)[:, None]
        self._found = np.full((len(queries), k), np.inf)
        self._indices = np.full((len(queries), k), -1)

    def update(self, candidates: Num[np.ndarray, "m d"], indices: Int[np.ndarray, "m"]) -> None:
        """Looks at some more candidates.

        Args:
            candidates: One row an image.
            indices: What `indices` will call them.
        """
        rows = candidates.astype(np.float64)
        lengths = self._lengths + _squares(rows)[None, :]
        found = lengths - 2 * (self._queries @ rows.T)
        found[found <= ROUNDING * lengths] = 0.0
        found = np.concatenate([self._found, found], axis=1)
        names = np.concatenate([self._indices, np.broadcast_to(indices, (len(found), len(indices)))], axis=1)
        order = np.argsort(found, axis=1, kind="stable")[:, : self._found.shape[1]]
        self._found, self._indices = np.take_along_axis(found, order, 1), np.take_along_axis(names, order, 1)

    @property
    def indices(self) -> Int[np.ndarray, "n k"]:
        """The candidates of each query, the nearest first; -1 where too few came."""
        return self._indices

    @property
    def distances(self) -> Float[np.ndarray, "n k"]:
        """Their Euclidean distances."""
        return np.sqrt(self._found)


def _squares(rows: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n"]:
    return np.einsum("ij,ij->i", rows, rows)
