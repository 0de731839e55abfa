"""Metrics of generated against real images, as a config names them."""

import dataclasses
from typing import ClassVar

import numpy as np

from jgr.errors import ConfigError
from jgr.metrics.features import FeatureSet
from jgr.metrics.gaussian import frechet_distance
from jgr.metrics.kernel import kernel_distance, kernel_distance_subsets
from jgr.metrics.metric import DistributionMetric, Judged, Value, require_judged
from jgr.metrics.neighbours import coverage, density, precision, recall
from jgr.metrics.score import inception_score


@dataclasses.dataclass(frozen=True, kw_only=True)
class FrechetDistance(DistributionMetric):
    """Fréchet distance of Gaussians fitted to the features (Heusel et al. 2017, equation 6).

    With `jgr.metrics.inception.Inception` it is FID; published FIDs have 50,000 samples against the training set. Its
    bias falls with one over the number of images: numbers of different counts do not compare.
    """

    higher_is_better: ClassVar[bool] = False
    inception_name: ClassVar[str] = "fid"
    short_name: ClassVar[str] = "fd"

    def compute(self, reference: FeatureSet, generated: FeatureSet) -> float:
        """The distance; 0 for equal moments."""
        return frechet_distance(reference.moments, generated.moments)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PerClassFrechetDistance(DistributionMetric):
    """Mean over the classes of the Fréchet distance within each: what a conditional generator makes of each label.

    Called Intra-FID by Miyato & Koyama 2018 (projection discriminator), section 5.
    """

    higher_is_better: ClassVar[bool] = False
    needs: ClassVar[frozenset[str]] = frozenset({"class_moments"})
    inception_name: ClassVar[str] = "intra_fid"
    short_name: ClassVar[str] = "intra_fd"

    def compute(self, reference: FeatureSet, generated: FeatureSet) -> Value:
        """The mean, and the standard deviation over the classes."""
        real, made = reference.class_moments, generated.class_moments
        if real.keys() != made.keys():
            raise ValueError(f"the real images have the classes {sorted(real)}, the generated ones {sorted(made)}")
        distances = [frechet_distance(real[label], made[label]) for label in sorted(real)]
        return Value(float(np.mean(distances)), float(np.std(distances)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class KernelDistance(DistributionMetric):
    """Squared maximum mean discrepancy with a cubic kernel, unbiased (Bińkowski et al. 2018, section 4).

    With `jgr.metrics.inception.Inception` it is KID. Small or equal distributions may give negative values.

    Args:
        num_subsets: Random subsets whose mean and standard deviation are given; 0 for all images at once.
        subset_size: Images of a subset, of either kind.
        subset_seed: Decides the subsets, as torch-fidelity draws them.
        max_images: Images of either kind that are kept for it.
    """

    num_subsets: int = 100
    subset_size: int = 1000
    subset_seed: int = 2020
    max_images: int | None = 50_000

    higher_is_better: ClassVar[bool] = False
    needs: ClassVar[frozenset[str]] = frozenset({"features"})
    inception_name: ClassVar[str] = "kid"
    short_name: ClassVar[str] = "kd"

    def __post_init__(self) -> None:
        if self.num_subsets < 0 or self.subset_size < 2:
            raise ConfigError(
                f"num_subsets = {self.num_subsets} must be at least 0 and subset_size = {self.subset_size} at least 2"
            )

    @property
    def limit(self) -> int | None:
        """`max_images`."""
        return self.max_images

    @property
    def variant(self) -> str:
        """How the images are cut into subsets."""
        return f"{self.num_subsets}x{self.subset_size}-seed{self.subset_seed}" if self.num_subsets else "full"

    def compute(self, reference: FeatureSet, generated: FeatureSet) -> Value:
        """The mean and the standard deviation (ddof 0) over the subsets; of all images the one value."""
        real, made = reference.features, generated.features
        if not self.num_subsets:
            return Value(kernel_distance(real, made))
        return Value(*kernel_distance_subsets(made, real, self.num_subsets, self.subset_size, self.subset_seed))


@dataclasses.dataclass(frozen=True, kw_only=True)
class InceptionScore(DistributionMetric):
    """Exponential of the mean divergence of p(class | image) from p(class) (Salimans et al. 2016, section 4).

    With `jgr.metrics.inception.Inception` it is the Inception score; with another classifier, a classifier score. The
    real images play no part.

    Args:
        num_splits: Parts of the samples that are scored apart.
        shuffle_seed: Decides how samples are assigned to parts, as torch-fidelity does; None keeps their order.
    """

    num_splits: int = 10
    shuffle_seed: int | None = None

    higher_is_better: ClassVar[bool] = True
    needs: ClassVar[frozenset[str]] = frozenset({"logits"})
    needs_reference: ClassVar[bool] = False
    inception_name: ClassVar[str] = "inception_score"
    short_name: ClassVar[str] = "classifier_score"

    @property
    def variant(self) -> str:
        """The splits."""
        shuffled = "" if self.shuffle_seed is None else f"-seed{self.shuffle_seed}"
        return f"{self.num_splits}splits{shuffled}"

    def compute(self, reference: FeatureSet, generated: FeatureSet) -> Value:
        """The mean and the standard deviation (ddof 0) over the parts."""
        return Value(*inception_score(generated.logits, self.num_splits, self.shuffle_seed))


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Neighbourhood(DistributionMetric):
    """What is told by balls around images that reach to their k-th neighbour.

    Args:
        k: Which neighbour.
        max_images: Images of either kind that are kept for it.
    """

    k: int = 3
    max_images: int | None = 50_000

    higher_is_better: ClassVar[bool] = True
    needs: ClassVar[frozenset[str]] = frozenset({"features"})

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ConfigError(f"k = {self.k} must be at least 1")

    @property
    def limit(self) -> int | None:
        """`max_images`."""
        return self.max_images

    @property
    def variant(self) -> str:
        """The neighbour."""
        return f"k{self.k}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Precision(_Neighbourhood):
    """Share of the generated images within a ball of the real ones (Kynkäänniemi et al. 2019, section 2; k = 3)."""

    inception_name: ClassVar[str] = "precision"
    short_name: ClassVar[str] = "precision"

    def compute(self, reference: FeatureSet, generated: FeatureSet) -> float:
        """The share; on the edge of a ball counts as within."""
        return precision(reference.features, reference.radii(self.k), generated.features)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recall(_Neighbourhood):
    """Share of the real images within a ball of the generated ones (Kynkäänniemi et al. 2019, section 2; k = 3)."""

    inception_name: ClassVar[str] = "recall"
    short_name: ClassVar[str] = "recall"

    def compute(self, reference: FeatureSet, generated: FeatureSet) -> float:
        """The share; on the edge of a ball counts as within."""
        return recall(reference.features, generated.features, generated.radii(self.k))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Density(_Neighbourhood):
    """Balls of real images that a generated one is in, over k, on average (Naeem et al. 2020, section 3; k = 5)."""

    k: int = 5
    inception_name: ClassVar[str] = "density"
    short_name: ClassVar[str] = "density"

    def compute(self, reference: FeatureSet, generated: FeatureSet) -> float:
        """The density; about 1 for equal distributions, and it may exceed 1."""
        return density(reference.features, reference.radii(self.k), generated.features, self.k)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Coverage(_Neighbourhood):
    """Share of the real images with a generated one in their ball (Naeem et al. 2020, section 3; k = 5)."""

    k: int = 5
    inception_name: ClassVar[str] = "coverage"
    short_name: ClassVar[str] = "coverage"

    def compute(self, reference: FeatureSet, generated: FeatureSet) -> float:
        """The share."""
        return coverage(reference.features, reference.radii(self.k), generated.features)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassifierAgreement(DistributionMetric):
    """Share of images in which a classifier sees the class that was asked for.

    Args:
        judged: "generated" images with the labels that they were drawn by; "swapped", each with the label of the next
            and the last with the first's, which is what luck reaches where the order is by chance; "real" ones with
            their own: what the classifier itself reaches.

    Raises:
        ConfigError: `judged` is none of these.
    """

    judged: Judged = "generated"

    higher_is_better: ClassVar[bool] = True
    needs: ClassVar[frozenset[str]] = frozenset({"logits", "labels"})
    inception_name: ClassVar[str] = "agreement_inception2015"
    short_name: ClassVar[str] = "agreement"

    def __post_init__(self) -> None:
        require_judged(self.judged)

    @property
    def name(self) -> str:
        """See `DistributionMetric.name`, and what is judged where it is not generated images with their own labels."""
        return super().name if self.judged == "generated" else f"{super().name}_{self.judged}"

    def count(self, num_generated: int, num_real: int) -> int:
        """The images that are judged."""
        return num_real if self.judged == "real" else num_generated

    def compute(self, reference: FeatureSet, generated: FeatureSet) -> float:
        """The share."""
        judged = reference if self.judged == "real" else generated
        labels = judged.labels[: len(judged.logits)]
        if self.judged == "swapped":
            labels = np.roll(labels, -1)
        return float(np.mean(judged.logits.argmax(axis=1) == labels))
