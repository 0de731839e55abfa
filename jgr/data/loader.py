"""From a source of records to batches on a device: the same bits whichever way they travel."""

import atexit
import dataclasses
import functools
import os
import zlib
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key

from jgr.data.augment import Augment
from jgr.data.captions import Captions
from jgr.data.records import EvaluationRecords, Fit, HostBatch, TrainingRecords
from jgr.data.source import IMAGES, Source
from jgr.data.vocabulary import Vocabulary
from jgr.errors import ConfigError, DataError
from jgr.images import to_float
from jgr.mesh import Mesh
from jgr.rng import folded, record_keys

_MODES = ("auto", "resident", "streamed")

_DROPOUT = zlib.crc32(b"caption dropout")  # what a record's key is folded with: augmentation tells nothing about it
_CHUNK = 512  # records that a thread reads at once while a resident set is loaded


@dataclasses.dataclass(frozen=True, kw_only=True)
class Data:
    """What a run trains on: the config's section `data`.

    Attributes:
        source: Where the records come from, such as `jgr.data.tfds.TFDS` or any `jgr.data.source.Source`.
        mode: "resident": the decoded set lies on the device as uint8 and the host sends indices. "streamed": the host
            decodes each batch. "auto": resident without `crop`, up to `resident_bytes`, and unless the source shows
            each image in many records; else streamed. Both give the same batches, bit for bit.
        resident_bytes: Largest decoded size, in bytes, that "auto" keeps on the device.
        resize: The shorter side after a bicubic resize on the host (Pillow's, antialiased); None keeps the size.
        crop: Height and width of a crop on the host, after the resize: random in training, keyed by seed and position,
            and of the centre in evaluation. Needed where sizes differ. Random crops of images of one size are cheaper
            with `augment.crop`, on the device.
        augment: Random flips and crops on the device, in training. Like resize and crop, of an image and its target
            alike.
        num_workers: Worker processes of a streamed set; 0 decodes in this process.
        prefetch: Steps of a streamed set decoded ahead, each in a thread (or by each worker); 0 decodes when asked.
        shuffle: Whether each epoch visits the records in a random order of its own, else in the source's.
        captions: How captions become `tokens` and `token_mask`; None leaves them out.

    Raises:
        ConfigError: A value is impossible.
    """

    source: Source
    mode: str = "auto"
    resident_bytes: int = 2**30
    resize: int | None = None
    crop: int | None = None
    augment: Augment = Augment()  # noqa: RUF009 (frozen)
    num_workers: int = 0
    prefetch: int = 2
    shuffle: bool = True
    captions: Captions | None = None

    def __post_init__(self) -> None:
        if self.mode not in _MODES:
            raise ConfigError(f"mode = {self.mode!r} must be one of {', '.join(_MODES)}")
        for field in ("resize", "crop"):
            value = getattr(self, field)
            if value is not None and value < 1:
                raise ConfigError(f"{field} = {value} must be at least 1, or None")
        for field in ("resident_bytes", "num_workers", "prefetch"):
            if getattr(self, field) < 0:
                raise ConfigError(f"{field} = {getattr(self, field)} must be at least 0")
        if self.mode == "resident" and self.crop is not None:
            raise ConfigError(
                f"mode = 'resident' does not go with crop = {self.crop}, which cuts anew each epoch, on the host; use "
                "data.augment.crop, or mode='streamed'"
            )

    @property
    def fit(self) -> Fit:
        """How decoded images become images of one size."""
        return Fit(resize=self.resize, crop=self.crop, vocabulary=self.vocabulary)

    @functools.cached_property
    def vocabulary(self) -> Vocabulary | None:
        """What captions are read with; reads all captions at first use where `captions` has none. None without them."""
        return None if self.captions is None else self.captions.of(self.source)


@dataclasses.dataclass(frozen=True)
class Loader:
    """Training batches of a run.

    A step takes `batches_per_step` batches; slot b of inner batch k of step s has the position
    `(s * batches_per_step + k) * batch_size + b`, and everything about a record follows from (seed, position). So
    batches do not depend on where a run started, on worker processes or on the mode.

    ```python
    loader = Loader(data, seed=0, batch_size=128)
    arrays, assemble = loader.arrays, jax.jit(loader.assemble)
    for host_batch in loader.batches(start_step, stop_step):
        step_batch = {name: array[0] for name, array in host_batch.items()}
        batch = assemble(arrays, step_batch, purpose_key(seed, "data"))
    ```

    Attributes:
        data: What to train on.
        seed: The run's seed.
        batch_size: Records of a batch, over all devices; may exceed the number of records.
        batches_per_step: Fresh batches that a step consumes.
        steps_per_call: Steps whose batches come together.
        mesh: The devices; each process reads what its own need.

    Raises:
        ConfigError: A value is impossible, or, at the first use of images, they are too small for `data.augment`.
        DataError: The source is empty, or, at first use, what reading it raises.
    """

    data: Data
    _: dataclasses.KW_ONLY
    seed: int
    batch_size: int
    batches_per_step: int = 1
    steps_per_call: int = 1
    mesh: Mesh = Mesh(data=1)  # noqa: RUF009 (frozen)

    def __post_init__(self) -> None:
        for field in ("batch_size", "batches_per_step", "steps_per_call"):
            if getattr(self, field) < 1:
                raise ConfigError(f"{field} = {getattr(self, field)} must be at least 1")

    @functools.cached_property
    def num_records(self) -> int:
        """Number of records of the source."""
        return _num_records(self.data.source)

    @functools.cached_property
    def resident(self) -> bool:
        """Whether the decoded set lies on the device."""
        if self.data.mode == "auto":
            if self.data.crop is not None or hasattr(self.data.source, "covering"):
                return False
            record_bytes = sum(self._first[name].nbytes for name in IMAGES if name in self._first)
            return self.num_records * record_bytes <= self.data.resident_bytes
        return self.data.mode == "resident"

    @functools.cached_property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the images in a batch, after augmentation."""
        height, width, channels = self._first["image"].shape[1:]
        return (*self.data.augment.output_size(height, width), channels)

    @functools.cached_property
    def arrays(self) -> dict[str, Array]:
        """A resident set, whole on every device, of arrays [num_records, ...]; else nothing.

        They are `image` uint8 and, where records have them, `target`, `label`, `tokens` and `token_mask`.

        Loaded when first asked for.
        """
        if not self.resident:
            return {}
        chunks = [range(i, min(i + _CHUNK, self.num_records)) for i in range(0, self.num_records, _CHUNK)]
        with ThreadPoolExecutor((os.cpu_count() or 1) if _worth_threads(self._first) else 1) as threads:
            parts = list(threads.map(lambda chunk: self.data.fit.read(self.data.source, chunk), chunks))
        for chunk, part in zip(chunks, parts, strict=True):
            if {n: a.shape[1:] for n, a in part.items()} != {n: a.shape[1:] for n, a in parts[0].items()}:
                self.data.fit.read(self.data.source, [0, chunk[0]])  # raises the error that names the record
        whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return self.mesh.put_replicated(whole)

    def check_num_steps(self, num_steps: int) -> None:
        """Checks that positions stay within uint32.

        Raises:
            ConfigError: Over 2**32 records would be taken.
        """
        taken = num_steps * self.batches_per_step * self.batch_size
        if taken > 2**32:
            most = 2**32 // (self.batches_per_step * self.batch_size)
            raise ConfigError(
                f"config.train.num_steps = {num_steps} takes {taken} records, more than 2**32; at most {most} steps"
            )

    def batches(self, start_step: int, stop_step: int) -> Generator[dict[str, Any], None, None]:
        """The host's part of steps `start_step` to `stop_step - 1`, those of one call together.

        Each array is [steps_per_call, batches_per_step, batch_size, ...]: `index` int32 and `position` uint32; when
        streamed also `image` uint8 and, where records have them, `target` uint8 and `label` int32, and with
        `data.captions` `tokens` int32 and `token_mask` bool.
        Of several devices' batches each lies on its device already. Close the iterator (or let it end) to stop its
        threads and processes.

        Raises:
            ConfigError: A batch cannot be cut over the devices, or as `check_num_steps`.
            ValueError: `start_step` or `stop_step` is no multiple of `steps_per_call`.
        """
        self.check_num_steps(stop_step)
        self.mesh.check_batch_size(self.batch_size, "config.train.batch_size")
        if start_step % self.steps_per_call or stop_step % self.steps_per_call:
            raise ValueError(f"steps {start_step} to {stop_step} are no multiples of {self.steps_per_call}")
        rows = self.mesh.rows(self.batch_size)
        records = self._records(
            None if self.resident else self.data.fit, None if len(rows) == self.batch_size else rows
        )
        calls = range(start_step // self.steps_per_call, stop_step // self.steps_per_call)
        return self._placed(
            map(records, calls) if self.resident else _streamed(records, calls.start, calls.stop, self.data)
        )

    def step_index(self, step: int) -> Int[np.ndarray, "batches_per_step batch_size"]:
        """Indices of the records that a step (from 0) takes, over all processes."""
        records = dataclasses.replace(self._records(None, None), steps=1)
        return records(step)["index"][0]

    def _records(self, fit: Fit | None, rows: Int[np.ndarray, "rows"] | None) -> TrainingRecords:
        return TrainingRecords(
            source=self.data.source,
            fit=fit,
            seed=self.seed,
            shuffle=self.data.shuffle,
            steps=self.steps_per_call,
            batches=self.batches_per_step,
            batch_size=self.batch_size,
            rows=rows,
        )

    def _placed(self, local: Iterator[HostBatch]) -> Generator[dict[str, Any], None, None]:
        try:
            for batch in local:
                yield self.mesh.put_batch(batch, self.batch_size, axis=2)
        finally:
            if isinstance(local, Generator):
                local.close()

    def assemble(self, arrays: dict[str, Array], host_batch: dict[str, Any], key: Key[Array, ""]) -> dict[str, Array]:
        """The batch of a step from its host part: gathered, converted and augmented. Pure; meant to be jitted.

        Args:
            arrays: `self.arrays`.
            host_batch: Of one step: an element of `self.batches` at one place of its first axis.
            key: The run's key for data, the same at every step.

        Returns:
            `image` float32 in [0, 1] [batches_per_step, batch_size, height, width, channels], `target` likewise and
            `label` int32 where records have them, `index` int32 and `position` uint32, each [batches_per_step,
            batch_size].
        """
        position = jnp.asarray(host_batch["position"])
        gathered = {name: array[host_batch["index"]] for name, array in arrays.items()}
        batch = {name: jnp.asarray(array) for name, array in {**host_batch, **gathered}.items()}
        keys = record_keys(key, position)  # the same for an image and its target
        augment = jax.vmap(self.data.augment)
        told = self._told(batch, keys) if self.data.captions is not None and self.data.captions.dropout else {}
        return batch | told | {name: augment(to_float(batch[name]), keys) for name in IMAGES if name in batch}

    def _told(self, batch: dict[str, Array], keys: Key[Array, "batches_per_step batch_size"]) -> dict[str, Array]:
        """The tokens of captions, of which some are taken for empty ones."""
        captions, vocabulary = self.data.captions, self.data.vocabulary
        assert captions is not None
        assert vocabulary is not None
        empty = vocabulary.encode([""])
        lots = jax.vmap(jax.vmap(jax.random.uniform))(folded(keys, _DROPOUT))
        dropped = (lots < captions.dropout)[..., None]
        return {
            name: jnp.where(dropped, nothing[None], batch[name])
            for name, nothing in (("tokens", empty.ids), ("token_mask", empty.mask))
        }

    def batch_spec(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Shapes and types of what `assemble` returns. Reads one record."""
        lead = (self.batches_per_step, self.batch_size)
        host = {"index": jax.ShapeDtypeStruct(lead, np.int32), "position": jax.ShapeDtypeStruct(lead, np.uint32)}
        for name, array in self._first.items():
            host[name] = jax.ShapeDtypeStruct((*lead, *array.shape[1:]), array.dtype)
        return jax.eval_shape(self.assemble, {}, host, jax.eval_shape(jax.random.key, 0))

    @functools.cached_property
    def _first(self) -> HostBatch:
        return self.data.fit.read(self.data.source, [0] if self.num_records else [])


def evaluation_batches(
    data: Data,
    batch_size: int,
    num_records: int | None = None,
    rows: Int[np.ndarray, "rows"] | None = None,
) -> Generator[HostBatch, None, None]:
    """The records of a source in its order, for evaluation.

    Images are resized and centre-cropped as `data.resize` and `data.crop` say; `data.augment`, `shuffle` and `mode`
    play no part. With `batch_size=1` images may differ in size.

    Args:
        data: What to evaluate on.
        batch_size: Records of every batch; the tail repeats the last record.
        num_records: How many records, from the first; all when None.
        rows: Which records of every batch to read, where several processes share the work; all when None.

    Returns:
        An iterator of dicts with `image` uint8 [batch, height, width, channels], `target` likewise and `label` int32
        where records have them, `index` int32, and `mask` bool, False at the fillings of the tail.

    Raises:
        ConfigError: `batch_size` or `num_records` is impossible.
        DataError: The source is empty, or what reading it raises.
    """
    available = _num_records(data.source)
    count = available if num_records is None else num_records
    if not 1 <= count <= available:
        raise ConfigError(f"num_records = {count} must be between 1 and the {available} of {data.source.name}")
    if batch_size < 1:
        raise ConfigError(f"batch_size = {batch_size} must be at least 1")
    records = EvaluationRecords(source=data.source, fit=data.fit, num_records=count, batch_size=batch_size, rows=rows)
    return _streamed(records, 0, -(-count // batch_size), data)


def _num_records(source: Source) -> int:
    size = len(source)
    if not 0 < size < 2**31:
        raise DataError(f"{source.name}: has {size} records; must be between 1 and 2**31 - 1")
    return size


def _worth_threads(first: HostBatch) -> bool:
    """Whether threads decode faster than one: small images are mostly Python's work, which holds its lock.

    Two threads take 1.3 times as long as one for JPEGs of 28x28 pixels, as long for 64x64, half as long for 128x128.
    """
    return first["image"].nbytes >= 2**15


def _streamed(
    make_batch: Callable[[int], HostBatch], start: int, stop: int, data: Data
) -> Generator[HostBatch, None, None]:
    """`make_batch` of each number in turn, computed ahead by Grain's threads or worker processes."""
    if start >= stop:
        return
    import grain
    from absl import flags

    ahead_of_need = 0 if data.num_workers else data.prefetch
    threads = (
        ahead_of_need if ahead_of_need and _worth_threads(data.fit.read(data.source, [0])) else min(ahead_of_need, 1)
    )
    batches = grain.MapDataset.range(start, stop).map(make_batch)
    ahead = batches.to_iter_dataset(grain.ReadOptions(num_threads=threads, prefetch_buffer_size=ahead_of_need))
    if data.num_workers:
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()  # Grain reads flags of its own to start workers
        options = grain.MultiprocessingOptions(
            num_workers=min(data.num_workers, stop - start), per_worker_buffer_size=max(1, data.prefetch)
        )
        ahead = ahead.mp_prefetch(options)
    running = [iter(ahead)]

    def close() -> None:
        while running:
            running.pop().close()

    atexit.register(close)  # where nobody closes this generator, Grain would when half of Python is gone
    try:
        while (batch := next(running[0], None)) is not None:
            if data.num_workers:  # out of Grain's shared memory, which must not outlive the workers
                batch = {name: np.array(array) for name, array in batch.items()}
            yield batch
    finally:
        atexit.unregister(close)
        close()
