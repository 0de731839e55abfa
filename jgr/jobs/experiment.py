"""An experiment: the sections of a config, and the objects they stand for."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
from ml_collections import ConfigDict

from jgr.config import Clock, Context, Duration, build, to_plain
from jgr.data.captions import Captions
from jgr.data.loader import Data
from jgr.data.source import IMAGES, record_name
from jgr.data.vocabulary import Vocabulary
from jgr.degradations.degradation import Degradation
from jgr.degradations.protocol import Protocol
from jgr.errors import ConfigError, DataError
from jgr.images import to_float
from jgr.jobs.init_from import InitFrom
from jgr.mesh import Mesh
from jgr.metrics.metric import Metric
from jgr.state import TrainState
from jgr.tasks.inference import Inference
from jgr.tasks.precision import computing_in
from jgr.tasks.task import Task


@dataclasses.dataclass(frozen=True, kw_only=True)
class Average:
    """Exponential moving average of what a task says is evaluated.

    Args:
        half_life: After this long the weight of the past is halved; 0 for no average.
        ramp_up: The half-life is at most this share of the training so far (StyleGAN2-ADA: 0.05).
    """

    half_life: Duration = 0
    ramp_up: float = 0.05

    def __post_init__(self) -> None:
        if self.ramp_up <= 0:
            raise ConfigError(f"ramp_up = {self.ramp_up} must be positive")


_FIRST_RECORDS = 8
_CADENCES = ("log_every", "checkpoint_every", "sample_every")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Train:
    """The training.

    Args:
        num_steps: Its length; 0 makes a run that holds its initial weights, as with `init_from`, or for methods that
            are not trained.
        batch_size: Records in a batch, over all devices.
        steps_per_call: Steps in one compiled call, which saves the time between calls where a step takes a few
            milliseconds. It must divide `num_steps` and every cadence; a run stops between calls only.
        dtype: Of the networks' computation. Parameters, optimisers, statistics and losses stay float32.
        log_every: A line of `metrics.jsonl`, with the values of that very step.
        checkpoint_every: A checkpoint; there is always one at the end.
        sample_every: A picture of the same latents; one at the end, too. 0 for none.
        num_samples: Images in that picture.
        keep_checkpoints: How many of the newest checkpoints are kept, besides the best.
        keep_every: Checkpoints at multiples of this are kept for good; 0 for none.
        average: Exponential moving average.
        init_from: Other weights to start from; None for random ones.
    """

    num_steps: Duration
    batch_size: int
    steps_per_call: int = 1
    dtype: Literal["float32", "bfloat16"] = "float32"
    log_every: Duration = 100
    checkpoint_every: Duration = 1000
    sample_every: Duration = 1000
    num_samples: int = 64
    keep_checkpoints: int = 2
    keep_every: Duration = 0
    average: Average = dataclasses.field(default_factory=Average)
    init_from: InitFrom | None = None

    def __post_init__(self) -> None:
        if self.num_steps < 0:
            raise ConfigError(f"num_steps = {self.num_steps} must not be negative (0: the initial weights are saved)")
        cadences = _CADENCES[:2] if self.num_steps else ()  # shares of no steps are none
        positive = ("batch_size", "steps_per_call", "num_samples", "keep_checkpoints", *cadences)
        for name in positive:
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} = {getattr(self, name)} must be at least 1")
        if self.sample_every < 0:
            raise ConfigError(f"sample_every = {self.sample_every} must not be negative (0: no pictures)")
        if self.num_steps and self.keep_every % self.checkpoint_every:
            raise ConfigError(
                f"keep_every = {self.keep_every} must be a multiple of checkpoint_every = {self.checkpoint_every}"
            )
        for name in ("num_steps", *_CADENCES):
            if getattr(self, name) % self.steps_per_call:
                raise ConfigError(
                    f"{name} = {getattr(self, name)} must be a multiple of steps_per_call = {self.steps_per_call}"
                )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How checkpoints are scored.

    Args:
        data: The real images to compare with, or the records to score; the training data when None.
        degradation: What is done to the records' images before they are restored: a protocol of
            `jgr.degradations.protocols`, or any degradation. None: what the task was trained to undo.
        inference: How images are restored: in tiles, as an ensemble.
        num_samples: Images to generate, for metrics that compare generated images with real ones.
        batch_size: Images at a time; it does not change the numbers beyond rounding. Images that are restored may
            differ in size where it is 1.
        weights: "ema" for the average where there is one, "raw" for the trained weights.
        seeds: What is random is drawn once for each of these, and scored each time.
        metrics: Metrics by a name of your choice.
    """

    data: Data | None = None
    degradation: Protocol | Degradation | None = None
    inference: Inference = dataclasses.field(default_factory=Inference)
    num_samples: int = 1000
    batch_size: int = 250
    weights: Literal["ema", "raw"] = "ema"
    seeds: tuple[int, ...] = (0, 1, 2)
    metrics: dict[str, Metric] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ConfigError(f"batch_size = {self.batch_size} must be at least 1")
        if not isinstance(self.degradation, Protocol | Degradation | None):
            raise ConfigError(
                f"degradation = {self.degradation!r} must be a jgr.degradations.protocol.Protocol or a "
                "jgr.degradations.degradation.Degradation, dict(cls=…)"
            )
        if self.num_samples < 2:
            raise ConfigError(f"num_samples = {self.num_samples} must be at least 2: one image has no distribution")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ConfigError(f"seeds = {self.seeds} must name at least one seed, each once")
        if bad := [seed for seed in self.seeds if not 0 <= seed < 2**32]:
            raise ConfigError(f"seeds = {self.seeds}: {bad[0]} must be between 0 and 2**32 - 1")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
    """A whole config.

    Args:
        seed: Decides initial weights, order of the records, augmentation and latents.
        data: What is trained on.
        task: What is learned.
        train: The training.
        mesh: How training, evaluation and sampling are spread over devices.
        evaluation: What `jgr evaluate` measures.
        validation: A cheap evaluation before every checkpoint, whose first metric decides which is the best; never on
            a test set. None: no checkpoint is the best.
    """

    seed: int = 0
    data: Data
    task: Task
    train: Train
    mesh: Mesh = dataclasses.field(default_factory=Mesh)
    evaluation: Evaluation = dataclasses.field(default_factory=Evaluation)
    validation: Evaluation | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**32:
            raise ConfigError(f"seed = {self.seed} must be between 0 and 2**32 - 1")
        if self.validation is not None and not self.validation.metrics:
            raise ConfigError("validation.metrics is empty: name the metric that decides, or set validation to None")

    @property
    def images_per_step(self) -> int:
        """Records a step consumes."""
        return self.train.batch_size * self.task.batches_per_step

    @property
    def best(self) -> Literal["min", "max"] | None:
        """Which score of the validation is the best; None without one."""
        if self.validation is None:
            return None
        deciding = next(iter(self.validation.metrics.values()))
        return "max" if deciding.higher_is_better else "min"

    def told(self, vocabulary: Vocabulary | None) -> "Experiment":
        """With what the training's captions are read with, for all its data; None where it reads no captions."""
        if vocabulary is None or self.data.captions is None:
            return self
        captions = dataclasses.replace(self.data.captions, vocabulary=vocabulary)
        scored: dict[str, Any] = {
            name: _told(getattr(self, name), captions) for name in ("evaluation", "validation") if getattr(self, name)
        }
        return dataclasses.replace(self, data=dataclasses.replace(self.data, captions=captions), **scored)

    def init(self, key: Any, batch: Mapping[str, Any]) -> TrainState:
        """The task's initial state, with the average where the config asks for one."""
        from jgr.state import with_average

        state = self.task.init(key, batch)
        return with_average(state, self.task.averaged_networks) if self.train.average.half_life else state


def _told(evaluation: Evaluation, captions: Captions) -> Evaluation:
    if evaluation.data is None:
        return evaluation
    return dataclasses.replace(evaluation, data=dataclasses.replace(evaluation.data, captions=captions))


def open_experiment(
    config: ConfigDict | Mapping[str, Any], trust: bool = True, num_records: int | None = None
) -> Experiment:
    """Builds the objects of a resolved config; nothing is computed.

    Args:
        config: What `jgr.config.resolve` returns.
        trust: Whether it may name classes outside jgr, optax and flax.
        num_records: Of the training data, which durations in epochs need; counted there when None.

    Raises:
        ConfigError: If a class refuses its values.
        DataError: If the data is not there.
    """
    plain = to_plain(config)
    data = build(plain["data"], Data, "config.data", Context(trust=trust))
    batch_size = plain["train"]["batch_size"]
    if batch_size < 1:
        raise ConfigError(f"config.train.batch_size = {batch_size} must be at least 1")
    # Durations are counted in steps, a step may consume several batches, and only the task knows how many.
    count = (lambda: len(data.source)) if num_records is None else (lambda: num_records)
    clock = _clock(plain, batch_size, count)
    task = build(plain["task"], Task, "config.task", Context(trust=trust, clock=clock))
    clock = _clock(plain, batch_size * task.batches_per_step, count)
    context = Context(trust=trust, clock=clock)
    built = {
        "data": data,
        "train": (training := build(plain["train"], Train, "config.train", context)),
        "task": computing_in(training.dtype, build(plain["task"], Task, "config.task", context), "config.train.dtype"),
        "mesh": build(plain["mesh"], Mesh, "config.mesh", context),
        "evaluation": open_evaluation(plain, trust),
        "validation": build(plain["validation"], Evaluation, "config.validation", context)
        if plain["validation"] is not None
        else None,
    }
    try:
        return Experiment(seed=plain["seed"], **built)
    except ConfigError as error:
        raise ConfigError(f"config.{error}") from error


def check_records(task: Task, data: Data) -> None:
    """Shows a task the first records of a data set, if it wants to see them.

    Raises:
        DataError: If it cannot learn from them, or be asked about them; the message names the data set.
    """
    if type(task).check_records is Task.check_records:
        return
    source = data.source
    for index in range(min(len(source), _FIRST_RECORDS)):
        record = data.fit.read(source, [index])  # one by one: they may be of several sizes
        images = {name: np.asarray(to_float(record[name])) for name in IMAGES if name in record}
        try:
            task.check_records(record | images)
        except DataError as error:
            raise DataError(f"{record_name(source, index)}: {error}") from error


def open_evaluation(config: ConfigDict | Mapping[str, Any], trust: bool = True) -> Evaluation:
    """The object of the section `evaluation` of a resolved config.

    Raises:
        ConfigError: If a class refuses its values.
    """
    built: Evaluation = build(to_plain(config)["evaluation"], Evaluation, "config.evaluation", Context(trust=trust))
    return built


def _clock(plain: dict[str, Any], images_per_step: int, count: Callable[[], int]) -> Clock:
    untimed = Clock(images_per_step, count)
    num_steps = untimed.steps(plain["train"]["num_steps"], "config.train.num_steps")
    return dataclasses.replace(untimed, num_steps=num_steps)
