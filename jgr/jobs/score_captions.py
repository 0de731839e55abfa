"""Scores images against captions: generated ones by those they were drawn by, and real ones by their own."""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from jgr.data.captions import captions
from jgr.jobs.sampling import make_sample
from jgr.jobs.scoring import Advance, Score, Scoring
from jgr.metrics.metric import CaptionMetric
from jgr.state import TrainState


class CaptionScores:
    """Scores by metrics of images and captions; compiled functions are made once.

    Args:
        scoring: The evaluation.
    """

    def __init__(self, scoring: Scoring) -> None:
        self._scoring = scoring
        self._metrics: dict[str, CaptionMetric] = scoring.of(CaptionMetric)

    @property
    def num_images(self) -> int:
        """Images that the next `score` reads or draws."""
        return sum(self._total(real) for real in self._kinds)

    def score(self, state: TrainState, seed: int, advance: Advance) -> dict[str, Score]:
        """The scores of the metrics that did not fail, by name."""
        found: dict[str, list[np.ndarray]] = {name: [] for name in self._metrics}
        for real in self._kinds:
            for images, own, following in self._read(advance) if real else self._drawn(state, seed, advance):
                for name, metric in self._metrics.items():
                    if (metric.judged == "real") == real and name in found:
                        said = following if metric.judged == "swapped" else own
                        values = self._scoring.guarded(name, functools.partial(metric.values, images, said))
                        if values is None:
                            del found[name]
                        else:
                            found[name].append(values)
        scores = {}
        for name, parts in found.items():
            metric, values = self._metrics[name], np.concatenate(parts)
            protocol, count = self._scoring.protocol(metric), self._scoring.count(metric)
            scores[name] = self._scoring.score(metric, protocol, metric.summary(values), count)
        return scores

    @property
    def _kinds(self) -> list[bool]:
        """Whether real images are judged, and generated ones."""
        return sorted({metric.judged == "real" for metric in self._metrics.values()})

    def _total(self, real: bool) -> int:
        return len(self._scoring.data.source) if real else self._scoring.evaluation.num_samples

    @functools.cached_property
    def _captions(self) -> list[str]:
        return list(captions(self._scoring.data.source))

    def _drawn(
        self, state: TrainState, seed: int, advance: Advance
    ) -> Iterator[tuple[np.ndarray, Sequence[str], Sequence[str]]]:
        """Generated images, their captions, and those of the next ones; as metrics of distributions see them."""
        said, vocabulary = self._captions, self._scoring.data.vocabulary
        order = np.random.default_rng(0).permutation(len(said))
        size, total = self._scoring.batch_size, self._scoring.evaluation.num_samples
        assert vocabulary is not None
        for start in range(0, total, size):
            wanted = np.arange(start, start + size)
            own, following = ([said[place] for place in order[(wanted + by) % len(said)]] for by in (0, 1))
            images = np.asarray(self._sample(state, seed, size, start, vocabulary.encode(own).ids))
            kept = min(size, total - start)
            yield images[:kept], own[:kept], following[:kept]
            advance(kept)

    def _read(self, advance: Advance) -> Iterator[tuple[np.ndarray, Sequence[str], Sequence[str]]]:
        """Real images and their captions."""
        said, data, size = self._captions, self._scoring.data, self._scoring.batch_size
        for start in range(0, len(said), size):
            own = said[start : start + size]
            images = data.fit.read(data.source, range(start, start + len(own)))["image"]
            yield images, own, own
            advance(len(own))

    @functools.cached_property
    def _sample(self) -> Callable[..., Any]:
        return make_sample(self._scoring.task, self._scoring.mesh, "evaluation")
