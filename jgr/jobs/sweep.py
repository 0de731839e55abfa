"""Arms of a study that differ in some keys of one config, named by what differs."""

import dataclasses
import itertools
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jgr.errors import ConfigError
from jgr.jobs.study import Arm

_DIGITS = 3  # of values that are drawn: the name tells all of them


@dataclasses.dataclass(frozen=True)
class Uniform:
    """Any value from `low` to `high`, all equally likely."""

    low: float
    high: float

    def draw(self, random_state: random.Random) -> float:
        """A value of three significant digits."""
        return _rounded(random_state.uniform(self.low, self.high))


@dataclasses.dataclass(frozen=True)
class LogUniform:
    """Any value from `low` to `high`, both positive, every factor equally likely: for learning rates and weights."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.high:
            raise ConfigError(f"LogUniform({self.low}, {self.high}) must go from a positive value to one not below it")

    def draw(self, random_state: random.Random) -> float:
        """A value of three significant digits."""
        return _rounded(math.exp(random_state.uniform(math.log(self.low), math.log(self.high))))


@dataclasses.dataclass(frozen=True)
class Choice:
    """One of some values, all equally likely."""

    values: Sequence[Any]

    def draw(self, random_state: random.Random) -> Any:
        """One of the values."""
        return random_state.choice(self.values)


def grid(values: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Every combination of values by dotted key, the last key's changing first.

    Raises:
        ConfigError: A key has no values.
    """
    if empty := [key for key, tried in values.items() if not tried]:
        raise ConfigError(f"grid: {empty[0]} has no values to try")
    return [dict(zip(values, tried, strict=True)) for tried in itertools.product(*values.values())]


def drawn(ranges: Mapping[str, Uniform | LogUniform | Choice], num: int, *, seed: int = 0) -> list[dict[str, Any]]:
    """Random search (Bergstra & Bengio 2012): combinations of values that are drawn; the first of more are the same.

    Args:
        ranges: What is drawn, by dotted key.
        num: How many combinations, all different.
        seed: Of the draws.

    Raises:
        ConfigError: `num` is below 1, or there are fewer combinations.
    """
    if num < 1:
        raise ConfigError(f"drawn: num = {num} must be at least 1")
    random_state, found = random.Random(seed), list[dict[str, Any]]()
    for _ in range(100 * num):
        combination = {key: values.draw(random_state) for key, values in ranges.items()}
        if combination not in found:
            found.append(combination)
        if len(found) == num:
            return found
    raise ConfigError(f"drawn: num = {num}, but only {len(found)} combinations were found: take fewer, or wider ranges")


def sweep(
    config: str,
    combinations: Iterable[Mapping[str, Any]],
    *,
    overrides: Mapping[str, Any] | None = None,
    seeds: tuple[int, ...] = (0,),
    prefix: str = "",
) -> tuple[Arm, ...]:
    """An arm for each combination of values: of `grid`, of `drawn`, or listed.

    Args:
        config: The config file, perhaps with ":ARG".
        combinations: Values by dotted key.
        overrides: Other values for keys that do not vary.
        seeds: Of each arm's trainings.
        prefix: What the arms' names begin with.

    Raises:
        ConfigError: Two combinations would have one name, or there is none.
    """
    combinations = list(combinations)
    if not combinations:
        raise ConfigError("a sweep needs at least one combination")
    words = _short_keys({key for combination in combinations for key in combination})
    arms = []
    for combination in combinations:
        parts = [prefix, *(f"{words[key]}{_word(value)}" for key, value in combination.items())]
        name = "-".join(part for part in parts if part)
        arms.append(Arm(name=name, config=config, overrides={**(overrides or {}), **combination}, seeds=seeds))
    names = [arm.name for arm in arms]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ConfigError(f"two combinations of a sweep would be called {twice[0]}")
    return tuple(arms)


def _short_keys(keys: Iterable[str]) -> dict[str, str]:
    """Of each dotted key as many of its last words as tell it from the others."""
    split = {key: key.split(".") for key in keys}
    short = {}
    for key, parts in split.items():
        others = [other for name, other in split.items() if name != key]
        count = next(n for n in range(1, len(parts) + 1) if all(other[-n:] != parts[-n:] for other in others))
        short[key] = ".".join(parts[-count:])
    return short


def _word(value: Any) -> str:
    """A value as part of a folder's name."""
    text = "x".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)
    last = text.rpartition(".")[2] if text.count(".") > 1 else text  # of an import path
    return "".join(character if character.isalnum() or character in "-_." else "_" for character in last)


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
