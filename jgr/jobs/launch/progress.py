"""Progress of several runs that other processes make, read from their folders: on a terminal a bar each."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from tqdm import tqdm

from jgr.errors import RunError
from jgr.run.folder import RunFolder

_EVERY_S = 1.0


class RunsProgress:
    """Context manager: a bar for each run that is under way, on stderr where that is a terminal.

    Args:
        quiet: Whether to show nothing.
    """

    def __init__(self, quiet: bool) -> None:
        self._shows = not quiet and sys.stderr.isatty()
        self._bars: dict[Path, tqdm[NoReturn]] = {}
        self._looked = 0.0

    def show(self, paths: Sequence[Path]) -> None:
        """Shows how far these runs are, and no others any more.

        Args:
            paths: Their folders.
        """
        if not self._shows or (set(paths) == self._bars.keys() and time.monotonic() - self._looked < _EVERY_S):
            return
        self._looked = time.monotonic()
        for path in [path for path in self._bars if path not in paths]:
            self._bars.pop(path).close()
        for path in paths:
            if path not in self._bars:
                self._bars[path] = tqdm(desc=path.name, unit="step", dynamic_ncols=True, leave=False)
            step, num_steps = _position(path)
            bar = self._bars[path]
            bar.total = num_steps
            if step != bar.n:
                bar.update(step - bar.n)
                bar.set_postfix_str("evaluating" if step == num_steps else "", refresh=False)

    def __enter__(self) -> "RunsProgress":
        return self

    def __exit__(self, *error: object) -> None:
        self.show([])


def _position(path: Path) -> tuple[int, int | None]:
    """The last logged step of a run, and how many it makes."""
    try:
        folder = RunFolder.open(path)
        logged = folder.metrics()
        return logged[-1]["step"] if logged else 0, folder.config()["train"]["num_steps"]
    except (RunError, KeyError):  # it is only just being made
        return 0, None
