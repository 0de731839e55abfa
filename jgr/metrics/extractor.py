"""Feature extractors: what maps images to the features that distributions are compared in."""

import abc
import dataclasses
import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

_KNOWN = ("jgr", "abc", "builtins")  # packages whose classes change with jgr's version and Python's only


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeatureExtractor(abc.ABC):
    """Maps uint8 images to feature vectors, and to logits of classes where it is a classifier.

    An extractor of your own is a subclass in your own file, named in a config by its import path:
    `config.evaluation.metrics.mine = dict(cls="jgr.metrics.distribution.FrechetDistance",
    extractor=dict(cls="my_parts.MyFeatures"))`. It gives `name` and `__call__`, and `load` where it has weights.
    """

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """What it is called in result tables."""

    @property
    def is_inception(self) -> bool:
        """Whether it is the network that FID, KID and IS are defined on; no other may use those names."""
        return False

    @property
    def weights_digest(self) -> str:
        """Hexadecimal digits that change whenever its weights do; nothing by default."""
        return ""

    @property
    def digest(self) -> str:
        """Hexadecimal digits that change whenever its features do.

        Those of its weights; where a class outside jgr has a part in it, a hash of its settings and of that class's
        file as well.
        """
        outside = [kind for kind in type(self).__mro__ if kind.__module__.split(".")[0] not in _KNOWN]
        if not outside:
            return self.weights_digest
        content = f"{type(self).__module__}.{self!r} {self.weights_digest}".encode()
        for kind in outside:
            file = Path(getattr(sys.modules[kind.__module__], "__file__", None) or "")
            content += file.read_bytes() if file.is_file() else b""
        return hashlib.sha256(content).hexdigest()[:6]

    @property
    def tag(self) -> str:
        """Name and digest: `cnn-mnist@3f2a91`."""
        return f"{self.name}@{self.digest}" if self.digest else self.name

    @property
    def protocol(self) -> str:
        """What a protocol id says of it beside the metric's name. Nothing by default."""
        return ""

    def load(self) -> Any:
        """Its weights, as a pytree of arrays; called once. None by default.

        Raises:
            ConfigError: They are not there, or not what they should be.
        """
        return None

    @abc.abstractmethod
    def __call__(
        self, weights: Any, images: UInt8[Array, "batch height width channels"]
    ) -> Mapping[str, Float[Array, "batch ..."]]:
        """Float32 `features` [batch, d], and `logits` [batch, classes] of a classifier; pure, jitted by the caller.

        Each record's follow from its own image alone.

        Args:
            weights: What `load` returned.
            images: Quantised images.

        Raises:
            ConfigError: The images are not of a size or kind it takes.
        """


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pixels(FeatureExtractor):
    """The pixels themselves, in [0, 1].

    A cheap check of mean, contrast and pixel correlations, comparable within one data set only.
    """

    @property
    def name(self) -> str:
        """Pixels."""
        return "pixels"

    def __call__(
        self, weights: None, images: UInt8[Array, "batch height width channels"]
    ) -> Mapping[str, Float[Array, "batch features"]]:
        """All pixels of an image."""
        return {"features": images.reshape(images.shape[0], -1).astype(jnp.float32) / 255.0}
