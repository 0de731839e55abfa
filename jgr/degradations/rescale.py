"""Degradations at a random size of the image: noise of a picture that was enlarged later, blocks of a smaller JPEG."""

import dataclasses
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jgr.degradations.degradation import Degradation, Record
from jgr.degradations.parameters import Draw, bounds, check_bounds, draw, draw_index, label, number
from jgr.errors import ConfigError

_METHODS = ("box", "linear", "cubic")


@dataclasses.dataclass(frozen=True, kw_only=True)
class AtScale(Degradation):
    """Resizes the image by a random factor, degrades it there, and resizes it to its own size or a fixed part of it.

    Array shapes cannot depend on what is drawn: the resized image lies in the corner of a canvas large enough for the
    largest factor, its last row and column repeated to fill it, and what is done is done to the whole canvas. Thus the
    factor is continuous, and one size is computed instead of all.

    Both resizes draw one of three methods, with antialiasing, equally likely: "box" (the mean of the area that a
    pixel covers), "linear" and "cubic" (Keys 1981, a = -1/2); borders are cut off and weights normalised.

    What the record says of `sigma`, `kernel` and `mask` is dropped: it is not true of the other grid of pixels.

    Args:
        scale: Factor relative to the image; sides are rounded.
        degradation: What is done at that size; it must keep it.
        output: Size of the result relative to the image, such as 0.25; its sides must be whole numbers.
    """

    scale: Draw
    degradation: Degradation
    output: float = 1.0

    def __post_init__(self) -> None:
        check_bounds("scale", self.scale, 0, above=True)
        check_bounds("output", self.output, 0, above=True)

    @property
    def name(self) -> str:
        """Such as "x0.5..1(awgn-s25)x0.25": factor, what is done there, and the size of the result."""
        return f"x{label(self.scale)}({self.degradation.name})x{number(self.output)}"

    def apply(self, record: Record, key: Key[Array, ""]) -> Record:
        """See `Degradation.apply`; differentiable where the degradation is.

        Raises:
            ConfigError: The result's sides are not whole numbers, or the degradation changes the size.
        """
        scale_key, there_key, step_key, back_key = jax.random.split(key, 4)
        image, scale = record["image"], draw(self.scale, scale_key)
        sides = image.shape[:2]
        canvas = [max(1, math.ceil(side * bounds(self.scale)[1])) for side in sides]
        inner = [jnp.clip(jnp.floor(side * scale + 0.5), 1, most) for side, most in zip(sides, canvas, strict=True)]
        outer = [self._side(side, sides) for side in sides]
        there_method, back_method = (draw_index(k, (), len(_METHODS)) for k in (there_key, back_key))

        there = [
            _resize_weights(there_method, old, jnp.float32(old), most, new)
            for old, most, new in zip(sides, canvas, inner, strict=True)
        ]
        done = dict(self.degradation.apply({**record, "image": _resized(image, there)}, step_key))
        if done["image"].shape[:2] != tuple(canvas):
            raise ConfigError(f"degradation = {self.degradation.name} must keep the image's size")
        back = [
            _resize_weights(back_method, most, old, new, jnp.float32(new))
            for most, old, new in zip(canvas, inner, outer, strict=True)
        ]
        kept = {name: value for name, value in done.items() if name not in ("sigma", "kernel", "mask")}
        return {**kept, "image": _resized(done["image"], back)}

    def _side(self, side: int, sides: tuple[int, ...]) -> int:
        new = round(side * self.output)
        if abs(side * self.output - new) > 1e-3 or new < 1:
            raise ConfigError(
                f"output = {number(self.output)} of an image of {'x'.join(map(str, sides))} is no whole number of "
                "pixels: crop the images to a multiple"
            )
        return new


def _resized(
    image: Float[Array, "height width channels"], weights: list[Float[Array, "_ _"]]
) -> Float[Array, "new_height new_width channels"]:
    rows, columns = weights
    precision = jax.lax.Precision.HIGHEST
    return jnp.einsum("uh,hwc,vw->uvc", rows, image, columns, precision=precision)


def _resize_weights(
    method: Array, room: int, old: Float[Array, ""], new_room: int, new: Float[Array, ""]
) -> Float[Array, "new_room room"]:
    """Weights of the pixels of an axis in those of the resized one; sizes may be drawn, the room for them may not.

    Args:
        method: Index in `_METHODS`.
        room: Length of the array.
        old: How much of it is image.
        new_room: Length of the result.
        new: How much of it is image; the last pixel is repeated behind.
    """
    ratio = old / new
    places = jnp.minimum(jnp.arange(new_room, dtype=jnp.float32), new - 1)[:, None]
    pixels = jnp.arange(room, dtype=jnp.float32)[None, :]
    box = jnp.minimum((places + 1) * ratio, pixels + 1) - jnp.maximum(places * ratio, pixels)
    distance = jnp.abs((pixels + 0.5 - (places + 0.5) * ratio) / jnp.maximum(ratio, 1.0))
    near = 1.5 * distance**3 - 2.5 * distance**2 + 1
    far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
    cubic = jnp.where(distance < 1, near, jnp.where(distance < 2, far, 0.0))
    weights = jnp.stack([jnp.maximum(box, 0.0), jnp.maximum(1.0 - distance, 0.0), cubic])[method]
    weights = jnp.where(pixels < old, weights, 0.0)
    return weights / weights.sum(axis=1, keepdims=True)
