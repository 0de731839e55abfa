"""Measures two sets of images against each other: folders, arrays, or a folder and kept statistics."""

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from jgr.config import Context, build
from jgr.errors import ConfigError, DataError, JgrError, MetricError
from jgr.files import disk_errors, write_bytes, write_csv
from jgr.images import to_float, to_uint8
from jgr.jobs.images import Images, Pixels, open_images, open_statistics, pairs
from jgr.jobs.progress import images_bar
from jgr.jobs.scoring import FAILURES
from jgr.metrics.distribution import (
    Coverage,
    Density,
    FrechetDistance,
    InceptionScore,
    KernelDistance,
    Precision,
    Recall,
)
from jgr.metrics.extractor import FeatureExtractor
from jgr.metrics.features import FeatureSet, subset
from jgr.metrics.metric import DistributionMetric, Metric, PairMetric, Value
from jgr.metrics.pairs import (
    LPIPS,
    PSNR,
    SSIM,
    MeanAbsoluteError,
    MeanSquaredError,
    MultiScaleSSIM,
    PooledPSNR,
)
from jgr.metrics.stream import PairStream
from jgr.run import rows as result_rows

PAIR_METRICS: Mapping[str, Callable[..., PairMetric]] = {
    "psnr": PSNR,
    "psnr_pooled": PooledPSNR,
    "ssim": SSIM,
    "ms_ssim": MultiScaleSSIM,
    "mae": MeanAbsoluteError,
    "mse": MeanSquaredError,
    "lpips": LPIPS,
    "lpips_vgg": lambda **fields: LPIPS(net="vgg", **fields),
    "lpips_squeeze": lambda **fields: LPIPS(net="squeeze", **fields),
}
"""Metrics of pairs by the name that `jgr metrics` knows them by."""

INCEPTION_METRICS: Mapping[str, Callable[..., DistributionMetric]] = {
    "fid": FrechetDistance,
    "kid": KernelDistance,
    "kid_full": lambda **fields: KernelDistance(num_subsets=0, **fields),
    "inception_score": InceptionScore,
}
"""Metrics that are defined on the Inception network of FID."""

DISTRIBUTION_METRICS: Mapping[str, Callable[..., DistributionMetric]] = {
    "fd": FrechetDistance,
    "kd": KernelDistance,
    "kd_full": lambda **fields: KernelDistance(num_subsets=0, **fields),
    "classifier_score": InceptionScore,
    "precision": Precision,
    "recall": Recall,
    "density": Density,
    "coverage": Coverage,
}
"""Metrics in the features of any extractor."""


@dataclasses.dataclass(frozen=True)
class Measured:
    """One number.

    Args:
        metric: Its name.
        protocol: How it was measured.
        value: The number, perhaps infinite.
        std: Its spread over images, subsets or splits, as the metric defines it, or None.
        n: Images of the first set, or pairs.
        better: Which values are better.
        values: The value of each pair, by name, where the metric has them.
    """

    metric: str
    protocol: str
    value: float
    std: float | None
    n: int
    better: Literal["higher", "lower"]
    values: Mapping[str, float] | None = None

    def record(self) -> dict[str, Any]:
        """Of JSON's types: an infinite value is None, and `status` says so."""
        finite = self.value if math.isfinite(self.value) else None
        return {
            "metric": self.metric,
            "protocol": self.protocol,
            "value": finite,
            "std": self.std,
            "n": self.n,
            "better": self.better,
            "status": result_rows.status(self.value),
        }


def choose(
    names: Sequence[str],
    *,
    color: Literal["rgb", "y", "gray"] = "rgb",
    crop: int = 0,
    rounding: bool = True,
    extractor: FeatureExtractor | None = None,
    inception: FeatureExtractor | None = None,
) -> list[Metric]:
    """The metrics of some names of the tables above.

    Args:
        names: Such as "psnr", "ssim", "fid".
        color: Of pairs; see `jgr.metrics.metric.PairMetric`.
        crop: Of pairs.
        rounding: Of pairs.
        extractor: Of distributions; that of FID when None.
        inception: That of FID, with the resize asked for.

    Raises:
        ConfigError: A name is unknown.
    """
    from jgr.metrics.inception import Inception

    inception = inception or Inception()
    metrics: list[Metric] = []
    for name in names:
        if name in PAIR_METRICS:
            metrics.append(PAIR_METRICS[name](color=color, crop=crop, rounding=rounding))
        elif name in INCEPTION_METRICS:
            metrics.append(INCEPTION_METRICS[name](extractor=inception))
        elif name in DISTRIBUTION_METRICS:
            metrics.append(DISTRIBUTION_METRICS[name](extractor=extractor or inception))
        else:
            known = ", ".join([*PAIR_METRICS, *INCEPTION_METRICS, *DISTRIBUTION_METRICS])
            raise ConfigError(f"metric {name!r} is unknown; there are {known}")
    return metrics


def measure(
    a: str | Path,
    b: str | Path | None,
    metrics: Sequence[str | Metric],
    *,
    data_range: float | None = None,
    batch_size: int = 50,
    quiet: bool = True,
    failures: list[str] | None = None,
) -> list[Measured]:
    """Measures the images at one path against those at another.

    Args:
        a: The images in question: a folder, a `.npy` or `.npz` file.
        b: What they are compared with: the same, or for Fréchet distances a `.npz` of `mu` and `sigma`. Pairs are made
            of files of one name, or rows of one number. None where no metric compares.
        metrics: What to measure, by names such as "psnr" or "fid", or as objects such as
            `jgr.metrics.pairs.PSNR(color="y", crop=4)`.
        data_range: Range of float arrays.
        batch_size: Images at a time.
        quiet: Whether to show no progress.
        failures: Takes the reasons of metrics that failed; without it the first one is raised.

    Raises:
        DataError: The images are not what the metrics need; the message names the file.
        MetricError: A metric has no value.
        ConfigError: Weights are missing, or the images do not fit the metric.
    """
    results: dict[int, Measured] = {}
    chosen = [choose([metric])[0] if isinstance(metric, str) else metric for metric in metrics]
    of_pairs = {n: metric for n, metric in enumerate(chosen) if isinstance(metric, PairMetric)}
    of_sets = {n: metric for n, metric in enumerate(chosen) if isinstance(metric, DistributionMetric)}

    def failed(error: BaseException) -> None:
        if failures is None:
            raise error
        failures.append(str(error))

    if b is None and (comparing := [one.name for one in chosen if getattr(one, "needs_reference", True)]):
        raise ConfigError(f"{', '.join(comparing)}: name a second set, what the images of {a} are compared with")
    with jax.default_matmul_precision("highest"):
        if of_pairs and b is not None:
            try:
                one, other = open_images(a, data_range=data_range), open_images(b, data_range=data_range)
                results |= _measure_pairs(one, other, of_pairs, quiet, failed)
            except JgrError as error:
                failed(error)
        for extractor in {metric.extractor: None for metric in of_sets.values()}:
            same = {n: metric for n, metric in of_sets.items() if metric.extractor == extractor}
            try:
                results |= _measure_sets(a, b, extractor, same, data_range, batch_size, quiet, failed)
            except JgrError as error:
                failed(error)
            except FAILURES as error:
                failed(MetricError(f"{', '.join(metric.name for metric in same.values())} of {a} and {b}: {error}"))
    return [results[n] for n in sorted(results)]


def _measure_pairs(
    a: Images, b: Images, metrics: Mapping[int, PairMetric], quiet: bool, failed: Callable[[BaseException], None]
) -> dict[int, Measured]:
    streams: dict[int, PairStream] = {}
    for n, metric in metrics.items():
        try:
            streams[n] = PairStream(metric)
        except JgrError as error:
            failed(error)
    keys = []
    with images_bar(str(a.path), len(a), "pair", quiet) as bar:
        for key, one, other in pairs(a, b):
            keys.append(key)
            for n, stream in list(streams.items()):
                try:
                    stream.update(_as_float(one)[None], _as_float(other)[None])
                except JgrError as error:
                    del streams[n]
                    failed(type(error)(f"{a.path}, {key}: {error}"))
            bar.update()
    measured = {}
    for n, stream in streams.items():
        metric, (value, std) = metrics[n], stream.value
        values = dict(zip(keys, stream.values.tolist(), strict=True)) if metric.has_values else None
        measured[n] = Measured(metric.name, metric.protocol(""), value, std, len(keys), metric.better, values)
    return measured


def _as_float(image: Pixels) -> Any:
    return to_float(image) if image.dtype == np.uint8 else image


def _measure_sets(
    a: str | Path,
    b: str | Path | None,
    extractor: FeatureExtractor,
    metrics: Mapping[int, DistributionMetric],
    data_range: float | None,
    batch_size: int,
    quiet: bool,
    failed: Callable[[BaseException], None],
) -> dict[int, Measured]:
    statistics = None if b is None else open_statistics(b, identity(extractor))
    if statistics is not None and (lost := [m.name for m in metrics.values() if m.needs != frozenset({"moments"})]):
        raise DataError(f"{b}: holds statistics only, which {', '.join(lost)} cannot be computed from: give the images")
    collect = _Collector(extractor, data_range, batch_size, quiet)
    needs = {limit: _needs(metrics.values(), limit) for limit in {metric.limit for metric in metrics.values()}}
    made = collect(a, needs)
    split = "" if b is None else Path(b).resolve().name.removesuffix(".npz")
    if statistics is not None:
        real = dict.fromkeys(needs, FeatureSet.of_moments(statistics.moments))
        split += "" if statistics.named else "-unverified"
    elif b is None or not any(metric.needs_reference for metric in metrics.values()):
        real = dict.fromkeys(needs, FeatureSet())
    else:
        real = collect(b, needs)
    measured = {}
    for n, metric in metrics.items():
        theirs, ours = real[metric.limit], made[metric.limit]
        try:
            value = metric.compute(theirs, ours)
        except FAILURES as error:
            failed(MetricError(f"{metric.name} of {a} and {b}: {error}"))
            continue
        number, std = value if isinstance(value, Value) else (value, None)
        protocol, count = metric.protocol(ours.n, theirs.n, split), metric.count(ours.n, theirs.n)
        measured[n] = Measured(metric.name, protocol, float(number), std, count, metric.better)
    return measured


def _needs(metrics: Iterable[DistributionMetric], limit: int | None) -> frozenset[str]:
    return frozenset[str]().union(*(metric.needs for metric in metrics if metric.limit == limit))


@dataclasses.dataclass
class _Collector:
    """Gathers the features of the images at a path."""

    extractor: FeatureExtractor
    data_range: float | None
    batch_size: int
    quiet: bool

    def __post_init__(self) -> None:
        self._weights, self._extract = jax.device_put(self.extractor.load()), jax.jit(self.extractor.__call__)

    def __call__(self, path: str | Path, needs: Mapping[int | None, frozenset[str]]) -> dict[int | None, FeatureSet]:
        """A set for each number of images that features are kept of."""
        images = open_images(path, "rgb" if self.extractor.is_inception else "file", self.data_range)
        sets = {limit: FeatureSet(kinds, subset(len(images), limit)) for limit, kinds in needs.items()}
        with images_bar(str(path), len(images), "image", self.quiet) as bar:
            for batch in _batches(images, self.batch_size):
                filled = np.concatenate([batch, np.repeat(batch[-1:], self.batch_size - len(batch), axis=0)])
                outputs = jax.device_get(self._extract(self._weights, filled))
                for features in sets.values():
                    features.update(outputs, np.arange(self.batch_size) < len(batch))
                bar.update(len(batch))
        return sets


def _batches(images: Images, size: int) -> Iterator[np.ndarray]:
    """Runs of images of one shape, at most `size` of them, as uint8."""
    batch: list[np.ndarray] = []
    for index in range(len(images)):
        image: Any = images.read(index)
        image = image if image.dtype == np.uint8 else np.asarray(to_uint8(image))
        if batch and (image.shape != batch[0].shape or len(batch) == size):
            yield np.stack(batch)
            batch = []
        batch.append(image)
    yield np.stack(batch)


def save_statistics(
    path: str | Path,
    images: str | Path,
    extractor: FeatureExtractor,
    *,
    data_range: float | None = None,
    batch_size: int = 50,
    quiet: bool = True,
) -> None:
    """Writes mean and covariance of the features of images as `mu` and `sigma` into a `.npz` file.

    Raises:
        DataError: The images cannot be read.
        ConfigError: The file's name ends otherwise, or weights are missing.
    """
    import io

    out = Path(path)
    if out.suffix != ".npz":
        raise ConfigError(f"{out}: statistics are NumPy's; name the file {out.with_suffix('.npz').name}")
    with jax.default_matmul_precision("highest"):
        collect = _Collector(extractor, data_range, batch_size, quiet)
        features = collect(images, {None: frozenset({"moments"})})[None]
    if features.n < 2:
        raise DataError(f"{images}: a covariance needs at least 2 images, not {features.n}")
    moments, content = features.moments, io.BytesIO()
    np.savez(content, mu=moments.mean, sigma=moments.covariance, n=features.n, extractor=identity(extractor))
    with disk_errors(out.parent, "made"):
        out.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(out, content.getvalue())


def identity(extractor: FeatureExtractor) -> str:
    """What a file of statistics says of the extractor."""
    return f"{extractor.tag} {extractor.protocol}".strip()


def write_values(path: str | Path, measured: Sequence[Measured]) -> None:
    """Writes the values of each pair as CSV: a row a pair, a column a protocol.

    Raises:
        ConfigError: No metric has values of pairs.
    """
    columns = {found.protocol: found.values for found in measured if found.values is not None}
    if not columns:
        raise ConfigError(f"{path}: no metric of pairs was asked for, so there is nothing to write for each image")
    names = list(next(iter(columns.values())))
    write_csv(
        Path(path), {"image": names, **{header: [values[name] for name in names] for header, values in columns.items()}}
    )


def named_extractor(name: str, trust: bool = True) -> FeatureExtractor:
    """The extractor of a name: "inception", "pixels", "cnn-mnist", "cnn-digits", a weights file or an import path.

    Raises:
        ConfigError: There is none.
    """
    from jgr.metrics.classifiers import SHIPPED, TrainedClassifier
    from jgr.metrics.extractor import Pixels as PixelFeatures
    from jgr.metrics.inception import Inception

    if name == "inception":
        return Inception()
    if name == "pixels":
        return PixelFeatures()
    if name in SHIPPED or name.endswith(".npz"):
        return TrainedClassifier(weights=name)
    if "." not in name:
        raise ConfigError(
            f"extractor {name!r} is unknown; there are inception, pixels, {', '.join(SHIPPED)}, a file that jgr "
            "weights pack RUN wrote, and any class by its import path"
        )
    built: FeatureExtractor = build({"cls": name}, FeatureExtractor, "extractor", Context(trust=trust))
    return built
