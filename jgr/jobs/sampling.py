"""Draws images from a task: one key an image, quantised to uint8."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, UInt8

from jgr.images import to_uint8
from jgr.mesh import Mesh, gathered
from jgr.rng import purpose_key, record_keys
from jgr.state import TrainState
from jgr.tasks.task import Sampler, Task

Images = UInt8[Array, "batch height width channels"]


def make_sample(
    task: Task, mesh: Mesh, purpose: str, then: Callable[[Images], Any] = lambda images: images
) -> Callable[..., Any]:
    """The jitted function that draws images, each from a key of its own, over all devices.

    Args:
        task: What generates them.
        mesh: The devices.
        purpose: What they are for; under one seed two purposes never share a key.
        then: What becomes of every batch of uint8 images on the devices, such as the features of a metric.

    Returns:
        A function `(state, seed, num, start=0)` that gives what `then` makes of the images `start` to `start + num`.
        Where the devices do not divide `num`, a few more follow.

    Raises:
        TypeError: In that function, for a task that generates no images.
    """

    def draw(state: TrainState, seed: Any, numbers: Any) -> Any:
        if not isinstance(task, Sampler):
            raise TypeError(f"{type(task).__qualname__} has no method sample: it generates no images")
        numbers = jax.lax.with_sharding_constraint(numbers, mesh.batch())
        return then(to_uint8(task.sample(gathered(state), record_keys(purpose_key(seed, purpose), numbers), None)))

    compiled = jax.jit(draw, out_shardings=mesh.replicated)

    def sample(state: TrainState, seed: int, num: int, start: int = 0) -> Any:
        numbers = np.arange(start, start + mesh.rounded_up(num), dtype=np.uint32)
        with mesh.entered():
            return compiled(for_sampling(state), np.uint32(seed % 2**32), numbers)

    return sample


def for_sampling(state: TrainState) -> TrainState:
    """Only what sampling reads, so that no compiled function depends on optimisers."""
    return state.replace(opt_state={}, ema={}, extra={})
