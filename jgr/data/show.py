"""What is in a source: numbers and samples."""

import math
from typing import Any

import numpy as np
from jaxtyping import UInt8

from jgr.data.source import Source, fingerprint, read_records
from jgr.errors import ConfigError, DataError

_CHUNK = 256


def summary(source: Source) -> dict[str, Any]:
    """Reads every record and describes them.

    Returns:
        `name`; `num_records`; `height`, `width` and `channels`, each a number where all images agree, else the list
        [smallest, largest]; `labels`, the number of records of each label in order, where records have labels; and
        `fingerprint`.

    Raises:
        DataError: The source is empty, or what reading it raises.
    """
    shapes, labels = set(), []
    for start in range(0, len(source), _CHUNK):
        for record in read_records(source, range(start, min(start + _CHUNK, len(source)))):
            shapes.add(record["image"].shape)
            labels.append(record.get("label"))
    if not shapes:
        raise DataError(f"{source.name}: has no records")
    described: dict[str, Any] = {"name": source.name, "num_records": len(labels)}
    for axis, name in enumerate(("height", "width", "channels")):
        sizes = sorted({shape[axis] for shape in shapes})
        described[name] = sizes[0] if len(sizes) == 1 else [sizes[0], sizes[-1]]
    known = [label for label in labels if label is not None]
    if known:
        values, counts = np.unique(known, return_counts=True)
        described["labels"] = dict(zip(values.tolist(), counts.tolist(), strict=True))
    described["fingerprint"] = fingerprint(source)
    return described


def sample_images(source: Source, num: int) -> list[UInt8[np.ndarray, "height width channels"]]:
    """Images spread evenly over a source, of one size: where sizes differ, cropped to the smallest centre square.

    Args:
        source: Where the records are.
        num: How many images; all, where the source has fewer.

    Raises:
        ConfigError: `num` is less than 1.
    """
    if num < 1:
        raise ConfigError(f"num={num}: must be at least 1")
    count = min(num, len(source))
    images = [record["image"] for record in read_records(source, [i * len(source) // count for i in range(count)])]
    if len({image.shape[:2] for image in images}) > 1:
        side = min(min(image.shape[:2]) for image in images)
        images = [_centre(image, side) for image in images]
    return images


def _centre(image: UInt8[np.ndarray, "height width channels"], side: int) -> UInt8[np.ndarray, "side side channels"]:
    top, left = (math.floor((size - side) / 2) for size in image.shape[:2])
    return image[top : top + side, left : left + side]
