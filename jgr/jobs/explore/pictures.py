"""The pictures that `jgr sample` draws, one class each."""

import dataclasses
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from jgr.data.decode import decode_image
from jgr.errors import ConfigError, DataError
from jgr.images import grid
from jgr.jobs.explore.explorer import Classes, Explorer

_ERROR_GAIN = 4  # of the error image: a difference of 64 levels is white, as in pictures of restorations


class Picture(NamedTuple):
    """What is drawn, and lines that say what cannot be seen."""

    pixels: UInt8[np.ndarray, "rows columns channels"]
    remarks: tuple[str, ...] = ()


@runtime_checkable
class Use(Protocol):
    """One way to look at a generator."""

    def draw(self, explorer: Explorer, num: int | None, classes: Classes) -> Picture:
        """The picture.

        Args:
            explorer: Draws the images.
            num: How many, of whatever is counted; the use's own default when None.
            classes: Labels; see the explorer's methods.
        """
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grid:
    """Images of different latents, 64 of them; or, where classes are named, a row of 10 for each."""

    def draw(self, explorer: Explorer, num: int | None, classes: Classes) -> Picture:
        """See `Use.draw`; `num` counts images, or those of a row."""
        if classes is None:
            return Picture(grid(explorer.sample(64 if num is None else num)))
        return Picture(_table(explorer.class_grid(10 if num is None else num, classes)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Interpolation:
    """Rows of images on the way from one to another.

    Args:
        steps: Images of a row.
    """

    steps: int = 8

    def draw(self, explorer: Explorer, num: int | None, classes: Classes) -> Picture:
        """See `Use.draw`; `num` counts rows, 8 by default."""
        return Picture(_table(explorer.interpolate(self.steps, 8 if num is None else num, classes)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mixture:
    """A table of style mixing.

    Args:
        layer: See `Explorer.mix`.
    """

    layer: int | None = None

    def draw(self, explorer: Explorer, num: int | None, classes: Classes) -> Picture:
        """See `Use.draw`; `num` counts the sources of either side, 6 by default."""
        return Picture(_table(explorer.mix(6 if num is None else num, self.layer, classes)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class NearestNeighbours:
    """Generated images, each beside the training images that are nearest to it.

    Args:
        k: Neighbours of each.
        within: See `Explorer.nearest`.
    """

    k: int = 5
    within: str = "pixels"

    def draw(self, explorer: Explorer, num: int | None, classes: Classes) -> Picture:
        """See `Use.draw`; `num` counts generated images, 8 by default."""
        found = explorer.nearest(self.k, 8 if num is None else num, classes, self.within)
        rows = np.concatenate([found.images[:, None], found.neighbours], axis=1)
        remarks = [
            f"image {row}: nearest in {self.within} are the records "
            + ", ".join(f"{index} ({distance:.4g})" for index, distance in zip(indices, distances, strict=True))
            for row, (indices, distances) in enumerate(zip(found.indices, found.distances, strict=True))
        ]
        return Picture(_table(rows), tuple(remarks))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reconstruction:
    """Given images | what the generator can make of them | four times the error.

    Args:
        photos: Image files; each is cut to the shape of the generator's images, in the centre, and resized.
        steps: See `Explorer.invert`.
        restarts: See there.
    """

    photos: tuple[str | Path, ...]
    steps: int = 500
    restarts: int = 4

    _COLORS: ClassVar[dict[int, str]] = {1: "gray", 3: "rgb"}

    def draw(self, explorer: Explorer, num: int | None, classes: Classes) -> Picture:
        """See `Use.draw`; there is nothing for `num` to count.

        Raises:
            DataError: If a file is no image.
        """
        if num is not None:
            raise ConfigError(f"num = {num} does not go with invert, which makes one row an image; leave num out")
        targets = np.stack([self._read(Path(photo), *explorer.image_shape) for photo in self.photos])
        found = explorer.invert(targets, classes, self.steps, self.restarts)
        errors = np.abs(targets.astype(np.int32) - found.images) * _ERROR_GAIN
        rows = np.stack([targets, found.images, np.minimum(errors, 255).astype(np.uint8)], axis=1)
        labels = [""] * len(rows) if found.labels is None else [f" as class {label}" for label in found.labels]
        remarks = [
            f"{photo}: PSNR {psnr:.2f} dB{label}"
            for photo, psnr, label in zip(self.photos, found.psnr, labels, strict=True)
        ]
        return Picture(_table(rows), tuple(remarks))

    def _read(self, photo: Path, height: int, width: int, channels: int) -> UInt8[np.ndarray, "height width channels"]:
        if channels not in self._COLORS:
            raise ConfigError(f"invert: the generator makes images of {channels} channels, and files have 1 or 3")
        if not photo.expanduser().is_file():
            raise DataError(f"{photo}: no such file")
        pixels = decode_image(photo.expanduser(), self._COLORS[channels], name=str(photo), orient=True)
        image = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
        fitted = ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC)
        return np.asarray(fitted).reshape(height, width, channels)


def _table(
    images: UInt8[np.ndarray, "num_rows num_columns height width channels"],
) -> UInt8[np.ndarray, "rows columns channels"]:
    return grid(images.reshape(-1, *images.shape[2:]), columns=images.shape[1])
