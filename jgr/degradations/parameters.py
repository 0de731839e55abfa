"""What draws the parameters of degradations: each record has values of its own.

Wherever a degradation takes a `Draw`, a config gives a plain number for a fixed value, or one of these.
"""

import abc
import dataclasses
import math
from collections.abc import Sequence, Sized

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jgr.errors import ConfigError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Distribution(abc.ABC):
    """Of one number."""

    @property
    @abc.abstractmethod
    def bounds(self) -> tuple[float, float]:
        """The smallest and the largest value that it draws."""

    @abc.abstractmethod
    def sample(self, key: Key[Array, ""]) -> Float[Array, ""]:
        """One value."""

    @abc.abstractmethod
    def label(self, scale: int | float = 1) -> str:
        """What a protocol calls it, values multiplied by `scale`: "0..55"."""


Draw = int | float | Distribution


@dataclasses.dataclass(frozen=True, kw_only=True)
class Uniform(Distribution):
    """Uniform over an interval.

    Args:
        low: Lower end.
        high: Upper end.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise ConfigError(f"low = {self.low} must not be above high = {self.high}")

    @property
    def bounds(self) -> tuple[float, float]:
        """The ends."""
        return self.low, self.high

    def sample(self, key: Key[Array, ""]) -> Float[Array, ""]:
        """One value."""
        return jax.random.uniform(key, minval=self.low, maxval=self.high)

    def label(self, scale: int | float = 1) -> str:
        """Such as "0..55"."""
        return f"{number(self.low * scale)}..{number(self.high * scale)}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class LogUniform(Uniform):
    """Uniform in the logarithm; both ends are positive."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low <= 0:
            raise ConfigError(f"low = {self.low} must be positive: the logarithm is uniform")

    def sample(self, key: Key[Array, ""]) -> Float[Array, ""]:
        """One value."""
        return jnp.exp(jax.random.uniform(key, minval=math.log(self.low), maxval=math.log(self.high)))

    def label(self, scale: int | float = 1) -> str:
        """Such as "log1..10"."""
        return f"log{super().label(scale)}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choice(Distribution):
    """One of several values, all equally likely.

    Args:
        values: The values.
    """

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise ConfigError("values is empty: give at least one")

    @property
    def bounds(self) -> tuple[float, float]:
        """The smallest and the largest."""
        return min(self.values), max(self.values)

    def sample(self, key: Key[Array, ""]) -> Float[Array, ""]:
        """One value."""
        return jax.random.choice(key, jnp.asarray(self.values, jnp.float32))

    def label(self, scale: int | float = 1) -> str:
        """Such as "10|20|30"."""
        return "|".join(number(value * scale) for value in self.values)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mixture(Distribution):
    """One of several numbers or distributions, then a value of it.

    Args:
        parts: Numbers and distributions.
        weights: How likely each is, relative to the others; all equally without.
    """

    parts: tuple[Draw, ...]
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        check_weights("weights", self.weights, "parts", self.parts)

    @property
    def bounds(self) -> tuple[float, float]:
        """The smallest and the largest of all."""
        return min(bounds(part)[0] for part in self.parts), max(bounds(part)[1] for part in self.parts)

    def sample(self, key: Key[Array, ""]) -> Float[Array, ""]:
        """One value."""
        choice_key, part_key = jax.random.split(key)
        drawn = [draw(part, jax.random.fold_in(part_key, place)) for place, part in enumerate(self.parts)]
        return jnp.stack(drawn)[draw_index(choice_key, self.weights, len(drawn))]

    def label(self, scale: int | float = 1) -> str:
        """Such as "(0.3:1|0.7:0.5..1)"."""
        return f"({label_weighted([label(part, scale) for part in self.parts], self.weights)})"


def draw(parameter: Draw, key: Key[Array, ""]) -> Float[Array, ""]:
    """A value of a parameter: the number itself, or one drawn."""
    return parameter.sample(key) if isinstance(parameter, Distribution) else jnp.float32(parameter)


def bounds(parameter: Draw) -> tuple[float, float]:
    """The smallest and the largest value of a parameter."""
    return parameter.bounds if isinstance(parameter, Distribution) else (float(parameter), float(parameter))


def label(parameter: Draw, scale: int | float = 1) -> str:
    """What a protocol calls a parameter, multiplied by `scale`: "25", "0..55"."""
    return parameter.label(scale) if isinstance(parameter, Distribution) else number(float(parameter * scale))


def number(value: int | float) -> str:
    """A number as protocols write it: up to six digits, "25", "0.5"."""
    return f"{value:.6g}"


def check_bounds(
    name: str, parameter: Draw, least: int | float, most: int | float = math.inf, *, hint: str = "", above: bool = False
) -> None:
    """Raises ConfigError where a parameter may leave an interval.

    Args:
        name: The parameter's, for the message.
        parameter: The parameter.
        least: The smallest value allowed.
        most: The largest value allowed.
        hint: What the message says besides.
        above: Whether `least` itself is refused.
    """
    if not isinstance(parameter, int | float | Distribution) or isinstance(parameter, bool):
        raise ConfigError(f"{name} = {parameter!r} must be a number, or dict(cls=…) of jgr.degradations.parameters")
    low, high = bounds(parameter)
    if not (least < low if above else least <= low) or not high <= most:
        allowed = f"above {number(least)}" if above else f"at least {number(least)}"
        upper = f" and at most {number(most)}" if most < math.inf else ""
        raise ConfigError(f"{name} = {label(parameter)} must be {allowed}{upper}{'; ' if hint else ''}{hint}")


def check_weights(name: str, weights: tuple[float, ...], things: str, parts: Sized) -> None:
    """Raises ConfigError unless there is one weight a part, or none, and they can be probabilities up to a factor.

    Args:
        name: The weights', for the message.
        weights: The weights.
        things: What the parts are called.
        parts: The parts, at least one.
    """
    if not parts:
        raise ConfigError(f"{things} is empty: give at least one")
    if weights and len(weights) != len(parts):
        raise ConfigError(f"{name} = {weights} must be one for each of the {len(parts)} {things}, or ()")
    if weights and not (all(0 <= weight < math.inf for weight in weights) and sum(weights) > 0):
        raise ConfigError(f"{name} = {weights} must not be negative, and one must be positive")


def draw_index(key: Key[Array, ""], weights: tuple[float, ...], count: int) -> Int[Array, ""]:
    """Which of `count` parts is taken; all are equally likely without weights."""
    logits = jnp.log(jnp.asarray(weights or (1.0,) * count, jnp.float32))
    return jax.random.categorical(key, logits)


def label_weighted(names: Sequence[str], weights: tuple[float, ...]) -> str:
    """What a protocol calls a choice: "0.7:a|0.3:b", or "a|b" without weights."""
    if weights:
        shares = [number(weight / sum(weights)) for weight in weights]
        names = [f"{share}:{name}" for share, name in zip(shares, names, strict=True)]
    return "|".join(names)
