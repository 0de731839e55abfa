"""Image files to uint8 arrays, through Pillow: one rule for every source of files."""

import io
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from jgr.errors import DataError

COLORS = {"rgb": "RGB", "gray": "L"}  # and their modes in Pillow


def decode_image(
    data: Path | bytes, color: str, *, name: str, orient: bool
) -> UInt8[np.ndarray, "height width channels"]:
    """Decodes an image file of any kind that Pillow reads.

    - gray is ITU-R BT.601 luma, Pillow's "L";
    - palettes and CMYK become RGB; transparent images are laid over white;
    - 16-bit gray is scaled by 255/65535 and rounded half up (Pillow drops the low byte of 16-bit colour);
    - of several frames the first is taken.

    Args:
        data: A file's path or its bytes.
        color: "rgb" for three channels or "gray" for one.
        name: What an error calls the image.
        orient: Whether to turn the image upright as its EXIF orientation says.

    Raises:
        DataError: The image does not decode, or holds 32-bit or float pixels.
    """
    try:
        with Image.open(io.BytesIO(data) if isinstance(data, bytes) else data) as image:
            image.load()
            if orient:
                ImageOps.exif_transpose(image, in_place=True)
            converted = _to_8_bit(image) if image.mode.startswith(("I", "F")) else image
            if converted.mode != COLORS[color]:
                converted = _over_white(converted).convert(COLORS[color])
            shape = (converted.height, converted.width, -1)
            pixels = np.frombuffer(converted.tobytes(), np.uint8).reshape(shape)  # faster than np.asarray
    except DataError as error:
        raise DataError(f"{name}: {error}") from None
    except Exception as error:  # a damaged file makes Pillow's decoders raise anything
        raise DataError(
            f"{name}: not a readable image ({error or type(error).__name__}); replace or remove it"
        ) from error
    return pixels


def _to_8_bit(image: Image.Image) -> Image.Image:
    pixels = np.asarray(image)
    if image.mode == "F" or pixels.min() < 0 or pixels.max() > 65535:
        raise DataError(f"it has 32-bit pixels (Pillow mode {image.mode}); convert it to 8 or 16 bits a channel")
    return Image.fromarray(((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8))


def _over_white(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
