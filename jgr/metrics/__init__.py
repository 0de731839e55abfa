"""Metrics whose numbers equal the reference implementations', with a protocol id on every one.

Pure functions, of images in [0, 1] as [batch, height, width, channels], or of features:

    import jgr.metrics

    jgr.metrics.psnr(images, targets, data_range=1.0)     # dB, one an image
    jgr.metrics.ssim(images, targets)
    jgr.metrics.frechet_distance_of_gaussians(mean_a, covariance_a, mean_b, covariance_b)
    jgr.metrics.precision_recall(real_features, fake_features, k=3)

Streams, whose result does not depend on the batches:

    from jgr.metrics.pairs import PSNR

    stream = jgr.metrics.PairStream(PSNR(color="y", crop=4))
    stream.update(restored, targets)                       # batch by batch; `merge` joins two
    stream.value, stream.values

    real, fake = jgr.metrics.Moments(), jgr.metrics.Moments()
    real.update(features, mask)
    jgr.metrics.frechet_distance(real, fake)

Metrics as a config names them, such as `jgr.metrics.distribution.FrechetDistance`, are in `distribution`, `pairs` and
`records`, their feature extractors in `inception`, `classifiers` and `extractor`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jgr.metrics.bounds import (
        RunningBound,
        active_units,
        bits_per_dim,
        chunked_importance_weighted_bound,
        importance_weighted_bound,
    )
    from jgr.metrics.color import crop_border, gray, luma, quantised
    from jgr.metrics.features import FeatureSet
    from jgr.metrics.fidelity import mae, mse, pooled_psnr, psnr
    from jgr.metrics.gaussian import frechet_distance, frechet_distance_of_gaussians
    from jgr.metrics.kernel import kernel_distance, kernel_distance_subsets
    from jgr.metrics.moments import Moments
    from jgr.metrics.neighbours import coverage, density, density_coverage, precision, precision_recall, radii, recall
    from jgr.metrics.perceptual import lpips
    from jgr.metrics.score import inception_score
    from jgr.metrics.similarity import ms_ssim, ssim
    from jgr.metrics.stream import PairStream

_HOMES = {
    "bounds": (
        "RunningBound",
        "active_units",
        "bits_per_dim",
        "chunked_importance_weighted_bound",
        "importance_weighted_bound",
    ),
    "color": ("crop_border", "gray", "luma", "quantised"),
    "features": ("FeatureSet",),
    "fidelity": ("mae", "mse", "pooled_psnr", "psnr"),
    "gaussian": ("frechet_distance", "frechet_distance_of_gaussians"),
    "kernel": ("kernel_distance", "kernel_distance_subsets"),
    "moments": ("Moments",),
    "neighbours": ("coverage", "density", "density_coverage", "precision", "precision_recall", "radii", "recall"),
    "perceptual": ("lpips",),
    "score": ("inception_score",),
    "similarity": ("ms_ssim", "ssim"),
    "stream": ("PairStream",),
}
_MODULE_OF = {name: f"jgr.metrics.{module}" for module, names in _HOMES.items() for name in names}

__all__ = [
    "FeatureSet",
    "Moments",
    "PairStream",
    "RunningBound",
    "active_units",
    "bits_per_dim",
    "chunked_importance_weighted_bound",
    "coverage",
    "crop_border",
    "density",
    "density_coverage",
    "frechet_distance",
    "frechet_distance_of_gaussians",
    "gray",
    "importance_weighted_bound",
    "inception_score",
    "kernel_distance",
    "kernel_distance_subsets",
    "lpips",
    "luma",
    "mae",
    "ms_ssim",
    "mse",
    "pooled_psnr",
    "precision",
    "precision_recall",
    "psnr",
    "quantised",
    "radii",
    "recall",
    "ssim",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'jgr.metrics' has no attribute {name!r}")
    return getattr(import_module(_MODULE_OF[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
