"""A window of steps in JAX's profiler, to be opened in XProf or Perfetto."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax

from jgr.errors import ConfigError
from jgr.processes import is_main


class Profiler:
    """Traces steps of a training.

    Args:
        window: "START:STOP", the first and the last step; None traces nothing.
        folder: Where the trace goes.
        say: Tells where it lies.

    Raises:
        ConfigError: If the window is not of that form.
    """

    def __init__(self, window: str | None, folder: Path, say: Callable[[str], object]) -> None:
        self._first, self._last = _parsed(window) if window is not None else (0, -1)
        if not is_main():
            self._last = -1  # one trace is enough, and traces of several processes in one folder cannot be joined
        self._folder, self._say = folder, say
        self._tracing = False

    @contextmanager
    def call(self, first: int, last: int) -> Iterator[None]:
        """The call that computes the steps `first` to `last`."""
        if not self._tracing and first <= self._last and last >= self._first:
            jax.profiler.start_trace(self._folder, create_perfetto_trace=True)
            self._tracing = True
        if not self._tracing:
            yield
            return
        with jax.profiler.StepTraceAnnotation("train", step_num=first):
            yield

    def after(self, last: int, metrics: Mapping[str, Any]) -> None:
        """Ends the trace after the last step of the window, once the device has done it."""
        if self._tracing and last >= self._last:
            jax.block_until_ready(dict(metrics))
            self.close()

    def close(self) -> None:
        """Ends the trace if it is running."""
        if self._last > 0 and not self._tracing:
            self._say(f"no step from {self._first} to {self._last} was computed: no trace")
        if self._tracing:
            self._tracing, self._last = False, -1
            jax.profiler.stop_trace()
            self._say(
                f"trace in {self._folder}: open perfetto_trace.json.gz at ui.perfetto.dev, or run xprof {self._folder}"
            )


def _parsed(window: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+):(\d+)", window)
    first, last = map(int, match.groups()) if match else (0, 0)
    if not 1 <= first <= last:
        raise ConfigError(f"--profile={window} must be START:STOP, the first and the last step, such as 100:110")
    return first, last
