import io
import struct
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, ImageOps

from jgr.errors import DataError
from jgr.jobs.photograph import Photograph, _upright, read_photograph, write_photograph, written_name

SHAPE = (7, 11)
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def noise(channels, dtype=np.uint8):
    generator = np.random.default_rng(channels)
    if dtype == np.float32:
        return generator.normal(0.5, 0.5, (*SHAPE, channels)).astype(np.float32)
    return generator.integers(0, np.iinfo(dtype).max, (*SHAPE, channels), dtype, endpoint=True)


def read_elsewhere(path):
    """The pixels as another program sees them."""
    content = path.read_bytes()
    if path.suffix == ".png":
        return imagecodecs.png_decode(content)
    return tifffile.imread(path) if path.suffix == ".tif" else np.asarray(Image.open(io.BytesIO(content)))


CASES = [
    *((".png", channels, dtype) for channels in (1, 2, 3, 4) for dtype in (np.uint8, np.uint16)),
    *((".tif", channels, dtype) for channels in (1, 2, 3, 4) for dtype in (np.uint8, np.uint16, np.float32)),
    *((".webp", channels, np.uint8) for channels in (3, 4)),
    *((".bmp", channels, np.uint8) for channels in (1, 3)),
]


@pytest.mark.parametrize(("suffix", "channels", "dtype"), CASES)
def test_what_is_written_is_read_again(tmp_path, suffix, channels, dtype):
    pixels, path = noise(channels, dtype), tmp_path / f"a{suffix}"
    write_photograph(path, Photograph(pixels=pixels, profile=PROFILE))
    again = read_photograph(path)
    assert again.pixels.dtype == dtype
    np.testing.assert_array_equal(again.pixels, pixels)
    np.testing.assert_array_equal(read_elsewhere(path).reshape(pixels.shape), pixels)
    assert again.profile == (None if suffix == ".bmp" else PROFILE)
    assert written_name(path) == path.name
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def png_16(pixels):
    """A 16-bit PNG as the standard has it, of stored scanlines: what no encoder of this test wrote."""
    height, width, channels = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bit_png_keeps_its_low_bytes(tmp_path, channels):
    pixels, path = noise(channels, np.uint16), tmp_path / "a.png"
    path.write_bytes(png_16(pixels))
    np.testing.assert_array_equal(read_photograph(path).pixels, pixels)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "transparent P", "transparent RGB"])
def test_8_bit_png_of_every_kind(tmp_path, mode):
    image = Image.fromarray(noise(3 if mode == "P" else 4)).convert(mode.split()[-1])
    options = {"transparency": (0 if image.mode == "P" else image.getpixel((0, 0)))} if " " in mode else {}
    image.save(tmp_path / "a.png", **options)
    wanted = {"1": "L", "P": "RGB"}.get(mode, "RGBA" if " " in mode else mode)
    with Image.open(tmp_path / "a.png") as saved:
        expected = np.asarray(saved.convert(wanted)).reshape(*SHAPE, -1)
    np.testing.assert_array_equal(read_photograph(tmp_path / "a.png").pixels, expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_exif_is_applied(tmp_path, orientation):
    pixels = noise(3)
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=exif, quality=95)
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    tifffile.imwrite(tmp_path / "a.tif", noise(3, np.uint16), photometric="rgb", extratags=[(274, 3, 1, orientation)])
    for name in ("a.jpg", "a.png"):
        with Image.open(tmp_path / name) as image:
            expected = np.asarray(ImageOps.exif_transpose(image))
        np.testing.assert_array_equal(read_photograph(tmp_path / name).pixels, expected)
    expected = _upright(noise(3, np.uint16), orientation)
    np.testing.assert_array_equal(read_photograph(tmp_path / "a.tif").pixels, expected)
    write_photograph(tmp_path / "b.tif", read_photograph(tmp_path / "a.tif"))
    np.testing.assert_array_equal(read_photograph(tmp_path / "b.tif").pixels, expected)  # not turned once more


def test_tiff_of_many_kinds(tmp_path):
    path, pixels = tmp_path / "a.tif", noise(3, np.uint16)
    for options in (
        {"compression": "lzw", "predictor": True},
        {"planarconfig": "separate"},
        {"byteorder": ">", "tile": (16, 16)},
        {"bigtiff": True},
    ):
        array = np.moveaxis(pixels, -1, 0) if "planarconfig" in options else pixels
        tifffile.imwrite(path, array, photometric="rgb", **options)
        np.testing.assert_array_equal(read_photograph(path).pixels, pixels)
    tifffile.imwrite(path, noise(1)[..., 0], photometric="miniswhite")
    np.testing.assert_array_equal(read_photograph(path).pixels, 255 - noise(1))
    tifffile.imwrite(path, noise(4), photometric="rgb", extrasamples=["assocalpha"])
    write_photograph(path, read_photograph(path))
    with tifffile.TiffFile(path) as file:
        assert file.pages[0].extrasamples == (1,)
    np.testing.assert_array_equal(tifffile.imread(path), noise(4))
    for mode in ("1", "P", "CMYK"):
        image = Image.fromarray(noise(3)).convert(mode)
        image.save(path)
        expected = np.asarray(image.convert("L" if mode == "1" else "RGB"))
        np.testing.assert_array_equal(read_photograph(path).pixels, expected.reshape(*SHAPE, -1))


def test_profile_of_a_jpeg_goes_into_the_png(tmp_path):
    Image.fromarray(noise(3)).save(tmp_path / "a.jpg", icc_profile=PROFILE)
    photograph = read_photograph(tmp_path / "a.jpg")
    write_photograph(tmp_path / "a.png", photograph)
    with Image.open(tmp_path / "a.png") as image:
        assert image.info["icc_profile"] == PROFILE
        np.testing.assert_array_equal(np.asarray(image), np.asarray(Image.open(tmp_path / "a.jpg")))
    Image.new("CMYK", (4, 4)).save(tmp_path / "cmyk.jpg", icc_profile=PROFILE)
    assert read_photograph(tmp_path / "cmyk.jpg").profile is None


def test_names_of_what_is_written(tmp_path):
    image = Image.fromarray(noise(4))
    for name, kind, mode, expected in (
        ("a.jpg", "JPEG", "RGB", "a.png"),
        ("b.JPEG", "JPEG", "RGB", "b.png"),
        ("c.TIFF", "TIFF", "RGB", "c.TIFF"),
        ("d.jpg", "PNG", "RGBA", "d.png"),  # the content decides
        ("e.png", "TIFF", "RGBA", "e.tif"),
        ("f.bmp", "BMP", "RGB", "f.bmp"),
        ("h.v2.webp", "WEBP", "RGBA", "h.v2.webp"),
    ):
        image.convert(mode).save(tmp_path / name, format=kind)
        assert written_name(tmp_path / name) == expected


def test_alpha_of_bmp_is_kept_in_png(tmp_path):
    pixels, path = noise(4), tmp_path / "a.bmp"
    masks = struct.pack("<4I", 0xFF, 0xFF00, 0xFF0000, 0xFF000000)
    header = struct.pack("<IiiHHIIiiII", 108, SHAPE[1], -SHAPE[0], 1, 32, 3, pixels.size, 0, 0, 0, 0)  # BITMAPV4HEADER
    content = (header + masks).ljust(108, b"\0") + pixels.tobytes()
    path.write_bytes(b"BM" + struct.pack("<IHHI", 14 + len(content), 0, 0, 14 + 108) + content)
    np.testing.assert_array_equal(read_photograph(path).pixels, pixels)
    assert written_name(path) == "a.png"


def refusal(path):
    with pytest.raises(DataError) as caught:
        read_photograph(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def test_files_that_are_no_image_or_cut_short(tmp_path):
    files = {f"a{suffix}": (channels, dtype) for suffix, channels, dtype in CASES}
    for name, (channels, dtype) in files.items():
        write_photograph(tmp_path / name, Photograph(pixels=noise(channels, dtype)))
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-100])
        assert refusal(tmp_path / name).startswith("not a readable image (")
    for content in (b"", b"hello", b"II*\0", b"II*\0\xff\xff\xff\xff", b"\x89PNG\r\n\x1a\n"):
        (tmp_path / "b.png").write_bytes(content)
        assert refusal(tmp_path / "b.png").startswith("not a readable image (")
    assert refusal(tmp_path / "c.png") == "not a readable image (No such file or directory)"


def test_pixels_that_no_photograph_has(tmp_path):
    path = tmp_path / "a.tif"

    def message(array, **options):
        tifffile.imwrite(path, array, **options)
        return refusal(path)

    pixels = noise(3, np.float32)
    pixels[2, 3, 1], pixels[4, 5] = np.nan, np.inf
    assert message(pixels, photometric="rgb").startswith(
        "4 of 231 values are not finite, the first is nan at (2, 3, 1)"
    )
    assert message(noise(1).astype(np.float32)).endswith("are not in units of [0, 1]; divide by 255, or give uint8")
    assert message(noise(3).astype(np.int32), photometric="rgb").startswith("it has int32 pixels of RGB; convert it")
    assert message(noise(1).astype(np.float64)).startswith("it has float64 pixels of MINISBLACK; convert it")
    assert message(np.stack([noise(3)] * 2), photometric="rgb").startswith("it holds 2 images; save the one")
    assert message(np.zeros((5, 6, 7), np.uint8), photometric="rgb", planarconfig="contig").startswith(
        "it has 7 channels; gray or RGB"
    )
    image = Image.fromarray(noise(3))
    image.save(tmp_path / "a.webp", save_all=True, append_images=[Image.fromarray(255 - noise(3))])
    assert refusal(tmp_path / "a.webp").startswith("it holds 2 images")
    image.save(tmp_path / "a.gif")
    assert refusal(tmp_path / "a.gif") == "GIF files are not read; convert it to PNG or TIFF"


def test_an_image_of_more_pixels_than_pillow_likes_is_read(tmp_path, monkeypatch):
    write_photograph(tmp_path / "a.png", Photograph(pixels=noise(3)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert read_photograph(tmp_path / "a.png").pixels.shape == (*SHAPE, 3)
    assert Image.MAX_IMAGE_PIXELS == 10


def test_an_image_that_its_format_cannot_hold(tmp_path):
    with pytest.raises(DataError, match=r"a.webp: cannot be written in this format \(.*16383"):
        write_photograph(tmp_path / "a.webp", Photograph(pixels=np.zeros((1, 16384, 3), np.uint8)))
    assert not list(tmp_path.iterdir())
