"""Trains: one run, from its config to its last checkpoint, through any number of interruptions."""

import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from jgr.checkpoint import Checkpointer, restore_newest
from jgr.config import canonical_json, resolve
from jgr.data.loader import Loader
from jgr.data.source import fingerprint
from jgr.data.vocabulary import Vocabulary
from jgr.errors import RunError
from jgr.jobs.costs import describe_networks
from jgr.jobs.experiment import Experiment, check_records, open_experiment
from jgr.jobs.init_from import find_weights, vocabulary_of, with_weights
from jgr.jobs.mirror import Mirror, TensorBoard, require_tensorboard
from jgr.jobs.observe import Log, Pictures, Validator, Watch
from jgr.jobs.profile import Profiler
from jgr.jobs.progress import TrainingProgress
from jgr.jobs.session import check_sources, describe_records, enter_session, prepare_folder, recorded_outcome, where
from jgr.jobs.signals import StopRequest, stop_signals
from jgr.jobs.step import abstract_state, initial_state, make_loader, make_step, trace_step
from jgr.jobs.vocabulary import read_vocabulary, require_room
from jgr.processes import is_main, on_main, require_equal, together
from jgr.run.folder import RunFolder
from jgr.run.lock import RunLock
from jgr.state import TrainState


def train(
    config: ConfigDict | Mapping[str, Any],
    workdir: str | Path,
    *,
    config_path: str = "",
    command: Sequence[str] = (),
    trust: bool = True,
    quiet: bool = False,
    profile: str | None = None,
    tensorboard: bool = False,
) -> RunFolder:
    """Trains to the end of the config, going on from the newest checkpoint in `workdir` where there is one.

    SIGTERM saves a checkpoint and returns, the run being marked `preempted`; Ctrl-C does the same, as `interrupted`,
    and raises KeyboardInterrupt. Several processes that `jgr.processes.initialize` joined all call it alike; process 0
    writes and prints, and the folder must be one that all see.

    Args:
        config: A config, complete or not.
        workdir: The run's folder, made when missing.
        config_path: Where the config comes from, for the manifest.
        command: The command line, for the manifest.
        trust: Whether the config may name classes outside jgr, optax and flax.
        quiet: Whether to print nothing.
        profile: "START:STOP", the first and the last step to trace into the folder's `profile`; None for none.
        tensorboard: Whether to copy metrics and pictures into the folder's `tensorboard`.

    Returns:
        The run's folder.

    Raises:
        ConfigError: Before anything is written or compiled, if the config cannot work.
        RunError: If the folder cannot be used, is in use, or belongs to another config.
        NonFiniteError: If a loss, a gradient or a parameter stops being finite; the last good checkpoint stays.
    """
    say = _silent if quiet or not is_main() else _print
    folder = RunFolder(workdir, writes=is_main())
    with together():
        resolved = resolve(config, Experiment, trust=trust)
        experiment = open_experiment(resolved, trust=trust)
        experiment = experiment.told(read_vocabulary(folder) or _inherited(experiment) or experiment.data.vocabulary)
        require_room(resolved, experiment.data.vocabulary)
        loader = make_loader(experiment)
        abstract = abstract_state(experiment, loader)
        check_records(experiment.task, experiment.data)
        flops = trace_step(experiment, loader, abstract).flops if experiment.train.num_steps else 0
        if experiment.train.init_from is not None and not RunFolder.exists(folder.path):
            find_weights(experiment.train.init_from, abstract, trust)  # before anything is written
        source = experiment.data.source
        sources, records = {source.name: fingerprint(source)}, describe_records(loader)
        profiler = Profiler(profile, folder.path / "profile", say)
        if tensorboard:
            require_tensorboard()
    require_equal(canonical_json(resolved), "the config")
    require_equal(sources, "the fingerprint of the data")
    on_main(lambda: prepare_folder(folder.path, resolved, config_path, command, experiment.data.vocabulary))
    with ExitStack() as stack:

        def lock() -> None:
            stack.enter_context(RunLock(folder.path))

        on_main(lock)
        stop = stack.enter_context(stop_signals())
        found = restore_newest(folder.checkpoints_path, abstract, say)
        start = int(found[0].step) if found else 0
        _check_start(experiment, start, folder)
        on_main(lambda: check_sources(folder, sources))
        stack.enter_context(recorded_outcome(folder))
        on_main(lambda: enter_session(folder, resolved, sources, records, command, say))
        folder.update_manifest(networks=describe_networks(experiment.task, abstract))
        done = found is not None and start == experiment.train.num_steps
        say(f"step {start} of {experiment.train.num_steps}" + (": nothing left to do" if done else ""))
        status = "completed"
        if not done:
            state = found[0] if found else _first_state(experiment, loader, abstract, folder, trust)
            mirror = stack.enter_context(closing(TensorBoard(folder, start) if tensorboard and is_main() else Mirror()))
            job = _Job(experiment, folder, loader, abstract, flops, stop, profiler, mirror, quiet or not is_main())
            status = _run(job, state, start)
        folder.update_manifest(status=status, ended=datetime.now(UTC).isoformat(timespec="seconds"))
    say(where(folder))
    if status == "interrupted":
        raise KeyboardInterrupt
    return folder


@dataclasses.dataclass(frozen=True)
class _Job:
    """What a training has besides its state."""

    experiment: Experiment
    folder: RunFolder
    loader: Loader
    abstract: TrainState
    flops: int
    stop: StopRequest
    profiler: Profiler
    mirror: Mirror
    quiet: bool


def _run(job: _Job, state: TrainState, start: int) -> str:
    """The loop; returns the status the run ends with.

    A turn is one call of the compiled steps, of which there may be several: batch, update, then, in this order, check
    and validate, log, picture, save. What is logged and saved at a step is of that very step, so an interruption
    leaves no trace in any file.
    """
    experiment, folder, loader, profiler = job.experiment, job.folder, job.loader, job.profiler
    options, num_steps, per_call = experiment.train, experiment.train.num_steps, experiment.train.steps_per_call
    step_fn, watch = make_step(experiment, loader, job.abstract), Watch(loader, folder)
    pictures, validator = Pictures(experiment, folder, job.mirror), Validator(experiment)
    progress = TrainingProgress(num_steps, start, experiment.images_per_step, job.quiet)
    log = Log(experiment, folder, progress, job.mirror, start, job.flops)
    progress.say("loading data, compiling …" if num_steps else "nothing to train: the initial weights are saved")
    with (
        progress,
        closing(profiler),
        Checkpointer(
            folder.checkpoints_path, keep=options.keep_checkpoints, keep_every=options.keep_every, best=experiment.best
        ) as checkpointer,
    ):
        for step, host_batches in zip(
            range(start + per_call, num_steps + 1, per_call), loader.batches(start, num_steps), strict=True
        ):
            with profiler.call(step - per_call + 1, step):
                state, metrics = step_fn(state, loader.arrays, host_batches, step - per_call)
            watch.add(step, metrics)
            profiler.after(step, metrics)
            if step == start + per_call:
                log.compiled(step, metrics)
            progress.advance(per_call)
            stopping = job.stop.after(step // per_call) or step == num_steps
            due = step % options.checkpoint_every == 0
            scores: dict[str, float] = {}
            ending = due or step == num_steps  # one who stops a run has little time: its checkpoint has no score
            if ending or stopping:
                watch.check()  # what is not finite is neither scored nor saved
            if ending:
                with log.aside(metrics):
                    scores = validator.score(step, state, progress)
            if step % options.log_every == 0 or (due and scores):
                watch.check()
                log.write(step, metrics, scores if due else {})
            if options.sample_every and (step == num_steps or step % options.sample_every == 0):
                watch.check()
                with log.aside(metrics):
                    pictures.draw(step, state)
            if due or stopping:
                with log.aside(metrics):
                    best = next(iter(scores.values()), None)
                    checkpointer.save(step, state, position=step * experiment.images_per_step, score=best)
            if stopping:
                break
        if num_steps == 0:
            step = 0
            scores = validator.score(step, state, progress)
            checkpointer.save(step, state, position=0, score=next(iter(scores.values()), None))
    return "completed" if step == num_steps else job.stop.status


def _first_state(
    experiment: Experiment, loader: Loader, abstract: TrainState, folder: RunFolder, trust: bool
) -> TrainState:
    """The state before the first step: random, or from the weights that the config names."""
    state = initial_state(experiment, loader, abstract)
    source = experiment.train.init_from
    if source is None:
        return state
    with together():
        weights = find_weights(source, abstract, trust)
    on_main(lambda: folder.update_manifest(init_from=dict(weights.origin)))
    return with_weights(state, weights)


def _inherited(experiment: Experiment) -> Vocabulary | None:
    """What the weights that the training starts from know of captions, unless the config says it."""
    source, captions = experiment.train.init_from, experiment.data.captions
    return None if source is None or captions is None or captions.vocabulary is not None else vocabulary_of(source)


def _check_start(experiment: Experiment, start: int, folder: RunFolder) -> None:
    """Raises RunError if the training is beyond its end."""
    num_steps = experiment.train.num_steps
    if start > num_steps:
        raise RunError(
            f"{folder.path} is at step {start}, beyond config.train.num_steps = {num_steps}; give a larger number, or "
            "another --workdir"
        )


def _print(message: str) -> None:
    print(message, flush=True)


def _silent(message: str) -> None:
    pass
