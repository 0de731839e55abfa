"""Whether restored images still show what they should, in the eyes of a classifier."""

import dataclasses
from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from jgr.errors import ConfigError
from jgr.images import to_uint8
from jgr.metrics.extractor import FeatureExtractor
from jgr.metrics.metric import PairMetric


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassKept(PairMetric):
    """Share of images that a classifier puts into the class in which it puts the image that they should be.

    No labels are needed, and what the classifier gets wrong of clean images is not held against a restoration.

    Args:
        extractor: A classifier, whose logits count.
    """

    extractor: FeatureExtractor

    higher_is_better: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """Such as "class_kept_cnn-mnist@3f2a91"."""
        return f"class_kept_{self.extractor.tag}"

    def load(self) -> Any:
        """The classifier's weights."""
        return self.extractor.load()

    def compare(
        self,
        weights: Any,
        images: Float[Array, "batch height width channels"],
        targets: Float[Array, "batch height width channels"],
    ) -> Float[Array, "batch"]:
        """1 where the classes are equal, else 0.

        Raises:
            ConfigError: The extractor is no classifier.
        """
        found, wanted = (self.extractor(weights, to_uint8(each)) for each in (images, targets))
        if "logits" not in found:
            raise ConfigError(f"metric {self.name} needs a classifier, and {self.extractor.name} gives no logits")
        same = found["logits"].argmax(axis=-1) == wanted["logits"].argmax(axis=-1)
        broken = jnp.isnan(images).any(axis=(1, 2, 3)) | jnp.isnan(targets).any(axis=(1, 2, 3))
        return jnp.where(broken, jnp.nan, same.astype(jnp.float32))
