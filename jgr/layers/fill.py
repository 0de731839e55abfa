"""A first guess of missing pixels: averages of known ones near by."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

_TAPS = (0.25, 0.5, 0.25)  # binomial, in each direction
_TRUST = 0.02  # weight of the coarser guess beside known pixels, whose weights in a 3x3 window sum to at most 1


def fill_holes(
    images: Float[Array, "batch height width channels"], mask: Float[Array, "batch height width 1"]
) -> Float[Array, "batch height width channels"]:
    """The images, in float32, with averages of near known pixels in the holes: normalised convolution over a pyramid.

    A hole takes the weighted mean of the known pixels of its 3x3 window (normalised convolution: Knutsson &
    Westin 1993); where there are few, a guess of half the resolution counts as well, made alike (pull and push: Gortler
    et al. 1996, The Lumigraph). What the holes hold does not matter; an image without known pixels becomes 0.

    Args:
        images: Of any range.
        mask: 1 for known pixels, 0 for holes; anything above 0 is known.
    """
    known = (mask > 0).astype("float32")
    guess = _guess(jnp.where(known > 0, images.astype("float32"), 0.0), known)
    return jnp.where(known > 0, images, guess)


def _guess(values: Float[Array, "batch height width channels"], weights: Float[Array, "batch height width 1"]) -> Array:
    """Smooth images from pixels multiplied by their weights."""
    near, weight = _blurred(values), _blurred(weights)
    height, width = values.shape[1:3]
    if height == width == 1:
        return near / jnp.maximum(weight, 1e-12)
    odd = ((0, 0), (0, height % 2), (0, width % 2), (0, 0))
    coarse = _guess(*(_halved(jnp.pad(array, odd)) for array in (values, weights)))
    shape = (*coarse.shape[:1], 2 * coarse.shape[1], 2 * coarse.shape[2], *coarse.shape[3:])
    coarse = jax.image.resize(coarse, shape, "bilinear")[:, :height, :width]
    return (near + _TRUST * coarse) / (weight + _TRUST)


def _blurred(images: Array) -> Array:
    """Binomially smoothed, with zeros around."""
    for axis in (1, 2):
        padding = [(1, 1) if a == axis else (0, 0) for a in range(4)]
        padded, size = jnp.pad(images, padding), images.shape[axis]
        shifted = [jax.lax.slice_in_dim(padded, start, start + size, axis=axis) for start in range(len(_TAPS))]
        images = jnp.stack([tap * part for tap, part in zip(_TAPS, shifted, strict=True)]).sum(0)
    return images


def _halved(images: Array) -> Array:
    """Means of 2x2 pixels."""
    batch, height, width, channels = images.shape
    return images.reshape(batch, height // 2, 2, width // 2, 2, channels).mean((2, 4))
