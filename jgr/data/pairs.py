"""Pairs of images: of one thing, for networks that turn the one into the other; or any of a set with any of another."""

import dataclasses
import functools
import hashlib
import math
from collections.abc import Sequence
from typing import Any

from jgr.data.folder import ImageFolder
from jgr.data.source import Source, covering, fingerprint, read_records, record_name
from jgr.errors import ConfigError, DataError

_DIRECTIONS = ("AtoB", "BtoA")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairedFolders:
    """Two folders of images, in which files of one name are a pair: what a network is given, and what it shall make.

    The name is the path inside the folder without the ending: `day/1.png` and `day/1.jpg` are a pair. In a config:
    `dict(cls="jgr.data.pairs.PairedFolders", images=dict(path="low"), targets=dict(path="high"))`.

    Attributes:
        images: The folder of each record's `image`; also of its `label`, if it has labels.
        targets: The folder of each record's `target`, of the image's size.

    Raises:
        DataError: At first use, when a file has no partner, or as `ImageFolder`; at a pair whose sizes differ.
    """

    images: ImageFolder
    targets: ImageFolder

    @property
    def name(self) -> str:
        """The names of both, such as "low-rgb+high-rgb"."""
        return f"{self.images.name}+{self.targets.name}"

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> dict[str, Any]:
        image, target = self._pairs[index]
        return {**self.images[image], "target": self.targets[target]["image"]}

    def record_name(self, index: int) -> str:
        """The image's file."""
        return self.images.record_name(self._pairs[index][0])

    def fingerprint(self) -> str:
        """Hash of both folders' fingerprints."""
        return _joined(self.images, self.targets)

    @functools.cached_property
    def _pairs(self) -> tuple[tuple[int, int], ...]:
        """Places in both folders, in the order of the images."""
        images, targets = _places(self.images), _places(self.targets)
        _require_partners(self.images, images, self.targets, targets)
        _require_partners(self.targets, targets, self.images, images)
        return tuple((place, targets[name]) for name, place in images.items())


def _places(folder: ImageFolder) -> dict[str, int]:
    """The place of each file by its name without ending."""
    places: dict[str, int] = {}
    for place, file in enumerate(folder.files):
        if places.setdefault(file.rpartition(".")[0], place) != place:
            raise DataError(f"{folder.record_name(place)}: there is a file of that name with another ending; keep one")
    return places


def _require_partners(
    folder: ImageFolder, places: dict[str, int], other: ImageFolder, partners: dict[str, int]
) -> None:
    alone = next((place for name, place in places.items() if name not in partners), None)
    if alone is not None:
        raise DataError(f"{folder.record_name(alone)}: has no partner: there is no image of that name in {other.path}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SideBySide(ImageFolder):
    """A folder of pictures with A in their left half and B in their right, as the data sets of pix2pix have them.

    Attributes:
        direction: "AtoB": the image is A and its target B; "BtoA": the other way round.

    Raises:
        DataError: As `ImageFolder`; at a picture with an odd number of columns.
    """

    direction: str = "AtoB"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.direction not in _DIRECTIONS:
            raise ConfigError(f"direction = {self.direction!r} must be {' or '.join(_DIRECTIONS)}")

    @property
    def name(self) -> str:
        """As of `ImageFolder`, then the direction: "train-rgb-BtoA"."""
        return f"{super().name}-{self.direction}"

    def __getitem__(self, index: int) -> dict[str, Any]:
        record = super().__getitem__(index)
        half, odd = divmod(record["image"].shape[1], 2)
        if odd:
            raise DataError(
                f"{self.record_name(index)}: has {2 * half + 1} columns: it cannot be cut into equal halves"
            )
        halves = record["image"][:, :half], record["image"][:, half:]
        image, target = halves if self.direction == "AtoB" else reversed(halves)
        return {**record, "image": image, "target": target}


@dataclasses.dataclass(frozen=True, kw_only=True)
class UnpairedFolders:
    """Every image of one source with every image of another.

    Record i is `images[i % m]` with a target that moves on by one with each record, and by one more where all would
    begin again: the first records show as many images of both as there are. The random order of a training meets any
    pair sooner or later, and an epoch is all pairs: give durations in steps or examples. Sizes may differ between the
    two sources; crops and flips of both follow from one draw. In a config: `dict(cls="jgr.data.pairs.UnpairedFolders",
    images=dict(cls="jgr.data.folder.ImageFolder", path="horses"), targets=dict(cls="jgr.data.folder.ImageFolder",
    path="zebras"))`.

    Attributes:
        images: Folders, or any sources, of each record's `image`.
        targets: Likewise of its `target`.
    """

    images: Source
    targets: Source

    aligned = False

    @property
    def name(self) -> str:
        """The names of both, such as "horses-rgb-x-zebras-rgb"."""
        return f"{self.images.name}-x-{self.targets.name}"

    def __len__(self) -> int:
        return len(self.images) * len(self.targets)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        pairs = [self._pair(index) for index in indices]
        images = read_records(self.images, [image for image, _ in pairs])
        targets = read_records(self.targets, [target for _, target in pairs])
        return [
            {"image": image["image"], "target": target["image"]} for image, target in zip(images, targets, strict=True)
        ]

    def record_name(self, index: int) -> str:
        """Both images' names."""
        image, target = self._pair(index)
        return f"{record_name(self.images, image)} with {record_name(self.targets, target)}"

    def fingerprint(self) -> str:
        """Hash of both sources' fingerprints."""
        return _joined(self.images, self.targets)

    def covering(self) -> list[int]:
        """As many records as the larger source has images, with each image of both."""
        images, targets = covering(self.images), covering(self.targets)
        return [
            self._index(images[i % len(images)], targets[i % len(targets)])
            for i in range(max(len(images), len(targets)))
        ]

    def _pair(self, index: int) -> tuple[int, int]:
        """Which image and which target a record is of."""
        turn = index // math.lcm(len(self.images), len(self.targets))
        return index % len(self.images), (index + turn) % len(self.targets)

    def _index(self, image: int, target: int) -> int:
        """The record of an image and a target: the inverse of `_pair`, by the Chinese remainder theorem."""
        images, targets = len(self.images), len(self.targets)
        common = math.gcd(images, targets)
        turn = (target - image) % common
        steps = (target - turn - image) // common * pow(images // common, -1, targets // common) % (targets // common)
        return turn * math.lcm(images, targets) + image + images * steps


def _joined(images: Source, targets: Source) -> str:
    return hashlib.sha256(f"{fingerprint(images)} {fingerprint(targets)}".encode()).hexdigest()[:16]
