"""A user's image files, read and written without loss: 8 and 16 bits and float32, alpha and colour profile kept.

Pillow opens 16-bit colour with 8 bits, so 16-bit PNG goes through imagecodecs, and TIFF through tifffile, which uses
imagecodecs for compressed files: by one author, BSD licence, wheels for every platform and Python (OpenCV drops gray
alpha and profiles, pypng decodes in Python). What is left, 8-bit files, Pillow reads.
"""

import dataclasses
import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
from jaxtyping import Float32, UInt8, UInt16
from PIL import Image, UnidentifiedImageError

from jgr.degradations.inputs import check_image
from jgr.errors import DataError
from jgr.files import write_bytes

Pixels = (
    UInt8[np.ndarray, "height width channels"]
    | UInt16[np.ndarray, "height width channels"]
    | Float32[np.ndarray, "height width channels"]
)

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
_WRITTEN = {"PNG": (".png",), "TIFF": (".tif", ".tiff"), "WEBP": (".webp",), "BMP": (".bmp",)}
_FORMATS = (*_WRITTEN, "JPEG", "MPO")  # MPO: a JPEG of some phones, with a preview behind it
_ORIENTATION, _PROFILE = 274, 34675  # tags of TIFF and EXIF


@dataclasses.dataclass(frozen=True, kw_only=True)
class Photograph:
    """An image file's content.

    Args:
        pixels: uint8, uint16 or float32 (with white at 1), upright; 1 channel (gray), 2 (gray, alpha), 3 (RGB) or 4
            (RGB, alpha).
        profile: Its ICC profile.
        extra: What the channel beside the colours is, in TIFF's words: 0 unspecified, 1 alpha that the colours are
            multiplied by, 2 alpha.
    """

    pixels: Pixels
    profile: bytes | None = None
    extra: int = 2


def written_name(path: Path) -> str:
    """The name that the restored image of a file gets: the same, or with ".png" where its format would lose something.

    Only the file's head is read.

    Raises:
        DataError: The file is no image of a format that is read.
    """
    with _reading(path):
        kind = "TIFF"
        if not _is_tiff(path):
            with Image.open(path) as image:
                # few programs read alpha from BMP
                kind = "PNG" if image.mode == "RGBA" and image.format == "BMP" else _format_of(image)
    suffixes = _WRITTEN.get(kind, _WRITTEN["PNG"])
    return path.name if path.suffix.lower() in suffixes else path.with_suffix(suffixes[0]).name


def read_photograph(path: Path) -> Photograph:
    """Reads a PNG, TIFF, WebP, BMP or JPEG file, and turns it upright as EXIF says.

    Palettes, CMYK and other colours become 8-bit RGB, bilevel images 8-bit gray; a transparent colour becomes alpha.

    Raises:
        DataError: The file cannot be read, holds several images, or pixels that are neither 8-bit, 16-bit nor finite
            32-bit floats in units of [0, 1].
    """
    with _reading(path):
        found = _read_tiff(path) if _is_tiff(path) else None
        photograph, orientation = found or _read_with_pillow(path)
    check_image(photograph.pixels, str(path))
    return dataclasses.replace(photograph, pixels=np.ascontiguousarray(_upright(photograph.pixels, orientation)))


def num_colors(pixels: Pixels) -> int:
    """How many of the channels are colours: 3, or 1 of gray."""
    return 3 if pixels.shape[-1] > 2 else 1


def as_floats(pixels: Pixels) -> Float32[np.ndarray, "height width channels"]:
    """Integers to float32 in [0, 1]."""
    if pixels.dtype == np.float32:
        return pixels
    return pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)


def write_photograph(path: Path, photograph: Photograph) -> None:
    """Writes an image file without loss, atomically, in the format that its name ends in.

    Raises:
        DataError: The format cannot hold the image.
        RunError: The disk refuses.
    """
    encode = {".png": _encode_png, ".webp": _encode_webp, ".bmp": _encode_bmp}.get(path.suffix.lower(), _encode_tiff)
    try:
        content = encode(photograph)
    except Exception as error:  # encoders raise anything
        raise DataError(f"{path}: cannot be written in this format ({error or type(error).__name__})") from error
    write_bytes(path, content)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Names the file in every error, and lets Pillow open files of any size."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except UnidentifiedImageError as error:
        raise DataError(f"{path}: not a readable image (of no known format)") from error
    except Exception as error:  # a damaged file makes decoders raise anything
        reason = getattr(error, "strerror", None) or error or type(error).__name__
        raise DataError(f"{path}: not a readable image ({reason})") from error
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _format_of(image: Image.Image) -> str:
    if image.format not in _FORMATS:
        raise DataError(f"{image.format} files are not read; convert it to PNG or TIFF")
    return image.format


def _is_tiff(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # TIFF and BigTIFF of either byte order


def _read_with_pillow(path: Path) -> tuple[Photograph, int]:
    """The image and its orientation; of 16-bit PNG Pillow reads only what stands beside the pixels."""
    with Image.open(path) as image:
        kind = _format_of(image)
        frames = getattr(image, "n_frames", 1) if kind in ("PNG", "WEBP") else 1
        if frames > 1:
            raise DataError(f"it holds {frames} images; save the one you mean in a file of its own")
        image.load()
        with path.open("rb") as file:
            is_png_16 = kind == "PNG" and file.read(25)[24] == 16  # the bit depth, in the header
        if is_png_16:
            pixels = imagecodecs.png_decode(path.read_bytes())
            profile = image.info.get("icc_profile")
            photograph = Photograph(pixels=pixels.reshape(*pixels.shape[:2], -1), profile=profile)
        else:
            photograph = _from_8_bits(image)
        return photograph, image.getexif().get(_ORIENTATION, 1)


def _from_8_bits(image: Image.Image) -> Photograph:
    if image.mode.startswith(("I", "F")):
        raise DataError(f"it has pixels of Pillow's mode {image.mode}; convert it to 8 or 16 bits a channel")
    # a profile of CMYK says nothing about the RGB made of it
    profile = None if image.mode in ("CMYK", "YCbCr", "LAB") else image.info.get("icc_profile")
    mode = "L" if image.mode in ("1", "L", "LA") else "RGB"
    if image.has_transparency_data:
        mode += "A"
    pixels = np.asarray(image if image.mode == mode else image.convert(mode))
    return Photograph(pixels=pixels.reshape(*pixels.shape[:2], -1), profile=profile)


def _read_tiff(path: Path) -> tuple[Photograph, int] | None:
    """A TIFF file's only image and its orientation; None where Pillow must convert its colours to 8-bit RGB."""
    with tifffile.TiffFile(path) as file:
        pages = [page for page in (page.aspage() for page in file.pages) if not page.is_reduced]  # no thumbnails
        if not pages:
            raise ValueError("no image in it")
        if len(pages) > 1:
            raise DataError(f"it holds {len(pages)} images; save the one you mean in a file of its own")
        page = pages[0]
        kinds = tifffile.PHOTOMETRIC
        plain = page.photometric in (kinds.MINISBLACK, kinds.MINISWHITE, kinds.RGB)
        if page.bitspersample <= 8 and not (plain and page.bitspersample == 8):
            return None
        if not plain or page.dtype not in (np.uint8, np.uint16, np.float32):
            kind = f"{page.dtype or f'{page.bitspersample}-bit'} pixels of {kinds(page.photometric).name}"
            raise DataError(f"it has {kind}; convert it to gray or RGB of 8 or 16 bits or of 32-bit floats")
        pixels = page.asarray()
        if page.axes == "SYX":
            pixels = np.moveaxis(pixels, 0, -1)
        pixels = pixels.reshape(*pixels.shape[:2], -1)
        colors = 3 if page.photometric == kinds.RGB else 1
        if page.axes not in ("YX", "YXS", "SYX") or pixels.shape[-1] not in (colors, colors + 1):
            raise DataError(f"it has {page.samplesperpixel} channels; gray or RGB with or without alpha are read")
        if page.photometric == kinds.MINISWHITE:
            white = 1 if pixels.dtype == np.float32 else np.iinfo(pixels.dtype).max
            pixels = np.concatenate([white - pixels[..., :1], pixels[..., 1:]], axis=-1)
        profile, orientation = (tag.value if tag else None for tag in map(page.tags.get, (_PROFILE, _ORIENTATION)))
        extra = int(page.extrasamples[0]) if page.extrasamples else 2
    return Photograph(pixels=pixels, profile=profile, extra=extra), orientation or 1


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Undoes an orientation of EXIF 2.32, section 4.6.4; values beyond 1 to 8 mean none."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels[:, ::-1] if orientation in (2, 3, 6, 7) else pixels


def _encode_png(photograph: Photograph) -> bytes:
    pixels = photograph.pixels
    content = bytes(imagecodecs.png_encode(pixels[..., 0] if pixels.shape[-1] == 1 else pixels))
    if photograph.profile is None:
        return content
    # behind the header, which ends at byte 33 (PNG, third edition, section 11.3.2.3)
    body = b"iCCP" + b"ICC profile\0\0" + zlib.compress(photograph.profile)
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return content[:33] + chunk + content[33:]


def _encode_tiff(photograph: Photograph) -> bytes:
    pixels, encoded = photograph.pixels, io.BytesIO()
    channels = pixels.shape[-1]
    tifffile.imwrite(
        encoded,
        pixels[..., 0] if channels == 1 else pixels,
        photometric="rgb" if channels > 2 else "minisblack",
        planarconfig="contig" if channels > 1 else None,
        extrasamples=[photograph.extra] if channels in (2, 4) else None,
        compression="zlib",
        predictor=True,
        iccprofile=photograph.profile,
        metadata=None,
    )
    return encoded.getvalue()


def _encode_webp(photograph: Photograph) -> bytes:
    return _with_pillow(photograph, "WEBP", lossless=True, exact=True, icc_profile=photograph.profile)


def _encode_bmp(photograph: Photograph) -> bytes:
    return _with_pillow(photograph, "BMP")


def _with_pillow(photograph: Photograph, kind: str, **options: object) -> bytes:
    pixels, encoded = photograph.pixels, io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(encoded, format=kind, **options)
    return encoded.getvalue()
