"""Looks at the latents of records, for tasks that map images to a code and back."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int, UInt8

from jgr.data.loader import Data
from jgr.errors import ConfigError
from jgr.images import to_float, to_uint8
from jgr.jobs.explore.exploration import Classes, Exploration, require_at_least
from jgr.jobs.explore.latents import Encoded, Reconstructions, Traversal, plane
from jgr.jobs.progress import images_bar
from jgr.jobs.sampling import for_sampling
from jgr.mesh import gathered
from jgr.state import TrainState
from jgr.tasks.task import LatentDecoder, LatentDivergence, LatentModel, Reconstructor

_RANKED = 500  # records whose posterior means say which latents vary the most


@dataclasses.dataclass(frozen=True, eq=False)
class RecordExplorer(Exploration):
    """See `jgr.jobs.explore.explorer.Explorer`, of which this is the part for autoencoders."""

    def reconstruct(self, num: int = 8) -> Reconstructions:
        """The first records, and what the task makes of them.

        Args:
            num: How many.

        Raises:
            DataError: If the records cannot be read.
        """
        if not isinstance(self.task, Reconstructor):
            raise ConfigError(
                f"reconstruct: {self._name} of this run maps no images to a code and back: it lacks the method "
                "reconstruct of jgr.tasks.task.Reconstructor"
            )
        self._require_untruncated("reconstruct")
        records, images = self._from_records("reconstruct", self._reconstruct, self._first("reconstruct: num", num))
        return Reconstructions(records["image"], images)

    def encode(self, num: int | None = None) -> Encoded:
        """Posterior means of the first records.

        Args:
            num: How many; None for all, or 2,000 of more.

        Raises:
            DataError: If the records cannot be read.
        """
        if not isinstance(self.task, LatentModel):
            raise ConfigError(
                f"encode: {self._name} of this run has no encoder: it lacks the method posterior_mean of "
                "jgr.tasks.task.LatentModel"
            )
        num = min(2000, len(self._data.source)) if num is None else num
        records, means = self._from_records("encode", self._posterior_mean, self._first("encode: num", num))
        return Encoded(means, records.get("label"))

    def traverse(
        self,
        steps: int = 11,
        num_latents: int | None = None,
        record: int | None = 0,
        span: float = 3.0,
        classes: Classes = None,
    ) -> Traversal:
        """Images along the latents that vary the most over records, each alone, from a record's posterior mean.

        Which vary the most is said by the posterior means of the first 500 records; so are the KL divergences.

        Args:
            steps: Values of a latent, evenly spaced.
            num_latents: How many latents; None for 10, or all of fewer.
            record: Its place in the data; None starts at the prior's mean, 0, instead.
            span: The values go from minus this to this.
            classes: The label of all images of a conditional task; None for the record's own.

        Raises:
            DataError: If the records cannot be read.
        """
        require_at_least(2, "traverse: steps", steps)
        if not (span > 0 and math.isfinite(span)):
            raise ConfigError(f"traverse: span = {span} must be above 0, such as 3")
        self._require_untruncated("traverse")
        size = self._latent_dim("traverse")
        num_latents = min(10, size) if num_latents is None else num_latents
        _require_between(1, size, "traverse: num_latents", num_latents, "the latents of this run")
        if record is not None:
            count = len(self._data.source)
            _require_between(0, count - 1, "traverse: record", record, f"the places in {self._data.source.name}")
        ranked = np.arange(min(_RANKED, len(self._data.source)))
        variances = self._from_records("encode", self._posterior_mean, ranked)[1].astype(np.float64).var(axis=0)
        latents = np.argsort(-variances, kind="stable")[:num_latents]
        divergences = None
        if isinstance(self.task, LatentDivergence):
            compiled = self._compiled_of_records(self.task.posterior_divergence)
            divergences = self._from_records("measure KL", compiled, ranked)[1].astype(np.float64).mean(axis=0)[latents]
        start, label = np.zeros(size, np.float32), 0
        if record is not None:
            read, [start] = self._from_records("encode", self._posterior_mean, np.array([record]))
            label = int(read["label"][0]) if self.task.num_classes is not None else 0
        if record is None or classes is not None:
            label = self._one_label("traverse", classes)
        values = np.linspace(-span, span, steps, dtype=np.float32)
        codes = np.tile(start, (num_latents, steps, 1))
        codes[np.arange(num_latents), :, latents] = values
        codes = np.concatenate([start[None], codes.reshape(-1, size)])
        images = self._drawn("traverse", self._decode, codes, np.full(len(codes), label))
        rows = images[1:].reshape(num_latents, steps, *images.shape[1:])
        return Traversal(images[0], rows, latents, variances[latents], divergences, values)

    def latent_map(
        self, side: int = 20, classes: Classes = None
    ) -> UInt8[np.ndarray, "side side height width channels"]:
        """What a decoder of two latents makes of the quantiles of N(0, 1) (Kingma & Welling 2014, figure 4).

        The first latent grows from column to column, the second from the last row to the first, as in a plot.

        Args:
            side: Rows, and columns.
            classes: The label of all images of a conditional task.
        """
        require_at_least(2, "latent_map: side", side)
        self._require_untruncated("latent_map")
        size = self._latent_dim("latent_map")
        if size != 2:
            raise ConfigError(
                f"latent_map: a plane has 2 latents, and {self._name} of this run has {size}; traverse works with any"
            )
        label = self._one_label("latent_map", classes)
        images = self._drawn("latent_map", self._decode, plane(side), np.full(side**2, label))
        return images.reshape(side, side, *images.shape[1:])

    def record(self, place: int) -> UInt8[np.ndarray, "height width channels"]:
        """The image of a record, by its place in the data.

        Raises:
            DataError: If it cannot be read.
        """
        _require_between(0, len(self._data.source) - 1, "record", place, f"the places in {self._data.source.name}")
        image: np.ndarray = self._data.fit.read(self._data.source, [place])["image"][0]
        return image

    @property
    def _data(self) -> Data:
        """What records are looked at."""
        return self.experiment.evaluation.data or self._training_data

    def _require_untruncated(self, use: str) -> None:
        if self.truncation is not None:
            raise ConfigError(
                f"truncation = {self.truncation} does not go with {use}, which draws no latents; leave it out"
            )

    def _latent_dim(self, use: str) -> int:
        """Latents of a vector, of a task that encodes and decodes them."""
        if not isinstance(self.task, LatentDecoder):
            raise ConfigError(
                f"{use}: {self._name} of this run does not find the latents of images: it lacks the methods "
                "posterior_mean and decode of jgr.tasks.task.LatentDecoder"
            )
        batch = self._read(np.zeros(1, np.int32))
        return int(jax.eval_shape(self._posterior_mean, for_sampling(self.state), batch).shape[1])

    def _one_label(self, use: str, classes: Classes) -> int:
        """The label that is named; 0 of an unconditional task, which uses none."""
        if self.task.num_classes is None and classes is None:
            return 0
        named = [] if classes is None else self._classes(classes)
        if len(named) != 1:
            raise ConfigError(f"{use}: classes = {classes!r} must name one label, such as [3]: all images are of it")
        return named[0]

    def _first(self, name: str, num: int) -> Int[np.ndarray, "num"]:
        """The places of the first records."""
        source = self._data.source
        _require_between(1, len(source), name, num, f"the records of {source.name}")
        return np.arange(num)

    def _read(self, places: Int[np.ndarray, "num"]) -> dict[str, np.ndarray]:
        """Records by their places in the data."""
        records = self._data.fit.read(self._data.source, places.tolist())
        if self.task.num_classes is not None and "label" not in records:
            raise ConfigError(
                f"{self._name} of this run is conditional, but the records of {self._data.source.name} have no label"
            )
        return {**records, "index": places.astype(np.int32)}

    def _from_records(
        self, what: str, function: Callable[..., Any], places: Int[np.ndarray, "num"]
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Records, and what a compiled function of state and batch makes of each, a batch at a time."""
        count, state = len(places), for_sampling(self.state)
        size = self.mesh.rounded_up(min(count, self.batch_size))
        read, made = [], []
        with images_bar(what, count, "image", self.quiet) as bar, self.mesh.entered():
            for start in range(0, count, size):
                records = self._read(np.resize(places[start : start + size], size))
                made.append(np.asarray(function(state, self.mesh.put_batch(records, size))))
                read.append(records)
                bar.update(min(size, count - start))
        whole = {name: np.concatenate([part[name] for part in read])[:count] for name in read[0]}
        return whole, np.concatenate(made)[:count]

    @functools.cached_property
    def _decode(self) -> Callable[..., Any]:
        task: Any = self.task

        def decode(state: TrainState, key: Any, latents: Any, labels: Any) -> Any:
            return task.decode(state, latents, self._condition(labels) or {})

        return self._compiled(decode)

    @functools.cached_property
    def _reconstruct(self) -> Callable[..., Any]:
        task: Any = self.task
        return self._compiled_of_records(lambda state, batch: to_uint8(task.reconstruct(state, batch)))

    @functools.cached_property
    def _posterior_mean(self) -> Callable[..., Any]:
        task: Any = self.task
        return self._compiled_of_records(task.posterior_mean)

    def _compiled_of_records(self, make: Callable[..., Any]) -> Callable[..., Any]:
        """The jitted function `(state, records as they are read)` over all devices."""

        def function(state: TrainState, records: Any) -> Any:
            records = {name: to_float(value) if value.dtype == jnp.uint8 else value for name, value in records.items()}
            return make(gathered(state), records)

        return jax.jit(function, out_shardings=self.mesh.replicated)


def _require_between(lowest: int, highest: int, name: str, value: int, what: str) -> None:
    if not lowest <= value <= highest:
        raise ConfigError(f"{name} = {value} must be from {lowest} to {highest}, {what}")
