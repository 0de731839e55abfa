"""A process of a local launcher: makes the one run that its parent writes to its standard input, pickled.

The input stays open as long as the parent lives. When it ends, this process stops as after SIGTERM, with a checkpoint.
"""

import os
import pickle
import signal
import sys
import threading

from jgr.jobs.launch.work import Ended, Work, make, write_ended


def main() -> None:
    """Makes the run, and writes down how it ended."""
    work: Work = pickle.load(sys.stdin.buffer)
    threading.Thread(target=_leave_with_parent, name="jgr-parent", daemon=True).start()
    if work.set_up is not None:
        work.set_up()
    try:
        ended = make(work)
    except KeyboardInterrupt:  # Ctrl-C reaches all processes of a terminal; the training has saved
        ended = Ended(work.path, "stopped")
    write_ended(work, ended)
    if ended.reason:
        print(f"{ended.result}: {ended.reason}", flush=True)


def _leave_with_parent() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
