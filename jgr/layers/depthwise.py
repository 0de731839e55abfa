"""Depthwise convolution as sums over shifted images: XLA's CPU backend runs its own form of it 10 to 50 times slower.

Each form of `jgr.layers.conv` is one pass over memory: the result and the image's gradient are weighted sums of shifted
images, the kernel's gradient is the sums of their products, for many taps at once.
"""

import functools
import itertools
import operator
from collections.abc import Sequence

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Large = Float[Array, "batch large_height large_width channels"]
Small = Float[Array, "batch small_height small_width channels"]
Kernel = Float[Array, "kernel_height kernel_width 1 channels"]
Pads = tuple[tuple[int, int], tuple[int, int]]

_TAPS_AT_ONCE = 25  # measured with 7x7: 13 take 1.8 times as long, 49 take 1.2 times


def shrink(large: Large, kernel: Kernel, strides: tuple[int, int], pads: Pads) -> Small:
    """The convolution."""
    padded = _padded(large, pads, (1, 1))
    return _weighted_sum(padded, kernel, strides).astype(large.dtype)


def enlarge(small: Small, kernel: Kernel, strides: tuple[int, int], pads: Pads) -> Large:
    """Its gradient with respect to the image."""
    rest = [(k - 1 - low, k - 1 - high) for k, (low, high) in zip(kernel.shape[:2], pads, strict=True)]
    padded = _padded(small, (rest[0], rest[1]), strides)
    return _weighted_sum(padded, kernel[::-1, ::-1], (1, 1)).astype(small.dtype)


def filter_gradient(
    large: Large, small: Small, kernel_size: tuple[int, int], strides: tuple[int, int], pads: Pads
) -> Kernel:
    """Its gradient with respect to the kernel."""
    padded = _padded(large, pads, (1, 1))
    small = small.astype(padded.dtype)
    taps = list(itertools.product(*map(range, kernel_size)))
    sums = []
    for first in range(0, len(taps), _TAPS_AT_ONCE):
        products = [
            _window(padded, tap, strides, small.shape[1:3]) * small for tap in taps[first : first + _TAPS_AT_ONCE]
        ]
        # One reduction with many results reads the images once. Over rows only: the loop over columns and channels
        # inside it becomes vector instructions, and a batch spread over devices stays where it is.
        sums += lax.reduce(products, [jnp.zeros((), padded.dtype)] * len(products), _add_all, (1,))
    # The barrier keeps XLA from making one reduction a tap of it again, which takes 5 times as long.
    totals = [part.sum((0, 1)) for part in map(lax.optimization_barrier, sums)]
    return jnp.stack(totals).reshape(*kernel_size, 1, -1).astype(large.dtype)


def _weighted_sum(padded: Large, kernel: Kernel, strides: tuple[int, int]) -> Small:
    rows, columns = kernel.shape[:2]
    sides = [
        (side - k) // stride + 1 for side, k, stride in zip(padded.shape[1:3], (rows, columns), strides, strict=True)
    ]
    kernel = kernel.astype(padded.dtype)
    return functools.reduce(
        operator.add,
        (
            _window(padded, tap, strides, sides) * kernel[tap].reshape(1, 1, 1, -1)
            for tap in itertools.product(range(rows), range(columns))
        ),
    )


def _window(padded: Large, tap: tuple[int, ...], strides: tuple[int, int], sides: Sequence[int]) -> Small:
    """What one tap of the kernel sees."""
    rows, columns = (
        slice(first, first + (side - 1) * stride + 1, stride)
        for first, side, stride in zip(tap, sides, strides, strict=True)
    )
    return padded[:, rows, columns]


def _padded(images: Large, pads: Pads, spread: tuple[int, int]) -> Small:
    """In float32 at least, as sums need; with zeros around, and `spread - 1` between the pixels."""
    images = images.astype(jnp.promote_types(images.dtype, jnp.float32))
    config = [(0, 0, 0), *((low, high, s - 1) for (low, high), s in zip(pads, spread, strict=True)), (0, 0, 0)]
    return lax.pad(images, jnp.zeros((), images.dtype), config)


def _add_all(left: Sequence[Array], right: Sequence[Array]) -> tuple[Array, ...]:
    return tuple(a + b for a, b in zip(left, right, strict=True))
