"""Scores what a task makes of the records of a data set: restored images, classes, likelihoods."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jgr.data.source import record_name
from jgr.jobs.experiment import check_records
from jgr.jobs.restorations import Restorations, RestoredBatch
from jgr.jobs.sampling import for_sampling
from jgr.jobs.scoring import Advance, Score, Scoring
from jgr.mesh import gathered
from jgr.metrics.metric import PairMetric, RecordMetric, Value
from jgr.state import TrainState

Look = Callable[[RestoredBatch], None]
"""Shown every batch of restored images."""


class RecordScores:
    """Scores by metrics of single records; compiled functions are made once.

    Args:
        scoring: The evaluation.
    """

    def __init__(self, scoring: Scoring) -> None:
        self._scoring = scoring
        self._restorations = Restorations(scoring)
        self._metrics: dict[str, Any] = scoring.of(PairMetric) | scoring.of(RecordMetric)

    @property
    def num_images(self) -> int:
        """Records that the next `score` reads."""
        return len(self._scoring.data.source) if self._metrics else 0

    def score(self, state: TrainState, seed: int, advance: Advance, look: Look | None = None) -> dict[str, Score]:
        """The scores of the metrics that did not fail, by name; `look` is shown every restored batch."""
        if not self._metrics:
            return {}
        found: dict[str, list[np.ndarray]] = {name: [] for name in self._metrics if name in self._measures}
        state = for_sampling(state)
        restores = bool(self._scoring.of(PairMetric))
        for batch in self._restorations.batches(state, seed, advance, restore=restores, measured=look is not None):
            if look is not None and restores:
                look(batch)
            with self._scoring.mesh.entered():
                for name, kept in list(found.items()):
                    measure = functools.partial(self._measures[name], state, batch)
                    values = self._scoring.guarded(name, measure)
                    if values is None:
                        del found[name]
                    else:
                        kept.append(np.asarray(values, np.float64)[batch.real])
            if not found:  # all have failed: what is left to restore would not be scored
                break
        scores = {}
        for name, parts in found.items():
            metric, values = self._metrics[name], np.concatenate(parts)
            value = self._scoring.guarded(name, functools.partial(self._summary, metric, values))
            if value is not None:
                each = values if values.ndim == 1 and getattr(metric, "has_values", True) else None
                protocol = self._scoring.protocol(metric)
                scores[name] = self._scoring.score(metric, protocol, value, len(values), each)
        return scores

    @functools.cached_property
    def _measures(self) -> dict[str, Callable[..., Any]]:
        """The jitted stage of each metric that can be used: (state, batch) -> values."""
        measures: dict[str, Callable[..., Any]] = {}
        for name, metric in self._scoring.of(PairMetric).items():
            loaded = self._scoring.guarded(name, functools.partial(_in_tuple, metric))
            if loaded is not None:
                measures[name] = self._of_pairs(metric, self._scoring.mesh.put_replicated(loaded[0]))
        for name, metric in self._scoring.of(RecordMetric).items():
            if self._scoring.guarded(name, self._accepted) is not None:
                measures[name] = self._of_records(metric)
        return measures

    def _accepted(self) -> bool:
        """True, where the task can be asked about such records; else the task's error."""
        check_records(self._scoring.task, self._scoring.data)
        return True

    def _of_pairs(self, metric: PairMetric, weights: Any) -> Callable[..., Any]:
        compare = jax.jit(metric.values, out_shardings=self._scoring.mesh.replicated)
        return lambda state, batch: compare(weights, batch.images, batch.targets, batch.records.get("mask"))

    def _of_records(self, metric: RecordMetric) -> Callable[..., Any]:
        def values(state: Any, batch: Any, keys: Any) -> Any:
            return metric.values(self._scoring.task, gathered(state), batch, keys)

        ask = jax.jit(values, out_shardings=self._scoring.mesh.replicated)
        return lambda state, batch: ask(state, batch.records, batch.keys)

    def _summary(self, metric: PairMetric | RecordMetric, values: np.ndarray) -> Value:
        missing = np.isnan(values).reshape(len(values), -1).any(axis=1)
        if missing.any():
            bad = record_name(self._scoring.data.source, int(np.argmax(missing)))
            raise ValueError(f"{missing.sum()} of {len(values)} records give NaN, the first of them {bad}")
        return metric.summary(values)


def _in_tuple(metric: PairMetric) -> tuple[Any]:
    """A metric's weights, told apart from no result at all."""
    return (metric.load(),)
