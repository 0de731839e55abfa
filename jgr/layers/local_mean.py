"""Means of sliding windows, of any size at the same cost."""

import jax.numpy as jnp
from jaxtyping import Array, Float

Images = Float[Array, "batch height width channels"]
Means = Float[Array, "batch height_or_1 width_or_1 channels"]


def local_mean(images: Images, window: int) -> Means:
    """The mean of the window around each pixel, in float32 by cumulative sums.

    Only windows that lie inside the image count; a pixel nearer to the border than half a window has the mean of the
    nearest one (test-time local converter, Chu et al. 2022, arXiv:2112.04491, section 3.3).

    Args:
        images: NHWC.
        window: Rows and columns of the window.

    Returns:
        Of the images' size, but 1 along each axis that the window covers, where all means are the same.
    """
    images = images.astype("float32")
    mean = images.mean((1, 2), keepdims=True)  # taken off, so that the sums do not grow along the image
    return _means(_means(images - mean, window, 1), window, 2) + mean


def _means(images: Images, window: int, axis: int) -> Means:
    """Along one axis."""
    side = images.shape[axis]
    if window >= side:
        return images.mean(axis, keepdims=True)

    def padded(array: Array, low: int, high: int, mode: str) -> Array:
        return jnp.pad(array, [(low, high) if i == axis else (0, 0) for i in range(array.ndim)], mode)

    sums = padded(jnp.cumsum(images, axis), 1, 0, "constant")
    count = side - window + 1
    windows = jnp.take(sums, jnp.arange(window, side + 1), axis) - jnp.take(sums, jnp.arange(count), axis)
    return padded(windows / window, (side - count) // 2, (side - count + 1) // 2, "edge")
