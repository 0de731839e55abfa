"""Scores the checkpoints of a run, after its training or beside it."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
from tqdm import tqdm

from jgr.config import config_hash
from jgr.errors import CheckpointError, ConfigError, DamagedCheckpointError
from jgr.jobs.load import Run, Weights
from jgr.jobs.score import Scorer
from jgr.processes import is_main, on_main, together
from jgr.run.folder import RunFolder
from jgr.run.lock import is_alive
from jgr.run.manifest import git_state
from jgr.run.rows import result_row, value

_PATIENCE = 4  # looks for a sign of life before a training that did not end by itself counts as ended


def evaluate(
    workdir: str | Path,
    *,
    step: int | str = "latest",
    seed: int = 0,
    weights: Weights | None = None,
    follow: bool = False,
    trust: bool = False,
    quiet: bool = False,
    poll_s: float = 2.0,
    timeout_s: float = 60.0,
) -> list[dict[str, Any]]:
    """Scores checkpoints with the metrics of the run's config and writes a row each to its `results.jsonl`.

    Several processes that `jgr.processes.initialize` joined all call it alike; process 0 writes and prints.

    Args:
        workdir: The run's folder.
        step: "latest", "best", "all" or a number.
        seed: Decides the latents; other seeds give other rows.
        weights: "ema" or "raw"; what `config.evaluation.weights` says when None.
        follow: Whether to score every checkpoint that has no row yet, and then each new one, until the training has
            ended or its heartbeat stopped. `step` plays no part then.
        trust: Whether the run's config may name classes outside jgr, optax and flax.
        quiet: Whether to show no progress.
        poll_s: Seconds between looks for a new checkpoint.
        timeout_s: Age at which a heartbeat from another host counts as stopped.

    Returns:
        The rows written.

    Raises:
        RunError: If the folder is no run's.
        CheckpointError: If there is no such checkpoint, or none could be read.
        ConfigError: If the config names no metric.
    """
    if follow:
        _wait_for_run(Path(workdir), poll_s, timeout_s)
    run = Run(workdir, trust=trust)
    if not run.experiment.evaluation.metrics:
        raise ConfigError(f"{run.folder.config_path}: config.evaluation.metrics is empty: nothing to measure")
    job = _Job(run, seed, weights or run.experiment.evaluation.weights, quiet or not is_main())
    if follow:
        return [row for number in _arrivals(run, job, poll_s, timeout_s) for row in job.try_score(number)]
    if step != "all":
        return job.score(on_main(lambda: run.find_step(step)), "best" if step == "best" else "last")
    rows = [row for number in on_main(run.steps) for row in job.try_score(number)]
    if not rows:
        raise CheckpointError(f"{workdir} has no checkpoint that can be scored")
    return rows


class _Job:
    """Scores checkpoints of one run, one after another."""

    def __init__(self, run: Run, seed: int, weights: Weights, quiet: bool) -> None:
        self._run, self._seed, self._weights, self._quiet = run, seed, weights, quiet
        self._scorer = Scorer(run.experiment.task, run.experiment.evaluation, run.experiment.data, run.mesh)
        repositories = git_state([Path(__file__).resolve().parent])
        self._commit = repositories[0]["commit"] if repositories else None

    @property
    def folder(self) -> RunFolder:
        return self._run.folder

    def scored_steps(self) -> set[int]:
        """Steps that have rows of this seed and these weights already, with today's metrics."""
        names = {metric.name for metric in self._run.experiment.evaluation.metrics.values()}
        done: dict[int, set[str]] = {}
        for row in self.folder.results():
            if row["eval_seed"] == self._seed and row["weights"] == self._weights and row["select"] == "last":
                done.setdefault(row["step"], set()).add(row["metric"])
        return {step for step, metrics in done.items() if names <= metrics}

    def try_score(self, step: int) -> list[dict[str, Any]]:
        """`score`, but a checkpoint that cannot be read is only reported: the training may just have deleted it."""
        try:
            return self.score(step)
        except DamagedCheckpointError as error:
            self.say(f"step {step} is left out: {error}")
            return []

    def score(self, step: int, select: str = "last") -> list[dict[str, Any]]:
        with together():
            state = self._run.restored(step)
        begun = time.perf_counter()
        with tqdm(desc=f"step {step}", unit="image", disable=True if self._quiet else None, leave=False) as bar:
            scores = self._scorer.score(state, self._seed, self._weights, bar.update)
        elapsed = time.perf_counter() - begun
        rows = [self._row(step, select, score, elapsed) for score in scores]
        for row in rows:
            self.folder.append_result(row)
            self.say(
                f"step {step}  {row['metric']} {value(row):.5g}  {row['protocol']}  {row['dataset']}  {row['weights']}"
            )
        return rows

    def _row(self, step: int, select: str, score: dict[str, Any], elapsed: float) -> dict[str, Any]:
        manifest = self.folder.manifest()
        return result_row(
            run=manifest["run"],
            config=manifest["config"],
            config_hash=config_hash(self._run.config),
            seed=self._run.config.seed,
            eval_seed=self._seed,
            step=step,
            images_seen=step * self._run.experiment.images_per_step,
            weights=self._weights,
            select="best" if select == "best" else "last",
            std=None,
            commit=self._commit,
            device=jax.devices()[0].device_kind,
            time_s=elapsed,
            **score,
        )

    def say(self, message: str) -> None:
        """Prints a line, unless the job is quiet."""
        if not self._quiet:
            tqdm.write(message)


def _wait_for_run(path: Path, poll_s: float, timeout_s: float) -> None:
    """Waits for the run's folder, for a follower may be started with the training; `Run` complains if none comes."""
    deadline = time.monotonic() + timeout_s
    while not RunFolder.exists(path) and time.monotonic() < deadline:
        time.sleep(poll_s)


def _arrivals(run: Run, job: _Job, poll_s: float, timeout_s: float) -> Iterator[int]:
    """Steps without a row, as their checkpoints appear; ends with the training."""
    seen, patience = set(on_main(lambda: sorted(job.scored_steps()))), _PATIENCE
    while True:
        # Asked first: what is saved before the end is seen after it. Several processes must all see the same.
        alive, status, steps = on_main(
            lambda: (is_alive(run.folder.path, timeout_s), run.folder.manifest()["status"], run.steps())
        )
        fresh = [step for step in steps if step not in seen]
        for step in fresh:
            seen.add(step)
            yield step
        # A run that was interrupted, or only just made, may be starting at this moment.
        patience = _PATIENCE if alive or fresh else patience - 1
        if not alive and (status in ("completed", "failed") or patience == 0):
            job.say(
                f"the training has ended: {status}" if status != "running" else "the training's heartbeat has stopped"
            )
            return
        if not fresh:
            time.sleep(poll_s)
