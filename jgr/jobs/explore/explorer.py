"""Pictures that say what a generator, or an encoder and its decoder, have learned."""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from jgr.data.loader import evaluation_batches
from jgr.degradations.inputs import check_mask
from jgr.errors import ConfigError
from jgr.jobs.explore.blending import BlendExplorer
from jgr.jobs.explore.codes import CodeSpace, mixed
from jgr.jobs.explore.exploration import Classes, require_at_least
from jgr.jobs.explore.inversion import Inversion, Inverter
from jgr.jobs.explore.neighbours import Nearest
from jgr.jobs.progress import images_bar
from jgr.metrics.extractor import FeatureExtractor
from jgr.metrics.metric import DistributionMetric
from jgr.rng import purpose_key, record_keys
from jgr.state import TrainState
from jgr.tasks.task import LatentSampler, PixelModel, Reconstructor, Sampler

_CHUNK_VALUES = 2**24  # of training images that are compared at a time, in float64


@dataclasses.dataclass(frozen=True)
class Neighbours:
    """The nearest training images of each generated image, the nearest first.

    Args:
        images: Generated.
        neighbours: Of the training data.
        indices: Their places in the training data.
        distances: Euclidean, between pixels in [0, 1] or between features.
    """

    images: UInt8[np.ndarray, "num height width channels"]
    neighbours: UInt8[np.ndarray, "num k height width channels"]
    indices: Int[np.ndarray, "num k"]
    distances: Float[np.ndarray, "num k"]


@dataclasses.dataclass(frozen=True, eq=False)
class Explorer(BlendExplorer):
    """What one does with a trained generator. Latent number i is the one that image i of `Run.sample` is made of.

    ```python
    explorer = jgr.load("runs/cgan").explore(truncation=0.7)
    table = explorer.class_grid(10)  # uint8 [classes, 10, height, width, channels]
    ```

    Where there is an encoder, too, `reconstruct`, `encode`, `traverse`, `latent_map`, `blend` and `transfer` look at
    the latents of records.
    Records are those of the run's evaluation, or of the training where that has no data of its own.

    Args:
        experiment: What was trained, and on what.
        state: The weights, averaged or not.
        mesh: The devices.
        seed: Decides the latents.
        truncation: Less variety for fewer failures; None for none. With styles psi: 1 changes nothing, 0 gives the
            mean style's image (Karras et al. 2019, appendix B). With latents the largest magnitude of their values
            (Brock et al. 2019, section 3.1).
        batch_size: Images at a time; it does not change them.
        quiet: Whether to show no progress.

    Raises:
        ConfigError: If the task makes no images, or cannot truncate. Every method raises it where the task or a
            value is none it can work with.
    """

    def __post_init__(self) -> None:
        if not isinstance(self.task, Reconstructor):
            self._require_sampler()
        require_at_least(1, "batch_size", self.batch_size)
        if self.truncation is None:
            return
        self._require_latents("truncation")
        lowest = "at least 0" if self._space.has_styles else "above 0"
        too_low = self.truncation < 0 if self._space.has_styles else self.truncation <= 0
        if too_low or not math.isfinite(self.truncation):
            raise ConfigError(f"truncation = {self.truncation} must be {lowest}, such as 0.7")

    @functools.cached_property
    def image_shape(self) -> tuple[int, ...]:
        """Height, width and channels of its images."""
        self._require_sampler()
        task: Any = self.task
        return self._shape(task.sample)

    @functools.cached_property
    def extractors(self) -> dict[str, FeatureExtractor]:
        """The feature extractors of the run's evaluation, by name."""
        metrics = self.experiment.evaluation.metrics.values()
        found = [metric.extractor for metric in metrics if isinstance(metric, DistributionMetric)]
        return {extractor.name: extractor for extractor in found if extractor.name != "pixels"}

    def sample(self, num: int = 64, classes: Classes = None) -> UInt8[np.ndarray, "num height width channels"]:
        """Images of different latents.

        Args:
            num: How many.
            classes: Labels that they take in turn; None: every class of a conditional task.
        """
        self._require_sampler()
        require_at_least(1, "num", num)
        return self._drawn("sample", self._draw, np.arange(num), self._labels(classes, num))

    def class_grid(
        self, num: int = 10, classes: Sequence[int] | Literal["all"] = "all"
    ) -> UInt8[np.ndarray, "classes num height width channels"]:
        """A row for each class, a column for each latent.

        Args:
            num: Columns.
            classes: Labels of the rows.
        """
        self._require_sampler()
        require_at_least(1, "num", num)
        labels = self._classes(classes)
        images = self._drawn("sample", self._draw, np.tile(np.arange(num), len(labels)), np.repeat(labels, num))
        return images.reshape(len(labels), num, *images.shape[1:])

    def interpolate(
        self, steps: int = 8, num: int = 8, classes: Classes = None
    ) -> UInt8[np.ndarray, "num steps height width channels"]:
        """Ways from latent 2i to latent 2i + 1: along the sphere, or, with styles, straight from style to style.

        What a generator draws besides is the same along a row.

        Args:
            steps: Images of a row, both ends included.
            num: Rows.
            classes: Labels that the rows take in turn; None: every class of a conditional task.
        """
        require_at_least(2, "interpolate: steps", steps)
        require_at_least(1, "num", num)
        self._require_latents("interpolate")
        first = np.repeat(2 * np.arange(num), steps)
        labels = np.repeat(self._labels(classes, num), steps)
        fraction = np.tile(np.linspace(0, 1, steps, dtype=np.float32), num)
        images = self._drawn("interpolate", self._blend, first, first + 1, labels, fraction)
        return images.reshape(num, steps, *images.shape[1:])

    def mix(
        self, num: int = 6, layer: int | None = None, classes: Classes = None
    ) -> UInt8[np.ndarray, "rows rows height width channels"]:
        """A table of style mixing: coarse styles of the image at the left, fine styles of the one above.

        Args:
            num: Sources on either side: the first column and the first row, with white where they meet. The others are
                mixtures.
            layer: The first layer, counted from 0, that takes its style from above; half of them when None.
            classes: Labels that the sources take in turn; None: every class of a conditional task.
        """
        require_at_least(1, "num", num)
        self._require_latents("mix")
        if not self._space.has_styles:
            raise ConfigError(
                "mix: the generator of this run has no styles, as only style-based ones such as StyleGAN2's have; "
                "interpolate works with any"
            )
        layers = self._shape(self._space.draw)[0]
        layer = layers // 2 if layer is None else layer
        if not 0 < layer < layers:
            raise ConfigError(
                f"mix: layer = {layer} must be from 1 to {layers - 1}: this generator has {layers} layers"
            )
        labels = self._labels(classes, 2 * num)
        rows, columns = np.divmod(np.arange(1, (num + 1) ** 2), num + 1)
        left, above = rows - 1, num + columns - 1
        coarse, fine = np.where(rows == 0, above, left), np.where(columns == 0, left, above)  # a source: with itself
        cells = (coarse, fine, labels[coarse], labels[fine], np.full(len(coarse), layer))
        images = self._drawn("mix", self._mix, *cells)
        corner = np.full_like(images[:1], 255)
        return np.concatenate([corner, images]).reshape(num + 1, num + 1, *images.shape[1:])

    def nearest(self, k: int = 5, num: int = 8, classes: Classes = None, within: str = "pixels") -> Neighbours:
        """Generated images and the training images that are nearest to them: are they copies?

        The search is exact. Training images are taken as they are stored, or cut in the centre where the training cuts.

        Args:
            k: Neighbours of each.
            num: Generated images.
            classes: Labels that they take in turn; None: every class of a conditional task.
            within: "pixels", or the name of a feature extractor of the run's evaluation.

        Raises:
            DataError: If the training data cannot be read.
        """
        require_at_least(1, "nearest: k", k)
        if within != "pixels" and within not in self.extractors:
            raise ConfigError(
                f"nearest: within = {within!r} must be one of {', '.join(['pixels', *self.extractors])}: pixels, or an "
                "extractor of the run's config.evaluation.metrics"
            )
        data, count = self._training_data, len(self.experiment.data.source)
        if k > count:
            raise ConfigError(f"nearest: k = {k} must be at most {count}, the records of {data.source.name}")
        found = data.fit.read(data.source, [0])["image"].shape[1:]
        if found != self.image_shape:
            raise ConfigError(
                f"nearest: the images of {data.source.name} are {_size(found)} and the generated ones "
                f"{_size(self.image_shape)}: they cannot be compared"
            )
        images = self.sample(num, classes)
        size = self.mesh.rounded_up(min(512, max(1, _CHUNK_VALUES // math.prod(found))))
        features = self._features(within, size)
        search = Nearest(np.concatenate([features(images[i : i + size]) for i in range(0, num, size)]), k)
        with images_bar("search", count, "image", self.quiet) as bar:
            for batch in evaluation_batches(data, size):
                mask = batch["mask"]
                search.update(features(batch["image"])[mask], batch["index"][mask])
                bar.update(int(mask.sum()))
        read, place = np.unique(search.indices, return_inverse=True)
        neighbours = data.fit.read(data.source, read.tolist())["image"][place.reshape(search.indices.shape)]
        distances = search.distances / 255 if within == "pixels" else search.distances
        return Neighbours(images, neighbours, search.indices, distances)

    def invert(
        self,
        targets: UInt8[np.ndarray, "num height width channels"],
        classes: Classes = None,
        steps: int = 500,
        restarts: int = 4,
        masks: Bool[np.ndarray, "..."] | None = None,
        prior_weight: float | None = None,
    ) -> Inversion:
        """Latents, or styles of every layer, of which the generator makes given images as nearly as it can.

        With masks it fills in what is unknown (for GANs Yeh et al. 2017): the result's `composed`.

        Args:
            targets: Images of the generator's size.
            classes: Labels to try, each with so many restarts; None: every class of a conditional task.
            steps: Of Adam; see `Inverter`.
            restarts: Starting points.
            masks: [num, height, width], True where a pixel is known, at least one of each image; the others have no
                influence. None: all are known.
            prior_weight: Of |z|^2 / 2 beside the negative log-likelihood, for a task that has one of pixels: 1, where
                None, finds the most probable latents, 0 those of the most similar image.

        Raises:
            DataError: If a mask hides all of an image.
            NonFiniteError: If no search of an image stays finite.
        """
        require_at_least(1, "invert: steps", steps)
        require_at_least(1, "invert: restarts", restarts)
        require_at_least(1, "invert: images", len(targets))
        self._require_latents("invert")
        if targets.shape[1:] != self.image_shape:
            raise ConfigError(
                f"invert: images of {_size(targets.shape[1:])}, but the generator makes {_size(self.image_shape)}"
            )
        known = np.ones(targets.shape[:3], bool) if masks is None else masks
        if known.shape != targets.shape[:3]:
            raise ConfigError(f"invert: masks of {_size(known.shape)}, but the images are {_size(targets.shape[:3])}")
        for number, mask in enumerate(known):
            check_mask(mask, f"invert: image {number}")
        if prior_weight is not None:
            self._check_prior_weight(prior_weight)
        unconditional = classes is None and self.task.num_classes is None
        labels = None if unconditional else self._classes("all" if classes is None else classes)
        weight = 1.0 if prior_weight is None else prior_weight
        inverter = Inverter(self._space, self.state, self.mesh, self.seed, steps, restarts, self.batch_size, weight)
        total = inverter.num_steps(len(targets), 1 if labels is None else len(labels))
        with images_bar("invert", total, "step", self.quiet) as bar:
            return inverter.search(targets, known, labels, bar.update)

    @functools.cached_property
    def _space(self) -> CodeSpace:
        return CodeSpace(self.task, self.truncation)

    def _require_sampler(self) -> None:
        if not isinstance(self.task, Sampler):
            raise ConfigError(f"{self._name} of this run generates no images: it has no method sample")

    def _check_prior_weight(self, weight: float) -> None:
        if not isinstance(self.task, PixelModel):
            raise ConfigError(
                f"invert: prior_weight = {weight} goes with a likelihood of pixels, and {self._name} of this run has "
                "none; leave it out"
            )
        if not (weight >= 0 and math.isfinite(weight)):
            raise ConfigError(f"invert: prior_weight = {weight} must be at least 0; 1 finds the most probable latents")

    def _require_latents(self, use: str) -> None:
        if not isinstance(self.task, LatentSampler):
            raise ConfigError(
                f"{use}: {self._name} of this run has no latents to choose: it lacks the methods latents and generate "
                "of jgr.tasks.task.LatentSampler"
            )

    def _labels(self, classes: Classes, count: int) -> Int[np.ndarray, "count"]:
        """A label each: of those that are named, or of all, in turn."""
        named = range(self.task.num_classes or 1) if classes is None else self._classes(classes)
        return np.resize(np.array(named), count)

    def _shape(self, function: Callable[..., Any]) -> tuple[int, ...]:
        """The shape of what a function of state, keys and condition gives for one key."""

        def one(state: TrainState) -> Any:
            keys = record_keys(purpose_key(0, "samples"), jnp.zeros(1, jnp.uint32))
            return function(state, keys, self._condition(jnp.zeros(1, jnp.int32)))

        return tuple(jax.eval_shape(one, self.state).shape[1:])

    @functools.cached_property
    def _draw(self) -> Callable[..., Any]:
        task: Any = self.task

        def draw(state: TrainState, key: Any, numbers: Any, labels: Any) -> Any:
            keys, condition = record_keys(key, numbers), self._condition(labels)
            if self.truncation is None:
                return task.sample(state, keys, condition)
            return self._space.paint(state, self._space.draw(state, keys, condition), keys, condition)

        return self._compiled(draw)

    @functools.cached_property
    def _blend(self) -> Callable[..., Any]:
        def blend(state: TrainState, key: Any, first: Any, second: Any, labels: Any, fraction: Any) -> Any:
            keys, condition = record_keys(key, first), self._condition(labels)
            begin = self._space.draw(state, keys, condition)
            end = self._space.draw(state, record_keys(key, second), condition)
            return self._space.paint(state, self._space.blend(begin, end, fraction), keys, condition)

        return self._compiled(blend)

    @functools.cached_property
    def _mix(self) -> Callable[..., Any]:
        def mix(state: TrainState, key: Any, coarse: Any, fine: Any, at_left: Any, above: Any, layer: Any) -> Any:
            keys, condition = record_keys(key, coarse), self._condition(at_left)
            left = self._space.draw(state, keys, condition)
            top = self._space.draw(state, record_keys(key, fine), self._condition(above))
            return self._space.paint(state, mixed(left, top, layer), keys, condition)

        return self._compiled(mix)

    def _features(self, within: str, size: int) -> Callable[[UInt8[np.ndarray, "n h w c"]], np.ndarray]:
        """What maps up to `size` images to the rows that are compared."""
        if within == "pixels":
            return lambda images: images.reshape(len(images), -1)
        extractor, mesh = self.extractors[within], self.mesh
        weights = mesh.put_replicated(extractor.load())
        extract = jax.jit(extractor.__call__, out_shardings=mesh.replicated)

        def features(images: UInt8[np.ndarray, "n h w c"]) -> np.ndarray:
            filled = np.resize(images, (size, *images.shape[1:]))
            batch = mesh.put_batch({"image": filled}, size)
            return np.asarray(extract(weights, batch["image"])["features"])[: len(images)]

        return features


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(str(side) for side in shape)
