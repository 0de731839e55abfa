"""What all looks at a trained generator or autoencoder share: the run, and how images are made a batch at a time."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import numpy as np
from jaxtyping import UInt8

from jgr.data.augment import Augment
from jgr.data.loader import Data
from jgr.errors import ConfigError
from jgr.images import to_uint8
from jgr.jobs.experiment import Experiment
from jgr.jobs.explore.codes import Condition
from jgr.jobs.progress import images_bar
from jgr.jobs.sampling import for_sampling
from jgr.mesh import Mesh, gathered
from jgr.rng import purpose_key
from jgr.state import TrainState
from jgr.tasks.task import Task

Classes = Sequence[int] | Literal["all"] | None


@dataclasses.dataclass(frozen=True, eq=False)
class Exploration:
    """See `jgr.jobs.explore.explorer.Explorer`, whose fields these are."""

    experiment: Experiment
    state: TrainState
    mesh: Mesh
    _: dataclasses.KW_ONLY
    seed: int = 0
    truncation: float | None = None
    batch_size: int = 64
    quiet: bool = False

    @property
    def task(self) -> Task:
        """What generates."""
        return self.experiment.task

    @property
    def _name(self) -> str:
        return type(self.task).__qualname__

    @property
    def _training_data(self) -> Data:
        """The training data, with crops of the device at the centre, on the host."""
        data = self.experiment.data
        if data.augment.crop is None:
            return data
        return dataclasses.replace(data, crop=data.augment.crop, mode="streamed", augment=Augment())

    def _classes(self, classes: Sequence[int] | Literal["all"]) -> list[int]:
        """The labels that are named."""
        count = self.task.num_classes
        if count is None:
            raise ConfigError(f"classes = {classes!r}: {self._name} of this run is unconditional; leave classes out")
        named = list(range(count)) if classes == "all" else [int(label) for label in classes]
        if not named or not all(0 <= label < count for label in named):
            raise ConfigError(f"classes = {classes!r} must be labels from 0 to {count - 1}, or 'all'")
        return named

    def _condition(self, labels: Any) -> Condition:
        return None if self.task.num_classes is None else {"label": labels}

    def _drawn(
        self, what: str, function: Callable[..., Any], *cells: np.ndarray
    ) -> UInt8[np.ndarray, "num height width channels"]:
        """What a compiled function makes of cells, given by arrays of equal length, a batch at a time."""
        count, state = len(cells[0]), for_sampling(self.state)
        size = self.mesh.rounded_up(min(count, self.batch_size))
        parts = []
        with images_bar(what, count, "image", self.quiet) as bar, self.mesh.entered():
            for start in range(0, count, size):
                batch = [np.resize(cell[start : start + size], (size, *cell.shape[1:])) for cell in cells]
                batch = [part.astype(np.float32 if part.dtype.kind == "f" else np.int32) for part in batch]
                parts.append(np.asarray(function(state, np.uint32(self.seed % 2**32), *batch)))
                bar.update(min(size, count - start))
        return np.concatenate(parts)[:count]

    def _compiled(self, draw: Callable[..., Any]) -> Callable[..., Any]:
        """The jitted function `(state, seed, *cells) -> uint8 images` over all devices."""

        def function(state: TrainState, seed: Any, *cells: Any) -> Any:
            cells = jax.lax.with_sharding_constraint(cells, self.mesh.batch())
            return to_uint8(draw(gathered(state), purpose_key(seed, "samples"), *cells))

        return jax.jit(function, out_shardings=self.mesh.replicated)


def require_at_least(lowest: int, name: str, value: int) -> None:
    """Raises ConfigError for a smaller value."""
    if value < lowest:
        raise ConfigError(f"{name} = {value} must be at least {lowest}")
