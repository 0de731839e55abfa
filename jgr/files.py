"""Files that are whole or absent, and errors of the disk said in one line."""

import contextlib
import csv
import errno
import io
import json
import math
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from jgr.errors import RunError

_ADVICE = {
    errno.ENOSPC: "free some space or use another disk",
    errno.EDQUOT: "free some of your quota or use another disk",
    errno.EFBIG: "raise the limit of a file's size (ulimit -f)",
    errno.EACCES: "change its permissions or name another folder",
    errno.EPERM: "change its permissions or name another folder",
    errno.EROFS: "name a folder on a disk that can be written",
    errno.EBUSY: "name a folder inside it: a mounted folder cannot be replaced",
    errno.EEXIST: "name a path whose parents are folders",
    errno.ENOTDIR: "name a path whose parents are folders",
}


@contextlib.contextmanager
def disk_errors(path: Path, action: str) -> Iterator[None]:
    """Turns an `OSError` of the block into a `RunError` of one line: the file, the reason, what to do.

    Args:
        path: The file or folder the block works on.
        action: What is done to it, as a participle: "written", "read".
    """
    try:
        yield
    except OSError as error:
        advice = f": {_ADVICE[error.errno]}" if error.errno in _ADVICE else ""
        raise RunError(f"{path} cannot be {action}: {error.strerror or error}{advice}") from error


def expanded(path: str) -> Path:
    """A path that a config names: `$NAME` is an environment variable, where it is set, and `~` the home folder."""
    return Path(os.path.expandvars(path)).expanduser()


def cache_folder() -> Path | None:
    """Where jgr keeps what it can make or fetch again: `$JGR_CACHE`, or `~/.cache/jgr`; None where that is empty."""
    folder = os.environ.get("JGR_CACHE", str(Path.home() / ".cache" / "jgr"))
    return Path(folder).expanduser() if folder else None


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file under a temporary name beside it, then renames it: a reader sees the old or the new, never a part.

    Raises:
        RunError: The disk refuses. The old file, if any, is untouched and the temporary one removed.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    with disk_errors(path, "written"):
        try:
            write_new(temporary, content)
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise


def write_text(path: Path, text: str) -> Path:
    """Writes a text in UTF-8, atomically; returns the path.

    Raises:
        RunError: As `write_bytes`.
    """
    write_bytes(path, text.encode())
    return path


def write_png(path: Path, image: UInt8[np.ndarray, "height width channels"]) -> Path:
    """Writes a picture, atomically; returns the path.

    Args:
        path: Its name, which ends in ".png".
        image: uint8 in [0, 255], 1 (gray) or 3 (RGB) channels.

    Raises:
        RunError: The name ends otherwise, or as `write_bytes`.
    """
    from PIL import Image

    if path.suffix.lower() != ".png":
        raise RunError(f"{path} cannot be written: pictures are PNG; name it {path.with_suffix('.png').name}")
    encoded = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(encoded, format="PNG")
    write_bytes(path, encoded.getvalue())
    return path


def write_csv(path: Path, columns: Mapping[str, Sequence[Any]]) -> Path:
    """Writes a table with a header, atomically; returns the path. Numbers are written in full precision.

    Args:
        path: Its name.
        columns: Values by header, all of one length.

    Raises:
        RunError: As `write_bytes`.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    values = [column.tolist() if isinstance(column, np.ndarray) else column for column in columns.values()]
    writer.writerows(zip(*values, strict=True))
    return write_text(path, text.getvalue())


def write_new(path: Path, content: bytes) -> None:
    """Writes a file that is not there yet and waits until it is on the disk.

    Raises:
        OSError: It is there, or the disk refuses.
    """
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def json_values(value: Any) -> Any:
    """The same value in JSON's own types: scalars and arrays as numbers and lists, NaN and infinities as None.

    JSON has no NaN and no infinity; a bare `NaN` makes a file that most readers refuse.
    """
    if isinstance(value, dict):
        return {str(key): json_values(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_values(item) for item in value]
    if hasattr(value, "tolist"):
        return json_values(value.tolist())
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return str(value) if isinstance(value, Path) else value


def json_bytes(value: dict[str, Any]) -> bytes:
    """A JSON document: indented by 2, keys sorted, values as `json_values` makes them."""
    return (json.dumps(json_values(value), indent=2, sort_keys=True, allow_nan=False) + "\n").encode()


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Writes a JSON document atomically, as `json_bytes` makes it.

    Raises:
        RunError: As `write_bytes`.
    """
    write_bytes(path, json_bytes(value))


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        RunError: The file cannot be read, or does not hold a JSON object.
    """
    with disk_errors(path, "read"):
        content = path.read_bytes()
    try:
        value = json.loads(content)
    except ValueError as error:
        raise RunError(f"{path} is damaged: {error}; restore it from a copy") from error
    if not isinstance(value, dict):
        raise RunError(f"{path} is damaged: it holds {type(value).__name__}, not an object; restore it from a copy")
    return value
