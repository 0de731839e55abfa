"""Metrics of an image against the image it should be, as a config names them."""

import dataclasses
import functools
from typing import Any, ClassVar, Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jgr.errors import ConfigError
from jgr.metrics import pretrained
from jgr.metrics.color import crop_border
from jgr.metrics.fidelity import decibels, mae, mse, psnr
from jgr.metrics.metric import PairMetric, Value
from jgr.metrics.perceptual import lpips
from jgr.metrics.similarity import ms_ssim, ssim

Images = Float[Array, "batch height width channels"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PSNR(PairMetric):
    """Peak signal-to-noise ratio in dB of each image, then the mean; infinite where one image equals its target.

    Args:
        region: "all" pixels, or only those in "holes" of the mask that inpainting was to fill.
    """

    region: Literal["all", "holes"] = "all"

    higher_is_better: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """Psnr, or psnr_holes."""
        return "psnr" if self.region == "all" else "psnr_holes"

    def values(
        self, weights: None, images: Images, targets: Images, mask: Float[Array, "batch height width 1"] | None = None
    ) -> Float[Array, "batch"]:
        """See `PairMetric.values`; of an image without holes, their error is NaN.

        Raises:
            ConfigError: Holes are asked for, and there is no mask.
        """
        if self.region == "all":
            return super().values(weights, images, targets)
        if mask is None:
            raise ConfigError(f"{self.name} needs records with a mask: degrade them by a mask, or set region='all'")
        errors = jnp.square(self._prepared(images) - self._prepared(targets)).mean(axis=-1, keepdims=True)
        holes = 1.0 - crop_border(mask, self.crop)
        return decibels((errors * holes).sum(axis=(1, 2, 3)) / holes.sum(axis=(1, 2, 3)))

    def compare(self, weights: None, images: Images, targets: Images) -> Float[Array, "batch"]:
        """See `jgr.metrics.psnr`."""
        return psnr(images, targets)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PooledPSNR(PairMetric):
    """Peak signal-to-noise ratio in dB of the squared error averaged over all images, each weighing the same.

    Below `PSNR` wherever images differ, by 0.5 dB on some sets.
    """

    higher_is_better: ClassVar[bool] = True
    has_values: ClassVar[bool] = False  # of an image it is the squared error

    @property
    def name(self) -> str:
        """psnr_pooled."""
        return "psnr_pooled"

    def compare(self, weights: None, images: Images, targets: Images) -> Float[Array, "batch"]:
        """The mean squared error of each image."""
        return mse(images, targets)

    def summary(self, values: Float[np.ndarray, "n"]) -> Value:
        """Decibels of the mean; infinite where every image equals its target."""
        pooled = float(np.mean(values))
        return Value(float(-10.0 * np.log10(pooled)) if pooled else float("inf"))


@dataclasses.dataclass(frozen=True, kw_only=True)
class SSIM(PairMetric):
    """Structural similarity (Wang et al. 2004): Gaussian window of 11, valid region, mean over channels."""

    higher_is_better: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """Ssim."""
        return "ssim"

    @property
    def variant(self) -> str:
        """The region that is averaged."""
        return "valid"

    def compare(self, weights: None, images: Images, targets: Images) -> Float[Array, "batch"]:
        """See `jgr.metrics.ssim`."""
        return _sized(self, ssim, images, targets)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MultiScaleSSIM(PairMetric):
    """Structural similarity over five scales (Wang et al. 2003); images of at least 161 pixels a side."""

    higher_is_better: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """ms_ssim."""
        return "ms_ssim"

    def compare(self, weights: None, images: Images, targets: Images) -> Float[Array, "batch"]:
        """See `jgr.metrics.ms_ssim`."""
        return _sized(self, ms_ssim, images, targets)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeanAbsoluteError(PairMetric):
    """Mean absolute error of images in [0, 1]."""

    higher_is_better: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """Mae."""
        return "mae"

    def compare(self, weights: None, images: Images, targets: Images) -> Float[Array, "batch"]:
        """See `jgr.metrics.mae`."""
        return mae(images, targets)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeanSquaredError(PairMetric):
    """Mean squared error of images in [0, 1]."""

    higher_is_better: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """Mse."""
        return "mse"

    def compare(self, weights: None, images: Images, targets: Images) -> Float[Array, "batch"]:
        """See `jgr.metrics.mse`."""
        return mse(images, targets)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LPIPS(PairMetric):
    """Learned perceptual distance, version 0.1 (Zhang et al. 2018); its trunk comes by `jgr weights lpips_alex`.

    Args:
        net: The trunk: "alex", "vgg" or "squeeze".
    """

    net: Literal["alex", "vgg", "squeeze"] = "alex"

    higher_is_better: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.color != "rgb":
            raise ConfigError(f"lpips with color = {self.color!r}: its networks see RGB; set color='rgb'")

    @property
    def name(self) -> str:
        """lpips_alex and its like."""
        return f"lpips_{self.net}"

    @property
    def variant(self) -> str:
        """The version."""
        return "v0.1"

    def load(self) -> Any:
        """The trunk's weights.

        Raises:
            ConfigError: They are not on this machine; the message says how they get there.
        """
        return pretrained.load(self.name)

    def compare(self, weights: Any, images: Images, targets: Images) -> Float[Array, "batch"]:
        """See `jgr.metrics.lpips`."""
        return _sized(self, functools.partial(lpips, params=weights, net=self.net), images, targets)


def _sized(metric: PairMetric, compare: Any, images: Images, targets: Images) -> Float[Array, "batch"]:
    try:
        return compare(images, targets)
    except ValueError as error:  # the images are too small
        raise ConfigError(f"metric {metric.name}: {error}") from error
