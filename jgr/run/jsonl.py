"""Tables that grow by one line of JSON at a time, whole after any crash.

A row exists once its line is whole. What a crash leaves behind the last whole line is a torn tail: readers ignore it,
and the next writer removes it.
"""

import fcntl
import json
import os
from pathlib import Path
from typing import Any

from jgr.errors import RunError
from jgr.files import disk_errors, json_values, write_bytes


def append(path: Path, row: dict[str, Any]) -> None:
    """Appends one row and waits until it is on the disk. Writers in several processes take turns.

    NaN and infinities are written as null. A line that the disk takes only in part is taken back.

    Raises:
        RunError: The disk refuses; the file is as it was before.
    """
    line = json.dumps(json_values(row), allow_nan=False).encode() + b"\n"
    with disk_errors(path, "written"):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                content = path.read_bytes()
                tail = content[content.rfind(b"\n") + 1 :]
                if _row(tail) is not None:
                    line = b"\n" + line
                else:
                    size -= len(tail)
                    os.ftruncate(descriptor, size)
            try:
                while line:  # a disk that fills up takes a part first; the next write brings the error
                    line = line[os.write(descriptor, line) :]
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, size)
                raise
        finally:
            os.close(descriptor)


def read(path: Path) -> list[dict[str, Any]]:
    """All whole rows, oldest first; none when there is no file.

    Raises:
        RunError: The file cannot be read, or a line before the torn tail is not a JSON object.
    """
    return [row for _, row in _lines(path)]


def cut_back(path: Path, step: int) -> None:
    """Keeps the rows whose `step` is at most this one, byte for byte, and drops a torn tail. Atomic.

    Raises:
        RunError: As `read`; also when a row has no `step`.
    """
    kept = []
    for number, (line, row) in enumerate(_lines(path), start=1):
        if "step" not in row:
            raise RunError(f"{path}: row {number} has no step, so it cannot be cut back to step {step}; remove the row")
        if row["step"] <= step:
            kept.append(line + b"\n")
    if path.exists():
        write_bytes(path, b"".join(kept))


def _lines(path: Path) -> list[tuple[bytes, dict[str, Any]]]:
    """The whole lines, without their ends, and the rows they hold."""
    with disk_errors(path, "read"):
        if not path.exists():
            return []
        *whole, tail = path.read_bytes().split(b"\n")
    if _row(tail) is not None:
        whole.append(tail)
    lines = []
    for number, line in enumerate(whole, start=1):
        if not line.strip():
            continue
        row = _row(line)
        if row is None:
            raise RunError(f"{path}:{number} is damaged: not a JSON object; mend or remove that line")
        lines.append((line, row))
    return lines


def _row(line: bytes) -> dict[str, Any] | None:
    """The object a line holds; None when it is torn or holds something else."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None
