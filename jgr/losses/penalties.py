"""Penalties on the slope of a discriminator in its input.

Name them in a config: `config.task.penalties.r1 = dict(cls="jgr.losses.penalties.R1", gamma=10.0, interval=16)`. One of
your own is a subclass of `Penalty`.
"""

import abc
import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jgr.errors import ConfigError

Images = Float[Array, "batch height width channels"]
Judge = Callable[[Images], Float[Array, "batch *patches"]]
"""The discriminator with all but the images bound: parameters, labels, augmentation. It must judge each image by
itself: batch norm couples the images of a batch, and then these are not the gradients that are meant."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Penalty(abc.ABC):
    """A term of the discriminator's loss.

    Args:
        interval: It is computed at every so many steps, and counts so many times as much then (Karras et al. 2020,
            StyleGAN2, appendix B, lazy regularisation). 1 for every step, in the same update as the loss.
    """

    interval: int = 1

    def __post_init__(self) -> None:
        if self.interval < 1:
            raise ConfigError(f"interval = {self.interval} must be at least 1")

    @abc.abstractmethod
    def __call__(self, judge: Judge, reals: Images, fakes: Images, keys: Key[Array, "batch"]) -> Float[Array, "batch"]:
        """The penalty of each record, its weight included; pure and differentiable in what `judge` holds.

        Args:
            judge: Gives logits of images.
            reals: Real images in [0, 1].
            fakes: Generated images in [0, 1], of which no gradient is taken.
            keys: One a record.
        """


@dataclasses.dataclass(frozen=True, kw_only=True)
class GradientPenalty(Penalty):
    """WGAN-GP: weight * (|gradient| - target)^2 between real and generated images (Gulrajani et al. 2017, equation 3).

    The gradient is in the units of images in [-1, 1], in which the paper's networks work, at a point drawn uniformly on
    the line between a real and a generated image.

    Args:
        weight: Of the penalty.
        target: The norm that is wanted; 1 in the paper.
    """

    weight: float = 10.0
    target: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_positive("weight", self.weight)

    def __call__(self, judge: Judge, reals: Images, fakes: Images, keys: Key[Array, "batch"]) -> Float[Array, "batch"]:
        """See `Penalty.__call__`."""
        share = jax.vmap(lambda key: jax.random.uniform(key, (1, 1, 1)))(keys)
        slope = _squared_slope(judge, reals + share * (jax.lax.stop_gradient(fakes) - reals))
        # the root's own gradient is infinite at 0
        norm = jnp.where(slope > 0, jnp.sqrt(jnp.where(slope > 0, slope, 1.0)), 0.0)
        return self.weight * jnp.square(norm - self.target)


@dataclasses.dataclass(frozen=True, kw_only=True)
class R1(Penalty):
    """gamma / 2 * |gradient|^2 at real images (Mescheder et al. 2018, equation 9).

    The gradient is in the units of images in [-1, 1], as in published recipes.

    Args:
        gamma: Weight; published recipes have .01 at 32x32 pixels (StyleGAN2) to some tens at 1024x1024 (StyleGAN3),
            about in proportion to pixels over batch.
    """

    gamma: float

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_positive("gamma", self.gamma)

    def __call__(self, judge: Judge, reals: Images, fakes: Images, keys: Key[Array, "batch"]) -> Float[Array, "batch"]:
        """See `Penalty.__call__`."""
        return 0.5 * self.gamma * _squared_slope(judge, reals)


@dataclasses.dataclass(frozen=True, kw_only=True)
class R2(R1):
    """gamma / 2 * |gradient|^2 at generated images (Mescheder et al. 2018, equation 10); see `R1`."""

    def __call__(self, judge: Judge, reals: Images, fakes: Images, keys: Key[Array, "batch"]) -> Float[Array, "batch"]:
        """See `Penalty.__call__`."""
        return 0.5 * self.gamma * _squared_slope(judge, jax.lax.stop_gradient(fakes))


def _squared_slope(judge: Judge, images: Images) -> Float[Array, "batch"]:
    """Squared norm of each image's gradient of its logits' mean, per unit of images in [-1, 1]."""
    slopes = jax.grad(lambda x: _per_image(judge(x)).sum())(images)
    return jnp.square(0.5 * slopes).sum(axis=(1, 2, 3))  # [0, 1] is half as wide as [-1, 1]


def _per_image(logits: Float[Array, "batch *patches"]) -> Float[Array, "batch"]:
    return logits.reshape(len(logits), -1).mean(axis=1)


def _check_positive(name: str, value: float) -> None:
    if not value > 0:
        raise ConfigError(f"{name} = {value} must be positive; for no penalty leave it out of penalties")
