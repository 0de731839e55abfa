"""What the parts of a scorer share: the task, the data, the devices, and the list of what failed."""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from jgr.data.loader import Data, evaluation_batches
from jgr.data.source import fingerprint
from jgr.errors import JgrError
from jgr.jobs.degrade import Degrader
from jgr.jobs.experiment import Evaluation
from jgr.mesh import Mesh
from jgr.metrics.metric import Better, CaptionMetric, DistributionMetric, Metric, PairMetric, RecordMetric, Value
from jgr.tasks.task import Task

Advance = Callable[[int], Any]
"""Called with the number of images done."""

FAILURES = (JgrError, ValueError, TypeError, ArithmeticError, np.linalg.LinAlgError, MemoryError)
"""What a metric may raise without keeping the others from their numbers."""


@dataclasses.dataclass(frozen=True)
class Score:
    """One measurement.

    Args:
        metric: Its name in result rows.
        protocol: How it was measured.
        dataset: What it was measured on.
        value: The number.
        std: Its spread as the metric defines it, or None.
        n: Images it was measured on.
        better: Which values are better.
        values: The value of each record, where the metric has them.
    """

    metric: str
    protocol: str
    dataset: str
    value: float
    std: float | None
    n: int
    better: Better
    values: Float[np.ndarray, "n"] | None = dataclasses.field(default=None, compare=False)

    def fields(self) -> dict[str, Any]:
        """What a result row says of it."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "values"}


@dataclasses.dataclass(frozen=True)
class Scoring:
    """One evaluation of one task's states.

    Args:
        task: What made the states.
        evaluation: What to measure.
        data: The real images, or the records to score.
        mesh: The devices.
        failures: Why a metric has no value, by its name in the config; filled as they fail.
    """

    task: Task
    evaluation: Evaluation
    data: Data
    mesh: Mesh
    failures: dict[str, str] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def dataset(self) -> str:
        """The data: name, what was done to their size, and fingerprint: "mnist-test,resize16@3f2a91…"."""
        fit = "".join(f",{name}{size}" for name in ("resize", "crop") if (size := getattr(self.data, name)) is not None)
        return f"{self.data.source.name}{fit}@{fingerprint(self.data.source)}"

    @functools.cached_property
    def degrader(self) -> Degrader:
        """What is done to records before they are restored."""
        return Degrader(self.evaluation, self.task)

    @property
    def manner(self) -> tuple[str, ...]:
        """How images are degraded, and how they are restored where that is not the usual way."""
        return tuple(part for part in (self.degrader.name, self.evaluation.inference.name) if part)

    @property
    def split(self) -> str:
        """The data's part, such as "test"."""
        return self.data.source.name.rpartition("-")[2]

    @property
    def batch_size(self) -> int:
        """Images at a time, a multiple of the devices."""
        return self.mesh.rounded_up(self.evaluation.batch_size)

    @functools.cached_property
    def first_record(self) -> dict[str, np.ndarray]:
        """The first record, as a batch."""
        return self.data.fit.read(self.data.source, [0])

    def of(self, kind: type) -> dict[str, Any]:
        """The metrics of a kind, by name."""
        return {name: metric for name, metric in self.evaluation.metrics.items() if isinstance(metric, kind)}

    def count(self, metric: Metric) -> int:
        """Images that a metric's value is of."""
        if isinstance(metric, DistributionMetric | CaptionMetric):
            return metric.count(self.evaluation.num_samples, len(self.data.source))
        return len(self.data.source)

    def protocol(self, metric: Metric) -> str:
        """How a metric is measured; known before it is."""
        if isinstance(metric, DistributionMetric):
            return metric.protocol(self.evaluation.num_samples, len(self.data.source), self.split)
        if isinstance(metric, CaptionMetric):
            return metric.protocol(self.evaluation.num_samples, len(self.data.source))
        if isinstance(metric, PairMetric):
            return metric.protocol("/".join(self.manner))
        return metric.protocol() if isinstance(metric, RecordMetric) else metric.name

    def batches(
        self, advance: Advance, degraded: bool = False, num_records: int | None = None
    ) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
        """Batches of the data on the devices, each with the mask of its records that are no filling.

        Args:
            advance: Told how many records are done.
            degraded: Whether the evaluation's protocol is applied to them.
            num_records: How many, from the first; all when None.
        """
        available = len(self.data.source)
        size, total = self.batch_size, available if num_records is None else min(num_records, available)
        records = evaluation_batches(self.data, size, num_records=total, rows=self.mesh.rows(size))
        for start, batch in zip(range(0, total, size), records, strict=True):
            mask = np.arange(start, start + size) < total
            del batch["mask"]
            if degraded:
                batch = self.degrader.on_host(self.data.source, batch)
            yield self.mesh.put_batch(batch, size), mask
            advance(int(mask.sum()))

    def score(
        self, metric: Metric, protocol: str, value: Value | float, n: int, values: np.ndarray | None = None
    ) -> Score:
        """A measurement of the data."""
        number, std = value if isinstance(value, Value) else (value, None)
        return Score(metric.name, protocol, self.dataset, float(number), std, n, metric.better, values)

    def guarded(self, name: str, compute: Callable[[], Any]) -> Any:
        """What a function gives, on the host; None, and the reason in `failures`, where the metric cannot."""
        try:
            return jax.device_get(compute())
        except FAILURES as error:
            self.fail(name, error)
            return None

    def fail(self, name: str, error: BaseException) -> None:
        """Notes why a metric has no value."""
        self.failures[name] = f"{self.evaluation.metrics[name].name}: {error}"
