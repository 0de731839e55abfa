"""Drawings: what is left of an image where only its edges are."""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jgr.degradations.degradation import Degradation, Record
from jgr.degradations.parameters import Draw, check_bounds, draw, label
from jgr.metrics.color import gray


@dataclasses.dataclass(frozen=True, kw_only=True)
class Edges(Degradation):
    """Dark lines on white where the image's gray is steep: 1 - min(slope / black, 1), in all channels alike.

    The slope is the length of Sobel's gradient of BT.601 gray, per pixel; beyond the border the image goes on as its
    last row. Lines of a blurred image are fewer and softer: a pipeline of `jgr.degradations.blur.Blur` and this. What
    the record said of noise and blur is dropped.

    Args:
        black: Slope from which on a line is black, in units of the range [0, 1] per pixel.
    """

    black: Draw = 0.1

    def __post_init__(self) -> None:
        check_bounds("black", self.black, 0, above=True)

    @property
    def name(self) -> str:
        """Such as "edges-b0.1"."""
        return f"edges-b{label(self.black)}"

    def apply(self, record: Record, key: Key[Array, ""]) -> Record:
        """See `Degradation.apply`; where the image is flat the gradient is 0."""
        image = record["image"]
        drawn = 1.0 - jnp.minimum(slope(image) / draw(self.black, key), 1.0)
        return {"image": jnp.broadcast_to(drawn, image.shape)}


def slope(image: Float[Array, "height width channels"]) -> Float[Array, "height width 1"]:
    """Length of Sobel's gradient of the gray image, per pixel: that of a ramp is its rise from pixel to pixel.

    Args:
        image: RGB, or of any other number of channels, of which the mean is taken.
    """
    level = gray(image[None])[0] if image.shape[-1] == 3 else image.mean(axis=-1, keepdims=True)
    padded = jnp.pad(level, ((1, 1), (1, 1), (0, 0)), "edge")
    along_rows = 0.25 * (padded[:, :-2] + 2.0 * padded[:, 1:-1] + padded[:, 2:])
    along_columns = 0.25 * (padded[:-2] + 2.0 * padded[1:-1] + padded[2:])
    down, right = 0.5 * (along_rows[2:] - along_rows[:-2]), 0.5 * (along_columns[:, 2:] - along_columns[:, :-2])
    squared = down**2 + right**2
    # a root's own gradient is infinite at 0
    return jnp.where(squared > 0, jnp.sqrt(jnp.where(squared > 0, squared, 1.0)), 0.0)
