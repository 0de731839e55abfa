"""Terms that are not computed in every step (Karras et al. 2020, StyleGAN2, appendix B, lazy regularisation)."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import jax
from jaxtyping import Array, Bool

from jgr.errors import ConfigError
from jgr.optim import Optimizer, Schedule

Carry = TypeVar("Carry")


def when(due: bool | Bool[Array, ""], then: Callable[[Carry], Carry], carry: Carry) -> Carry:
    """`then(carry)` where it is due, the carry itself where not; `due` may be traced.

    Args:
        due: True or False where a program of its own is compiled for each case, or a traced value.
        then: Gives what has the shapes of its argument.
        carry: The argument.
    """
    if isinstance(due, bool):
        return then(carry) if due else carry
    result: Carry = jax.lax.cond(due, then, lambda same: same, carry)
    return result


def rescaled(optimizer: Optimizer, updates: int, intervals: Iterable[int], key: str) -> Optimizer:
    """The optimiser of which a step makes several updates, or at every so many steps some more.

    Its schedule is stretched, so that it is one of steps. With c the share of updates that come in every step, the
    learning rate becomes c times and the decay of each of Adam's averages its c-th power, so that over many steps it
    moves and forgets as much as without the others.

    Args:
        optimizer: As the config has it.
        updates: In every step.
        intervals: Steps between the further updates, of each kind; intervals of 1 are not further updates.
        key: The optimiser's config key, for messages.

    Raises:
        ConfigError: If there are further updates, and the optimiser's rule has no b1 and b2.
    """
    further = [interval for interval in intervals if interval > 1]
    updates_per_step = sum((1.0 / interval for interval in further), float(updates))
    optimizer = dataclasses.replace(optimizer, schedule=_stretched(optimizer.schedule, updates_per_step))
    if not further:
        return optimizer
    share = updates / updates_per_step
    arguments = inspect.signature(optimizer.rule).parameters
    decays = {name: arguments[name].default for name in ("b1", "b2") if name in arguments}
    if len(decays) < 2:
        raise ConfigError(f"{key}.rule has no b1 and b2: penalties with an interval above 1 need an Adam")
    rule = functools.partial(optimizer.rule, **{name: decay**share for name, decay in decays.items()})
    return dataclasses.replace(optimizer, rule=rule, learning_rate=share * optimizer.learning_rate)


def _stretched(schedule: Schedule, factor: float) -> Schedule:
    if schedule.decay == "constant":  # the end of one that does not decay may be no number
        return Schedule(warmup=round(schedule.warmup * factor)) if schedule.warmup else schedule
    return dataclasses.replace(
        schedule,
        warmup=round(schedule.warmup * factor),
        hold=round(schedule.hold * factor),
        steps=round(schedule.steps * factor),
    )


def group(intervals: dict[str, int]) -> dict[int, tuple[str, ...]]:
    """Names by interval, those above 1 only, the shortest interval first."""
    return {
        interval: tuple(name for name, own in intervals.items() if own == interval)
        for interval in sorted(set(intervals.values()))
        if interval > 1
    }


def due_at(step: Any, intervals: Iterable[int]) -> tuple[Any, ...]:
    """Which intervals end at a step, a number or a traced one; all do at step 0."""
    return tuple(step % interval == 0 for interval in intervals)
