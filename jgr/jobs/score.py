"""Scores a state with the metrics of an evaluation.

Samples are drawn once and every extractor sees them once, however many metrics there are. A metric that fails is named
in `Scorer.failures` and does not keep the others from their numbers.
"""

import jax

from jgr.data.loader import Data
from jgr.data.source import aligned, record_name
from jgr.errors import ConfigError
from jgr.jobs.experiment import Evaluation
from jgr.jobs.reference import ReferenceCache
from jgr.jobs.score_captions import CaptionScores
from jgr.jobs.score_distributions import DistributionScores
from jgr.jobs.score_records import Look, RecordScores
from jgr.jobs.scoring import Advance, Score, Scoring
from jgr.mesh import Mesh
from jgr.metrics.metric import CaptionMetric, Metric, PairMetric, RecordMetric
from jgr.state import TrainState, averaged
from jgr.tasks.task import Task


class Scorer:
    """Scores states of one task; statistics of the real images and compiled functions are made once.

    Args:
        task: What made the states.
        evaluation: What to measure.
        training_data: The real images where the evaluation names none.
        mesh: The devices.
        cache: Where statistics of real images are kept between jobs; used by single processes only.

    Raises:
        ConfigError: If a metric needs what the task cannot do.
    """

    def __init__(
        self, task: Task, evaluation: Evaluation, training_data: Data, mesh: Mesh, cache: ReferenceCache | None = None
    ) -> None:
        for metric in evaluation.metrics.values():
            _require(task, metric)
            _require_truth(evaluation.data or training_data, metric)
        kept = cache if cache is not None and jax.process_count() == 1 else ReferenceCache(None)
        self._scoring = Scoring(task, evaluation, evaluation.data or training_data, mesh)
        self._distributions = DistributionScores(self._scoring, kept)
        self._captions = CaptionScores(self._scoring)
        self._records = RecordScores(self._scoring)

    @property
    def failures(self) -> dict[str, str]:
        """Why a metric has no value, by its name in the config."""
        return self._scoring.failures

    @property
    def num_images(self) -> int:
        """Images that the next `score` reads or draws."""
        return self._distributions.num_images + self._captions.num_images + self._records.num_images

    @property
    def restores(self) -> bool:
        """Whether images are restored."""
        return bool(self._scoring.of(PairMetric))

    @property
    def manner(self) -> tuple[str, ...]:
        """What tells this evaluation's restored images from those of another."""
        return self._scoring.manner if self.restores else ()

    def measurements(self) -> set[tuple[str, str, int]]:
        """Protocol, data set and number of images of every metric, whether it can be computed or not."""
        metrics = self._scoring.evaluation.metrics.values()
        return {(self._scoring.protocol(one), self._scoring.dataset, self._scoring.count(one)) for one in metrics}

    def record_names(self) -> list[str]:
        """What the records that were scored are called, such as their files."""
        source = self._scoring.data.source
        return [record_name(source, index) for index in range(len(source))]

    def score(
        self,
        state: TrainState,
        seed: int,
        weights: str,
        advance: Advance = lambda n: None,
        look: Look | None = None,
    ) -> list[Score]:
        """One score for each metric that did not fail, in their order.

        Args:
            state: The state to score; only parameters and model state are read.
            seed: Decides the latents, and whatever else is random.
            weights: "ema" or "raw".
            advance: Called with the number of images done.
            look: Shown every restored image, with what it took; None spares the measuring.
        """
        state = averaged(state) if weights == "ema" else state
        with jax.default_matmul_precision("highest"):
            found = self._distributions.score(state, seed, advance)
            found |= self._captions.score(state, seed, advance) | self._records.score(state, seed, advance, look)
        return [found[name] for name in self._scoring.evaluation.metrics if name in found]


def _require_truth(data: Data, metric: Metric) -> None:
    """Raises ConfigError if a metric of pairs would compare images of two things."""
    if isinstance(metric, PairMetric) and not aligned(data.source):
        raise ConfigError(
            f"metric {metric.name} compares each image with what it should be, and in {data.source.name} that is "
            "another image: set evaluation.data to pairs, or use a metric of distributions"
        )


def _require(task: Task, metric: Metric) -> None:
    """Raises ConfigError if the task lacks the method that a metric needs."""
    method, what = "sample", "generates images"
    if isinstance(metric, PairMetric):
        method, what = "restore", "restores images"
    elif isinstance(metric, RecordMetric):
        method, what = metric.method, f"can {metric.method}"
    if isinstance(metric, CaptionMetric) and metric.judged != "real" and task.condition_name != "tokens":
        raise ConfigError(
            f"metric {metric.name} needs a task that is told captions, and {type(task).__qualname__} of this config is "
            "not: set its captions"
        )
    if not hasattr(task, method):
        raise ConfigError(
            f"metric {metric.name} needs a task that {what}, and {type(task).__qualname__} has no method {method} (see "
            "jgr.tasks.task)"
        )
