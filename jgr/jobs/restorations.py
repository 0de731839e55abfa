"""Restores the records of an evaluation: what is scored, what each image took, and pictures of some."""

import collections
import dataclasses
import functools
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key, UInt8

from jgr.errors import ConfigError
from jgr.flops import count_flops
from jgr.images import to_float, to_uint8
from jgr.jobs.panels import panel
from jgr.jobs.sampling import for_sampling
from jgr.jobs.scoring import Advance, Scoring
from jgr.rng import purpose_key, record_keys
from jgr.state import TrainState
from jgr.tasks.inference import AppliedRestorer
from jgr.tasks.precision import computing_in

Images = Float[Array, "batch height width channels"] | Float[np.ndarray, "batch height width channels"]


@dataclasses.dataclass(frozen=True)
class Cost:
    """What the restoration of an image took; None where nobody can tell.

    Args:
        milliseconds: Wall time, compilation aside; of a batch, its share.
        gflop: 10^9 operations of matrix products and convolutions.
        peak_mib: MiB of memory of the compiled program, of all images of a batch: images, weights, what lies between.
        batch: Images that are restored together.
    """

    milliseconds: float
    gflop: float | None
    peak_mib: float | None
    batch: int


@dataclasses.dataclass(frozen=True)
class RestoredBatch:
    """Records, before and after their restoration.

    Args:
        records: The batch, with `image` degraded and what the degradation told.
        keys: One a record.
        images: Restored, within [0, 1]; None where nothing was to be restored.
        targets: What they should be.
        real: Which of them are no filling of the last batch.
        cost: Of one image, where it was measured.
    """

    records: dict[str, Any]
    keys: Key[Array, "batch"]
    images: Images | None
    targets: Images | None
    real: Bool[np.ndarray, "batch"]
    cost: Cost | None


class Restorations:
    """Degrades and restores the records of an evaluation; compiled functions are made once.

    Args:
        scoring: The evaluation.
    """

    def __init__(self, scoring: Scoring) -> None:
        self._scoring = scoring
        self._known: dict[tuple[int, ...], tuple[int | None, int | None]] = {}

    def batches(
        self,
        state: TrainState,
        seed: int,
        advance: Advance = lambda n: None,
        *,
        num_records: int | None = None,
        restore: bool = True,
        measured: bool = False,
    ) -> Iterator[RestoredBatch]:
        """The records, batch by batch.

        Args:
            state: Whose parameters restore.
            seed: Decides the noise of a degradation that is no protocol, and what a restorer draws.
            advance: Told how many records are done.
            num_records: How many, from the first; all when None.
            restore: Whether to degrade and restore them at all.
            measured: Whether to measure what an image takes: the first image of every size is restored twice then.
        """
        state = for_sampling(state)
        for host_batch, real in self._scoring.batches(advance, degraded=restore, num_records=num_records):
            with self._scoring.mesh.entered():
                records, keys = self._prepare(host_batch, np.uint32(seed % 2**32), degrade=restore)
                images = targets = cost = None
                if restore and measured:
                    images, cost = self._measured(state, records, keys)
                elif restore:
                    images = self._restore(state, records, keys)
                if restore:
                    images, targets = self._clipped(images), records.get("target", records["image"])
                    self._check_size(records["image"].shape, images.shape, targets.shape)
                batch = RestoredBatch(records, keys, images, targets, real, cost)
            yield batch

    def _check_size(self, degraded: tuple[int, ...], images: tuple[int, ...], targets: tuple[int, ...]) -> None:
        """Raises ConfigError where restored images cannot be compared."""
        if images != targets:
            given, made, wanted = ("x".join(map(str, shape[1:])) for shape in (degraded, images, targets))
            raise ConfigError(
                f"the task makes images of {made} of degraded ones of {given}, but clean ones are {wanted}: "
                "config.evaluation.degradation must be what the network undoes, its scale too"
            )

    def _measured(self, state: TrainState, records: dict[str, Any], keys: Any) -> tuple[Any, Cost]:
        shape = records["image"].shape
        if shape not in self._known and not getattr(self._scoring.task, "on_host", False):
            jax.block_until_ready(self._restore(state, records, keys))  # compiles
        begun = time.perf_counter()
        images = jax.block_until_ready(self._restore(state, records, keys))
        milliseconds = 1e3 * (time.perf_counter() - begun) / shape[0]
        flops, peak = self._demands(state, records, keys)
        return images, Cost(milliseconds, flops and flops / shape[0] / 1e9, peak and peak / 2**20, shape[0])

    def _demands(self, state: TrainState, records: dict[str, Any], keys: Any) -> tuple[int | None, int | None]:
        """Operations, and the most bytes, that the restoration of a batch takes; None for a restorer on the host."""
        task: Any = self._scoring.task
        if getattr(task, "on_host", False):
            return None, None
        shape = records["image"].shape
        if shape not in self._known:
            inference = self._scoring.evaluation.inference
            task = computing_in(inference.dtype, task, "inference.dtype")
            recorder: Any = _Recorder(task)
            AppliedRestorer(recorder, dataclasses.replace(inference, dtype="float32"))(state, records, keys)
            flops = peak = 0
            for part, calls in recorder.calls.items():
                batch = {name: jax.ShapeDtypeStruct(*spec) for name, spec in part}
                lowered = jax.jit(task.restore).trace(state, batch, keys)
                flops += calls * count_flops(lowered.jaxpr.jaxpr)
                memory = lowered.lower().compile().memory_analysis()
                if memory is not None:
                    used = memory.temp_size_in_bytes + memory.argument_size_in_bytes + memory.output_size_in_bytes
                    peak = max(peak, used)
            self._known[shape] = (flops or None, peak or None)
        return self._known[shape]

    @functools.cached_property
    def _restore(self) -> AppliedRestorer:
        task: Any = self._scoring.task
        return AppliedRestorer(task, self._scoring.evaluation.inference)

    @functools.cached_property
    def _prepare(self) -> Callable[..., Any]:
        def prepare(batch: dict[str, Any], seed: Any, degrade: bool) -> tuple[dict[str, Any], Any]:
            indices = batch["index"].astype(jnp.uint32)
            floats = {name: to_float(array) if array.dtype == jnp.uint8 else array for name, array in batch.items()}
            if degrade:
                noise_keys = record_keys(purpose_key(seed, "degradation"), indices)
                floats = self._scoring.degrader.on_device(floats, noise_keys)
            return floats, record_keys(purpose_key(seed, "evaluation"), indices)

        return jax.jit(prepare, static_argnames="degrade")

    @functools.cached_property
    def _clipped(self) -> Callable[..., Any]:
        return jax.jit(lambda images: jnp.clip(images, 0.0, 1.0))


class _Recorder:
    """Stands in for a restorer, and counts the shapes it is called with."""

    on_host = True

    def __init__(self, task: Any) -> None:
        self._task = task
        self.scale = getattr(task, "scale", 1)
        self.network = getattr(task, "network", task)
        self.calls: collections.Counter[tuple[Any, ...]] = collections.Counter()

    def restore(self, state: TrainState, batch: dict[str, Any], keys: Any) -> np.ndarray:
        """Zeros of the right size."""
        self.calls[tuple((name, (value.shape, value.dtype)) for name, value in batch.items())] += 1
        return np.zeros(jax.eval_shape(self._task.restore, state, batch, keys).shape, np.float32)


class Album:
    """What an evaluation keeps of the images it restored.

    Args:
        num_panels: How many pictures, of the first records.
        aligned: Whether the records' targets are what their images should be.
        num_apart: Of how many of these records the images are kept apart from each other, too.
    """

    def __init__(self, num_panels: int, aligned: bool = True, num_apart: int = 0) -> None:
        self.panels: list[UInt8[np.ndarray, "rows columns channels"]] = []
        self.apart: list[dict[str, UInt8[np.ndarray, "_ _ channels"]]] = []
        self._num_panels, self._num_apart, self._aligned = num_panels, num_apart, aligned
        self._costs: dict[int, tuple[tuple[int, ...], Cost]] = {}

    def add(self, restored: RestoredBatch) -> None:
        """Takes a batch of restored images."""
        images, targets = restored.images, restored.targets
        if images is None or targets is None:
            return
        for place in np.flatnonzero(restored.real):
            index = int(restored.records["index"][place])
            if restored.cost is not None:
                self._costs[index] = (images.shape[1:3], restored.cost)
            if len(self.panels) < self._num_panels:
                degraded, image = np.asarray(restored.records["image"][place]), np.asarray(images[place])
                truth = np.asarray(targets[place]) if self._aligned else None
                self.panels.append(panel(degraded, image, truth))
                if len(self.apart) < self._num_apart:
                    known = {"degraded": degraded, "restored": image} | ({} if truth is None else {"truth": truth})
                    self.apart.append({what: np.asarray(to_uint8(jnp.asarray(one))) for what, one in known.items()})

    def costs(self, num_records: int) -> dict[str, list[Any]]:
        """Columns of a table of records: size and costs, empty where unknown."""
        unknown = ((None, None), Cost(float("nan"), None, None, 0))
        rows = [self._costs.get(index, unknown) for index in range(num_records)]
        columns: dict[str, list[Any]] = {
            "height": [size[0] for size, _ in rows],
            "width": [size[1] for size, _ in rows],
            "ms": [f"{cost.milliseconds:.4g}" for _, cost in rows],
            "gflop": [cost.gflop for _, cost in rows],
            "peak_mib": [cost.peak_mib for _, cost in rows],
            "batch": [cost.batch or None for _, cost in rows],
        }
        return {name: column for name, column in columns.items() if any(value is not None for value in column)}

    @property
    def summary(self) -> str:
        """A line of what an image took, the median of all; nothing where it was not measured."""
        costs = [cost for _, cost in self._costs.values()]
        if not costs:
            return ""
        parts = [f"{statistics.median(cost.milliseconds for cost in costs):.4g} ms"]
        batch = max(cost.batch for cost in costs)
        for unit, values in (
            ("GFLOP", [cost.gflop for cost in costs if cost.gflop]),
            ("MiB" if batch == 1 else f"MiB for {batch} together", [cost.peak_mib for cost in costs if cost.peak_mib]),
        ):
            if values:
                parts.append(f"{statistics.median(values):.4g} {unit}")
        return f"an image takes {', '.join(parts)} (median of {len(costs)})"
