"""What a source of records is, and how its content is identified."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from jgr.errors import DataError, JgrError

IMAGES = ("image", "target")
"""The keys of a record that hold images."""

_HASHED_BYTES = 2 * 10**9  # sources with larger files are identified by their files' names and sizes


@runtime_checkable
class Source(Protocol):
    """Anything with a length and records, named for result rows.

    A record is a dict with `image`, uint8 [height, width, channels], and optionally `label`, an int, `caption`, a text,
    and `target`, what a network is to make of the image: uint8, too, of the image's height and width. A source may also
    have:

    - `__getitems__(indices) -> list of records`, where reading many at once is faster;
    - `fingerprint() -> str`, where its content can be identified without reading every record;
    - `record_name(index) -> str`, what an error calls a record, such as its file;
    - `covering() -> indices`, where images occur in many records: of a few that show each of them;
    - `aligned = False`, where a target is no version of its image, and so may be of another size.
    """

    @property
    def name(self) -> str:
        """The data set and its part, such as "digits-train"."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> dict[str, Any]: ...


def read_records(source: Source, indices: Sequence[int]) -> list[dict[str, Any]]:
    """The records at `indices`, checked to hold images.

    Raises:
        DataError: A record's image or target is not uint8 [height, width, channels], the two differ in size, or the
            source cannot read them.
    """
    read_many = getattr(source, "__getitems__", None)
    records = read_many(indices) if read_many else [_read(source, index) for index in indices]
    for index, record in zip(indices, records, strict=True):
        if "image" not in record:
            raise DataError(f"{record_name(source, index)}: has no 'image', only {', '.join(map(repr, record))}")
        image, target = record["image"], record.get("target")
        _check_pixels(source, index, "image", image)
        if target is None:
            continue
        _check_pixels(source, index, "target", target)
        if target.shape[:2] != image.shape[:2] and aligned(source):
            sizes = ["x".join(map(str, pixels.shape[:2])) for pixels in (image, target)]
            raise DataError(
                f"{record_name(source, index)}: its image is {sizes[0]}, but its target is {sizes[1]}; a pair must be "
                "of one size"
            )
    return records


def _check_pixels(source: Source, index: int, name: str, image: Any) -> None:
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3:
        raise DataError(
            f"{record_name(source, index)}: its {name} is {image.dtype} {list(image.shape)}; "
            "a source must give uint8 [height, width, channels]"
        )


def _read(source: Source, index: int) -> dict[str, Any]:
    try:
        return source[index]
    except JgrError:
        raise
    except Exception as error:  # someone else's class: whatever it raises, the record is what one needs to know
        raise DataError(f"{record_name(source, index)} cannot be read: {type(error).__name__}: {error}") from error


def caption_of(source: Source, index: int, record: Mapping[str, Any]) -> str:
    """A record's caption.

    Raises:
        DataError: It has none.
    """
    caption = record.get("caption")
    if not isinstance(caption, str):
        raise DataError(
            f"{record_name(source, index)}: has no caption, only {', '.join(map(repr, record))}; take "
            "config.data.captions out, or data with captions"
        )
    return caption


def record_name(source: Source, index: int) -> str:
    """What an error calls a record."""
    named = getattr(source, "record_name", None)
    return named(index) if named else f"record {index} of {source.name}"


def covering(source: Source) -> Sequence[int]:
    """Indices of records that show every image of a source: all, or few where images occur in many."""
    few = getattr(source, "covering", None)
    return few() if few else range(len(source))


def aligned(source: Source) -> bool:
    """Whether the targets of a source's records are versions of their images."""
    return getattr(source, "aligned", True)


def fingerprint(source: Source) -> str:
    """16 hexadecimal digits that identify a source's content: part of every result row.

    The source's own `fingerprint()` where it has one, else the hash of every record, in order.
    """
    own = getattr(source, "fingerprint", None)
    if own:
        return own()
    digest = hashlib.sha256()
    for index in range(len(source)):
        (record,) = read_records(source, [index])
        digest.update(f"{record['image'].shape} {record.get('label')}\n".encode())
        digest.update(record["image"].tobytes())
        if (caption := record.get("caption")) is not None:
            digest.update(f"caption {caption!r}\n".encode())
        if (target := record.get("target")) is not None:
            digest.update(f"target {target.shape}\n".encode())
            digest.update(target.tobytes())
    return digest.hexdigest()[:16]


def files_fingerprint(files: Mapping[str, Path]) -> str:
    """Hash of the names (keys, in sorted order) and contents of files; above 2 GB in all, of the names and sizes."""
    sizes = {name: path.stat().st_size for name, path in files.items()}
    whole = sum(sizes.values()) <= _HASHED_BYTES
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(f"{name} {sizes[name]}\n".encode())
        if whole:
            digest.update(files[name].read_bytes())
    return digest.hexdigest()[:16]
