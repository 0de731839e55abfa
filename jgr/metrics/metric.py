"""What a metric is: a pure, jitted stage on the device, and statistics in float64 on the host.

Four kinds, by what they look at: `DistributionMetric` compares generated images with real ones through features of
each, `CaptionMetric` compares a generated image with the caption that it was drawn by, `PairMetric` compares an image
with the one it should be, `RecordMetric` asks the task about each record. A metric of your own is a subclass in your
own file, named in a config by its import path under `config.evaluation.metrics`.
"""

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Array, Float, Key, UInt8

from jgr.errors import ConfigError
from jgr.metrics.color import crop_border, gray, luma, quantised
from jgr.metrics.extractor import FeatureExtractor, Pixels
from jgr.metrics.features import FeatureSet

Better = Literal["higher", "lower"]
Judged = Literal["generated", "swapped", "real"]


class Value(NamedTuple):
    """A measurement.

    Args:
        value: The number; infinite or NaN where the metric's definition says so.
        std: Its spread over subsets, splits or images, as the metric defines it; None where it defines none.
    """

    value: float
    std: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Metric(abc.ABC):
    """What every metric says of itself."""

    higher_is_better: ClassVar[bool]

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """Name in result tables, such as "psnr"."""

    @property
    def variant(self) -> str:
        """What of the metric's settings changes its numbers; part of the protocol id. Nothing by default."""
        return ""

    @property
    def better(self) -> Better:
        """Which values are better."""
        return "higher" if self.higher_is_better else "lower"

    def load(self) -> Any:
        """Weights that the device stage needs, as a pytree of arrays; called once. None by default.

        Raises:
            ConfigError: They are not there, or not what they should be; the message says where to get them.
        """
        return None

    def _of_protocol(self, *parts: str) -> str:
        """The parts joined; a metric from outside jgr carries its import path: its numbers are not those of jgr's."""
        home = type(self)
        own = () if home.__module__.startswith("jgr.") else (f"{home.__module__}.{home.__qualname__}",)
        return "_".join(part for part in (*parts, *own) if part)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DistributionMetric(Metric):
    """A metric of two sets of images, through features of each.

    Args:
        extractor: Maps images to features. Samples are drawn once, and each extractor sees them once, however many
            metrics use it.
    """

    extractor: FeatureExtractor = dataclasses.field(default_factory=Pixels)

    needs: ClassVar[frozenset[str]] = frozenset({"moments"})
    """What of the features it needs: "moments", "features", "logits", "labels", "class_moments"."""
    needs_reference: ClassVar[bool] = True
    """Whether the real images play a part."""
    inception_name: ClassVar[str]
    """Its name with the Inception network that FID is defined on."""
    short_name: ClassVar[str]
    """Its name, with that of the extractor behind, for every other one."""

    @abc.abstractmethod
    def compute(self, reference: FeatureSet, generated: FeatureSet) -> Value | float:
        """The value, from the features of the real and of the generated images.

        Raises:
            ValueError: There are too few images, or the features are not finite; the message says so.
        """

    @property
    def name(self) -> str:
        """`fid` and its like for the Inception network they are defined on, else `fd_<net>@<hash>`."""
        return self.inception_name if self.extractor.is_inception else f"{self.short_name}_{self.extractor.tag}"

    @property
    def limit(self) -> int | None:
        """How many images of either kind it takes at most; all when None."""
        return None

    def count(self, num_generated: int, num_real: int) -> int:
        """How many images its value is of: by default the generated ones that it takes."""
        return num_generated if self.limit is None else min(num_generated, self.limit)

    def protocol(self, num_generated: int, num_real: int, split: str) -> str:
        """Protocol id: two values compare only if theirs are equal.

        Args:
            num_generated: Generated images.
            num_real: Real images, of which the id speaks only where not all are taken.
            split: Their split.
        """
        count = f"n{self.count(num_generated, num_real)}"
        real = f"ref{self.limit}" if self.limit is not None and self.limit < num_real else ""
        return self._of_protocol(self.name, self.extractor.protocol, "u8", self.variant, count, real, split)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CaptionMetric(Metric):
    """A metric of images and captions; the value is the mean over the images whose caption says something of it.

    Args:
        judged: "generated" images with the captions that they were drawn by; "swapped", the same with the caption of
            the next: what luck reaches; "real" ones with their own: what the metric itself reaches.

    Raises:
        ConfigError: `judged` is none of these.
    """

    judged: Judged = "generated"

    def __post_init__(self) -> None:
        require_judged(self.judged)

    @property
    @abc.abstractmethod
    def asked(self) -> str:
        """What is asked of an image and a caption: the beginning of the name."""

    @property
    def name(self) -> str:
        """What is asked, and which images are judged where they are not generated ones by their own captions."""
        return self.asked if self.judged == "generated" else f"{self.asked}_{self.judged}"

    @abc.abstractmethod
    def values(
        self, images: UInt8[np.ndarray, "n height width channels"], captions: Sequence[str]
    ) -> Float[np.ndarray, "n"]:
        """The value of each image; NaN where its caption says nothing of it.

        Raises:
            ValueError: The images are not what the metric can measure; the message says so.
        """

    def summary(self, values: Float[np.ndarray, "n"]) -> Value:
        """The mean of what is known."""
        return _mean(values[~np.isnan(values)]) if not np.isnan(values).all() else Value(float("nan"))

    def count(self, num_generated: int, num_real: int) -> int:
        """How many images are judged."""
        return num_real if self.judged == "real" else num_generated

    def protocol(self, num_generated: int, num_real: int) -> str:
        """Protocol id."""
        return self._of_protocol(self.name, "u8", self.variant, f"n{self.count(num_generated, num_real)}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairMetric(Metric):
    """A metric of an image and the image it should be; the value is the mean over images.

    Args:
        color: Channels that are compared: "rgb" all three, "y" the luma of BT.601 with its studio swing, as
            super-resolution papers do, "gray" the one channel of gray images, or of colour
            ones .299 R + .587 G + .114 B.
        crop: Pixels that are cut off at every side before.
        rounding: Whether both are rounded to the 256 levels of a file before (half up, clipped to [0, 1]).
    """

    color: Literal["rgb", "y", "gray"] = "rgb"
    crop: int = 0
    rounding: bool = True

    has_values: ClassVar[bool] = True
    """Whether the value of a single pair is worth telling."""

    def __post_init__(self) -> None:
        if self.crop < 0:
            raise ConfigError(f"crop = {self.crop} must not be negative")

    @abc.abstractmethod
    def compare(
        self,
        weights: Any,
        images: Float[Array, "batch height width channels"],
        targets: Float[Array, "batch height width channels"],
    ) -> Float[Array, "batch"]:
        """The value of each pair; images are in [0, 1], in the channels asked for, cropped and rounded."""

    def values(
        self,
        weights: Any,
        images: Float[Array, "batch height width channels"],
        targets: Float[Array, "batch height width channels"],
        mask: Float[Array, "batch height width 1"] | None = None,
    ) -> Float[Array, "batch"]:
        """The value of each pair of images in [0, 1]; pure. NaN where an image has a NaN.

        Args:
            weights: What `load` gave.
            images: What is measured.
            targets: What it should be.
            mask: 1 where pixels were known and 0 in holes, of images that were inpainted; only metrics of a region
                look at it.

        Raises:
            ConfigError: The images have not the channels that `color` needs, or `crop` leaves nothing.
        """
        return self.compare(weights, self._prepared(images), self._prepared(targets))

    def summary(self, values: Float[np.ndarray, "n"]) -> Value:
        """The value of all images from those of each: their mean, with their standard deviation (ddof 0)."""
        return _mean(values)

    def protocol(self, degradation: str) -> str:
        """Protocol id, such as "psnr_y_crop4_u8/bicubic-x4".

        Args:
            degradation: What was done to the images that were restored; nothing for plain files.
        """
        crop = f"crop{self.crop}" if self.crop else ""
        words = self._of_protocol(self.name, self.color, self.variant, crop, "u8" if self.rounding else "float")
        return f"{words}/{degradation}" if degradation else words

    def _prepared(self, images: Float[Array, "batch height width channels"]) -> Float[Array, "..."]:
        channels = images.shape[-1]
        if channels != 3 and not (channels == 1 and self.color == "gray"):
            raise ConfigError(
                f"{self.name} with color = {self.color!r} needs images of 3 channels, not {channels}"
                + ("; set color='gray'" if channels == 1 else "")
            )
        images = quantised(images) if self.rounding else images
        if self.color != "rgb" and channels == 3:
            images = luma(images) if self.color == "y" else gray(images)
        try:
            return crop_border(images, self.crop)
        except ValueError as error:
            raise ConfigError(f"crop = {self.crop}: {error}") from error


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecordMetric(Metric):
    """A metric of what a task says about each record of the data; the value is the mean over records."""

    method: ClassVar[str]
    """The method that the task must have, of a protocol of `jgr.tasks.task`, such as "classify"."""

    @abc.abstractmethod
    def values(
        self, task: Any, state: Any, batch: Mapping[str, Array], keys: Key[Array, "batch"]
    ) -> Float[Array, "batch ..."]:
        """What is gathered of each record; pure.

        Args:
            task: Has the method.
            state: What to ask.
            batch: `image` in [0, 1], `label` where records have one, `index`.
            keys: One a record.

        Raises:
            ConfigError: The batch has not what the metric needs.
        """

    def summary(self, values: Float[np.ndarray, "n ..."]) -> Value:
        """The value of all records from those of each: their mean, with their standard deviation (ddof 0)."""
        return _mean(values)

    def protocol(self) -> str:
        """Protocol id."""
        return self._of_protocol(self.name, self.variant)


def _mean(values: Float[np.ndarray, "n"]) -> Value:
    """Mean and standard deviation; an infinite value makes the mean infinite and its spread unknown."""
    if not np.isfinite(values).all():
        return Value(float(np.sum(values) / len(values)))
    return Value(float(np.mean(values)), float(np.std(values)))


def require_judged(judged: str) -> None:
    """For metrics that say which images they judge.

    Raises:
        ConfigError: They could not be those.
    """
    if judged not in get_args(Judged):
        raise ConfigError(f"judged = {judged!r} must be one of {', '.join(get_args(Judged))}")
