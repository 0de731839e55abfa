"""Clipping and rounding of pixel values, which nothing else here does by itself."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jgr.degradations.degradation import Degradation, Record
from jgr.errors import ConfigError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Clip(Degradation):
    """Clips the image to [0, 1]. The gradient is 0 where a value was outside."""

    @property
    def name(self) -> str:
        """Always "clip"."""
        return "clip"

    def apply(self, record: Record, key: Key[Array, ""]) -> Record:
        """See `Degradation.apply`."""
        return {**record, "image": jnp.clip(record["image"], 0.0, 1.0)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Quantise(Degradation):
    """Rounds to the nearest of evenly spaced levels, half up; 0 and 1 are levels, and values outside have theirs, too.

    The gradient passes as if nothing had happened (straight through, Bengio et al. 2013): the true one is 0 almost
    everywhere.

    Args:
        levels: How many levels [0, 1] has; 256 are those of uint8.
    """

    levels: int = 256

    def __post_init__(self) -> None:
        if self.levels < 2:
            raise ConfigError(f"levels = {self.levels} must be at least 2")

    @property
    def name(self) -> str:
        """Such as "levels16"; "u8" for 256 levels."""
        return "u8" if self.levels == 256 else f"levels{self.levels}"

    def apply(self, record: Record, key: Key[Array, ""]) -> Record:
        """See `Degradation.apply`."""
        image, steps = record["image"], self.levels - 1
        return {**record, "image": straight_through(jnp.floor(image * steps + 0.5) / steps, image)}


def straight_through(value: Float[Array, "*shape"], image: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """`value`, exactly, with the gradient of `image`."""
    return jax.lax.stop_gradient(value) + (image - jax.lax.stop_gradient(image))
