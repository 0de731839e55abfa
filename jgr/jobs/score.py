"""Scores a state with the metrics of an evaluation: samples, features on the device, statistics on the host."""

import logging
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from jgr.data.loader import Data, evaluation_batches
from jgr.data.source import fingerprint
from jgr.errors import ConfigError
from jgr.jobs.experiment import Evaluation
from jgr.jobs.sampling import make_sample
from jgr.mesh import Mesh
from jgr.metrics.metric import DistributionMetric
from jgr.state import TrainState, averaged
from jgr.tasks.task import Sampler, Task

_LOGGER = logging.getLogger(__name__)

Score = dict[str, Any]
"""metric, protocol, dataset, value, n: what a result row says of one measurement."""


class Scorer:
    """Scores states of one task; statistics of the real images and compiled functions are made once.

    Args:
        task: What made the states.
        evaluation: What to measure.
        training_data: The real images where the evaluation names none.
        mesh: The devices.

    Raises:
        ConfigError: If a metric needs what the task cannot do.
    """

    def __init__(self, task: Task, evaluation: Evaluation, training_data: Data, mesh: Mesh) -> None:
        if evaluation.metrics and not isinstance(task, Sampler):
            metric = next(iter(evaluation.metrics.values()))
            raise ConfigError(
                f"metric {metric.name} needs a task that generates images, and {type(task).__qualname__} has no method "
                "sample (jgr.tasks.task.Sampler)"
            )
        self._evaluation = evaluation
        self._data = evaluation.data or training_data
        self._metrics = evaluation.metrics
        self._reference: dict[str, Any] | None = None
        self._dataset: str | None = None
        self._mesh = mesh
        self._batch_size = mesh.rounded_up(evaluation.batch_size)
        self._real_features = jax.jit(self._features, out_shardings=mesh.replicated)
        self._sample_features = make_sample(task, mesh, "evaluation", self._features)

    @property
    def dataset(self) -> str:
        """The real images: name, what was done to their size, and fingerprint: "mnist-test,resize16@3f2a91…"."""
        if self._dataset is None:
            fit = "".join(
                f",{name}{size}" for name in ("resize", "crop") if (size := getattr(self._data, name)) is not None
            )
            self._dataset = f"{self._data.source.name}{fit}@{fingerprint(self._data.source)}"
        return self._dataset

    def score(
        self, state: TrainState, seed: int, weights: str, advance: Callable[[int], Any] = lambda n: None
    ) -> list[Score]:
        """One score for each metric.

        Args:
            state: The state to score; only parameters and model state are read.
            seed: Decides the latents.
            weights: "ema" or "raw".
            advance: Called with the number of images done.
        """
        if not self._metrics:
            return []
        reference = self._reference or self._gather(self._real_batches(), advance)
        self._reference = reference
        if weights == "ema":
            state = averaged(state)
        generated = self._gather(self._sample_batches(state, seed), advance)
        split = self._data.source.name.rpartition("-")[2]
        return [
            {
                "metric": metric.name,
                "protocol": metric.protocol(generated[name].n, split),
                "dataset": self.dataset,
                "value": _computed(metric, reference[name], generated[name]),
                "n": generated[name].n,
            }
            for name, metric in self._metrics.items()
        ]

    def _features(self, images: jax.Array) -> dict[str, jax.Array]:
        return {name: metric.features(images) for name, metric in self._metrics.items()}

    def _gather(self, batches: Iterator[tuple[Any, np.ndarray]], advance: Callable[[int], Any]) -> dict[str, Any]:
        states = {name: metric.state() for name, metric in self._metrics.items()}
        for features, mask in batches:
            for name, values in jax.device_get(features).items():
                states[name].update(values, mask)
            advance(int(mask.sum()))
        return states

    def _real_batches(self) -> Iterator[tuple[Any, np.ndarray]]:
        size, total = self._batch_size, len(self._data.source)
        rows = self._mesh.rows(size)
        for start, batch in zip(range(0, total, size), evaluation_batches(self._data, size, rows=rows), strict=True):
            images = self._mesh.put_batch({"image": batch["image"]}, size)["image"]
            yield self._real_features(images), np.arange(start, start + size) < total

    def _sample_batches(self, state: TrainState, seed: int) -> Iterator[tuple[Any, np.ndarray]]:
        size, total = self._batch_size, self._evaluation.num_samples
        for start in range(0, total, size):
            yield self._sample_features(state, seed, size, start), np.arange(start, start + size) < total


def _computed(metric: DistributionMetric, reference: Any, generated: Any) -> float:
    """The metric's value; NaN, with a warning, where it has none, so that the other metrics are not lost with it."""
    try:
        return metric.compute(reference, generated)
    except (ValueError, ArithmeticError, np.linalg.LinAlgError) as error:
        _LOGGER.warning("metric %s has no value: %s", metric.name, error)
        return math.nan
