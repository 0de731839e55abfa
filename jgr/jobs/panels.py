"""Pictures of restored images: degraded | restored | truth | error, the whole image above a part of it, enlarged."""

from collections.abc import Sequence

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
from jaxtyping import Float, UInt8

_ZOOM = 3
_ERROR_GAIN = 4  # of the error image: a difference of 64 levels is white
_LINE = 2
_CAPTIONS = ("degraded", "restored", "truth", f"error x{_ERROR_GAIN}")
_CAPTION_HEIGHT = 12  # that of Pillow's own font, with a margin
_MAX_SIDE = 640  # of an image in a panel; larger ones are shown by every second pixel, or fewer


def panel(
    degraded: Float[np.ndarray, "small_height small_width channels"],
    restored: Float[np.ndarray, "height width channels"],
    target: Float[np.ndarray, "height width channels"] | None,
) -> UInt8[np.ndarray, "rows columns channels"]:
    """One image's picture, with captions where the images are wide enough for them.

    The enlarged part is where the truth, or else the restored image, has the most detail. The error is that of the
    restored image, four times as bright.

    Args:
        degraded: In units of [0, 1]; enlarged by repeating pixels where it is smaller than the others.
        restored: In units of [0, 1].
        target: What it should be; None where nobody knows, for degraded | restored alone.
    """
    height, width, channels = restored.shape
    factor = max(1, round(height / degraded.shape[0]))
    degraded = degraded.repeat(factor, axis=0).repeat(factor, axis=1)[:height, :width]
    known = () if target is None else (target, _ERROR_GAIN * np.abs(restored - target))
    images = [np.clip(image, 0.0, 1.0) for image in (degraded, restored, *known)]
    top, left, side = _most_detailed((restored if target is None else target).mean(axis=-1))
    step = -(-max(height, width) // _MAX_SIDE)
    parts = [
        image[top : top + side, left : left + side].repeat(_ZOOM, axis=0).repeat(_ZOOM, axis=1) for image in images
    ]
    shown = [image[::step, ::step] for image in images]
    rows = [*_captions(_CAPTIONS[: len(shown)], shown[0].shape[1], channels), _row(shown), _row(parts)]
    width = max(row.shape[1] for row in rows)
    rows = [np.pad(row, ((0, _LINE), (0, width - row.shape[1]), (0, 0)), constant_values=1.0) for row in rows]
    return np.floor(np.concatenate(rows) * 255.0 + 0.5).astype(np.uint8)


def stacked(
    panels: list[UInt8[np.ndarray, "_ _ channels"]],
) -> UInt8[np.ndarray, "all_rows most_columns channels"]:
    """Panels below each other."""
    width = max(one.shape[1] for one in panels)
    return np.concatenate(
        [np.pad(one, ((0, 0), (0, width - one.shape[1]), (0, 0)), constant_values=255) for one in panels]
    )


def _captions(
    words: Sequence[str], width: int, channels: int
) -> list[Float[np.ndarray, "caption_height columns channels"]]:
    """A line with a word above each of several images of so many columns; none where a word would not fit."""
    font = PIL.ImageFont.load_default()
    if any(font.getlength(word) > width for word in words):
        return []
    line = PIL.Image.new("L", (len(words) * (width + _LINE), _CAPTION_HEIGHT), 255)
    for place, word in enumerate(words):
        PIL.ImageDraw.Draw(line).text((place * (width + _LINE), 0), word, fill=0, font=font)
    return [np.repeat(np.asarray(line, np.float32)[..., None] / 255, channels, axis=-1)]


def _row(images: list[np.ndarray]) -> np.ndarray:
    line = np.ones((images[0].shape[0], _LINE, images[0].shape[2]), images[0].dtype)
    return np.concatenate([part for image in images for part in (image, line)], axis=1)


def _most_detailed(gray: Float[np.ndarray, "height width"]) -> tuple[int, int, int]:
    """Top, left and side of the square with the steepest slopes among those of a coarse grid."""
    side = max(1, min(*gray.shape, max(24, min(gray.shape) // _ZOOM)))
    slopes = sum(np.abs(np.diff(gray, axis=axis, append=np.take(gray, [-1], axis))) for axis in (0, 1))
    total = np.pad(slopes, ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    sums = total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side]
    top, left = np.unravel_index(int(np.argmax(sums[::4, ::4])), sums[::4, ::4].shape)
    return int(top) * 4, int(left) * 4, side
