"""What is done to images before they are measured: luma, gray, cropped borders, uint8 levels.

Each changes the numbers, so each belongs to a protocol's name; none is done by a metric on its own.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jgr.images import to_float, to_uint8


def luma(
    images: Float[Array, "batch height width channels"], *, data_range: float = 1.0
) -> Float[Array, "batch height width 1"]:
    """BT.601 luma Y of RGB, in studio swing, as MATLAB's `rgb2ycbcr`: black 16/255 and white 235/255 of the range.

    Super-resolution papers report PSNR and SSIM of this. MATLAB rounds Y to levels where its input is uint8;
    `quantised(luma(images))` does.

    Args:
        images: RGB in [0, data_range].
        data_range: Range of the images, and of the luma.

    Raises:
        ValueError: If the images do not have 3 channels.
    """
    return _weighted(images, (65.481 / 255.0, 128.553 / 255.0, 24.966 / 255.0)) + data_range * (16.0 / 255.0)


def gray(images: Float[Array, "batch height width channels"]) -> Float[Array, "batch height width 1"]:
    """BT.601 gray of RGB, over the full range: .299 R + .587 G + .114 B.

    Raises:
        ValueError: If the images do not have 3 channels.
    """
    return _weighted(images, (0.299, 0.587, 0.114))


def crop_border(
    images: Float[Array, "batch height width channels"], pixels: int
) -> Float[Array, "batch rows columns channels"]:
    """The images without `pixels` rows and columns on each side; super-resolution papers crop as many as the scale.

    Raises:
        ValueError: If nothing would be left, or `pixels` is negative.
    """
    height, width = images.shape[1:3]
    if not 0 <= 2 * pixels < min(height, width):
        raise ValueError(f"a border of {pixels} pixels cannot be cropped from images of {height}x{width}")
    return images[:, pixels : height - pixels, pixels : width - pixels]


def quantised(images: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Images in [0, 1] rounded to their 256 levels as `jgr.images.to_uint8` does, still floats in [0, 1].

    Values beyond [0, 1] are clipped. NaN, which no level can hold, stays NaN. The gradient is 0.
    """
    return jnp.where(jnp.isnan(images), jnp.nan, to_float(to_uint8(jax.lax.stop_gradient(images))))


def _weighted(
    images: Float[Array, "batch height width channels"], weights: tuple[float, float, float]
) -> Float[Array, "batch height width 1"]:
    if images.shape[-1] != 3:
        raise ValueError(f"images have {images.shape[-1]} channels: RGB has 3")
    # a sum of products, not a matrix product, whose precision would depend on the device
    red, green, blue = (images[..., i : i + 1] * weight for i, weight in enumerate(weights))
    return red + green + blue
