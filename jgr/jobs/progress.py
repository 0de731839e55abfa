"""Progress of long work: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Mapping
from typing import Any, NoReturn

from tqdm import tqdm

from jgr.tasks.update import FINITE


class TrainingProgress:
    """Steps, losses, images/s and time left.

    Args:
        total: Steps of the whole training.
        done: Steps done before.
        images_per_step: Images a step consumes.
        quiet: Whether to show nothing.
    """

    def __init__(self, total: int, done: int, images_per_step: int, quiet: bool = False) -> None:
        self._total, self._images_per_step, self._quiet = total, images_per_step, quiet
        self._started, self._first = time.perf_counter(), done
        terminal = not quiet and sys.stderr.isatty()
        self._bar = tqdm(total=total, initial=done, unit="step", dynamic_ncols=True) if terminal else None

    def advance(self, steps: int) -> None:
        """Some steps more."""
        if self._bar is not None:
            self._bar.update(steps)

    def restart(self, step: int) -> None:
        """Counts speed and time left from here, the step after which all is compiled."""
        self._started, self._first = time.perf_counter(), step
        if self._bar is not None:
            self._bar.unpause()

    def log(self, step: int, metrics: Mapping[str, float], images_per_s: float | None) -> None:
        """Shows the values of a log step; the speed is None at the very first step."""
        speed = "?" if images_per_s is None else f"{images_per_s:.0f}"
        shown = {name: f"{value:.4g}" for name, value in metrics.items() if name.endswith("/loss")}
        if self._bar is not None:
            self._bar.set_postfix({**shown, "images/s": speed}, refresh=False)
        elif not self._quiet:
            left = (time.perf_counter() - self._started) / max(step - self._first, 1) * (self._total - step)
            losses = "  ".join(f"{name} {value}" for name, value in shown.items())
            print(f"step {step}/{self._total}  {losses}  {speed} images/s  {_clock(left)} left", flush=True)

    def say(self, message: str) -> None:
        """A line beside the bar."""
        if self._bar is not None:
            self._bar.write(message)
        elif not self._quiet:
            print(message, flush=True)

    def __enter__(self) -> "TrainingProgress":
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()


def images_bar(description: str, total: int, unit: str, quiet: bool) -> "tqdm[NoReturn]":
    """A bar of work on images, on stderr; where that is no terminal, a line every half minute of long work.

    Args:
        description: What is done.
        total: How many images, or pairs.
        unit: "image" or "pair".
        quiet: Whether to show nothing.
    """
    terminal = sys.stderr.isatty()
    delay, interval = (0.0, 0.1) if terminal else (10.0, 30.0)
    return tqdm(
        desc=description,
        total=total,
        unit=unit,
        disable=quiet,
        leave=False,
        delay=delay,
        mininterval=interval,
        file=sys.stderr if terminal else _Lines(sys.stderr),
    )


class _Lines:
    """What a bar draws over and over on one line, as lines: for a log, which other messages go to as well."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Writes a line of what is there to be seen."""
        if shown := text.strip():
            self._stream.write(f"{shown}\n")
        return len(text)

    def flush(self) -> None:
        """Flushes the stream behind."""
        self._stream.flush()


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def scalars(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The metrics to log, without the checks for finite values."""
    return {name: float(value) for name, value in metrics.items() if not name.startswith(FINITE)}
