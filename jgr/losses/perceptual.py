"""Losses in the features of fixed networks: perceptual losses (Johnson et al. 2016) and LPIPS (Zhang et al. 2018)."""

import abc
import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jgr.errors import ConfigError
from jgr.losses.restoration import Images, Loss, Values, absolute
from jgr.metrics import perceptual, pretrained

Net = Literal["alex", "vgg", "squeeze"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Extractor(abc.ABC):
    """A fixed network whose features images are compared in.

    Other than `jgr.metrics.extractor.FeatureExtractor` it sees images that are not quantised, as a loss must be
    differentiable. One of your own is a subclass in your own file, named in a config by its import path.
    """

    @property
    @abc.abstractmethod
    def layers(self) -> tuple[str, ...]:
        """The names of the features it gives."""

    def load(self) -> Any:
        """Its weights, as a pytree of arrays; None by default.

        Raises:
            ConfigError: They are not there, or not what they should be.
        """
        return None

    @abc.abstractmethod
    def __call__(self, weights: Any, images: Images) -> Mapping[str, Float[Array, "batch ..."]]:
        """Features by layer; pure and differentiable in the images.

        Args:
            weights: What `load` returned.
            images: In units of [0, 1], not clipped.
        """


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trunk(Extractor):
    """The convolutions of a classifier of ImageNet, after ReLU. Gray images count as three equal channels.

    The weights come by `jgr weights lpips_vgg` and its like.

    Args:
        net: "vgg" (VGG-16: the last layer of each of five levels), "alex" (AlexNet: all five) or "squeeze"
            (SqueezeNet 1.1: seven).
    """

    net: Net = "vgg"

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of PyTorch models: `relu1_2` to `relu5_3` of VGG-16, `relu1` to `relu5` or `relu7` of others."""
        if self.net == "vgg":
            return ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")
        return tuple(f"relu{number + 1}" for number in range(5 if self.net == "alex" else 7))

    def load(self) -> Any:
        """The network's weights.

        Raises:
            ConfigError: They are not on this machine; the message says how they get there.
        """
        return pretrained.load(f"lpips_{self.net}")

    def __call__(self, weights: Any, images: Images) -> Mapping[str, Float[Array, "batch ..."]]:
        """See `Extractor.__call__`."""
        features = perceptual.trunk_features(_rgb(images), weights, self.net)
        return dict(zip(self.layers, features, strict=True))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Perceptual(Loss):
    """Distance of the features of restored and clean images in some layers of a network that stays as it is.

    Args:
        extractor: The network.
        layers: Weight of each layer by name.
        distance: "l1" for the mean absolute, "l2" for the mean squared difference of a layer's features.
    """

    extractor: Extractor
    layers: dict[str, float]
    distance: Literal["l1", "l2"] = "l1"

    def __post_init__(self) -> None:
        if not self.layers:
            raise ConfigError("layers is empty: give at least one")
        for name, weight in self.layers.items():
            if name not in self.extractor.layers:
                raise ConfigError(f"layers.{name} is unknown; there are {', '.join(self.extractor.layers)}")
            if not 0 < weight < math.inf:
                raise ConfigError(f"layers.{name} = {weight} must be positive and finite")

    def __call__(self, images: Images, targets: Images) -> Values:
        """See `Loss.__call__`.

        Raises:
            ConfigError: The extractor's weights are missing.
        """
        ours, theirs = (self.extractor(self._weights, batch) for batch in (images, targets))
        norm = absolute if self.distance == "l1" else jnp.square
        total = jnp.zeros(len(images))
        for name, weight in self.layers.items():
            total += weight * norm(ours[name] - theirs[name]).reshape(len(images), -1).mean(axis=1)
        return total

    @functools.cached_property
    def _weights(self) -> Any:
        return _loaded(self.extractor)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LPIPS(Loss):
    """The learned perceptual distance `jgr.metrics.lpips`, version 0.1; gray images count as three equal channels.

    Args:
        net: The trunk, whose weights come by `jgr weights lpips_vgg` and its like. The authors advise "vgg" for
            training and "alex" for measuring.
    """

    net: Net = "vgg"

    def __call__(self, images: Images, targets: Images) -> Values:
        """See `Loss.__call__`.

        Raises:
            ConfigError: The trunk's weights are missing, or the images too small for it.
        """
        try:
            return perceptual.lpips(_rgb(images), _rgb(targets), self._weights, self.net)
        except ValueError as error:
            raise ConfigError(f"the loss LPIPS: {error}") from error

    @functools.cached_property
    def _weights(self) -> Any:
        return _loaded(Trunk(net=self.net))


def _loaded(extractor: Extractor) -> Any:
    """Weights as concrete arrays, also where they are first asked for while a step is traced."""
    with jax.ensure_compile_time_eval():
        return jax.tree.map(jnp.asarray, extractor.load())


def _rgb(images: Images) -> Float[Array, "batch height width 3"]:
    return jnp.repeat(images, 3, axis=-1) if images.shape[-1] == 1 else images
