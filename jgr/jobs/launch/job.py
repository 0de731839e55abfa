"""What a job of Slurm does: makes one run, and asks for another turn when its time is up."""

import os
import signal
import subprocess
import time
import traceback
from pathlib import Path
from types import FrameType

import jax

from jgr.jobs.launch.work import Ended, Work, forget_ended, make, write_ended
from jgr.processes import initialize, is_main, on_main
from jgr.run.folder import RunFolder
from jgr.run.lock import is_alive

_POLL_S = 2.0


class _TimeIsUpError(BaseException):
    """The time limit is near, and nothing that could be saved is under way."""


def make_in_job(work: Work) -> None:
    """Makes a run in a job of Slurm, and writes down how that ended.

    Slurm sends SIGUSR2 some time before the job's limit: a training saves and stops, and the job is queued again unless
    it came no further. SIGTERM comes from a preemption, after which Slurm queues the job again, or from `scancel`.
    """
    is_time_up = False

    def receive(number: int, frame: FrameType | None) -> None:
        nonlocal is_time_up
        is_time_up = True
        if jax.process_count() == 1 and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
            raise _TimeIsUpError
        os.kill(os.getpid(), signal.SIGTERM)  # a training listens

    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # submitit ignores it
    if work.set_up is not None:
        work.set_up()
    initialize()
    on_main(lambda: _wait_until_free(work.path))
    on_main(lambda: forget_ended(work))
    begun = on_main(lambda: _newest_step(work.path))
    signal.signal(signal.SIGUSR2, receive)
    try:
        ended = make(work)
    except _TimeIsUpError:
        ended = Ended(work.path, "stopped")
    except Exception as error:  # of this process alone: an orderly end would wait for the others
        traceback.print_exc()
        if is_main():
            write_ended(work, Ended(work.path, "failed", str(error)))
        os._exit(1)
    if not is_main():
        return
    again = is_time_up and ended.result == "stopped"
    if again and _newest_step(work.path) == begun:
        again, ended = False, Ended(work.path, "failed", "it came no further within the time limit: ask for more time")
    write_ended(work, ended)
    print(f"{ended.result}: {ended.reason}" if ended.reason else ended.result, flush=True)
    if again:
        job, array = os.environ["SLURM_JOB_ID"], os.environ.get("SLURM_ARRAY_JOB_ID")
        name = f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else job
        subprocess.run(["scontrol", "requeue", name], check=True, timeout=60)


def _wait_until_free(path: Path) -> None:
    """Waits while another process trains there: one of the job's turn before, perhaps, whose heartbeat still counts."""
    while is_alive(path):
        time.sleep(_POLL_S)


def _newest_step(path: Path) -> int:
    """The newest checkpoint's step; -1 where there is none."""
    folder = RunFolder(path)
    names = [entry.name for entry in folder.checkpoints_path.glob("*")]
    return max((int(name) for name in names if name.isdigit()), default=-1)
