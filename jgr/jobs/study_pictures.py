"""Restored images that a study keeps of its runs: `restored/<test>/{degraded,truth,<run>}/<record>.webp`.

What is degraded and what is true are of the test, so its runs share them.
"""

import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jgr.files import disk_errors, write_bytes
from jgr.jobs.report.restored import Restored, Test, restored_of
from jgr.run.folder import RunFolder

FOLDER = "restored"
_SHARED = ("degraded", "truth")  # no run is called so: its name ends with its seed


def copy_restored(folder: RunFolder, rows: Sequence[Mapping[str, Any]], out: Path) -> None:
    """Copies parts of the images that a run restored in its evaluation, if it kept any.

    Args:
        folder: The run; the name of its folder stands in those of the files.
        rows: Its results, of what the study asks for.
        out: The study's folder.
    """
    for test, records in restored_of(folder, rows).items():
        for what in (*_SHARED, folder.path.name):
            target = _folder(out, test) / what
            with disk_errors(target, "made"):
                shutil.rmtree(target, ignore_errors=True)
                target.mkdir(parents=True)
            for place, record in enumerate(records):
                write_bytes(target / f"{place}.webp", getattr(record, what if what in _SHARED else "restored"))


def read_restored(out: Path, run: str, tests: Iterable[Test]) -> dict[Test, list[Restored]]:
    """What a study has kept of a run.

    Args:
        out: The study's folder.
        run: The name of the run's folder.
        tests: What the run was scored on.

    Raises:
        RunError: A file cannot be read.
    """
    kept: dict[Test, list[Restored]] = {}
    for test in tests:
        files = [_folder(out, test) / what for what in ("degraded", run, "truth")]
        count = len(list(files[1].glob("*.webp")))
        if count:
            kept[test] = [Restored(*(_content(file / f"{place}.webp") for file in files)) for place in range(count)]
    return kept


def _folder(out: Path, test: Test) -> Path:
    return out / FOLDER / re.sub(r"[^\w.@+-]", "_", f"{test.dataset}-{test.manner}")


def _content(path: Path) -> bytes:
    with disk_errors(path, "read"):
        return path.read_bytes()
