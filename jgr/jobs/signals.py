"""Signals that ask a training to stop at its next step, with a checkpoint."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_STATUS = {signal.SIGTERM: "preempted", signal.SIGINT: "interrupted"}


class StopRequest:
    """Whether a stop was asked for, and by which signal."""

    def __init__(self) -> None:
        self._signal: int | None = None
        self._interrupted = False

    @property
    def requested(self) -> bool:
        """Whether to stop after this step."""
        return self._signal is not None

    @property
    def status(self) -> str:
        """The status of the run that stops: "preempted" or "interrupted"."""
        return _STATUS[signal.Signals(self._signal)] if self._signal is not None else "running"

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Signal handler; a second Ctrl-C stops at once."""
        if number == signal.SIGINT:
            if self._interrupted:
                raise KeyboardInterrupt
            self._interrupted = True
        self._signal = number


@contextmanager
def stop_signals() -> Iterator[StopRequest]:
    """Listens to SIGTERM and Ctrl-C; in a thread other than the main one, where Python cannot, to nothing."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, request.receive) for number in _STATUS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
