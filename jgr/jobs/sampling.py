"""Draws images from a task: one key an image."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from jgr.data.loader import Data
from jgr.errors import ConfigError
from jgr.images import to_uint8
from jgr.mesh import Mesh, gathered
from jgr.rng import purpose_key, record_keys
from jgr.state import TrainState
from jgr.tasks.task import Sampler, Task

_LOGGER = logging.getLogger(__name__)

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
        A function `(state, seed, num, start=0, told=None)` that gives what `then` makes of the images `start` to
        `start + num`. Where the devices do not divide `num`, a few more follow. A conditional task is told what the
        array `told` says of each image, labels [num] or tokens [num, length], or without it each class in turn.

    Raises:
        TypeError: In that function, for a task that generates no images, or that must be told captions and is not.
    """

    def draw(state: TrainState, seed: Any, numbers: Any, told: Any) -> Any:
        if not isinstance(task, Sampler):
            raise TypeError(f"{type(task).__qualname__} has no method sample: it generates no images")
        numbers, told = jax.lax.with_sharding_constraint((numbers, told), mesh.batch())
        condition = None if task.condition_name is None else {task.condition_name: told}
        return then(task.sample(gathered(state), record_keys(purpose_key(seed, purpose), numbers), condition))

    compiled = jax.jit(draw, out_shardings=mesh.replicated if out_shardings is None else out_shardings)

    def sample(
        state: TrainState, seed: int, num: int, start: int = 0, told: Int[np.ndarray, "num *length"] | None = None
    ) -> Any:
        numbers = np.arange(start, start + mesh.rounded_up(num), dtype=np.uint32)
        if told is None and task.condition_name == "tokens":
            raise TypeError(f"{type(task).__qualname__} must be told captions")
        told = numbers % (task.num_classes or 1) if told is None else np.asarray(told)
        told = np.resize(told.astype(np.int32), (len(numbers), *told.shape[1:]))
        with mesh.entered():
            return compiled(for_sampling(state), np.uint32(seed % 2**32), numbers, told)

    return sample


def first_captions(task: Task, data: Data, num: int) -> Int[np.ndarray, "num length"] | None:
    """The tokens of the first records, in turn, for a task that is told captions; else None.

    Raises:
        DataError: The records cannot be read.
    """
    if task.condition_name != "tokens":
        return None
    tokens = data.fit.read(data.source, range(min(num, len(data.source))))["tokens"]
    return np.resize(tokens, (num, tokens.shape[1]))


def told_captions(task: Task, data: Data, captions: Sequence[str], num: int) -> Int[np.ndarray, "num length"]:
    """The tokens of captions, in turn.

    Raises:
        ConfigError: The task is told no captions, there is none, or they are not a list of texts.

    A warning tells of words that are not known, and of captions that are cut.
    """
    if task.condition_name != "tokens" or data.vocabulary is None:
        raise ConfigError(f"{type(task).__qualname__} of this run is told no captions: leave them out")
    if isinstance(captions, str) or not all(isinstance(caption, str) for caption in captions):
        raise ConfigError(f"captions = {captions!r} must be a list of texts, such as ['a thin 4']")
    if not captions:
        raise ConfigError("captions: there is none")
    for caption in captions:
        if (count := data.vocabulary.count(caption)) > data.vocabulary.length:
            _LOGGER.warning(
                "%r has %s tokens, and is cut: this run reads %s (config.data.captions.length), its beginning and end "
                "included",
                caption,
                count,
                data.vocabulary.length,
            )
        if unknown := data.vocabulary.unknown(caption):
            _LOGGER.warning("%r: this run does not know %s", caption, ", ".join(map(repr, unknown)))
    tokens = data.vocabulary.encode(captions).ids
    return np.resize(tokens, (num, tokens.shape[1]))


def for_sampling(state: TrainState) -> TrainState:
    """Only what sampling reads, so that no compiled function depends on optimisers."""
    return state.replace(opt_state={}, ema={}, extra={})
