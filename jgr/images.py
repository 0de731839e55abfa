"""The one place where images change representation.

At every public boundary an image is NHWC: float32 in [0, 1] on the device, uint8 in [0, 255] on the host and on disk.
A network that works in [-1, 1] converts inside, with `to_signed` and `from_signed`.
"""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8


def to_float(images: UInt8[Array, "*shape"] | UInt8[np.ndarray, "*shape"]) -> Float[Array, "*shape"]:
    """Uint8 in [0, 255] to float32 in [0, 1]. The inverse of `to_uint8`."""
    return jnp.asarray(images).astype(jnp.float32) / 255.0


def to_uint8(images: Float[Array, "*shape"]) -> UInt8[Array, "*shape"]:
    """Float in [0, 1] to uint8 in [0, 255]: clipped, then rounded half up."""
    return jnp.floor(jnp.clip(images, 0.0, 1.0) * 255.0 + 0.5).astype(jnp.uint8)


def to_signed(images: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """[0, 1] to [-1, 1]."""
    return images * 2.0 - 1.0


def from_signed(images: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """[-1, 1] to [0, 1]."""
    return images * 0.5 + 0.5


def grid(
    images: UInt8[np.ndarray, "batch height width channels"], columns: int | None = None, min_side: int = 64
) -> UInt8[np.ndarray, "rows columns channels"]:
    """Lays images out row by row, white lines between them.

    Args:
        images: uint8 images, gray or colour.
        columns: Images in a row; the square root of their number, rounded up, when not given.
        min_side: Images smaller than this are enlarged by a whole factor (nearest neighbour), so that they can be seen.
    """
    images = np.asarray(images)
    count, height, width, channels = images.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    scale = max(1, math.ceil(min_side / max(height, width)))
    images = images.repeat(scale, axis=1).repeat(scale, axis=2)
    height, width, line = height * scale, width * scale, 2
    canvas = np.full((rows * (height + line) + line, columns * (width + line) + line, channels), 255, np.uint8)
    for i, image in enumerate(images):
        top, left = line + i // columns * (height + line), line + i % columns * (width + line)
        canvas[top : top + height, left : left + width] = image
    return canvas
