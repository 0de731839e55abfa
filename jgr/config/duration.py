"""Durations in a config: steps, epochs, examples, or a share of the training."""

import dataclasses
import math
import re
from collections.abc import Callable
from typing import Annotated

from jgr.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class DurationMark:
    """Marks an annotation as a duration; see `Duration`."""


Duration = Annotated[int, DurationMark()]
"""A length of training. A config writes 500 (steps), "20 epochs", "60000 examples" or "10%" (of `train.num_steps`);
the object built from it receives steps."""

_PATTERN = re.compile(r"\s*([0-9][0-9_]*(?:\.[0-9]+)?(?:e[0-9]+)?)\s*(steps?|epochs?|examples?|%)?\s*", re.IGNORECASE)


def parse_duration(value: object, key: str) -> tuple[float, str]:
    """Amount and unit ("step", "epoch", "example" or "%") of a duration as written in a config.

    Raises:
        ConfigError: If it is neither a whole number of steps nor one of the forms of `Duration`.
    """
    match = _PATTERN.fullmatch(str(value)) if isinstance(value, int | str) and not isinstance(value, bool) else None
    amount = float(match[1].replace("_", "")) if match else -1.0
    unit = (match[2] or "step").lower().removesuffix("s") if match else ""
    if match is None or (unit == "step" and amount != int(amount)):
        raise ConfigError(
            f'{key} = {value!r} is not a duration: write 500 (steps), "20 epochs", "60000 examples" or "10%"'
        )
    return amount, unit


@dataclasses.dataclass(frozen=True)
class Clock:
    """Turns durations into steps.

    Args:
        batch_size: Examples a step shows.
        num_records: Called when an epoch's length is needed, so that no data set is opened otherwise.
        num_steps: Steps of the whole training; None while that itself is being worked out.
    """

    batch_size: int
    num_records: Callable[[], int]
    num_steps: int | None = None

    def steps(self, value: int | str, key: str) -> int:
        """Steps of a duration, rounded up: an epoch is over when its last record has been shown."""
        amount, unit = parse_duration(value, key)
        if unit == "epoch":
            return math.ceil(amount * self.num_records() / self.batch_size)
        if unit == "example":
            return math.ceil(amount / self.batch_size)
        if unit == "%":
            if self.num_steps is None:
                raise ConfigError(f"{key} = {value!r}: a share of the training cannot be the training's own length")
            return math.ceil(amount / 100 * self.num_steps)
        return int(amount)
