"""The pictures that `jgr sample` draws, one class each."""

import dataclasses
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image, ImageOps

from jgr.data.decode import decode_image
from jgr.errors import ConfigError, DataError
from jgr.images import grid
from jgr.jobs.conditions import read_mask
from jgr.jobs.explore.exploration import Classes
from jgr.jobs.explore.explorer import Explorer
from jgr.jobs.explore.inversion import Inversion, psnr_of
from jgr.jobs.explore.scatter import scatter

_ERROR_GAIN = 4  # of the error image: a difference of 64 levels is white, as in pictures of restorations
_HIDDEN = 128  # gray, of the pixels that a mask hides
_MAP_SIDE = 24  # of an image of a map, which has many
_GAP = 8  # between a map and its scatter plot
_ACTIVE = 0.01  # Burda et al. 2016, section 5.2
_COLORS = {1: "gray", 3: "rgb"}  # of files, by channels


Images = UInt8[np.ndarray, "num height width channels"]


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

    With a mask: masked | what the generator can make of what is left | the same within the mask only | truth.

    Args:
        photos: Image files; each is cut to the shape of the generator's images, in the centre, and resized.
        steps: See `Explorer.invert`.
        restarts: See there.
        mask: An image file of the size of the generator's images; white pixels are known, black ones to be filled in.
        prior_weight: See `Explorer.invert`.
    """

    photos: tuple[str | Path, ...]
    steps: int = 500
    restarts: int = 4
    mask: str | Path | None = None
    prior_weight: float | None = None

    def draw(self, explorer: Explorer, num: int | None, classes: Classes) -> Picture:
        """See `Use.draw`; there is nothing for `num` to count.

        Raises:
            DataError: If a file is no image, or no mask of their size.
        """
        if num is not None:
            raise ConfigError(f"num = {num} does not go with invert, which makes one row an image; leave num out")
        targets = np.stack([_read_photo("invert", Path(photo), *explorer.image_shape) for photo in self.photos])
        known = None if self.mask is None else self._read_mask(Path(self.mask), *explorer.image_shape[:2])
        masks = None if known is None else np.broadcast_to(known, (len(targets), *known.shape))
        found = explorer.invert(targets, classes, self.steps, self.restarts, masks, self.prior_weight)
        columns, fits = self._fit(targets, found) if masks is None else self._filled(targets, found, masks)
        labels = [""] * len(fits) if found.labels is None else [f" as class {label}" for label in found.labels]
        remarks = [f"{photo}: {fit}{label}" for photo, fit, label in zip(self.photos, fits, labels, strict=True)]
        return Picture(_table(np.stack(columns, axis=1)), tuple(remarks))

    def _fit(self, targets: Images, found: Inversion) -> tuple[list[Images], list[str]]:
        """Columns, and how well each image is met."""
        errors = np.minimum(np.abs(targets.astype(np.int32) - found.images) * _ERROR_GAIN, 255).astype(np.uint8)
        return [targets, found.images, errors], [f"PSNR {psnr:.2f} dB" for psnr in found.psnr]

    def _filled(
        self, targets: Images, found: Inversion, masks: Bool[np.ndarray, "num height width"]
    ) -> tuple[list[Images], list[str]]:
        """Columns, and how well each image is met where it is known and where it is not."""
        masked = np.where(masks[..., None], targets, np.uint8(_HIDDEN))
        hidden = psnr_of(found.images, targets, ~masks)
        fits = [
            f"PSNR {unseen:.2f} dB of the hidden pixels, {seen:.2f} dB of the known"
            for unseen, seen in zip(hidden, found.psnr, strict=True)
        ]
        return [masked, found.images, found.composed, targets], fits

    def _read_mask(self, path: Path, height: int, width: int) -> Bool[np.ndarray, "height width"]:
        mask = read_mask(path)
        if mask.shape != (height, width):
            raise DataError(
                f"{path}: the mask is {mask.shape[1]}x{mask.shape[0]} pixels, and must be {width}x{height}, as "
                "the generator's images, to which photographs are cut"
            )
        if mask.all():
            raise DataError(f"{path}: the mask hides no pixel; leave it out")
        return mask


@dataclasses.dataclass(frozen=True, kw_only=True)
class Autoencoding:
    """Records | their reconstructions."""

    def draw(self, explorer: Explorer, num: int | None, classes: Classes) -> Picture:
        """See `Use.draw`; `num` counts records, 8 by default."""
        if classes is not None:
            raise ConfigError(
                f"classes = {classes!r} does not go with reconstruct: records have their own; leave it out"
            )
        found = explorer.reconstruct(8 if num is None else num)
        return Picture(_table(np.stack([found.originals, found.images], axis=1)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class LatentTraversal:
    """Rows along one latent each, the one that varies the most first; before them the image that they start from.

    Args:
        steps: Images of a row, besides that one.
        record: See `Explorer.traverse`.
    """

    steps: int = 11
    record: int | None = 0

    def draw(self, explorer: Explorer, num: int | None, classes: Classes) -> Picture:
        """See `Use.draw`; `num` counts latents, 10 by default, or all of fewer."""
        found = explorer.traverse(self.steps, num, self.record, classes=classes)
        start = np.broadcast_to(found.start, (len(found.images), 1, *found.start.shape))
        told = [""] * len(found.latents)
        if found.divergences is not None:
            told = [f"KL {divergence:.3g} nats, " for divergence in found.divergences]
        remarks = [
            f"row {row}: latent {latent}, {kl}variance of its posterior mean {variance:.3g}"
            f" ({'active' if variance > _ACTIVE else 'not active'})"
            for row, (latent, kl, variance) in enumerate(zip(found.latents, told, found.variances, strict=True))
        ]
        begin = "the prior's mean" if self.record is None else f"the reconstruction of record {self.record}"
        values = ", ".join(f"{value:.3g}" for value in found.values)
        remarks.append(f"columns: {begin}, then the latent at {values}")
        return Picture(_table(np.concatenate([start, found.images], axis=1)), tuple(remarks))


@dataclasses.dataclass(frozen=True, kw_only=True)
class LatentMap:
    """What a decoder makes of a plane of latents, beside where its encoder puts records, coloured by label.

    Args:
        side: Images of a row, and rows.
    """

    side: int = 20

    def draw(self, explorer: Explorer, num: int | None, classes: Classes) -> Picture:
        """See `Use.draw`; `num` counts the records of the plot, all of them or 2,000 by default."""
        images = explorer.latent_map(self.side, classes)
        plane = grid(images.reshape(-1, *images.shape[2:]), columns=self.side, min_side=_MAP_SIDE)
        found = explorer.encode(num)
        plot = scatter(found.means, found.labels, len(plane))
        if plane.shape[2] == 1:
            plane = plane.repeat(3, axis=2)
        between = np.full((len(plane), _GAP, 3), 255, np.uint8)
        return Picture(np.concatenate([plane, between, plot], axis=1))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Blend:
    """Given images, and what lies between them.

    Two are at the ends of a row of blends. More are above and at the left of a table of halves of each two, with white
    where they meet. Where shares are named, one row has the images and their blend.

    Args:
        inputs: Image files, cut and resized as for `Reconstruction`, or numbers of records of the run's data.
        shares: Of each in one blend.
        steps: Blends of a row between two.
    """

    inputs: tuple[str | Path | int, ...]
    shares: tuple[float, ...] | None = None
    steps: int = 8

    def __post_init__(self) -> None:
        if len(self.inputs) < 2:
            raise ConfigError("blend: name two images or more")
        if self.shares is not None and len(self.shares) != len(self.inputs):
            raise ConfigError(f"blend: {len(self.shares)} shares of {len(self.inputs)} images: give one for each")
        if self.steps < 2:
            raise ConfigError(f"blend: steps = {self.steps} must be at least 2")

    def draw(self, explorer: Explorer, num: int | None, classes: Classes) -> Picture:
        """See `Use.draw`; there is nothing for `num` to count.

        Raises:
            DataError: If a file is no image, or a record cannot be read.
        """
        if num is not None:
            raise ConfigError(f"num = {num} does not go with blend, whose images are counted; leave num out")
        images = np.stack([self._read(explorer, one) for one in self.inputs])
        count = len(images)
        if self.shares is not None:
            blend = explorer.blend(images, np.array([self.shares]), classes)
            return Picture(_table(np.concatenate([images, blend])[None]))
        if count == 2:
            fractions = np.linspace(0, 1, self.steps)
            blends = explorer.blend(images, np.stack([1 - fractions, fractions], axis=1), classes)
            return Picture(_table(np.concatenate([images[:1], blends, images[1:]])[None]))
        each = np.eye(count)
        halves = 0.5 * (each[:, None] + each[None]).reshape(-1, count)
        blends = explorer.blend(images, halves, classes).reshape(count, count, *images.shape[1:])
        top = np.concatenate([np.full_like(images[:1], 255), images])
        return Picture(_table(np.concatenate([top[None], np.concatenate([images[:, None], blends], axis=1)])))

    def _read(self, explorer: Explorer, one: str | Path | int) -> UInt8[np.ndarray, "height width channels"]:
        if isinstance(one, int):
            return explorer.record(one)
        return _read_photo("blend", Path(one), *explorer.record(0).shape)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AttributeTransfer:
    """Records without an attribute | the same with ever more of it, from none to one and a half times.

    Args:
        wanted: A label, or a word of captions; see `Explorer.transfer`.
        without: The same of the records that are changed.
    """

    wanted: int | str
    without: int | str

    def draw(self, explorer: Explorer, num: int | None, classes: Classes) -> Picture:
        """See `Use.draw`; `num` counts records, 8 by default."""
        if classes is not None:
            raise ConfigError(f"classes = {classes!r} does not go with transfer: records have their own; leave it out")
        found = explorer.transfer(self.wanted, self.without, 8 if num is None else num)
        there, here = found.counts
        remark = (
            f"{self.wanted} of {there} records against {self.without} of {here}; columns: record, then 0, 0.5, 1, 1.5"
        )
        return Picture(_table(np.concatenate([found.originals[:, None], found.images], axis=1)), (remark,))


def _read_photo(
    use: str, photo: Path, height: int, width: int, channels: int
) -> UInt8[np.ndarray, "height width channels"]:
    """An image file, cut in the centre and resized to a size."""
    if channels not in _COLORS:
        raise ConfigError(f"{use}: the images of this run have {channels} channels, and files have 1 or 3")
    if not photo.expanduser().is_file():
        raise DataError(f"{photo}: no such file")
    pixels = decode_image(photo.expanduser(), _COLORS[channels], name=str(photo), orient=True)
    image = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
    fitted = ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC)
    return np.asarray(fitted).reshape(height, width, channels)


def _table(
    images: UInt8[np.ndarray, "num_rows num_columns height width channels"],
) -> UInt8[np.ndarray, "rows columns channels"]:
    return grid(images.reshape(-1, *images.shape[2:]), columns=images.shape[1])
