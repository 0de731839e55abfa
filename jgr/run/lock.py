"""One training at a time in a run's folder, and a heartbeat that tells other processes it lives."""

import fcntl
import logging
import os
import socket
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from jgr.errors import RunError
from jgr.files import disk_errors, read_json, write_json

_LOGGER = logging.getLogger(__name__)
_LOCK = "train.lock"
_HEARTBEAT = "heartbeat.json"
_TIMEOUT_S = 60.0


class RunLock:
    """Context manager: this process, and no other, trains in the folder.

    The lock is the kernel's (`flock` on `train.lock`), so it ends with the process, however that ends. A file system
    shared by several hosts may not carry it from host to host; there `heartbeat.json`, rewritten every few seconds,
    keeps others out until it is a minute old.

    Args:
        folder_path: The run's folder; it must exist.
        job: What holds the lock, for the message to whom it keeps out.
        beat_s: Seconds between heartbeats.

    Raises:
        RunError: On entering: another process trains here, or the lock file cannot be written.
    """

    def __init__(self, folder_path: str | Path, job: str = "train", beat_s: float = 5.0) -> None:
        self._folder = Path(folder_path)
        self._job = job
        self._beat_s = beat_s
        self._since = ""
        self._descriptor: int | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._warned = False

    def __enter__(self) -> "RunLock":
        path = self._folder / _LOCK
        with disk_errors(path, "written"):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            with disk_errors(path, "locked"):
                locked = _try_lock(descriptor)
            beat = _read_heartbeat(self._folder)
            if not locked or _beats_elsewhere(beat, _TIMEOUT_S):
                raise RunError(self._refusal(beat, locked))
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        # A forked worker that outlives this process must not keep the lock.
        os.register_at_fork(after_in_child=self._close)
        self._since = _now()
        self._stop.clear()
        self._beat()
        self._thread = threading.Thread(target=self._keep_beating, name="jgr-heartbeat", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        try:
            (self._folder / _HEARTBEAT).unlink(missing_ok=True)
        except OSError as unlink_error:
            self._warn(unlink_error)
        self._close()

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _keep_beating(self) -> None:
        while not self._stop.wait(self._beat_s):
            self._beat()

    def _beat(self) -> None:
        """Writes the heartbeat. A training does not die of a heartbeat that cannot be written."""
        beat = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "job": self._job,
            "since": self._since,
            "time": time.time(),
        }
        try:
            write_json(self._folder / _HEARTBEAT, beat)
        except RunError as error:
            self._warn(error)

    def _warn(self, error: Exception) -> None:
        if not self._warned:
            self._warned = True
            _LOGGER.warning("no heartbeat: jgr evaluate --follow may take this run for dead (%s)", error)

    def _refusal(self, beat: dict[str, Any] | None, locked: bool) -> str:
        if beat is None:
            return f"{self._folder} is in use by another process; wait for it or use another folder"
        holder = f"job {beat.get('job')!r}, pid {beat.get('pid')} on {beat.get('host')} since {beat.get('since')}"
        if locked:
            advice = f"if that one is dead, wait {_TIMEOUT_S:.0f} s or remove {self._folder / _HEARTBEAT}"
        else:
            advice = f"wait for it, end it (kill {beat.get('pid')}), or use another folder"
        return f"{self._folder} is in use by {holder}; {advice}"


def is_alive(folder_path: str | Path, timeout_s: float = _TIMEOUT_S) -> bool:
    """Whether a training works in the folder: its lock is held on this host, or it beats from another one.

    Args:
        folder_path: The run's folder.
        timeout_s: Age in seconds from which another host's heartbeat counts as stopped.
    """
    folder = Path(folder_path)
    path = folder / _LOCK
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # absent, or not ours to read: only the heartbeat can tell
        return _beats_elsewhere(_read_heartbeat(folder), timeout_s)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        pass
    finally:
        os.close(descriptor)
    return _beats_elsewhere(_read_heartbeat(folder), timeout_s)


def _try_lock(descriptor: int) -> bool:
    """Takes the lock. Tries for half a second: `is_alive` of another process holds a shared lock for an instant."""
    for _ in range(10):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.05)
        else:
            return True
    return False


def _read_heartbeat(folder: Path) -> dict[str, Any] | None:
    try:
        return read_json(folder / _HEARTBEAT)
    except RunError:  # absent or damaged: no one beats
        return None


def _beats_elsewhere(beat: dict[str, Any] | None, timeout_s: float) -> bool:
    """Whether another host wrote this heartbeat and wrote it lately."""
    if beat is None or beat.get("host") == socket.gethostname():
        return False
    written = beat.get("time")
    return isinstance(written, int | float) and time.time() - written < timeout_s


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
