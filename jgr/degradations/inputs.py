"""Checks of arrays that a user supplies: here, on the host, since nothing can be raised inside compiled code."""

import numpy as np
from jaxtyping import Float, Shaped

from jgr.errors import DataError

_KERNEL_TOLERANCE = 1e-3


def check_image(image: Shaped[np.ndarray, "..."], name: str) -> None:
    """Refuses pixels that are not finite, and float pixels on the scale of uint8.

    Args:
        image: One image or several, uint8, or float in units of [0, 1]. Noise may exceed the range, but not by more
            than a whole range.
        name: What the error calls it.

    Raises:
        DataError: For the first thing wrong.
    """
    if not np.issubdtype(image.dtype, np.floating):
        return
    wrong = np.argwhere(~np.isfinite(image))
    if len(wrong):
        place = tuple(map(int, wrong[0]))
        raise DataError(
            f"{name}: {len(wrong)} of {image.size} values are not finite, the first is {image[place]} at {place}"
        )
    least, most = image.min(initial=0.0), image.max(initial=0.0)
    if least < -8 or most > 9:  # eight standard deviations of the largest sigma
        raise DataError(
            f"{name}: float values from {least:g} to {most:g} are not in units of [0, 1]; divide by 255, or give uint8"
        )


def check_sigma(sigma: float | Float[np.ndarray, "..."], name: str) -> None:
    """Refuses standard deviations of noise that are not finite, negative, or in gray levels of 255.

    Raises:
        DataError: For the first one wrong.
    """
    for value in np.ravel(sigma):
        if not 0 <= value <= 1:
            hint = f": it is in units of the range [0, 1], write {value:g}/255" if 1 < value <= 255 else ""
            raise DataError(f"{name}: sigma = {value:g} must be from 0 to 1{hint}")


def check_kernel(kernel: Shaped[np.ndarray, "..."], name: str) -> None:
    """Refuses what is no blur kernel: it is 2-D, square, of odd size, finite, not negative, and sums to 1 (±0.001).

    Raises:
        DataError: For the first thing wrong, with what to do.
    """
    if kernel.ndim != 2:
        raise DataError(f"{name}: the kernel's shape {kernel.shape} must have 2 axes; take one channel, or one kernel")
    height, width = kernel.shape
    if height != width or height % 2 == 0:
        raise DataError(
            f"{name}: the kernel is {height}x{width}, but must be square and of odd size, so that it has a centre; "
            "pad it with zeros"
        )
    if not np.isfinite(kernel).all():
        raise DataError(f"{name}: the kernel has {np.count_nonzero(~np.isfinite(kernel))} values that are not finite")
    if kernel.min() < 0:
        raise DataError(f"{name}: the kernel's least value is {kernel.min():g}, but none may be negative")
    total = float(kernel.sum(dtype=np.float64))
    if abs(total - 1) > _KERNEL_TOLERANCE:
        raise DataError(
            f"{name}: the kernel sums to {total:.6g}, not to 1: it would change the brightness; divide it by its sum"
        )


def check_mask(mask: Shaped[np.ndarray, "..."], name: str) -> None:
    """Refuses what is no mask: each value is 0 (hole) or 1 (known), and some pixel is known.

    Raises:
        DataError: For the first thing wrong, with what to do.
    """
    soft = np.count_nonzero((mask != 0) & (mask != 1))
    if soft:
        raise DataError(
            f"{name}: {soft} of {mask.size} pixels of the mask are neither a hole nor known; soft mask pixels create "
            "visible borders, so give a mask of two values, not resized, not JPEG"
        )
    if not mask.any():
        raise DataError(f"{name}: the mask hides every pixel; 1 or white means known, 0 or black means hole")
