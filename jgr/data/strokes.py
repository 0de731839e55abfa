"""What a drawn sign looks like, measured in its pixels: how thick, slanted and wide it is, where it is, its colours.

Free of JAX, and the same for real images and for samples.
"""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

_OF_INK = 0.8  # of the largest distance from the background: what lies further is wholly ink
_LEAST = 1e-6


@dataclasses.dataclass(frozen=True)
class Strokes:
    """Measures of signs, one an image. Of an image without ink all are 0.

    Args:
        thickness: Mean thickness of the strokes, in pixels.
        slant: Angle between the sign's upright and the vertical, in degrees; positive where it leans to the right.
        width: How wide a sign is once it is made upright, in pixels: of the bar of even ink with that variance.
        shift: How far right of the image's middle its centre of ink lies, in pixels.
    """

    thickness: Float[Any, "n"]
    slant: Float[Any, "n"]
    width: Float[Any, "n"]
    shift: Float[Any, "n"]


def measured(ink: Float[Any, "n height width"], *, xp: Any = np) -> Strokes:
    """Measures the strokes of images.

    Thickness is twice the ink by the length of its outline, which is the sum of the gradient's magnitudes: both grow
    alike with blur and contrast, so soft edges do not matter. A stroke's two ends belong to its outline: one of length
    l and thickness w counts as w / (1 + w / l). Strokes that fill no pixel, below about 2, seem thicker than they are.
    Slant and width come from second moments (the shear m11 / m02 is what deskewing takes out).

    Args:
        ink: How much of each pixel is ink, 0 to 1.
        xp: What computes it: `numpy` in double precision, or `jax.numpy`.
    """
    ink = ink.astype(np.float64) if xp is np else ink
    height, width = ink.shape[1:]
    total = ink.sum(axis=(1, 2))
    there = total > _LEAST
    weights = ink / xp.where(there, total, 1.0)[:, None, None]
    x, y = xp.arange(width) - (width - 1) / 2, xp.arange(height) - (height - 1) / 2
    of_columns, of_rows = weights.sum(axis=1), weights.sum(axis=2)
    centre_x, centre_y = of_columns @ x, of_rows @ y
    var_x, var_y = of_columns @ x**2 - centre_x**2, of_rows @ y**2 - centre_y**2
    covariance = xp.einsum("nyx,y,x->n", weights, y, x) - centre_x * centre_y
    shear = covariance / xp.maximum(var_y, _LEAST)
    # A pixel's ink counts at its centre, though it lies all over the pixel: that adds 1 / 12 to each variance.
    upright = xp.maximum(var_x - shear * covariance - (1 + shear**2) / 12, 0.0)
    # y grows downwards, so what leans to the right has less x further down.
    slant = xp.degrees(xp.arctan(-shear))
    thickness = 2.0 * total / xp.maximum(_outline(ink, xp), _LEAST)
    return Strokes(*(xp.where(there, each, 0.0) for each in (thickness, slant, xp.sqrt(12.0 * upright), centre_x)))


def _outline(ink: Float[Any, "n height width"], xp: Any) -> Float[Any, "n"]:
    """Sums of the gradient's magnitudes, taken where four pixels meet, with no ink around the image."""
    around = xp.pad(ink, ((0, 0), (1, 1), (1, 1)))
    across, down = xp.diff(around, axis=2), xp.diff(around, axis=1)
    return xp.hypot((across[:, 1:] + across[:, :-1]) / 2, (down[:, :, 1:] + down[:, :, :-1]) / 2).sum(axis=(1, 2))


@dataclasses.dataclass(frozen=True)
class Colours:
    """Colours of signs and what is behind them, 0 to 255, and where the signs are.

    Args:
        ink: Of the pixels that differ from the background most.
        background: The median of the pixels at the image's edge.
        coverage: How much of each pixel is ink, 0 to 1; 0 all over where an image has one colour.
    """

    ink: Float[Any, "n 3"]
    background: Float[Any, "n 3"]
    coverage: Float[Any, "n height width"]


def coloured(images: UInt8[Any, "n height width 3"], *, xp: Any = np) -> Colours:
    """Tells signs of one colour from a background of another, which is supposed to reach all edges of the image.

    Args:
        images: Of any colours.
        xp: What computes it: `numpy` in double precision, or `jax.numpy`.
    """
    pixels = images.astype(np.float64 if xp is np else np.float32)
    edge = xp.concatenate([pixels[:, 0], pixels[:, -1], pixels[:, 1:-1, 0], pixels[:, 1:-1, -1]], axis=1)
    background = xp.median(edge, axis=1)
    apart = pixels - background[:, None, None]
    distance = xp.sqrt(xp.square(apart).sum(axis=-1))
    most = distance.max(axis=(1, 2), keepdims=True)
    inked = (distance >= _OF_INK * most).astype(pixels.dtype)
    ink = (pixels * inked[..., None]).sum(axis=(1, 2)) / inked.sum(axis=(1, 2))[:, None]
    way = ink - background
    length = xp.square(way).sum(axis=-1)
    coverage = xp.einsum("nyxc,nc->nyx", apart, way) / xp.maximum(length, _LEAST)[:, None, None]
    return Colours(ink, background, xp.clip(coverage, 0.0, 1.0))
