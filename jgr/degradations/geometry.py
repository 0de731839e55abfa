"""Geometric distortion: where each pixel of the result comes from. Bilinear, differentiable in the image.

Beyond the border the image is reflected about its outermost pixels (dcb|abcd|cba). Nothing is smoothed before
shrinking: warps are meant to be small.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array, Float, Key

from jgr.degradations.degradation import Degradation, Record, without
from jgr.degradations.parameters import Draw, bounds, check_bounds, draw, label
from jgr.errors import ConfigError

Image = Float[Array, "height width channels"]
Map = Float[Array, "height width"]

_UNTRUE = ("mask", "kernel", "sigma")  # once pixels have moved and were interpolated


@dataclasses.dataclass(frozen=True, kw_only=True)
class LensDistortion(Degradation):
    """Radial distortion by a lens, after Brown 1971 ("Close-range camera calibration").

    A pixel of the result at distance r from the centre, in units of half the diagonal, shows what the image has at
    distance r * (1 + k1 r² + k2 r⁴): Brown's map from distorted to ideal points. Positive coefficients give a barrel,
    negative ones a pincushion; OpenCV's model is the inverse map, whose coefficients have about the opposite signs.

    Args:
        k1: Coefficient of r².
        k2: Coefficient of r⁴.
    """

    k1: Draw
    k2: Draw = 0.0

    def __post_init__(self) -> None:
        check_bounds("k1", self.k1, -1, 1)
        check_bounds("k2", self.k2, -1, 1)
        squared = np.linspace(0, 1, 101) ** 2
        least = 1 + 3 * bounds(self.k1)[0] * squared + 5 * bounds(self.k2)[0] * squared**2
        if least.min() <= 0:
            raise ConfigError(
                f"k1 = {label(self.k1)} with k2 = {label(self.k2)} must not fold the image: keep 1 + 3 k1 r² + 5 k2 r⁴ "
                "above 0 for r from 0 to 1"
            )

    @property
    def name(self) -> str:
        """Such as "lens-k0.1..0.2-k0"."""
        return f"lens-k{label(self.k1)}-k{label(self.k2)}"

    def apply(self, record: Record, key: Key[Array, ""]) -> Record:
        """See `Degradation.apply`."""
        first_key, second_key = jax.random.split(key)
        k1, k2 = draw(self.k1, first_key), draw(self.k2, second_key)
        image = record["image"]
        rows, columns = _centred_grid(image)
        squared = (rows**2 + columns**2) / (((image.shape[0] - 1) / 2) ** 2 + ((image.shape[1] - 1) / 2) ** 2 or 1.0)
        factor = 1.0 + k1 * squared + k2 * squared**2
        return {**without(record, *_UNTRUE), "image": _sampled(image, rows * factor, columns * factor)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Affine(Degradation):
    """Shears, scales and turns the image about its centre, then moves it.

    Args:
        rotation: In degrees, counter-clockwise as one sees the picture.
        scale: Factor; above 1 enlarges.
        shear: In degrees, below 90: by its tangent rows move to the right, per row below the centre.
        translation: Along both axes, drawn for each, as share of the image's side; positive moves down and right.
    """

    rotation: Draw = 0.0
    scale: Draw = 1.0
    shear: Draw = 0.0
    translation: Draw = 0.0

    def __post_init__(self) -> None:
        check_bounds("rotation", self.rotation, -math.inf)
        check_bounds("scale", self.scale, 0, above=True)
        check_bounds("shear", self.shear, -89, 89)
        check_bounds("translation", self.translation, -1, 1, hint="it is a share of the image's side")

    @property
    def name(self) -> str:
        """Such as "affine-r-5..5-z0.9..1.1-h0-t0": rotation, scale, shear and translation."""
        return f"affine-r{label(self.rotation)}-z{label(self.scale)}-h{label(self.shear)}-t{label(self.translation)}"

    def apply(self, record: Record, key: Key[Array, ""]) -> Record:
        """See `Degradation.apply`."""
        rotation_key, scale_key, shear_key, down_key, right_key = jax.random.split(key, 5)
        image = record["image"]
        rows, columns = _centred_grid(image)
        rows = rows - draw(self.translation, down_key) * image.shape[0]
        columns = columns - draw(self.translation, right_key) * image.shape[1]
        angle, scale = jnp.radians(draw(self.rotation, rotation_key)), draw(self.scale, scale_key)
        # The inverse of each part, in the opposite order.
        sine, cosine = jnp.sin(angle), jnp.cos(angle)
        rows, columns = (cosine * rows + sine * columns) / scale, (cosine * columns - sine * rows) / scale
        columns = columns - jnp.tan(jnp.radians(draw(self.shear, shear_key))) * rows
        return {**without(record, *_UNTRUE), "image": _sampled(image, rows, columns)}


def _centred_grid(image: Image) -> tuple[Map, Map]:
    """Row and column of each pixel, counted from the image's centre."""
    axes = [jnp.arange(side, dtype=jnp.float32) - (side - 1) / 2 for side in image.shape[:2]]
    rows, columns = jnp.meshgrid(*axes, indexing="ij")
    return rows, columns


def _sampled(image: Image, rows: Map, columns: Map) -> Image:
    """The image at places counted from its centre."""
    places = [axis + (side - 1) / 2 for axis, side in zip((rows, columns), image.shape, strict=False)]

    def sampled(channel: Map) -> Map:
        return map_coordinates(channel, places, order=1, mode="mirror")

    return jax.vmap(sampled, in_axes=-1, out_axes=-1)(image)
