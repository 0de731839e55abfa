"""What a task is: the one extension point with logic."""

import abc
import dataclasses
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from jaxtyping import Array, Float, Int, Key

from jgr.state import TrainState

Batch = Mapping[str, Array]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task(abc.ABC):
    """What is learned, as pure functions of a state and a batch. It holds modules and hyper-parameters, never arrays.

    A task of your own is a subclass in your own file, named in a config by its import path. What it can do besides
    learning it says by having the methods of `Sampler` and its siblings.
    """

    @property
    def batches_per_step(self) -> int:
        """How many fresh batches a step consumes."""
        return 1

    @property
    def averaged_networks(self) -> tuple[str, ...]:
        """The networks whose exponential moving average is evaluated; none by default."""
        return ()

    @abc.abstractmethod
    def init(self, key: Key[Array, ""], batch: Batch) -> TrainState:
        """The state before the first step; must work under `jax.eval_shape`.

        Args:
            key: Randomness of the initial weights.
            batch: One batch, `[batch, …]` without the axis of several batches; only shapes may matter.
        """

    @abc.abstractmethod
    def step(
        self, state: TrainState, batch: Batch, key: Key[Array, ""]
    ) -> tuple[TrainState, dict[str, Float[Array, ""]]]:
        """One optimiser step of everything the task trains: pure, under `jax.jit`.

        The caller advances `state.step` and the average.

        Args:
            state: Is donated: its buffers are gone afterwards.
            batch: `[batches_per_step, batch, …]`.
            key: Fresh for every step.

        Returns:
            The new state, and scalars to log. `jgr.tasks.update.update` adds the checks for finite values.
        """


@runtime_checkable
class Sampler(Protocol):
    """A task that generates images."""

    def sample(
        self, state: TrainState, keys: Key[Array, "batch"], condition: Mapping[str, Int[Array, "batch"]] | None = None
    ) -> Float[Array, "batch height width channels"]:
        """Images in [0, 1], one a key: which images come does not depend on how many are drawn together."""
        ...
