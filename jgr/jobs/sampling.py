"""Draws images from a task: one key an image."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from jgr.images import to_uint8
from jgr.mesh import Mesh, gathered
from jgr.rng import purpose_key, record_keys
from jgr.state import TrainState
from jgr.tasks.task import Sampler, Task

Images = Float[Array, "batch height width channels"]


def make_sample(
    task: Task, mesh: Mesh, purpose: str, then: Callable[[Images], Any] = to_uint8, out_shardings: Any = None
) -> Callable[..., Any]:
    """The jitted function that draws images, each from a key of its own, over all devices.

    Args:
        task: What generates them.
        mesh: The devices.
        purpose: What they are for; under one seed two purposes never share a key.
        then: What becomes of every batch of images on the devices; by default they are quantised to uint8.
        out_shardings: Where the result lies; a copy on every device when None.

    Returns:
        A function `(state, seed, num, start=0, labels=None)` that gives what `then` makes of the images `start` to
        `start + num`. Where the devices do not divide `num`, a few more follow. A task with classes is given `labels`,
        or without them each class in turn.

    Raises:
        TypeError: In that function, for a task that generates no images.
    """

    def draw(state: TrainState, seed: Any, numbers: Any, labels: Any) -> Any:
        if not isinstance(task, Sampler):
            raise TypeError(f"{type(task).__qualname__} has no method sample: it generates no images")
        numbers, labels = jax.lax.with_sharding_constraint((numbers, labels), mesh.batch())
        condition = None if task.num_classes is None else {"label": labels}
        return then(task.sample(gathered(state), record_keys(purpose_key(seed, purpose), numbers), condition))

    compiled = jax.jit(draw, out_shardings=mesh.replicated if out_shardings is None else out_shardings)

    def sample(
        state: TrainState, seed: int, num: int, start: int = 0, labels: Int[np.ndarray, "num"] | None = None
    ) -> Any:
        numbers = np.arange(start, start + mesh.rounded_up(num), dtype=np.uint32)
        if labels is None:
            labels = numbers % (task.num_classes or 1)
        labels = np.resize(np.asarray(labels, np.int32), len(numbers))
        with mesh.entered():
            return compiled(for_sampling(state), np.uint32(seed % 2**32), numbers, labels)

    return sample


def for_sampling(state: TrainState) -> TrainState:
    """Only what sampling reads, so that no compiled function depends on optimisers."""
    return state.replace(opt_state={}, ema={}, extra={})
