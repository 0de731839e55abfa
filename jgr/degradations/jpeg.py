"""JPEG on the device, step by step what libjpeg does: the image that is read back from a file of some quality.

Every step of libjpeg's default path is a linear map of whole numbers, followed by a rounding, so it is done here in
float32, without error, as matrix products and floors: the levels are libjpeg's own, and all of it has a gradient where
roundings count as the identity.
"""

import dataclasses
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Key

from jgr.degradations.degradation import Degradation, Record
from jgr.degradations.parameters import Distribution, Draw, check_bounds, draw, label, number
from jgr.errors import ConfigError

Subsampling = Literal["4:4:4", "4:2:2", "4:2:0"]
Plane = Float[Array, "height width"]
OtherPlane = Float[Array, "rows columns"]
Floor = Callable[[Array], Array]

# ITU-T T.81, tables K.1 (luma) and K.2 (chroma), rows of increasing vertical frequency.
_TABLES = np.array(
    [
        [
            [16, 11, 10, 16, 24, 40, 51, 61],
            [12, 12, 14, 19, 26, 58, 60, 55],
            [14, 13, 16, 24, 40, 57, 69, 56],
            [14, 17, 22, 29, 51, 87, 80, 62],
            [18, 22, 37, 56, 68, 109, 103, 77],
            [24, 35, 55, 64, 81, 104, 113, 92],
            [49, 64, 78, 87, 103, 121, 120, 101],
            [72, 92, 95, 98, 112, 100, 103, 99],
        ],
        [
            [17, 18, 24, 47, 99, 99, 99, 99],
            [18, 21, 26, 66, 99, 99, 99, 99],
            [24, 26, 56, 99, 99, 99, 99, 99],
            [47, 66, 99, 99, 99, 99, 99, 99],
            [99, 99, 99, 99, 99, 99, 99, 99],
            [99, 99, 99, 99, 99, 99, 99, 99],
            [99, 99, 99, 99, 99, 99, 99, 99],
            [99, 99, 99, 99, 99, 99, 99, 99],
        ],
    ],
    np.float32,
)

# The 8-point DCT of libjpeg's accurate integer method (jfdctint.c), times sqrt(8) * 2**13. Its factors are rounded
# before they are combined, so some entries are one off the rounded cosines. The left half: even rows are symmetric, odd
# ones antisymmetric. The inverse (jidctint.c) is the transpose.
_LEFT = np.array(
    [
        [8192, 8192, 8192, 8192],
        [11363, 9633, 6437, 2260],
        [10703, 4433, -4433, -10703],
        [9633, -2259, -11362, -6436],
        [8192, -8192, -8192, 8192],
        [6437, -11362, 2261, 9633],
        [4433, -10704, 10704, -4433],
        [2260, -6436, 9633, -11363],
    ],
    np.float32,
)
_DCT = np.concatenate([_LEFT, _LEFT[:, ::-1] * (-1.0) ** np.arange(8, dtype=np.float32)[:, None]], axis=1)
_UPPER = np.round(_DCT / 2**7)
_LOWER = _DCT - _UPPER * 2**7

# Added to whole numbers before a division that is rounded down: it changes no result, but keeps those that are whole
# from falling below where a compiler multiplies by the reciprocal.
_NUDGE = 0.25

_FACTORS = {"4:4:4": (1, 1), "4:2:2": (1, 2), "4:2:0": (2, 2)}  # pixels of a chroma sample: rows, columns


def jpeg(
    image: Float[Array, "height width channels"],
    quality: Float[Array, ""] | float,
    subsampling: Subsampling = "4:2:0",
    differentiable: bool = False,
) -> Float[Array, "height width channels"]:
    """The image after a JPEG file: libjpeg's tables, colours, subsampling, DCT, and decoding with smooth chroma.

    A file holds bytes, so the image is clipped and rounded to its 256 levels before, and the result has such levels.
    Sides that are no multiple of a block are continued by their last pixels.

    Args:
        image: In [0, 1]; gray, or RGB.
        quality: From 1 to 100, of the Independent JPEG Group's scale; rounded to a whole number. It may be traced.
        subsampling: Of the chroma, which gray images have not.
        differentiable: Whether roundings pass gradients as the identity does (straight-through; values stay the same).
            Otherwise the gradient is zero, as that of any rounding.

    Raises:
        ValueError: The image is neither gray nor RGB.
    """
    height, width, channels = image.shape
    if channels not in (1, 3):
        raise ValueError(f"a JPEG holds 1 or 3 channels, not {channels}")
    floor = _straight_through_floor if differentiable else jnp.floor
    luma_table, chroma_table = quantisation_tables(quality)
    levels = floor(jnp.clip(image, 0.0, 1.0) * 255.0 + 0.5)
    if channels == 1:
        return _coded(levels[..., 0], luma_table, floor)[..., None] / 255.0
    luma, *chroma = _ycbcr(levels, floor)
    factors = _FACTORS[subsampling]
    small = [_coded(_shrunk(plane, factors, floor), chroma_table, floor) for plane in chroma]
    small = [plane[: -(-height // factors[0]), : -(-width // factors[1])] for plane in small]
    blue, red = (_enlarged(plane, factors, floor)[:height, :width] for plane in small)
    return _rgb(_coded(luma, luma_table, floor), blue, red, floor) / 255.0


def quantisation_tables(quality: Float[Array, ""] | float) -> Float[Array, "2 8 8"]:
    """Libjpeg's tables of luma and chroma: those of ITU-T T.81 annex K, scaled, in whole numbers from 1 to 255.

    Args:
        quality: From 1 to 100; rounded to a whole number. 50 gives annex K's own.
    """
    quality = jnp.floor(jnp.asarray(quality, jnp.float32) + 0.5)
    percent = jnp.where(quality < 50.0, jnp.floor((5000.0 + _NUDGE) / quality), 200.0 - 2.0 * quality)
    return jnp.clip(jnp.floor((_TABLES * percent + 50.0 + _NUDGE) / 100.0), 1.0, 255.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class JPEG(Degradation):
    """JPEG of a fixed or drawn quality; see `jpeg`. Tells `quality` as a share of 100.

    Args:
        quality: From 1 to 100, rounded to a whole number.
        subsampling: Of the chroma.
        differentiable: Whether roundings pass gradients.
    """

    quality: Draw
    subsampling: Subsampling = "4:2:0"
    differentiable: bool = False

    def __post_init__(self) -> None:
        check_bounds("quality", self.quality, 1.0, 100.0)
        if not isinstance(self.quality, Distribution) and self.quality != round(self.quality):
            raise ConfigError(f"quality = {number(self.quality)} must be a whole number")

    @property
    def name(self) -> str:
        """Such as "jpeg-q10", "jpeg-q30..95"; "jpeg-q10-444" with another subsampling than 4:2:0."""
        subsampling = "" if self.subsampling == "4:2:0" else f"-{self.subsampling.replace(':', '')}"
        return f"jpeg-q{label(self.quality)}{subsampling}"

    def apply(self, record: Record, key: Key[Array, ""]) -> Record:
        """See `Degradation.apply`."""
        quality = jnp.floor(draw(self.quality, key) + 0.5)
        image = jpeg(record["image"], quality, self.subsampling, self.differentiable)
        return {**record, "image": image, "quality": quality / 100.0}


@jax.custom_jvp
def _straight_through_floor(values: Array) -> Array:
    return jnp.floor(values)


@_straight_through_floor.defjvp
def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    return jnp.floor(primals[0]), tangents[0]


def _ycbcr(levels: Float[Array, "height width 3"], floor: Floor) -> tuple[Plane, Plane, Plane]:
    """Full-range BT.601 in libjpeg's 16-bit fixed point; the sums stay below 2**24, so float32 holds them exactly."""
    red, green, blue = levels[..., 0], levels[..., 1], levels[..., 2]
    half, middle = 2.0**15, 128.0 * 2.0**16
    luma = 19595.0 * red + 38470.0 * green + 7471.0 * blue + half
    towards_blue = 32768.0 * blue - 11059.0 * red - 21709.0 * green + (middle + half - 1.0)
    towards_red = 32768.0 * red - 27439.0 * green - 5329.0 * blue + (middle + half - 1.0)
    return floor(luma / 2.0**16), floor(towards_blue / 2.0**16), floor(towards_red / 2.0**16)


def _rgb(luma: Plane, blue: Plane, red: Plane, floor: Floor) -> Float[Array, "height width 3"]:
    """The inverse of `_ycbcr` up to rounding, clipped."""
    blue, red, half = blue - 128.0, red - 128.0, 2.0**15
    shifts = (
        91881.0 * red + half,
        -22554.0 * blue - 46802.0 * red + half,
        116130.0 * blue + half,
    )
    return jnp.stack([jnp.clip(luma + floor(shift / 2.0**16), 0.0, 255.0) for shift in shifts], axis=-1)


def _shrunk(plane: Plane, factors: tuple[int, int], floor: Floor) -> OtherPlane:
    """Means of groups of pixels. libjpeg's rounding alternates by column, so that it does not darken.

    Columns are continued to whole blocks before the averaging, rows after it: that is libjpeg's order. So the result
    may be wider than it need be.
    """
    rows, columns = factors
    if columns == 1:
        return plane
    height, width = plane.shape
    padded = jnp.pad(plane, ((0, -height % rows), (0, -width % (8 * columns))), mode="edge")
    sums = padded.reshape(padded.shape[0] // rows, rows, padded.shape[1] // columns, columns).sum(axis=(1, 3))
    bias = rows - 1 + np.arange(sums.shape[1], dtype=np.float32)[None] % 2
    return floor((sums + bias) / (rows * columns))


def _enlarged(plane: Plane, factors: tuple[int, int], floor: Floor) -> OtherPlane:
    """Triangle filter: each new sample is 3/4 of the nearer old one and 1/4 of the farther one, along both axes."""
    rows, columns = factors
    if columns == 1:
        return plane
    if plane.shape[1] <= 2:  # libjpeg repeats samples of so narrow images
        return jnp.repeat(jnp.repeat(plane, rows, axis=0), columns, axis=1)
    if rows == 2:
        above, below = _neighbours(plane, axis=0)
        plane = jnp.stack([3.0 * plane + above, 3.0 * plane + below], axis=1).reshape(-1, plane.shape[1])
    even, odd, total = (8.0, 7.0, 16.0) if rows == 2 else (1.0, 2.0, 4.0)  # what is added before rounding down
    left, right = _neighbours(plane, axis=1)
    wide = jnp.stack([3.0 * plane + left + even, 3.0 * plane + right + odd], axis=2).reshape(plane.shape[0], -1)
    return floor(wide / total)


def _neighbours(plane: Plane, axis: int) -> tuple[Plane, Plane]:
    """The sample before and the sample after each along an axis, or itself at the end."""
    last = plane.shape[axis] - 1
    first_one, last_one = (lax.slice_in_dim(plane, i, i + 1, axis=axis) for i in (0, last))
    before = jnp.concatenate([first_one, lax.slice_in_dim(plane, 0, last, axis=axis)], axis=axis)
    after = jnp.concatenate([lax.slice_in_dim(plane, 1, last + 1, axis=axis), last_one], axis=axis)
    return before, after


def _coded(plane: Plane, table: Float[Array, "8 8"], floor: Floor) -> Plane:
    """A plane of levels after the DCT, quantisation and back; of its own size."""
    height, width = plane.shape
    padded = jnp.pad(plane, ((0, -height % 8), (0, -width % 8)), mode="edge")
    blocks = padded.reshape(padded.shape[0] // 8, 8, padded.shape[1] // 8, 8) - 128.0  # row, y, column, x
    # libjpeg keeps 2 fractional bits between the passes, and its coefficients are 8 times the orthonormal ones
    wide = _product("aybx,vx->aybv", blocks, 11, floor)
    coefficients = _product("aybv,uy->aubv", wide, 15, floor)
    steps = table[None, :, None, :]
    sizes = jnp.where(coefficients < 0.0, -coefficients, coefficients)
    sizes = floor((sizes + 4.0 * steps + _NUDGE) / (8.0 * steps))
    quantised = jnp.where(coefficients < 0.0, -sizes, sizes)  # halves are rounded away from zero
    tall = _product("aubv,uy->aybv", quantised * steps, 11, floor)
    decoded = _product("aybv,vx->aybx", tall, 18, floor)
    return jnp.clip(decoded + 128.0, 0.0, 255.0).reshape(padded.shape)[:height, :width]


def _product(axes: str, values: Array, bits: int, floor: Floor) -> Array:
    """The product of whole numbers with `_DCT`, divided by 2**bits and rounded half up.

    It may have more than the 24 bits that float32 holds, so the upper and the lower bits of the matrix make a product
    each. Then every sum is exact, in whatever order it is computed.
    """
    upper, lower = (jnp.einsum(axes, values, part, precision=lax.Precision.HIGHEST) for part in (_UPPER, _LOWER))
    return floor((upper + floor((lower + 2.0 ** (bits - 1)) / 2.0**7)) / 2.0 ** (bits - 7))
