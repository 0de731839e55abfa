"""Pictures for reports: small WebP files, of which parts of restored images keep every pixel as it is."""

import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from jgr.files import disk_errors

SIDE = 160
"""Pixels of the longest side of a part of an image, so that a study of twenty runs stays below 5 MB."""

_LARGEST = 1200  # pixels of a side of a thumbnail
_LOSSLESS_BYTES = 64_000  # larger files lose what few see
_QUALITY = {True: 75, False: 82}  # by whether it is lossless, where it is the effort: the last percents take minutes


def webp(image: UInt8[np.ndarray, "height width channels"]) -> bytes:
    """An image as WebP, without loss.

    Args:
        image: uint8 in [0, 255], 1 (gray) or 3 (RGB) channels; gray ones come back as RGB.
    """
    return _encoded(Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image), lossless=True)


def thumbnail(path: Path) -> bytes:
    """A picture file as WebP, of at most 1200 pixels a side; a small file keeps its pixels.

    Raises:
        RunError: It cannot be read.
    """
    with disk_errors(path, "read"), Image.open(path) as opened:
        picture = opened.convert("RGB")
    if max(picture.size) > _LARGEST:
        picture.thumbnail((_LARGEST, _LARGEST))
    return _encoded(picture, lossless=path.stat().st_size <= _LOSSLESS_BYTES)


def middles(
    images: Sequence[UInt8[np.ndarray, "_ _ _"]],
) -> list[UInt8[np.ndarray, "_ _ _"]]:
    """The parts of several images of one thing that lie in the middle, of at most `SIDE` pixels a side.

    Args:
        images: uint8, the last one of the full size; others may be smaller, as what is to be enlarged is. The parts of
            all show the same.
    """
    whole = images[-1].shape[:2]
    factors = [max(1, round(whole[0] / image.shape[0])) for image in images]
    unit = math.lcm(*factors)
    starts = [max(0, length - SIDE) // 2 // unit * unit for length in whole]
    ends = [min(length, start + SIDE // unit * unit) for length, start in zip(whole, starts, strict=True)]
    return [
        image[starts[0] // factor : -(-ends[0] // factor), starts[1] // factor : -(-ends[1] // factor)]
        for image, factor in zip(images, factors, strict=True)
    ]


def read(path: Path) -> UInt8[np.ndarray, "height width channels"]:
    """A picture file of 8-bit gray or RGB pixels.

    Raises:
        RunError: It cannot be read.
    """
    with disk_errors(path, "read"), Image.open(path) as opened:
        pixels = np.asarray(opened if opened.mode in ("L", "RGB") else opened.convert("RGB"))
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _encoded(picture: Image.Image, lossless: bool) -> bytes:
    content = io.BytesIO()
    picture.save(content, format="WEBP", lossless=lossless, quality=_QUALITY[lossless], method=4)
    return content.getvalue()
