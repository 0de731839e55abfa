"""Draws images from a task: one key an image, quantised to uint8."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, UInt8

from jgr.images import to_uint8
from jgr.rng import purpose_key, record_keys
from jgr.state import TrainState
from jgr.tasks.task import Sampler, Task

Sample = Callable[[TrainState, Key[Array, "batch"]], UInt8[Array, "batch height width channels"]]


def sample_keys(seed: int, purpose: str, num: int, start: int = 0) -> Key[Array, "num"]:
    """Keys of the images `start` to `start + num` of one purpose under a seed."""
    return record_keys(purpose_key(seed, purpose), jnp.arange(start, start + num, dtype=jnp.uint32))


def make_sample(task: Task) -> Sample:
    """The jitted function from a state and keys to uint8 images; fails when called for a task that cannot sample."""

    def sample(state: TrainState, keys: Key[Array, "batch"]) -> UInt8[Array, "batch height width channels"]:
        if not isinstance(task, Sampler):
            raise TypeError(f"{type(task).__qualname__} has no method sample: it generates no images")
        return to_uint8(task.sample(state, keys, None))

    return jax.jit(sample)


def for_sampling(state: TrainState) -> TrainState:
    """Only what sampling reads, so that no compiled function depends on optimisers."""
    return state.replace(opt_state={}, ema={}, extra={})
