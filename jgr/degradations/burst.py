"""Bursts: several shots of one scene, each degraded anew, by a hand that shakes."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jgr.degradations.degradation import Degradation, Record
from jgr.errors import ConfigError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Burst(Degradation):
    """Several shots: the first is `image`, which is to be restored; the others are the record's `shots`.

    `shots` is [height, width, (count - 1) * channels], one shot's channels after another's, of no channels where
    `count` is 1: a network is told them by `inputs=("shots",)`. Each shot but the first is moved before it is degraded,
    by whole pixels, so that none is smoother than another; beyond the border the image is reflected about its outermost
    pixels. What the degradation says of itself is that of the first shot.

    Args:
        degradation: What is done to each shot, with a key of its own.
        count: How many shots there are.
        motion: The most pixels that a shot is moved by along each axis, uniformly drawn from -motion to motion.

    Raises:
        ConfigError: A number is impossible; while images are degraded, where they are not larger than `motion`.
    """

    degradation: Degradation
    count: int
    motion: int = 0

    def __post_init__(self) -> None:
        for name, least in (("count", 1), ("motion", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} = {getattr(self, name)} must be at least {least}")

    @property
    def name(self) -> str:
        """Such as "burst4-m2-awgn-s50"."""
        return f"burst{self.count}-m{self.motion}-{self.degradation.name}"

    def apply(self, record: Record, key: Key[Array, ""]) -> Record:
        """See `Degradation.apply`; shot i draws from `fold_in(key, i)`."""
        height, width, channels = record["image"].shape
        if min(height, width) <= self.motion:
            raise ConfigError(f"motion = {self.motion}: images of {height}x{width} must be larger")

        def shot(number: Int[Array, ""]) -> Record:
            motion_key, own = jax.random.split(jax.random.fold_in(key, number))
            way = jax.random.randint(motion_key, (2,), -self.motion, self.motion + 1)
            moved = _moved(record["image"], jnp.where(number > 0, way, 0), self.motion)
            return dict(self.degradation.apply({**record, "image": moved}, own))

        made = jax.vmap(shot)(jnp.arange(self.count))
        others = jnp.moveaxis(made["image"][1:], 0, 2)  # [height, width, shots, channels]
        stacked = others.reshape(*others.shape[:2], (self.count - 1) * channels)
        return {**{name: value[0] for name, value in made.items()}, "shots": stacked}


def _moved(
    image: Float[Array, "height width channels"], way: Int[Array, "2"], most: int
) -> Float[Array, "height width channels"]:
    """The image moved down and right by whole pixels, at most so many."""
    padded = jnp.pad(image, ((most, most), (most, most), (0, 0)), mode="reflect")
    return jax.lax.dynamic_slice(padded, (most - way[0], most - way[1], 0), image.shape)
