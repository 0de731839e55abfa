"""Pairs of images measured batch by batch."""

from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Bool, Float

from jgr.metrics.metric import PairMetric, Value

Images = Float[Array, "batch height width channels"] | Float[np.ndarray, "batch height width channels"]


class PairStream:
    """The value of a metric of pairs over a stream of batches, in any sizes.

    ```python
    stream = PairStream(PSNR(color="y", crop=4))
    for restored, target in batches:
        stream.update(restored, target)
    stream.value, stream.values
    ```

    Args:
        metric: Such as `jgr.metrics.pairs.PSNR`.

    Raises:
        ConfigError: The metric's weights are missing.
    """

    def __init__(self, metric: PairMetric) -> None:
        self._metric, self._weights = metric, metric.load()
        self._compare = jax.jit(metric.values)
        self._parts: list[Float[np.ndarray, "batch"]] = []

    def update(self, images: Images, targets: Images, mask: Bool[np.ndarray, "batch"] | None = None) -> None:
        """Takes in the pairs where `mask` is true; all without it.

        Args:
            images: In [0, 1].
            targets: In [0, 1], of the same shape.
            mask: False for fillings of the last batch.
        """
        with jax.default_matmul_precision("highest"):
            values = np.asarray(self._compare(self._weights, images, targets), np.float64)
        self._parts.append(values if mask is None else values[np.asarray(mask)])

    def merge(self, other: "PairStream") -> None:
        """Takes in what another stream of the same metric gathered, behind what is here."""
        self._parts += other._parts

    @property
    def values(self) -> Float[np.ndarray, "n"]:
        """The value of each pair, in order."""
        return np.concatenate(self._parts) if self._parts else np.zeros(0)

    @property
    def value(self) -> Value:
        """The value of all pairs.

        Raises:
            ValueError: There was none.
        """
        values: Any = self.values
        if not len(values):
            raise ValueError(f"metric {self._metric.name} was given no images")
        return self._metric.summary(values)
