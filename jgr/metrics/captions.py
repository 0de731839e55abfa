"""Whether images of digits show what their captions say, by the measures that captions are written with."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from jgr.data.captioned_mnist import ATTRIBUTES, mentioned, seen
from jgr.data.strokes import coloured, measured
from jgr.errors import ConfigError
from jgr.metrics.classifiers import TrainedClassifier
from jgr.metrics.metric import CaptionMetric

_MEASURED = tuple(name for name in ATTRIBUTES if name != "digit")


@dataclasses.dataclass(frozen=True, kw_only=True)
class AttributeAgreement(CaptionMetric):
    """Share of what captions say of `jgr.data.captioned_mnist.ATTRIBUTES` that is measured in the images.

    Whether the digit is right is a classifier's to say: `ClassifierAgreement` with `DigitClassifier`.

    Args:
        attribute: One of them, or "all": of an image the share of all that its caption names.

    Raises:
        ConfigError: There is no such attribute.
    """

    attribute: str = "all"

    higher_is_better: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.attribute not in ("all", *_MEASURED):
            raise ConfigError(f"attribute = {self.attribute!r} must be all or one of {', '.join(_MEASURED)}")

    @property
    def asked(self) -> str:
        """agreement, and the attribute."""
        return f"agreement_{self.attribute}"

    def values(
        self, images: UInt8[np.ndarray, "n height width channels"], captions: Sequence[str]
    ) -> Float[np.ndarray, "n"]:
        """The share of each image."""
        if images.shape[-1] != 3:
            raise ValueError(f"colours are measured in images of 3 channels, not {images.shape[-1]}")
        names = _MEASURED if self.attribute == "all" else (self.attribute,)
        shares = []
        for found, said in zip(seen(images), map(mentioned, captions), strict=True):
            right = [found[name] == said[name] for name in names if name in said]
            shares.append(np.mean(right) if right else np.nan)
        return np.array(shares, np.float64)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DigitClassifier(TrainedClassifier):
    """A classifier of gray digits, for digits in colours that were moved to a side.

    What is ink is found by its colour (`jgr.data.strokes.coloured`) and moved back to the middle by whole pixels.
    """

    @property
    def name(self) -> str:
        """That of the classifier, which sees ink."""
        return f"ink-{super().name}"

    def __call__(
        self, weights: Any, images: UInt8[Array, "batch height width channels"]
    ) -> Mapping[str, Float[Array, "batch ..."]]:
        """Features before the last matrix, and logits."""
        ink = coloured(images, xp=jnp).coverage
        shifts = jnp.round(measured(ink, xp=jnp).shift).astype(jnp.int32)
        centred = jax.vmap(lambda one, shift: jnp.roll(one, -shift, axis=1))(ink, shifts)
        return super().__call__(weights, jnp.floor(centred[..., None] * 255.0 + 0.5).astype(jnp.uint8))
