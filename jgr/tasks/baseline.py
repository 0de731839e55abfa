"""Methods that are not trained, as a task, so that they stand in the same tables as networks."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from jgr.errors import ConfigError, DataError
from jgr.models.classical import Method
from jgr.state import TrainState
from jgr.tasks.task import Batch, Task


@dataclasses.dataclass(frozen=True, kw_only=True)
class Baseline(Task):
    """A classical method behind the protocol `jgr.tasks.task.Restorer`; its run has `config.train.num_steps` = 0.

    Args:
        method: What restores an image, such as `jgr.models.classical.NonLocalMeans`.
        scale: How many times larger it makes images.
    """

    method: Method
    scale: int = 1

    on_host: ClassVar[bool] = True

    def init(self, key: Key[Array, ""], batch: Batch) -> TrainState:
        """A state without parameters."""
        return TrainState(step=jnp.int32(0), params={}, model_state={}, opt_state={})

    def step(self, state: TrainState, batch: Batch, key: Key[Array, ""]) -> tuple[TrainState, dict[str, Any]]:
        """There is nothing to learn.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(f"{type(self.method).__qualname__} is not trained: set config.train.num_steps to 0")

    def restore(
        self, state: TrainState, batch: Mapping[str, Any], keys: Key[Array, "batch"]
    ) -> Float[np.ndarray, "batch height width channels"]:
        """Restored images, one after another, on the host.

        Raises:
            DataError: If the records lack what the method needs, or its result is not finite.
        """
        arrays = {name: np.asarray(value) for name, value in batch.items()}
        restored = []
        for number in range(len(arrays["image"])):
            image = self.method({name: value[number] for name, value in arrays.items()})
            if not np.isfinite(image).all():
                raise DataError(f"{type(self.method).__qualname__} gives pixels that are not finite")
            restored.append(np.asarray(image, np.float32))
        return np.stack(restored)
