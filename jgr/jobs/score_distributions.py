"""Scores generated against real images: samples, features on the devices, statistics on the host."""

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

import jgr
from jgr.data.captions import captions
from jgr.errors import ConfigError
from jgr.images import to_uint8
from jgr.jobs.reference import ReferenceCache
from jgr.jobs.sampling import make_sample
from jgr.jobs.scoring import FAILURES, Advance, Score, Scoring
from jgr.metrics.extractor import FeatureExtractor
from jgr.metrics.features import FeatureSet, subset
from jgr.metrics.metric import DistributionMetric
from jgr.state import TrainState

_SLACK = 1e-3  # how far beyond [0, 1] the images of a generator may be

_Batches = Iterator[tuple[Any, Any, np.ndarray]]
"""uint8 images on the devices, their labels or None, and the mask of those that are no filling."""


@dataclasses.dataclass(frozen=True)
class _Asked:
    """What samples are asked for, in turn: labels or tokens, and the labels that they should show, where known."""

    told: np.ndarray | None
    labels: np.ndarray | None


@dataclasses.dataclass(frozen=True)
class _Group:
    """Metrics that share one set of features."""

    extractor: FeatureExtractor
    limit: int | None
    metrics: dict[str, DistributionMetric]

    @property
    def needs(self) -> frozenset[str]:
        return frozenset[str]().union(*(metric.needs for metric in self.metrics.values()))


class DistributionScores:
    """Scores by metrics of two distributions; statistics of the real images and compiled functions are made once.

    Args:
        scoring: The evaluation.
        cache: Where statistics of real images are kept between jobs.
    """

    def __init__(self, scoring: Scoring, cache: ReferenceCache) -> None:
        self._scoring, self._cache = scoring, cache
        self._weights: dict[FeatureExtractor, Any] = {}  # on the devices
        self._reference: dict[int, FeatureSet] | None = None

    @property
    def num_images(self) -> int:
        """Images that the next `score` reads or draws."""
        if not self._groups:
            return 0
        real = len(self._scoring.data.source) if self._reference is None else 0
        return real + self._scoring.evaluation.num_samples

    def score(self, state: TrainState, seed: int, advance: Advance) -> dict[str, Score]:
        """The scores of the metrics that did not fail, by name."""
        if not self._groups:
            return {}
        if self._reference is None:
            self._reference = self._real(advance)
        reference = self._reference
        asked = self._asked(next((kept.labels for kept in reference.values()), None) if self._conditional else None)
        num_samples = self._scoring.evaluation.num_samples
        try:
            generated = self._gather(self._sampled(state, seed, asked, advance), num_samples)
        except FAILURES as error:  # the samples are no images
            for name in self._scoring.of(DistributionMetric):
                self._scoring.fail(name, error)
            return {}
        scores = {}
        for number, group in enumerate(self._groups):
            if number not in reference or number not in generated:
                continue  # its features are not finite
            made = generated[number]
            for name, metric in group.metrics.items():
                value = self._scoring.guarded(name, functools.partial(metric.compute, reference[number], made))
                if value is not None:
                    protocol, count = self._scoring.protocol(metric), self._scoring.count(metric)
                    scores[name] = self._scoring.score(metric, protocol, value, count)
        return scores

    @functools.cached_property
    def _groups(self) -> list[_Group]:
        """The metrics that can be computed, as far as their weights and what they need tell; the others have failed."""
        groups: dict[tuple[FeatureExtractor, int | None], dict[str, DistributionMetric]] = {}
        for name, metric in self._scoring.of(DistributionMetric).items():
            if self._scoring.guarded(name, functools.partial(self._check, metric)):
                groups.setdefault((metric.extractor, metric.limit), {})[name] = metric
        return [_Group(extractor, limit, metrics) for (extractor, limit), metrics in groups.items()]

    def _check(self, metric: DistributionMetric) -> bool:
        """Raises if the metric's extractor cannot be used, or does not give what the metric needs."""
        extractor, record, task = metric.extractor, self._scoring.first_record, self._scoring.task
        if extractor not in self._weights:
            self._weights[extractor] = self._scoring.mesh.put_replicated(extractor.load())
        image = jax.ShapeDtypeStruct(record["image"].shape, np.uint8)
        outputs = jax.eval_shape(extractor.__call__, self._weights[extractor], image)
        if "logits" in metric.needs and "logits" not in outputs:
            raise ConfigError(f"{extractor.name} is no classifier: it gives no logits")
        if metric.needs & {"labels", "class_moments"}:
            if "label" not in record:
                raise ConfigError(f"{self._scoring.data.source.name} has no labels")
            if task.condition_name is None:
                raise ConfigError(f"{type(task).__qualname__} generates images without labels")
        return True

    @functools.cached_property
    def _extract(self) -> dict[FeatureExtractor, Callable[[Any, Any], Any]]:
        everywhere = self._scoring.mesh.replicated
        return {extractor: jax.jit(extractor.__call__, out_shardings=everywhere) for extractor in self._weights}

    @property
    def _conditional(self) -> bool:
        """Whether samples are of the labels of the real images, or of captions of images that have labels."""
        return self._scoring.task.condition_name is not None and "label" in self._scoring.first_record

    def _needs(self, group: _Group) -> frozenset[str]:
        return group.needs | ({"labels"} if self._conditional else set())

    def _asked(self, labels: np.ndarray | None) -> _Asked:
        """What samples are asked for: in an order of the real images that is always the same, not by class."""
        if self._scoring.task.condition_name == "tokens":
            tokens = self._tokens
            order = np.random.default_rng(0).permutation(len(tokens))
            return _Asked(tokens[order], None if labels is None else labels[order])
        if self._scoring.task.num_classes is None:
            return _Asked(None, None)
        if labels is None:
            labels = np.arange(self._scoring.task.num_classes)
        else:
            labels = labels[np.random.default_rng(0).permutation(len(labels))]
        return _Asked(labels, labels)

    @functools.cached_property
    def _tokens(self) -> np.ndarray:
        """The captions of all real images."""
        vocabulary = self._scoring.data.vocabulary
        if vocabulary is None:
            raise ConfigError(f"{self._scoring.data.source.name} is read without captions; give the data captions")
        return vocabulary.encode(list(captions(self._scoring.data.source))).ids

    def _real(self, advance: Advance) -> dict[int, FeatureSet]:
        """Features of the real images by group: kept ones where there are, and the others computed."""
        keys = [self._key(group) for group in self._groups]
        found = {n: kept for n, key in enumerate(keys) if (kept := self._cache.load(key)) is not None}
        if len(found) == len(keys):
            advance(len(self._scoring.data.source))
            return found
        made = self._gather(self._read(advance), len(self._scoring.data.source), leave_out=frozenset(found))
        for n, features in made.items():
            self._cache.save(keys[n], features)
        return found | made

    def _read(self, advance: Advance) -> _Batches:
        labelled = any(self._needs(group) & {"labels", "class_moments"} for group in self._groups)
        everywhere = jax.jit(lambda labels: labels, out_shardings=self._scoring.mesh.replicated)
        for batch, mask in self._scoring.batches(advance):
            yield batch["image"], np.asarray(everywhere(batch["label"])) if labelled else None, mask

    def _key(self, group: _Group) -> dict[str, Any]:
        """Everything that features of the real images depend on."""
        kind = type(group.extractor)
        return {
            "dataset": self._scoring.dataset,
            "extractor": f"{kind.__module__}.{kind.__qualname__}",
            "settings": repr(group.extractor),
            "tag": group.extractor.tag,
            "protocol": group.extractor.protocol,
            "needs": sorted(self._needs(group)),
            "limit": group.limit,
            "code": _code_digest(),
            "jax": jax.__version__,
            "device": jax.devices()[0].device_kind,
        }

    def _gather(self, batches: _Batches, total: int, leave_out: frozenset[int] = frozenset()) -> dict[int, FeatureSet]:
        """Feature sets by group. Groups whose features are not finite have failed, and are left out."""
        sets = {
            n: FeatureSet(self._needs(group), subset(total, group.limit))
            for n, group in enumerate(self._groups)
            if n not in leave_out
        }
        for images, labels, mask in batches:
            used = {self._groups[n].extractor: None for n in sets}
            outputs = {extractor: self._extract[extractor](self._weights[extractor], images) for extractor in used}
            outputs = {extractor: jax.device_get(output) for extractor, output in outputs.items()}
            for n, kept in list(sets.items()):
                batch = dict(outputs[self._groups[n].extractor])
                if labels is not None:
                    batch["labels"] = labels
                try:
                    kept.update(batch, mask)
                except FAILURES as error:
                    for name in self._groups[n].metrics:
                        self._scoring.fail(name, error)
                    del sets[n]
        return sets

    def _sampled(self, state: TrainState, seed: int, asked: _Asked, advance: Advance) -> _Batches:
        size, total = self._scoring.batch_size, self._scoring.evaluation.num_samples
        for start in range(0, total, size):
            wanted = np.arange(start, start + size)
            told, labels = (None if each is None else each[wanted % len(each)] for each in (asked.told, asked.labels))
            images, lowest, highest = self._sample(state, seed, size, start, told)
            _require_unit_range(np.asarray(lowest), np.asarray(highest), start)
            mask = wanted < total
            yield images, labels, mask
            advance(int(mask.sum()))

    @functools.cached_property
    def _sample(self) -> Callable[..., Any]:
        def judged(images: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
            return to_uint8(images), images.min(axis=(1, 2, 3)), images.max(axis=(1, 2, 3))

        mesh = self._scoring.mesh
        places = (mesh.batch(), mesh.replicated, mesh.replicated)
        return make_sample(self._scoring.task, mesh, "evaluation", judged, places)


@functools.cache
def _code_digest() -> str:
    """Hash of the code that reads images and makes features of them."""
    root, content = Path(jgr.__file__).parent, hashlib.sha256()
    for package in ("data", "layers", "metrics", "models"):
        for file in sorted((root / package).rglob("*.py")):
            content.update(file.read_bytes())
    return content.hexdigest()[:16]


def _require_unit_range(lowest: Float[np.ndarray, "n"], highest: Float[np.ndarray, "n"], start: int) -> None:
    """Raises ConfigError if generated images are not in [0, 1]."""
    wrong = ~((lowest >= -_SLACK) & (highest <= 1.0 + _SLACK))
    if wrong.any():
        bad = int(np.argmax(wrong))
        raise ConfigError(
            f"sample {start + bad} has values from {lowest[bad]:.4g} to {highest[bad]:.4g}; a task must generate "
            "images in [0, 1]: if in [-1, 1], give jgr.images.from_signed of them; if NaN, the training diverged"
        )
