"""Resampling with a separable filter, and convolutions that resample: what StyleGAN2 does against aliasing.

Zhang 2019 (arXiv:1904.11486) and Karras et al. 2020 (arXiv:1912.04958, appendix B) filter wherever the number of pixels
changes. The filter's taps are given once for both axes and in any scale: every function here scales them so that the
mean of an image stays. Outside the image there are zeros, so the mean drops within a filter's reach of the border.

With T taps f, along each axis
    `filtered`     y[n] = sum over k of f[k] x[n + k - T // 2]
    `downsampled`  y[i] = sum over k of f[k] x[2 i + k - (T - 1) // 2]
    `upsampled`    y[n] = sum over k of 2 f[k] z[n + k - (T + 1) // 2], z being x with a zero after every pixel
which are the alignments of the authors' code. Resampled images stay centred where the number of taps is even.
"""

import functools
import operator
from collections.abc import Sequence

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jgr.errors import ConfigError
from jgr.layers.conv import conv

TAPS = (1.0, 3.0, 3.0, 1.0)  # StyleGAN2

Images = Float[Array, "batch height width channels"]
Resized = Float[Array, "batch new_height new_width new_channels"]
Filter = Float[Array, "rows columns channels features"]


def filtered(images: Images, taps: Sequence[float] = TAPS) -> Images:
    """The images filtered, of the same size.

    Args:
        images: NHWC.
        taps: Of the filter.

    Raises:
        ConfigError: If there are fewer than two taps, or they sum to 0.
    """
    return _filtered(images, taps, len(taps) // 2, (len(taps) - 1) // 2)


def downsampled(images: Images, taps: Sequence[float] = TAPS) -> Resized:
    """Half the rows and columns: filtered, and every second pixel kept.

    Args:
        images: NHWC of even sides.
        taps: Of the filter.

    Raises:
        ConfigError: If a side is odd, there are fewer than two taps, or they sum to 0.
    """
    _require_even(images)
    weights, low = _normalised(taps), (len(taps) - 1) // 2
    for axis in (1, 2):
        side = images.shape[axis] // 2
        spare = len(taps) % 2  # the padded side is even
        padded = _padded(images, axis, low, len(taps) - 2 - low + spare)
        pairs = padded.reshape(*padded.shape[:axis], -1, 2, *padded.shape[axis + 1 :])
        halves = [lax.index_in_dim(pairs, phase, axis + 1, keepdims=False) for phase in (0, 1)]
        terms = [_window(halves[tap % 2], axis, tap // 2, side) for tap in range(len(taps))]
        images = _weighted_sum(terms, weights).astype(images.dtype)
    return images


def upsampled(images: Images, taps: Sequence[float] = TAPS) -> Resized:
    """Twice the rows and columns: zeros between the pixels, then filtered and four times as strong.

    With `TAPS` it is bilinear interpolation, but for the border.

    Args:
        images: NHWC.
        taps: Of the filter.

    Raises:
        ConfigError: If there are fewer than two taps, or they sum to 0.
    """
    return _upsampled(images, taps, 0)


def conv_upsampled(images: Images, kernel: Filter, taps: Sequence[float] = TAPS) -> Resized:
    """A convolution of the upsampled images: twice the rows and columns.

    Beyond the border the kernel sees what the filter spread there, and no zeros, as in the authors' code.
    That filters after a transposed convolution, which is the same; from 16x16 pixels on the gradient is twice as fast
    on CPU in this order, where the convolution is by minimal filtering.

    Args:
        images: NHWC.
        kernel: HWIO, square, of odd sides.
        taps: Of the filter.

    Raises:
        ConfigError: If there are fewer than two taps, or they sum to 0.
    """
    return conv(_upsampled(images, taps, kernel.shape[0] // 2), kernel, padding="VALID")


def conv_downsampled(images: Images, kernel: Filter, taps: Sequence[float] = TAPS) -> Resized:
    """A strided convolution of the filtered images: half the rows and columns.

    Beyond the border the kernel sees what the filter spread there, and no zeros, as in the authors' code.

    Args:
        images: NHWC of even sides.
        kernel: HWIO, square, of odd sides.
        taps: Of the filter.

    Raises:
        ConfigError: If a side is odd, there are fewer than two taps, or they sum to 0.
    """
    _require_even(images)
    reach = kernel.shape[0] // 2
    low = (len(taps) - 1) // 2 + reach
    spread = _filtered(images, taps, low, len(taps) - 2 - low + 2 * reach)
    return conv(spread, kernel, (2, 2), "VALID")


def _filtered(images: Images, taps: Sequence[float], low: int, high: int) -> Resized:
    weights = _normalised(taps)
    for axis in (1, 2):
        padded = _padded(images, axis, low, high)
        side = padded.shape[axis] - len(taps) + 1
        terms = [_window(padded, axis, tap, side) for tap in range(len(taps))]
        images = _weighted_sum(terms, weights).astype(images.dtype)
    return images


def _upsampled(images: Images, taps: Sequence[float], border: int) -> Resized:
    """With further pixels beyond the border, where the filter spreads something."""
    weights = [2 * weight for weight in _normalised(taps)]
    blocks = -(-border // 2)  # of two pixels, of which the outermost may be cut off
    radius = len(taps) // 2 + blocks
    for axis in (1, 2):
        side = images.shape[axis]
        padded = _padded(images, axis, radius, radius)
        phases = []
        for phase in (0, 1):
            # tap k meets a pixel, not a zero, where phase + k - (T + 1) // 2 is even
            shifts = [phase + tap - (len(taps) + 1) // 2 for tap in range(len(taps))]
            met = [tap for tap, shift in enumerate(shifts) if shift % 2 == 0]
            terms = [_window(padded, axis, radius - blocks + shifts[tap] // 2, side + 2 * blocks) for tap in met]
            phases.append(_weighted_sum(terms, [weights[tap] for tap in met]))
        doubled = jnp.stack(phases, axis + 1).astype(images.dtype)
        doubled = doubled.reshape(*images.shape[:axis], 2 * (side + 2 * blocks), *images.shape[axis + 1 :])
        images = _window(doubled, axis, 2 * blocks - border, 2 * (side + border))
    return images


def _padded(images: Images, axis: int, low: int, high: int) -> Resized:
    """In float32 at least, as sums need; with zeros, or cut, at the ends of an axis."""
    images = images.astype(jnp.promote_types(images.dtype, jnp.float32))
    pads = [(low, high, 0) if i == axis else (0, 0, 0) for i in range(images.ndim)]
    return lax.pad(images, jnp.zeros((), images.dtype), pads)


def _window(images: Images, axis: int, first: int, side: int) -> Resized:
    return lax.slice_in_dim(images, first, first + side, axis=axis)


def _weighted_sum(terms: Sequence[Images], weights: Sequence[float]) -> Images:
    return functools.reduce(operator.add, (weight * term for weight, term in zip(weights, terms, strict=True)))


def _normalised(taps: Sequence[float]) -> list[float]:
    total = sum(taps)
    if len(taps) < 2 or not total:
        raise ConfigError(f"taps = {tuple(taps)} must be two at least, and not sum to 0")
    return [float(tap / total) for tap in taps]


def _require_even(images: Images) -> None:
    if images.shape[1] % 2 or images.shape[2] % 2:
        raise ConfigError(f"images of {images.shape[1]}x{images.shape[2]} pixels cannot be halved: sides must be even")
