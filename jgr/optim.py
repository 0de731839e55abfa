"""Optimisers and learning-rate schedules, as a config describes them."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Literal

import optax

from jgr.config import Duration
from jgr.errors import ConfigError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Schedule:
    """The learning rate over the training, as a share of the optimiser's.

    Args:
        decay: "constant", or "linear" or "cosine" from 1 to `end` (cosine: Loshchilov & Hutter 2017, equation 5).
        warmup: Steps in which it first rises linearly from 0.
        hold: Steps after the warm-up before it decays.
        steps: Where the decay ends, counted from the start of the training, the warm-up included.
        end: Share of the learning rate that is left at the end.
    """

    decay: Literal["constant", "linear", "cosine"] = "constant"
    warmup: Duration = 0
    hold: Duration = 0
    steps: Duration = "100%"  # type: ignore[assignment]  # steps, once built from a config
    end: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.end <= 1.0:
            raise ConfigError(f"end = {self.end} must be a share between 0 and 1")
        if self.decay != "constant" and isinstance(self.steps, str):
            raise ConfigError(f"steps = {self.steps!r}: outside a config, give the steps of the whole training")
        if self.decay != "constant" and self.warmup + self.hold >= self.steps > 0:
            held = f" and hold = {self.hold} steps leave" if self.hold else " steps leaves"
            raise ConfigError(f"warmup = {self.warmup}{held} nothing of the {self.steps} steps to decay in")

    def learning_rate(self, peak: float) -> optax.Schedule:
        """The learning rate at each step, `peak` being the highest."""
        if self.decay == "constant":
            return self._after_warmup(peak, optax.constant_schedule(peak))
        length = max(self.steps - self.warmup - self.hold, 1)
        if self.decay == "linear":
            fall = optax.linear_schedule(peak, peak * self.end, length)
        else:
            fall = optax.cosine_decay_schedule(peak, length, alpha=self.end)
        if self.hold:
            fall = optax.join_schedules([optax.constant_schedule(peak), fall], [self.hold])
        return self._after_warmup(peak, fall)

    def _after_warmup(self, peak: float, schedule: optax.Schedule) -> optax.Schedule:
        if self.warmup == 0:
            return schedule
        return optax.join_schedules([optax.linear_schedule(0.0, peak, self.warmup), schedule], [self.warmup])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Optimizer:
    """An optimiser: an optax rule, its learning rate and schedule, and how its gradient is computed.

    Args:
        rule: An optax optimiser such as "optax.adam", or dict(cls="optax.adam", b1=0.5).
        learning_rate: The highest learning rate.
        schedule: How it changes over the training.
        clip_norm: Gradients with a larger norm, over all networks of the optimiser, are scaled down to it.
        micro_batches: Parts of a batch whose gradients are computed one after another and averaged, to save memory.
            Batch norm sees the parts, not the batch.
    """

    rule: Callable[..., optax.GradientTransformation] = dataclasses.field(default_factory=lambda: partial(optax.adam))
    learning_rate: float = 1e-3
    schedule: Schedule = dataclasses.field(default_factory=Schedule)
    clip_norm: float | None = None
    micro_batches: int = 1

    def __post_init__(self) -> None:
        if self.learning_rate < 0:
            raise ConfigError(f"learning_rate = {self.learning_rate} must not be negative")
        if self.clip_norm is not None and self.clip_norm <= 0:
            raise ConfigError(f"clip_norm = {self.clip_norm} must be positive, or None for no clipping")
        if self.micro_batches < 1:
            raise ConfigError(f"micro_batches = {self.micro_batches} must be at least 1")

    def transformation(self) -> optax.GradientTransformation:
        """The optax transformation."""
        rule = self.rule(learning_rate=self.schedule.learning_rate(self.learning_rate))
        return rule if self.clip_norm is None else optax.chain(optax.clip_by_global_norm(self.clip_norm), rule)
