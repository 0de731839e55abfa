"""Scores the checkpoints of a run, after its training or beside it."""

import dataclasses
import math
import statistics
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import jax
from tqdm import tqdm

from jgr.config import config_hash
from jgr.errors import CheckpointError, ConfigError, DamagedCheckpointError, MetricError
from jgr.files import cache_folder
from jgr.jobs.experiment import Evaluation
from jgr.jobs.load import Run, Weights
from jgr.jobs.panels import stacked
from jgr.jobs.progress import images_bar
from jgr.jobs.reference import ReferenceCache
from jgr.jobs.restorations import Album
from jgr.jobs.score import Scorer
from jgr.jobs.scoring import Score
from jgr.jobs.table import format_value
from jgr.processes import is_main, on_main, together
from jgr.run.folder import RunFolder
from jgr.run.lock import is_alive
from jgr.run.manifest import git_state
from jgr.run.records import NAMES, file_name
from jgr.run.rows import result_row, value

_NUM_PANELS = 6  # restored images in the picture of an evaluation
_NUM_APART = 3  # of which degraded, restored and true image are files of their own, for reports
_PATIENCE = 4  # looks for a sign of life before a training that did not end by itself counts as ended


def evaluate(
    workdir: str | Path,
    *,
    step: int | str = "latest",
    seeds: Sequence[int] | None = None,
    weights: Weights | None = None,
    overrides: Sequence[tuple[str, str]] = (),
    evaluation: Evaluation | None = None,
    follow: bool = False,
    trust: bool = False,
    quiet: bool = False,
    poll_s: float = 2.0,
    timeout_s: float = 60.0,
) -> list[dict[str, Any]]:
    """Scores checkpoints with the metrics of the run's config and writes a row each to its `results.jsonl`.

    Values of single records go to `per_record/*.csv`. Statistics of the real images are kept in `$JGR_CACHE`. Several
    processes that `jgr.processes.initialize` joined all call it alike; process 0 writes and prints.

    Args:
        workdir: The run's folder.
        step: "latest", "best", "all" or a number.
        seeds: Each decides the latents, and other randomness, of rows of its own; those of `config.evaluation.seeds`
            when None.
        weights: "ema" or "raw"; what `config.evaluation.weights` says when None.
        overrides: Keys below `config.evaluation` and other values for them, as text: ("num_samples", "50").
        evaluation: How to score, in place of what the run's config and `overrides` say.
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
        ConfigError: If the config names no metric, or an override does not fit.
        MetricError: If a metric failed, after the rows of all others were written.
    """
    if follow:
        _wait_for_run(Path(workdir), poll_s, timeout_s)
    run = Run(workdir, trust=trust)
    if evaluation is None:
        evaluation = run.evaluation(overrides)
    if not evaluation.metrics:
        raise ConfigError(f"{run.folder.config_path}: config.evaluation.metrics is empty: nothing to measure")
    evaluation = dataclasses.replace(
        evaluation,
        seeds=evaluation.seeds if seeds is None else tuple(seeds),
        weights=evaluation.weights if weights is None else weights,
    )
    job = EvaluationJob(run, evaluation, quiet or not is_main())
    if follow:
        rows = [row for number in _arrivals(run, job, poll_s, timeout_s) for row in job.try_score(number)]
    elif step != "all":
        rows = job.score(on_main(lambda: run.find_step(step)), "best" if step == "best" else "last")
    else:
        rows = [row for number in on_main(run.steps) for row in job.try_score(number)]
        if not rows and not job.failures:
            raise CheckpointError(f"{workdir} has no checkpoint that can be scored")
    if job.failures:
        raise MetricError(
            f"{len(job.failures)} of {len(evaluation.metrics)} metrics failed, and {len(rows)} rows of the others were "
            f"written: {'; '.join(job.failures.values())}"
        )
    return rows


class EvaluationJob:
    """Scores checkpoints of one run, one after another.

    Args:
        run: The run.
        evaluation: How it is scored.
        quiet: Whether to show nothing.
    """

    def __init__(self, run: Run, evaluation: Evaluation, quiet: bool) -> None:
        # Whoever says how it is scored need not know what the run reads captions with.
        experiment = dataclasses.replace(run.experiment, evaluation=evaluation).told(run.experiment.data.vocabulary)
        self._run, self._evaluation, self._quiet = run, experiment.evaluation, quiet
        folder = cache_folder()
        cache = ReferenceCache(folder / "statistics" if folder else None)
        self._scorer = Scorer(experiment.task, self._evaluation, experiment.data, run.mesh, cache)
        repositories = git_state([Path(__file__).resolve().parent])
        self._commit = repositories[0]["commit"] if repositories else None

    @property
    def folder(self) -> RunFolder:
        """The run's folder."""
        return self._run.folder

    @property
    def failures(self) -> dict[str, str]:
        """Why a metric has no value, by its name in the config."""
        return self._scorer.failures

    def scored_steps(self) -> set[int]:
        """Steps that have the rows of every metric and seed already."""
        return {step for step, rows in by_step(self.wanted_rows("last")).items() if self.is_whole(rows)}

    def wanted_rows(self, select: str) -> list[dict[str, Any]]:
        """The run's rows of this evaluation: its protocols, data, seeds and weights."""
        measurements, seeds = self._scorer.measurements(), self._evaluation.seeds
        return [
            row
            for row in self.folder.results()
            if (row["protocol"], row["dataset"], row["n"]) in measurements
            and (row["weights"], row["select"]) == (self._evaluation.weights, select)
            and row["eval_seed"] in seeds
        ]

    def is_whole(self, rows: Iterable[Mapping[str, Any]]) -> bool:
        """Whether the rows of one step have every metric for every seed."""
        found = {(row["protocol"], row["dataset"], row["n"], row["eval_seed"]) for row in rows}
        return len(found) == len(self._scorer.measurements()) * len(self._evaluation.seeds)

    def try_score(self, step: int) -> list[dict[str, Any]]:
        """`score`, but a checkpoint that cannot be read is only reported: the training may just have deleted it."""
        try:
            return self.score(step)
        except DamagedCheckpointError as error:
            self.say(f"step {step} is left out: {error}")
            return []

    def score(self, step: int, select: Literal["last", "best"] = "last") -> list[dict[str, Any]]:
        """The rows of a checkpoint, one a metric and seed, which are written as they come."""
        with together():
            state = self._run.restored(step)
        rows: list[dict[str, Any]] = []
        for number, seed in enumerate(self._evaluation.seeds, start=1):
            begun = time.perf_counter()
            of = f" seed {seed} ({number} of {len(self._evaluation.seeds)})" if len(self._evaluation.seeds) > 1 else ""
            album = Album(_NUM_PANELS, num_apart=_NUM_APART) if number == 1 else Album(0)
            look = album.add if self._scorer.restores else None
            with images_bar(f"step {step}{of}", self._scorer.num_images, "image", self._quiet) as bar:
                scores = self._scorer.score(state, seed, self._evaluation.weights, bar.update, look)
            elapsed = time.perf_counter() - begun
            self._write_values(step, seed, scores, album)
            for score in scores:
                row = self._row(step, select, seed, score, elapsed)
                self.folder.append_result(row)
                rows.append(row)
        self._report(step, rows)
        return rows

    def _write_values(self, step: int, seed: int, scores: Sequence[Score], album: Album) -> None:
        """Writes what is known of single records: their values, what their restoration took, and pictures of some.

        A row of the table is a record; a column is a protocol.
        """
        columns: dict[str, Any] = {score.protocol: score.values for score in scores if score.values is not None}
        if not columns:
            return
        manner = [scores[0].dataset, *self._scorer.manner]
        name = file_name(step=step, weights=self._evaluation.weights, eval_seed=seed, manner=manner)
        names = self._scorer.record_names()
        self.folder.write_csv(f"per_record/{name}", {NAMES: names, **columns, **album.costs(len(names))})
        if album.panels:
            self.folder.write_png(f"restored/{name.removesuffix('.csv')}.png", stacked(album.panels))
        for place, images in enumerate(album.apart):
            for what, image in images.items():
                self.folder.write_png(f"restored/{name.removesuffix('.csv')}/{place}-{what}.png", image)
        if album.summary:
            self.say(f"step {step}  {album.summary}")

    def _report(self, step: int, rows: Sequence[dict[str, Any]]) -> None:
        """Prints a line for each metric, over all seeds."""
        by_metric: dict[tuple[str, str], list[float]] = {}
        for row in rows:
            by_metric.setdefault((row["protocol"], row["dataset"]), []).append(value(row))
        for (protocol, dataset), values in by_metric.items():
            std = statistics.stdev(values) if len(values) > 1 and all(map(math.isfinite, values)) else None
            count = f" ({len(values)} seeds)" if len(values) > 1 else ""
            mean = sum(values) / len(values)
            self.say(
                f"step {step}  {protocol}  {format_value(mean, std)}{count}  {dataset}  {self._evaluation.weights}"
            )
        for failure in self.failures.values():
            self.say(f"step {step}  failed: {failure}")

    def _row(
        self, step: int, select: Literal["last", "best"], seed: int, score: Score, elapsed: float
    ) -> dict[str, Any]:
        manifest = self.folder.manifest()
        return result_row(
            run=manifest["run"],
            config=manifest["config"],
            config_hash=config_hash(self._run.config),
            seed=self._run.config.seed,
            eval_seed=seed,
            step=step,
            images_seen=step * self._run.experiment.images_per_step,
            weights=self._evaluation.weights,
            select=select,
            commit=self._commit,
            device=jax.devices()[0].device_kind,
            time_s=elapsed,
            **score.fields(),
        )

    def say(self, message: str) -> None:
        """Prints a line, unless the job is quiet."""
        if not self._quiet:
            tqdm.write(message)


def by_step(rows: Iterable[dict[str, Any]]) -> dict[int, list[dict[str, Any]]]:
    """Rows by the step that was scored."""
    found: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["step"], []).append(row)
    return found


def _wait_for_run(path: Path, poll_s: float, timeout_s: float) -> None:
    """Waits for the run's folder, for a follower may be started with the training; `Run` complains if none comes."""
    deadline = time.monotonic() + timeout_s
    while not RunFolder.exists(path) and time.monotonic() < deadline:
        time.sleep(poll_s)


def _arrivals(run: Run, job: EvaluationJob, poll_s: float, timeout_s: float) -> Iterator[int]:
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
