"""Losses of restored images against clean ones: a value for each record, whose mean a task minimises.

Name one in a config by its import path: `config.task.loss = dict(cls="jgr.losses.restoration.Charbonnier",
epsilon=1e-3)`. One of your own is a subclass of `Loss`.
"""

import abc
import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jgr.errors import ConfigError
from jgr.metrics.fidelity import float_pair, mse
from jgr.metrics.similarity import ms_ssim, ssim

Images = Float[Array, "batch height width channels"]
Values = Float[Array, "batch"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loss(abc.ABC):
    """What restored images are trained to make small."""

    @abc.abstractmethod
    def __call__(self, images: Images, targets: Images) -> Values:
        """The loss of each record: pure, and differentiable with finite gradients, for equal images too.

        Args:
            images: Restored images in units of [0, 1], not clipped.
            targets: Clean images in [0, 1], of the same shape.
        """


@dataclasses.dataclass(frozen=True, kw_only=True)
class L1(Loss):
    """Mean absolute error; its gradient is 0 where pixels are equal."""

    def __call__(self, images: Images, targets: Images) -> Values:
        """See `Loss.__call__`."""
        images, targets = float_pair(images, targets)
        return _mean(absolute(images - targets))


@dataclasses.dataclass(frozen=True, kw_only=True)
class L2(Loss):
    """Mean squared error.

    DnCNN's authors take half of the sum over a patch (Zhang et al. 2017, equation 1); only the constant differs.
    """

    def __call__(self, images: Images, targets: Images) -> Values:
        """See `Loss.__call__`."""
        return mse(images, targets)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Charbonnier(Loss):
    """See `charbonnier`.

    Args:
        epsilon: Of which errors count as small. 1e-3: Lai et al. 2017, section 3.3. Other programs add their constant
            without squaring it: 1e-9 there is 3.2e-5 here, 1e-12 is 1e-6.
    """

    epsilon: float = 1e-3

    def __post_init__(self) -> None:
        if not self.epsilon > 0:
            raise ConfigError(f"epsilon = {self.epsilon} must be positive; without it the loss is L1")

    def __call__(self, images: Images, targets: Images) -> Values:
        """See `Loss.__call__`."""
        return charbonnier(images, targets, self.epsilon)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SSIM(Loss):
    """1 less the structural similarity `jgr.metrics.ssim`, in [0, 2]; images have at least 11 pixels a side."""

    def __call__(self, images: Images, targets: Images) -> Values:
        """See `Loss.__call__`."""
        try:
            return 1.0 - ssim(images, targets)
        except ValueError as error:
            raise ConfigError(f"the loss SSIM: {error}") from error


@dataclasses.dataclass(frozen=True, kw_only=True)
class MultiScaleSSIM(Loss):
    """1 less `jgr.metrics.ms_ssim`, in [0, 1]; images have at least 161 pixels a side.

    Where a level's contrast term is negative, as between unlike images, the loss is 1 and has no gradient there.
    """

    def __call__(self, images: Images, targets: Images) -> Values:
        """See `Loss.__call__`."""
        try:
            return 1.0 - ms_ssim(images, targets)
        except ValueError as error:
            raise ConfigError(f"the loss MultiScaleSSIM: {error}") from error


@dataclasses.dataclass(frozen=True, kw_only=True)
class FFT(Loss):
    """See `spectral_distance`. Its authors add 0.1 of it to L1."""

    def __call__(self, images: Images, targets: Images) -> Values:
        """See `Loss.__call__`."""
        return spectral_distance(images, targets)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PSNR(Loss):
    """See `negative_psnr`."""

    def __call__(self, images: Images, targets: Images) -> Values:
        """See `Loss.__call__`."""
        return negative_psnr(images, targets)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TotalVariation(Loss):
    """See `total_variation`: of the restored image alone, so of use beside other terms only."""

    def __call__(self, images: Images, targets: Images) -> Values:
        """See `Loss.__call__`."""
        return total_variation(images)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Term:
    """One term of a weighted sum.

    Args:
        loss: The loss.
        weight: What it is multiplied with.
    """

    loss: Loss
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.weight < math.inf:
            raise ConfigError(
                f"weight = {self.weight} must be positive and finite; leave out a term that shall not count"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Weighted(Loss):
    """A weighted sum of losses.

    `dict(cls="jgr.losses.restoration.Weighted", terms=dict(l1=dict(loss=dict(cls="jgr.losses.restoration.L1")),
    fft=dict(loss=dict(cls="jgr.losses.restoration.FFT"), weight=0.1)))`

    Args:
        terms: The terms, by the names they are logged under.
    """

    terms: dict[str, Term]

    def __post_init__(self) -> None:
        if not self.terms:
            raise ConfigError("terms is empty: give at least one")

    def __call__(self, images: Images, targets: Images) -> Values:
        """See `Loss.__call__`."""
        return sum(self.parts(images, targets).values(), start=jnp.float32(0.0))

    def parts(self, images: Images, targets: Images) -> dict[str, Values]:
        """Each term times its weight, by name: their sum is the loss, so who needs both computes the parts alone."""
        return {name: term.weight * term.loss(images, targets) for name, term in self.terms.items()}


def charbonnier(images: Images, targets: Images, epsilon: float) -> Values:
    """Mean of sqrt(error^2 + epsilon^2), a smooth L1 (Charbonnier et al. 1994; Lai et al. 2017, equation 3).

    Equal images have the value epsilon, and the gradient 0.
    """
    images, targets = float_pair(images, targets)
    return _mean(jnp.sqrt(jnp.square(images - targets) + epsilon**2))


def spectral_distance(images: Images, targets: Images) -> Values:
    """Mean absolute difference of the images' 2-D Fourier transforms, over real and imaginary parts.

    Cho et al. 2021 (MIMO-UNet), equation 9, at one scale, averaged as their program does: real and imaginary parts
    count as two numbers. The transform is not normalised: values grow with the square root of the number of pixels.
    """
    images, targets = float_pair(images, targets)
    width = images.shape[2]
    spectrum = jnp.fft.rfft2(images - targets, axes=(1, 2))
    # Half of the columns: of a real image the others are their conjugates, of the same absolute values.
    twins = np.full(spectrum.shape[2], 2.0, np.float32)
    twins[0] = 1.0
    if width % 2 == 0:
        twins[-1] = 1.0
    columns = (absolute(spectrum.real) + absolute(spectrum.imag)).mean(axis=(1, 3))
    return (columns * (twins / (2 * width))[None]).sum(axis=1)


def negative_psnr(images: Images, targets: Images) -> Values:
    """10 log10(mean squared error + 1e-8): the negative of the PSNR in dB of each image, at least -80.

    The loss of NAFNet (Chen et al. 2022) and HINet, whose programs have that constant; images are not clipped.
    """
    return 10.0 / math.log(10.0) * jnp.log(mse(images, targets) + 1e-8)


def total_variation(images: Images) -> Values:
    """Sum of the absolute differences of vertical and horizontal neighbours, divided by the number of values.

    Anisotropic; Liu et al. 2018 (partial convolutions), equation 7, over the whole image.
    """
    vertical, horizontal = absolute(jnp.diff(images, axis=1)), absolute(jnp.diff(images, axis=2))
    return (vertical.sum(axis=(1, 2, 3)) + horizontal.sum(axis=(1, 2, 3))) / math.prod(images.shape[1:])


def absolute(values: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The absolute value, with the gradient 0 at 0, where that of `jnp.abs` is 1: what is right already stays."""
    return values * jax.lax.stop_gradient(jnp.sign(values))


def _mean(values: Images) -> Values:
    # row by row, then over the rows: one float32 sum over a whole image loses digits
    return values.mean(axis=(2, 3)).mean(axis=1)
