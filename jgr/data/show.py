"""What is in a source: numbers and samples."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from jgr.data.loader import Data
from jgr.data.source import IMAGES, Source, covering, fingerprint, read_records
from jgr.errors import ConfigError, DataError

Picture = UInt8[np.ndarray, "_ _ _"]

_CHUNK = 256
_CAPTIONS = 3  # that a summary tells


def summary(source: Source) -> dict[str, Any]:
    """Reads every image and describes them.

    Returns:
        `name`; `num_records`; `height`, `width` and `channels`, each a number where all images agree, else the list
        [smallest, largest]; `target_height` and so on, where records have targets; `labels`, the number of records of
        each label in order, where they have labels; `captions`, those of the first three, where they have captions; and
        `fingerprint`.

    Raises:
        DataError: The source is empty, or what reading it raises.
    """
    shapes: dict[str, set[tuple[int, ...]]] = {name: set() for name in IMAGES}
    labels, indices = [], covering(source)
    captions: list[str] = []
    for start in range(0, len(indices), _CHUNK):
        for record in read_records(source, indices[start : start + _CHUNK]):
            labels.append(record.get("label"))
            captions += [record["caption"]] if "caption" in record and len(captions) < _CAPTIONS else []
            for name in IMAGES:
                if record.get(name) is not None:
                    shapes[name].add(record[name].shape)
    if not labels:
        raise DataError(f"{source.name}: has no records")
    described: dict[str, Any] = {"name": source.name, "num_records": len(source)}
    for prefix, found in (("", shapes["image"]), ("target_", shapes["target"])):
        for axis, name in enumerate(("height", "width", "channels") if found else ()):
            sizes = sorted({shape[axis] for shape in found})
            described[prefix + name] = sizes[0] if len(sizes) == 1 else [sizes[0], sizes[-1]]
    known = [label for label in labels if label is not None]
    if known:
        values, counts = np.unique(known, return_counts=True)
        described["labels"] = dict(zip(values.tolist(), counts.tolist(), strict=True))
    if captions:
        described["captions"] = captions
    described["fingerprint"] = fingerprint(source)
    return described


def sample_images(source: Source, num: int) -> list[Picture]:
    """Images spread evenly over a source, of one size: where sizes differ, cropped to the smallest centre square.

    Args:
        source: Where the records are.
        num: How many images; all, where the source has fewer.

    Returns:
        Images, and where records have a target, that at the right of each.

    Raises:
        ConfigError: `num` is less than 1.
    """
    indices = covering(source)
    count = _checked(num, len(indices))
    records = read_records(source, [indices[i * len(indices) // count] for i in range(count)])
    return _pictures({name: [record[name] for record in records if record.get(name) is not None] for name in IMAGES})


def fitted_images(data: Data, num: int) -> list[Picture]:
    """The first images of a source, resized and cropped as for an evaluation; see `sample_images`.

    Raises:
        ConfigError: `num` is less than 1.
        DataError: Their sizes differ.
    """
    indices = covering(data.source)
    batch = data.fit.read(data.source, indices[: _checked(num, len(indices))])
    return _pictures({name: list(batch.get(name, ())) for name in IMAGES})


def _checked(num: int, available: int) -> int:
    if num < 1:
        raise ConfigError(f"num={num}: must be at least 1")
    return min(num, available)


def _pictures(images: dict[str, Sequence[Picture]]) -> list[Picture]:
    """Images of one size, with their targets, if they have some."""
    shown = [image for of_name in images.values() for image in of_name]
    if len({image.shape[:2] for image in shown}) > 1:
        side = min(min(image.shape[:2]) for image in shown)
        shown = [_centre(image, side) for image in shown]
    if not images["target"]:
        return shown
    channels = max(image.shape[2] for image in shown)
    shown = [image.repeat(channels // image.shape[2], axis=2) for image in shown]  # gray beside colour
    count = len(images["image"])
    return [np.concatenate(pair, axis=1) for pair in zip(shown[:count], shown[count:], strict=True)]


def _centre(image: Picture, side: int) -> UInt8[np.ndarray, "side side channels"]:
    top, left = (math.floor((size - side) / 2) for size in image.shape[:2])
    return image[top : top + side, left : left + side]
