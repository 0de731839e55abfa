"""Has the runs of a study made by Slurm, in arrays of jobs that submitit writes."""

import dataclasses
import secrets
import subprocess
import time
from collections.abc import Collection, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jgr.errors import ConfigError, RunError
from jgr.files import read_json, write_json
from jgr.jobs.launch.job import make_in_job
from jgr.jobs.launch.progress import RunsProgress
from jgr.jobs.launch.work import Ended, Say, Work, forget_ended, jobs_path, read_ended

_OURS = ("array", "dependency", "error", "job-name", "open-mode", "output")
_SIGNAL_S = 120  # before the time limit: what a training has to save
_PATIENCE = 6  # looks at a queue without a job, before it counts as gone: what it wrote may come later to this machine


@dataclasses.dataclass(frozen=True)
class Slurm:
    """One job a run: an array, and further ones for runs that start from the weights of others.

    Jobs go on when the process that submitted them ends; the next one finds those that are still queued or running.
    Before its time limit a job saves and is queued again, as it is after a preemption.

    Args:
        jobs: How many run at once; as many as Slurm likes when None.
        options: Of `sbatch`, by their long names without dashes in front: {"partition": "gpu", "nodes": "2"}. A value
            of "true" makes a flag.
        poll_s: Seconds between looks at the queue.
    """

    jobs: int | None = None
    options: Mapping[str, str] = dataclasses.field(default_factory=dict)
    poll_s: float = 5.0

    def __post_init__(self) -> None:
        if self.jobs is not None and self.jobs < 1:
            raise ConfigError(f"jobs = {self.jobs} must be at least 1")
        if taken := [name for name in self.options if name.replace("_", "-") in _OURS]:
            raise ConfigError(f"slurm.{taken[0]} is jgr's to set: it names, orders and limits the jobs")

    def describe(self) -> str:
        """How many jobs run at once, and what they ask for."""
        asked = "".join(f" --{name}={value}" for name, value in self.options.items())
        return f"{'as many' if self.jobs is None else self.jobs} at once in Slurm{asked and ', with' + asked}"

    def launch(self, works: Sequence[Work], say: Say, quiet: bool) -> Generator[Ended, None, None]:
        """Makes runs; see `Launcher`."""
        if not works:
            return
        queue = _Queue(works[0].path.parent)
        found = queue.look()
        if found is None:
            raise RunError("squeue does not answer: is this a machine of a Slurm cluster, and its controller up?")
        queued = {work.path.name: found[work.path.name] for work in works if work.path.name in found}
        for work in works:
            say(f"{work.title}{f', in the queue as job {queued[name]}' if (name := work.path.name) in queued else ''}")
        if fresh := [work for work in works if work.path.name not in queued]:
            queued |= self._submit(queue, fresh, found, say)
        try:
            yield from self._watch(queue, works, queued, say, quiet)
        except KeyboardInterrupt:
            say(f"the jobs go on; the same command watches them, scancel {' '.join(_ids(queued.values()))} ends them")
            raise

    def _submit(self, queue: "_Queue", works: Sequence[Work], queued: Mapping[str, str], say: Say) -> dict[str, str]:
        """Submits an array for each level of runs that start from others; returns job ids by the runs' names."""
        submitted: dict[str, str] = {}
        ahead = _ids(queued.values()) if self.jobs is not None else set[str]()
        for level in _levels(works):
            if any(work.needs is not None and work.needs.name in queued for work in level):
                ahead |= _ids(queued.values())
            for work in level:
                forget_ended(work)
            jobs = self._array(queue.folder, queue.enter(level), level, sorted(ahead))
            submitted |= {work.path.name: job for work, job in zip(level, jobs, strict=True)}
            ahead |= _ids(jobs)
            say(f"submitted {len(level)} runs as job {', '.join(sorted(_ids(jobs)))}")
        return submitted

    def _array(self, folder: Path, name: str, works: Sequence[Work], after: Sequence[str]) -> list[str]:
        """Submits an array of jobs, which begins after others have ended; returns their ids."""
        submitit = _submitit()
        options = {key.replace("_", "-"): True if value == "true" else value for key, value in self.options.items()}
        cpus = options.get("cpus-per-task")
        try:
            executor = submitit.SlurmExecutor(folder=folder)
            executor.update_parameters(
                job_name=name,
                time=None,  # the partition's own, unless the options have one
                wckey=None,
                signal_delay_s=_SIGNAL_S,
                stderr_to_stdout=True,
                array_parallelism=self.jobs or len(works),
                dependency=f"afterany:{':'.join(after)}" if after else None,
                # Since 22.05 srun does not take this from sbatch.
                srun_args=[f"--cpus-per-task={cpus}"] if cpus else None,
                additional_parameters={"requeue": True, **options},
            )
            return [job.job_id for job in executor.map_array(make_in_job, works)]
        except (RuntimeError, subprocess.CalledProcessError) as error:  # submitit's own are RuntimeErrors
            raise RunError(f"Slurm takes no jobs: {str(error).strip().splitlines()[-1]}") from error

    def _watch(
        self, queue: "_Queue", works: Sequence[Work], jobs: Mapping[str, str], say: Say, quiet: bool
    ) -> Generator[Ended, None, None]:
        """Yields how runs ended, as their jobs leave the queue."""
        waiting, absent = list(works), dict.fromkeys(jobs, 0)
        with RunsProgress(quiet) as progress:
            while waiting:
                found = queue.look()
                # Where Slurm does not answer, all may be there.
                absent = {name: 0 if found is None or name in found else looks + 1 for name, looks in absent.items()}
                for work in waiting[:]:
                    name = work.path.name
                    ended = _ended(work, queue.folder / f"{jobs[name]}_0_log.out", absent[name] > _PATIENCE)
                    if ended is not None:
                        waiting.remove(work)
                        yield ended
                progress.show([work.path for work in waiting if (work.path / "heartbeat.json").exists()])
                if waiting:
                    time.sleep(self.poll_s)


class _Queue:
    """The jobs of a study that are queued or running. They are found by their names, which are written down first."""

    def __init__(self, runs: Path) -> None:
        self.folder = jobs_path(runs) / "slurm"
        self._study, self._path = runs.name, jobs_path(runs) / "slurm.json"
        self._arrays: dict[str, list[str]] = read_json(self._path) if self._path.exists() else {}

    def enter(self, works: Sequence[Work]) -> str:
        """Writes down an array of jobs that is to be submitted; returns its name."""
        name = f"jgr-{self._study}-{secrets.token_hex(4)}"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._arrays[name] = [work.path.name for work in works]
        write_json(self._path, dict(self._arrays))
        return name

    def look(self) -> dict[str, str] | None:
        """Ids of the jobs, by the names of their runs; None if Slurm does not answer."""
        if not self._arrays:
            return {}
        command = ["squeue", "--noheader", "--array", "--format=%i|%K|%j", f"--name={','.join(self._arrays)}"]
        try:
            printed = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
        except (OSError, subprocess.SubprocessError):
            return None
        found = {}
        for line in printed.splitlines():
            job, place, name = line.strip().split("|")
            found[self._arrays[name][int(place) if place.isdigit() else 0]] = job
        return found


def _ended(work: Work, log: Path, is_gone: bool) -> Ended | None:
    """How a run ended; None while its job is queued or running, or may be."""
    ended = read_ended(work)
    if ended is not None and ended.result != "stopped":
        return ended
    if not is_gone:  # one that was stopped may be queued again
        return None
    if ended is not None:
        return Ended(work.path, "failed", "its job was cancelled; the same command goes on")
    return Ended(work.path, "failed", f"its job ended without a word: cancelled, or out of time or memory? See {log}")


def _levels(works: Sequence[Work]) -> list[list[Work]]:
    """Runs that start from none of the others; those that start from these; and so on. A circle comes last."""
    levels: list[list[Work]] = []
    left = list(works)
    while left:
        paths = {work.path for work in left}
        level = [work for work in left if work.needs not in paths] or left
        levels.append(level)
        left = [work for work in left if work not in level]
    return levels


def _ids(jobs: Collection[str]) -> set[str]:
    """Ids of whole arrays."""
    return {job.partition("_")[0] for job in jobs}


def _submitit() -> Any:
    try:
        import submitit
    except ImportError as error:
        raise ConfigError("--launcher=slurm needs submitit: pip install 'jgr[slurm]'") from error
    return submitit
