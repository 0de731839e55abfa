"""Restoration of one image from several shots, however many, in any order."""

from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype
from jaxtyping import Array, Float, Int

from jgr.errors import ConfigError
from jgr.layers import Conv
from jgr.models.wrapping import AroundRestorer, computing_in

POOLINGS = ("attention", "mean")


class ShotSet(AroundRestorer, nn.Module):
    """A restoration network that is told features of a set of shots: the first, which is restored, and others.

    Every shot, beside the first, goes through the same convolutions. At each pixel the features of all shots become
    those of one, which follow the first shot's channels as conditions of the network: their mean (Zaheer et al. 2017,
    Deep Sets, arXiv:1703.06114), or what a question of the first shot's features attends to among them, in several
    heads (Lee et al. 2019, Set Transformer, arXiv:1810.00825, equation 1). Neither depends on the order of the others,
    and weights that were trained with some number of shots can be used with another.

    Features reach a few pixels, and hardly learn to follow a hand that shakes: with `align` each shot is first moved by
    whole pixels to where it differs from the first least.

    For a `Restoration` with `inputs=("shots",)`, as `jgr.degradations.burst.Burst` makes them.

    Args:
        network: Any restoration network that takes conditions after the image's channels, of which it has `channels`.
        width: Features of each shot, a multiple of `heads`.
        depth: Convolutions of each shot; each lets it be one pixel further away.
        pooling: "attention" or "mean".
        heads: Of the attention.
        align: The most pixels along each axis that a shot is moved by; what comes in repeats the border. 0: not at all.
        dtype: What all compute in, where they do not say so themselves.

    Raises:
        ConfigError: A number is impossible, or the input is no set of shots of the network's channels, or not larger
            than twice `align`.
    """

    network: nn.Module
    width: int = 32
    depth: int = 3
    pooling: Literal["attention", "mean"] = "attention"
    heads: int = 4
    align: int = 0
    dtype: Dtype | None = None

    def __post_init__(self) -> None:
        for name in ("width", "depth", "heads"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} = {getattr(self, name)} must be at least 1")
        if self.align < 0:
            raise ConfigError(f"align = {self.align} must be at least 0")
        if self.pooling not in POOLINGS:
            raise ConfigError(f"pooling = {self.pooling!r} must be one of {', '.join(POOLINGS)}")
        if self.pooling == "attention" and self.width % self.heads:
            raise ConfigError(f"width = {self.width} must be a multiple of heads = {self.heads}")
        self.network = computing_in(self.dtype, self.network)
        if self.channels is None:
            raise ConfigError(f"network: {type(self.network).__qualname__} does not say how many channels a shot has")
        super().__post_init__()

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width channels_of_shots"], *, train: bool
    ) -> Float[Array, "batch new_height new_width channels"]:
        """Shots in [0, 1], the channels of each after another's, to what the network gives."""
        *lead, given = images.shape
        channels: int = self.network.channels
        if given % channels:
            raise ConfigError(f"ShotSet: {given} channels are no shots of {channels}")
        count = given // channels
        first = images[..., :channels]
        shots = jnp.moveaxis(images.reshape(*lead, count, channels), 3, 0)  # [shots, batch, height, width, …]
        if self.align:
            shots = jax.vmap(jax.vmap(partial(aligned, most=self.align)), (None, 0))(first, shots)
        beside = jnp.concatenate([shots, jnp.broadcast_to(first, shots.shape)], axis=-1)
        hidden = beside.reshape(count * lead[0], *lead[1:], -1)
        for number in range(self.depth):
            hidden = nn.relu(Conv(self.width, (3, 3), dtype=self.dtype, name=f"conv{number}")(hidden))
        pooled = self._pooled(hidden.reshape(count, *lead, self.width))
        restored: Array = self.network(jnp.concatenate([first, pooled.astype(first.dtype)], axis=-1), train=train)
        return restored

    def _pooled(
        self, features: Float[Array, "shots batch height width features"]
    ) -> Float[Array, "batch height width features"]:
        """The features of one image from those of all shots."""
        if self.pooling == "mean":
            return features.mean(axis=0)
        heads = (self.heads, self.width // self.heads)

        def matrix(name: str, of: Array) -> Float[Array, "..."]:
            made = nn.Dense(self.width, use_bias=False, dtype=self.dtype, name=name)(of)
            return made.reshape(*of.shape[:-1], *heads)

        asked, keys, values = matrix("query", features[:1]), matrix("key", features), matrix("value", features)
        scores = (asked * keys).sum(axis=-1, keepdims=True).astype("float32") / heads[1] ** 0.5
        attended = (jax.nn.softmax(scores, axis=0).astype(values.dtype) * values).sum(axis=0)
        return features[0] + attended.reshape(features.shape[1:])


def aligned(
    image: Float[Array, "height width channels"], shot: Float[Array, "height width channels"], most: int
) -> Float[Array, "height width channels"]:
    """The shot, moved by at most so many whole pixels along each axis to where it differs from the image least.

    That is the sum of squared differences (Hasinoff et al. 2016, "Burst photography", equation 1), of all pixels that
    no such move brings in from outside; what it does bring in repeats the border.

    Raises:
        ConfigError: The image is not larger than `2 * most`.
    """
    height, width, channels = image.shape
    if min(height, width) <= 2 * most:
        raise ConfigError(f"align = {most}: images of {height}x{width} must be larger than twice that")
    inner = (height - 2 * most, width - 2 * most, channels)
    middle = image[most : height - most, most : width - most]
    corners = jnp.stack(jnp.meshgrid(*[jnp.arange(2 * most + 1)] * 2, indexing="ij"), axis=-1).reshape(-1, 2)

    def difference(corner: Int[Array, "2"]) -> Float[Array, ""]:
        return jnp.square(middle - jax.lax.dynamic_slice(shot, (*corner, 0), inner)).sum(dtype="float32")

    down, right = corners[jnp.argmin(jax.lax.map(difference, corners))]
    padded = jnp.pad(shot, ((most, most), (most, most), (0, 0)), mode="edge")
    return jax.lax.dynamic_slice(padded, (down, right, 0), shot.shape)
