"""Trains: one run, from its config to its last checkpoint, through any number of interruptions."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from ml_collections import ConfigDict

from jgr.checkpoint import Checkpointer, restore_newest
from jgr.config import config_hash, differences, resolve, to_plain
from jgr.data.loader import Loader
from jgr.data.source import fingerprint
from jgr.errors import NonFiniteError, RunError
from jgr.images import grid
from jgr.jobs.experiment import Experiment, open_experiment
from jgr.jobs.progress import TrainingProgress, scalars
from jgr.jobs.sampling import for_sampling, make_sample, sample_keys
from jgr.jobs.score import Scorer
from jgr.jobs.signals import StopRequest, stop_signals
from jgr.jobs.step import abstract_metrics, abstract_state, initial_state, make_loader, make_step
from jgr.run.folder import RunFolder
from jgr.run.lock import RunLock
from jgr.run.manifest import environment, new_manifest
from jgr.state import TrainState, averaged
from jgr.tasks.task import Sampler
from jgr.tasks.update import FINITE

Say = Callable[[str], object]

# What may differ when a run goes on: how long it is, and how often it says and keeps something.
_CADENCES = ("log_every", "checkpoint_every", "sample_every", "num_samples", "keep_checkpoints", "keep_every")
_RESUMABLE = {f"train.{name}" for name in ("num_steps", *_CADENCES)}
_CONSEQUENCES = {"train.num_steps": "; schedules given as a share of the training change with it"}
_MAX_UNREAD = 100  # steps after which the checks for finite values are read, however rarely a line is logged


def train(
    config: ConfigDict | Mapping[str, Any],
    workdir: str | Path,
    *,
    config_path: str = "",
    command: Sequence[str] = (),
    trust: bool = True,
    quiet: bool = False,
) -> RunFolder:
    """Trains to the end of the config, going on from the newest checkpoint in `workdir` where there is one.

    SIGTERM saves a checkpoint and returns, the run being marked `preempted`; Ctrl-C does the same, as `interrupted`,
    and raises KeyboardInterrupt.

    Args:
        config: A config, complete or not.
        workdir: The run's folder, made when missing.
        config_path: Where the config comes from, for the manifest.
        command: The command line, for the manifest.
        trust: Whether the config may name classes outside jgr, optax and flax.
        quiet: Whether to print nothing.

    Returns:
        The run's folder.

    Raises:
        ConfigError: Before anything is written or compiled, if the config cannot work.
        RunError: If the folder cannot be used, is in use, or belongs to another config.
        NonFiniteError: If a loss, a gradient or a parameter stops being finite; the last good checkpoint stays.
    """
    resolved = resolve(config, Experiment, trust=trust)
    experiment = open_experiment(resolved, trust=trust)
    loader = make_loader(experiment)
    abstract = abstract_state(experiment, loader)
    abstract_metrics(experiment, loader, abstract)
    say = _silent if quiet else _print
    folder = _open_folder(Path(workdir), resolved, config_path, command)
    with RunLock(folder.path), stop_signals() as stop:
        found = restore_newest(folder.checkpoints_path, abstract, say)
        start = int(found[0].step) if found else 0
        if start > experiment.train.num_steps:
            raise RunError(
                f"{workdir} is at step {start}, beyond config.train.num_steps = {experiment.train.num_steps}; give a "
                "larger number, or another --workdir"
            )
        sources = _checked_sources(folder, experiment)
        with _recorded_outcome(folder):
            _enter_session(folder, resolved, sources, command, say)
            done = start == experiment.train.num_steps
            say(f"step {start} of {experiment.train.num_steps}" + (": nothing left to do" if done else ""))
            state = found[0] if found else initial_state(experiment, loader)
            status = "completed" if done else _run(experiment, folder, loader, state, start, stop, quiet)
            folder.update_manifest(status=status, ended=datetime.now(UTC).isoformat(timespec="seconds"))
    say(_where(folder))
    if status == "interrupted":
        raise KeyboardInterrupt
    return folder


def _run(
    experiment: Experiment,
    folder: RunFolder,
    loader: Loader,
    state: TrainState,
    start: int,
    stop: StopRequest,
    quiet: bool,
) -> str:
    """The loop; returns the status the run ends with.

    A step is: batch, update, then, in this order, check and log, picture, validate and save. What is logged and saved
    at a step is of that very step, so an interruption leaves no trace in any file.
    """
    options, num_steps = experiment.train, experiment.train.num_steps
    step_fn, watch = make_step(experiment, loader), _Watch(experiment, loader, folder)
    pictures, validator = _Pictures(experiment, folder), _Validator(experiment)
    progress = TrainingProgress(num_steps, start, experiment.images_per_step, quiet)
    log = _Log(experiment, folder, progress, start)
    progress.say("loading data, compiling …")
    with (
        progress,
        Checkpointer(
            folder.checkpoints_path, keep=options.keep_checkpoints, keep_every=options.keep_every, best=validator.best
        ) as checkpointer,
    ):
        for step, host_batch in enumerate(loader.batches(start, num_steps), start + 1):
            state, metrics = step_fn(state, loader.arrays, host_batch)
            watch.add(step, metrics)
            if step == start + 1:
                log.compiled(step, metrics)
            progress.advance()
            stopping = stop.requested or step == num_steps
            if step % options.log_every == 0:
                watch.check()
                log.write(step, metrics)
            if options.sample_every and (step == num_steps or step % options.sample_every == 0):
                watch.check()
                pictures.draw(step, state)
            if step % options.checkpoint_every == 0 or stopping:
                watch.check()  # what is not finite is never saved
                score = validator.score(step, state, progress)
                checkpointer.save(step, state, position=step * experiment.images_per_step, score=score)
            if stopping:
                break
    return "completed" if step == num_steps else stop.status


class _Watch:
    """Stops the run at the first loss, gradient or parameter that is not finite.

    The checks of a step are read some steps later, so that the device never waits for the host.
    """

    def __init__(self, experiment: Experiment, loader: Loader, folder: RunFolder) -> None:
        self._experiment, self._loader, self._folder = experiment, loader, folder
        self._unread: list[tuple[int, dict[str, Any]]] = []

    def add(self, step: int, metrics: Mapping[str, Any]) -> None:
        self._unread.append((step, {name: value for name, value in metrics.items() if name.startswith(FINITE)}))
        if len(self._unread) >= _MAX_UNREAD:
            self.check()

    def check(self) -> None:
        for step, checks in self._unread:
            broken = [name.removeprefix(FINITE) for name, finite in jax.device_get(checks).items() if not finite]
            if broken:
                self._fail(step, broken)
        self._unread.clear()

    def _fail(self, step: int, terms: list[str]) -> None:
        records = np.ravel(next(self._loader.batches(step - 1, step))["index"]).tolist()
        self._folder.update_manifest(failure={"step": step, "terms": terms, "records": records})
        shown = ", ".join(map(str, records[:8])) + (f", … ({len(records)} in run.json)" if len(records) > 8 else "")
        raise NonFiniteError(
            f"step {step}: not finite: {', '.join(terms)}. Records of the batch: {shown}. The last good checkpoint in "
            f"{self._folder.checkpoints_path} is kept. Lower the learning rate or set clip_norm of that optimizer"
        )


class _Log:
    """Lines of metrics.jsonl."""

    def __init__(self, experiment: Experiment, folder: RunFolder, progress: TrainingProgress, start: int) -> None:
        self._folder, self._progress = folder, progress
        self._images_per_step = experiment.images_per_step
        folder.cut_back_metrics(start)
        earlier = folder.metrics()
        self._begun = time.perf_counter() - (earlier[-1]["elapsed_s"] if earlier else 0.0)
        self._last_step, self._last_time = start, time.perf_counter()

    def compiled(self, step: int, metrics: Mapping[str, Any]) -> None:
        """After the first step: what is measured from here on is training, not compilation."""
        jax.block_until_ready(dict(metrics))
        now = time.perf_counter()
        self._progress.say(f"first step after {now - self._last_time:.1f} s")
        self._progress.restart(step)
        self._last_step, self._last_time = step, now

    def write(self, step: int, metrics: Mapping[str, Any]) -> None:
        values, now = scalars(jax.device_get(dict(metrics))), time.perf_counter()
        steps = step - self._last_step
        images_per_s = steps * self._images_per_step / (now - self._last_time) if steps else None
        self._last_step, self._last_time = step, now
        timing = {"images_per_s": images_per_s, "elapsed_s": now - self._begun}
        self._folder.append_metrics({"step": step, "images_seen": step * self._images_per_step, **values, **timing})
        self._progress.log(step, values, images_per_s)


class _Pictures:
    """Grids of the same latents at every step, from the weights that are evaluated."""

    def __init__(self, experiment: Experiment, folder: RunFolder) -> None:
        self._task, self._folder = experiment.task, folder
        self._keys = sample_keys(experiment.seed, "samples", experiment.train.num_samples)
        self._sample = make_sample(experiment.task)

    def draw(self, step: int, state: TrainState) -> None:
        if isinstance(self._task, Sampler):
            images = np.asarray(self._sample(for_sampling(averaged(state)), self._keys))
            self._folder.write_png(f"step_{step:08d}.png", grid(images))


class _Validator:
    """Scores the state before a checkpoint, where the config has a validation."""

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment
        self._validation = experiment.validation
        self._scorer = Scorer(experiment.task, self._validation, experiment.data) if self._validation else None

    @property
    def best(self) -> Literal["min", "max"] | None:
        if self._validation is None:
            return None
        deciding = next(iter(self._validation.metrics.values()))
        return "max" if deciding.higher_is_better else "min"

    def score(self, step: int, state: TrainState, progress: TrainingProgress) -> float | None:
        if self._validation is None or self._scorer is None:
            return None
        score = self._scorer.score(state, self._experiment.seed, self._validation.weights)[0]
        progress.say(f"step {step}: {score['protocol']} {score['value']:.4g} on {score['dataset']} (validation)")
        return float(score["value"])


def _open_folder(path: Path, config: ConfigDict, config_path: str, command: Sequence[str]) -> RunFolder:
    """The run's folder: made, or found and of the same config."""
    if not RunFolder.exists(path):
        manifest = new_manifest(
            command=list(command), config_path=config_path, config_hash=config_hash(config), seed=config.seed
        )
        return RunFolder.create(path, to_plain(config), manifest)
    folder = RunFolder.open(path)
    fixed = {key: pair for key, pair in differences(folder.config(), config).items() if key not in _RESUMABLE}
    if fixed:
        shown = "; ".join(
            f"config.{key} is {old!r} there and {new!r} here" for key, (old, new) in list(fixed.items())[:3]
        )
        more = f"; and {len(fixed) - 3} more" if len(fixed) > 3 else ""
        raise RunError(f"{path} is a run of another config: {shown}{more}. Use another --workdir, or the same config")
    return folder


def _checked_sources(folder: RunFolder, experiment: Experiment) -> dict[str, str]:
    """Name and fingerprint of the data, which must be what the run began with."""
    source, known = experiment.data.source, folder.manifest().get("data")
    sources = {source.name: fingerprint(source)}
    if known and known != sources:
        raise RunError(
            f"{source.name} is not the data that {folder.path} was trained on: its fingerprint is "
            f"{sources[source.name]}, and was {known.get(source.name)}. Bring that data back, or start in another "
            "--workdir"
        )
    return sources


def _enter_session(
    folder: RunFolder, config: ConfigDict, sources: dict[str, str], command: Sequence[str], say: Say
) -> None:
    """Writes down that the run goes on, with what, and what changed in its config."""
    changed = differences(folder.config(), config)
    for key, (old, new) in changed.items():
        say(f"config.{key}: {old!r} -> {new!r}" + _CONSEQUENCES.get(key, ""))
    if changed:
        folder.write_config(to_plain(config))
    session = {
        "command": list(command),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "changed": {key: list(pair) for key, pair in changed.items()},
        "environment": environment(),
    }
    folder.update_manifest(
        status="running",
        config_hash=config_hash(config),
        sessions=[*folder.manifest()["sessions"], session],
        data=sources,
        # On CPU XLA partitions work the same way every time; elsewhere atomics and autotuning may change last bits.
        reproducible="bit for bit" if jax.default_backend() == "cpu" else "to tolerance",
        error=None,
        failure=None,
    )


@contextmanager
def _recorded_outcome(folder: RunFolder) -> Iterator[None]:
    """Marks the run as failed when an error ends it."""
    try:
        yield
    except BaseException as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        with suppress(RunError):  # the disk may be what failed; the first error is the one to report
            folder.update_manifest(status="failed", error=reason, ended=datetime.now(UTC).isoformat(timespec="seconds"))
        raise


def _print(message: str) -> None:
    print(message, flush=True)


def _silent(message: str) -> None:
    pass


def _where(folder: RunFolder) -> str:
    pictures = sorted(folder.samples_path.glob("step_*.png"))
    lines = [
        f"run          {folder.path}",
        f"metrics      {folder.metrics_path}",
        f"checkpoints  {folder.checkpoints_path}",
        *([f"samples      {pictures[-1]}"] if pictures else []),
    ]
    return "\n".join(lines)
