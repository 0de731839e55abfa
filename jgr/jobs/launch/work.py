"""The unit of work of a launcher: one run of a study, trained and evaluated, by whatever process."""

import dataclasses
import traceback
from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from ml_collections import ConfigDict

from jgr.config import to_plain
from jgr.errors import JgrError, RunError
from jgr.files import disk_errors, read_json, write_json
from jgr.jobs.evaluate import evaluate
from jgr.jobs.study import Arm, Study
from jgr.jobs.study_plan import plan_run, run_config, run_evaluation
from jgr.processes import is_shared, on_main
from jgr.run.folder import RunFolder
from jgr.run.lock import is_alive

Say = Callable[[str], object]
Result = Literal["done", "stopped", "failed", "refused"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Work:
    """A run that a launcher makes; it travels to other processes.

    Args:
        study: The study.
        arm: What it is a run of.
        seed: Of its training.
        path: Its folder.
        title: What a line about it begins with.
        needs: The run of the study whose weights it starts from.
        command: The command line, for the manifest.
        evaluate_again: Whether it is scored though it has results.
        set_up: Called first in a process of its own.
    """

    study: Study
    arm: Arm
    seed: int
    path: Path
    title: str
    needs: Path | None = None
    command: tuple[str, ...] = ()
    evaluate_again: bool = False
    set_up: Callable[[], object] | None = None

    @property
    def log_path(self) -> Path:
        """What a process of its own prints."""
        return jobs_path(self.path.parent) / f"{self.path.name}.log"


@dataclasses.dataclass(frozen=True)
class Ended:
    """How the work on a run ended.

    Args:
        path: The run's folder.
        result: "done", "stopped" (it was told to; the same command goes on), "failed" or "refused" (it was not begun).
        reason: Why, of the last two.
    """

    path: Path
    result: Result
    reason: str = ""


@runtime_checkable
class Launcher(Protocol):
    """Has runs made, several at a time or one after another."""

    def describe(self) -> str:
        """How many it makes at once, and with what, in a few words."""

    def launch(self, works: Sequence[Work], say: Say, quiet: bool) -> Generator[Ended, None, None]:
        """Makes runs; yields each as it ends, in whatever order.

        A run begins after the one that it needs. Ends early when it is told to stop; runs that were not begun are not
        yielded then.

        Args:
            works: The runs, in the order of the study.
            say: Takes lines about the progress.
            quiet: Whether single runs show nothing.
        """


class RefusedError(RunError):
    """A run that is not begun: the study, or what it needs, must change first."""


def jobs_path(runs: Path) -> Path:
    """The folder beside a study's runs where launchers keep what is theirs: logs and how runs ended."""
    return runs / ".jobs"


def make(work: Work, quiet: bool = False) -> Ended:
    """Trains and evaluates a run, as far as that is not done; what goes wrong is said in what it returns.

    Of several processes all return alike; what goes wrong in one alone is raised there, and the others still wait.
    """
    try:
        whole = make_train(work, quiet) and make_evaluation(work, quiet)
    except Exception as error:
        if not is_shared(error):
            raise
        if isinstance(error, JgrError):
            return Ended(work.path, "refused" if isinstance(error, RefusedError) else "failed", str(error))
        traceback.print_exc()
        reason = str(error).splitlines()
        return Ended(work.path, "failed", f"{type(error).__name__}: {reason[0] if reason else 'without a word'}")
    return Ended(work.path, "done" if whole else "stopped")


def make_train(work: Work, quiet: bool = False) -> bool:
    """Trains a run to its end; False if it was told to stop."""
    from jgr.jobs.train import train

    state, evaluation = on_main(lambda: _found(work))
    if state not in ("missing", "interrupted", "running"):
        return True
    config = run_config(work.arm, work.seed)
    if evaluation is not None:  # it goes on as it began; how it is scored is the study's
        config = ConfigDict(to_plain(config) | {"evaluation": evaluation})
    folder = train(config, work.path, config_path=work.arm.config, command=work.command, quiet=quiet)
    return on_main(lambda: is_trained(folder.path))  # which process 0 has written down


def make_evaluation(work: Work, quiet: bool = False) -> bool:
    """Evaluates a trained run, if its results are not all there; True."""
    if work.evaluate_again or on_main(lambda: _found(work)[0]) != "done":
        evaluation = run_evaluation(work.study, work.arm, work.seed)
        evaluate(work.path, step=work.study.step_of(work.arm), evaluation=evaluation, trust=True, quiet=quiet)
    return True


def _found(work: Work) -> tuple[str, dict[str, Any] | None]:
    """How far the run is, and how its config says that it is evaluated, if there is one."""
    planned = plan_run(work.study, work.arm, work.seed, work.path)
    if planned.problem:
        raise RefusedError(planned.problem)
    if planned.state == "missing" and work.needs is not None and not is_trained(work.needs):
        raise RefusedError(f"it starts from {work.needs}, which was not trained to its end")
    there = RunFolder.exists(work.path)
    return planned.state, RunFolder.open(work.path).config()["evaluation"] if there else None


def is_trained(path: Path) -> bool:
    """Whether a run was trained to its end."""
    return RunFolder.exists(path) and RunFolder.open(path).manifest()["status"] == "completed"


def first_ready(waiting: Iterable[Work], running: Iterable[Work]) -> Work | None:
    """The first that may begin: what it needs is not under way, and no other process works on it.

    Runs that need each other in a circle begin nevertheless, and are refused then.
    """
    waiting, running = list(waiting), list(running)
    unmade = {work.path for work in (*waiting, *running)}
    free = [work for work in waiting if work.needs not in unmade]
    if not free and not running:
        free = waiting
    return next((work for work in free if not is_alive(work.path)), None)


def write_ended(work: Work, ended: Ended) -> None:
    """Writes down how the work on a run ended, for the process that waits for it."""
    write_json(_ended_path(work), {"result": ended.result, "reason": ended.reason})


def read_ended(work: Work) -> Ended | None:
    """How the work on a run ended, if that was written down."""
    path = _ended_path(work)
    if not path.exists():
        return None
    written = read_json(path)
    return Ended(work.path, written["result"], written["reason"])


def forget_ended(work: Work) -> None:
    """Removes what was written down of earlier work on a run."""
    with disk_errors(_ended_path(work), "written"):
        jobs_path(work.path.parent).mkdir(parents=True, exist_ok=True)
        _ended_path(work).unlink(missing_ok=True)


def _ended_path(work: Work) -> Path:
    return jobs_path(work.path.parent) / f"{work.path.name}.json"
