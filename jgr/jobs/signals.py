"""Signals that ask a training to stop at its next step, with a checkpoint."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import jax

_STATUS = {signal.SIGTERM: "preempted", signal.SIGINT: "interrupted"}


class StopRequest:
    """Whether a stop was asked for, and by which signal.

    Of several processes all stop after the same call, whichever was asked: JAX passes SIGTERM on to the others.
    """

    def __init__(self) -> None:
        self._signal: int | None = None
        self._interrupted = False

    def after(self, call: int) -> bool:
        """Whether to stop after this call of the compiled steps; to be asked after each, with its number."""
        if jax.process_count() == 1:
            return self._signal is not None
        from jax.experimental import multihost_utils

        return bool(multihost_utils.reached_preemption_sync_point(call))

    @property
    def status(self) -> str:
        """The status of the run that stops: "interrupted" after Ctrl-C in this process, else "preempted"."""
        return "preempted" if self._signal is None else _STATUS[signal.Signals(self._signal)]

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Signal handler; a second Ctrl-C stops at once."""
        if number == signal.SIGINT:
            if self._interrupted:
                raise KeyboardInterrupt
            self._interrupted = True
        self._signal = number
        if jax.process_count() > 1:
            os.kill(os.getpid(), signal.SIGTERM)  # JAX's to handle: it tells the others


@contextmanager
def stop_signals() -> Iterator[StopRequest]:
    """Listens to SIGTERM and Ctrl-C; in a thread other than the main one, where Python cannot, to nothing."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    numbers = list(_STATUS) if jax.process_count() == 1 else [signal.SIGINT]
    before = {number: signal.signal(number, request.receive) for number in numbers}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
