"""Pictures for reports: small WebP files, of which parts of restored images keep every pixel as it is."""

import io
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


def middle(
    image: UInt8[np.ndarray, "height width channels"], whole: tuple[int, int]
) -> UInt8[np.ndarray, "part_height part_width channels"]:
    """The part of an image that lies in the middle, of at most `SIDE` pixels a side.

    Args:
        image: uint8; it may be smaller than the whole, as what is to be enlarged is.
        whole: Height and width of what it will be compared with; the parts of both show the same.
    """
    factor = max(1, round(whole[0] / image.shape[0]))
    side = SIDE // factor * factor
    spans = []
    for length in whole:
        start = max(0, length - side) // 2 // factor * factor
        spans.append(slice(start // factor, -(-min(length, start + side) // factor)))
    return image[spans[0], spans[1]]


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
