"""Makes the runs of a study on this machine."""

import contextlib
import dataclasses
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from typing import IO

from jgr.errors import ConfigError
from jgr.files import disk_errors
from jgr.jobs.launch.progress import RunsProgress
from jgr.jobs.launch.shares import Share, default_jobs, shares
from jgr.jobs.launch.work import Ended, Say, Work, first_ready, forget_ended, make, read_ended
from jgr.jobs.signals import stop_signals

_POLL_S = 0.2


@dataclasses.dataclass(frozen=True)
class Local:
    """Some runs at a time: one in this process, several in processes of their own that share cores and GPUs.

    Ctrl-C and SIGTERM stop the processes, with checkpoints; so does the end of this process, however it comes.

    Args:
        jobs: How many runs are made at once; as many as there are GPUs when None, one without GPUs.
    """

    jobs: int | None = None

    def __post_init__(self) -> None:
        if self.jobs is not None and self.jobs < 1:
            raise ConfigError(f"jobs = {self.jobs} must be at least 1")

    @property
    def num_jobs(self) -> int:
        """How many runs are made at once."""
        return default_jobs() if self.jobs is None else self.jobs

    def describe(self) -> str:
        """How many runs are made at once, and with what."""
        if self.num_jobs == 1:
            return "one after another, in this process"
        share = shares(self.num_jobs)[0]
        parts = [f"{len(share.cores)} CPU core{'s' if len(share.cores) > 1 else ''}"] if share.cores else []
        parts += [f"GPU {number}" for number in share.variables.get("CUDA_VISIBLE_DEVICES", "").split(",") if number]
        return f"{self.num_jobs} at once, the first with {' and '.join(parts) or 'all there is'}"

    def launch(self, works: Sequence[Work], say: Say, quiet: bool) -> Generator[Ended, None, None]:
        """Makes runs; see `Launcher`."""
        return _one_by_one(works, say, quiet) if self.num_jobs == 1 else _at_once(works, self.num_jobs, say, quiet)


def _one_by_one(works: Sequence[Work], say: Say, quiet: bool) -> Generator[Ended, None, None]:
    waiting = list(works)
    while waiting:
        work = first_ready(waiting, ())
        if work is None:
            time.sleep(_POLL_S)
            continue
        waiting.remove(work)
        say(work.title)
        ended = make(work, quiet)
        yield ended
        if ended.result == "stopped":
            return


def _at_once(works: Sequence[Work], jobs: int, say: Say, quiet: bool) -> Generator[Ended, None, None]:
    waiting, running = list(works), list[_Child]()
    free = shares(jobs)
    with stop_signals() as stop, RunsProgress(quiet) as progress:
        try:
            while running or waiting:
                while free and (work := first_ready(waiting, [child.work for child in running])) is not None:
                    waiting.remove(work)
                    say(work.title)
                    running.append(_Child(work, free.pop(0)))
                progress.show([child.work.path for child in running])
                time.sleep(_POLL_S)
                if stop.after(0):
                    waiting.clear()
                    for child in running:
                        child.stop()
                for child in [child for child in running if child.has_ended()]:
                    running.remove(child)
                    free.append(child.share)
                    progress.show([child.work.path for child in running])
                    yield child.ended()
        finally:
            for child in running:
                child.stop()
            for child in running:
                child.has_ended(wait=True)
        if stop.after(0) and stop.status == "interrupted":
            raise KeyboardInterrupt


class _Child:
    """A process that makes a run with a share of the machine."""

    def __init__(self, work: Work, share: Share) -> None:
        self.work, self.share, self._stopped = work, share, False
        forget_ended(work)
        with disk_errors(work.log_path, "written"), work.log_path.open("ab") as log, share.taken():
            self._process = subprocess.Popen(
                [sys.executable, "-m", "jgr.jobs.launch.child"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=share.environment(),
            )
        with contextlib.suppress(BrokenPipeError):  # it is gone already: its log says why
            pickle.dump(work, self._input)
            self._input.flush()

    @property
    def _input(self) -> IO[bytes]:
        """Its standard input, open as long as this process lives."""
        assert self._process.stdin is not None
        return self._process.stdin

    def stop(self) -> None:
        """Asks it to stop, once."""
        if not self._stopped:
            self._stopped = True
            self._process.terminate()

    def has_ended(self, wait: bool = False) -> bool:
        """Whether it is gone."""
        if wait:
            self._process.wait()
        return self._process.poll() is not None

    def ended(self) -> Ended:
        """How the work ended, once it has."""
        with contextlib.suppress(BrokenPipeError):
            self._input.close()
        ended = read_ended(self.work)
        if self._stopped:
            return ended or Ended(self.work.path, "stopped")
        if ended is None:
            status = self._process.returncode
            how = f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
            return Ended(self.work.path, "failed", f"its process ended {how}; see {self.work.log_path}")
        if ended.result == "stopped":
            return Ended(self.work.path, "failed", "its process was told to stop; the same command goes on")
        return ended
