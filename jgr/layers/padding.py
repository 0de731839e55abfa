"""How images get the sides that a network needs: continued at the bottom and the right, where a crop undoes it."""

from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jgr.errors import ConfigError

A = TypeVar("A", Array, np.ndarray)


def pad_to_multiple(
    images: Float[A, "batch height width channels"], multiple: int
) -> Float[A, "batch new_height new_width channels"]:
    """Images whose sides are the next multiples of a number, continued by reflection at the bottom and the right.

    `pad_to_multiple(images, 8)[:, :height, :width]` are the images themselves.

    Args:
        images: NHWC of any range and size.
        multiple: What the sides shall be a multiple of.

    Returns:
        Of the kind of `images`: a NumPy array stays one.

    Raises:
        ConfigError: If `multiple` is below 1.
    """
    if multiple < 1:
        raise ConfigError(f"multiple = {multiple} must be at least 1")
    height, width = (-(-side // multiple) * multiple for side in images.shape[1:3])
    return pad_to(images, height, width)


def pad_to(
    images: Float[A, "batch height width channels"], height: int, width: int
) -> Float[A, "batch new_height new_width channels"]:
    """Images of at least a size, continued by reflection at the bottom and the right; sides that suffice stay.

    The last row is the mirror and is not repeated, as NumPy's "reflect"; where one reflection does not suffice the
    image goes back and forth, and a single row is repeated.

    Args:
        images: NHWC of any range and size.
        height: Rows that there shall be.
        width: Columns that there shall be.

    Returns:
        Of the kind of `images`: a NumPy array stays one.
    """
    below, right = max(0, height - images.shape[1]), max(0, width - images.shape[2])
    if not below and not right:
        return images
    pads = ((0, 0), (0, below), (0, right), (0, 0))
    return jnp.pad(images, pads, "reflect") if isinstance(images, jax.Array) else np.pad(images, pads, "reflect")
