"""Noise. None of it clips: what leaves [0, 1] stays outside, as the protocols of Gaussian denoising have it.

Additions of several noises are told apart by their keys; a record's `sigma` is that of all Gaussian noise added so far.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from jgr.degradations.degradation import Degradation, Record
from jgr.degradations.parameters import Draw, check_bounds, draw, label, number
from jgr.degradations.values import straight_through

Image = Float[Array, "height width channels"]

SIGMA_HINT = "it is in units of the range [0, 1], so for 25 gray levels write 25/255"
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


@dataclasses.dataclass(frozen=True, kw_only=True)
class GaussianNoise(Degradation):
    """Adds white Gaussian noise; the record gains `sigma`.

    A record that has a sigma already gets the one of both noises together, the root of the sum of their squares.

    Args:
        sigma: Standard deviation in units of the range [0, 1], at most 1: 25/255; `Uniform(low=0.0, high=55/255)` for
            a blind denoiser.
        gray: Probability that a record's noise is the same in all channels.
    """

    sigma: Draw
    gray: float = 0.0

    def __post_init__(self) -> None:
        check_bounds("sigma", self.sigma, 0, 1, hint=SIGMA_HINT)
        check_bounds("gray", self.gray, 0, 1)

    @property
    def name(self) -> str:
        """Such as "awgn-s25" or "awgn-s0..55", in gray levels of 255."""
        return f"awgn-s{label(self.sigma, 255)}{_gray_label(self.gray)}"

    def apply(self, record: Record, key: Key[Array, ""]) -> Record:
        """See `Degradation.apply`; differentiable."""
        sigma_key, noise_key, gray_key = jax.random.split(key, 3)
        image, sigma = record["image"], draw(self.sigma, sigma_key)
        is_gray = jax.random.bernoulli(gray_key, self.gray) if self.gray else None
        noise = _normal(noise_key, image, is_gray)
        total = jnp.hypot(record["sigma"], sigma) if "sigma" in record else sigma
        return {**record, "image": image + sigma * noise, "sigma": total}


@dataclasses.dataclass(frozen=True, kw_only=True)
class PoissonNoise(Degradation):
    """Counts photons: Poisson(peak * image) / peak, whose mean is the image and whose variance is image / peak.

    Drawn exactly. Values below 0 count as 0. The gradient is that of the mean: it passes as if nothing had happened.
    On CPU it takes 90 times as long as Gaussian noise; `PoissonGaussianNoise` is the fast approximation.

    Args:
        peak: Photons that a white pixel (value 1) gets on average.
    """

    peak: Draw

    def __post_init__(self) -> None:
        # Counts are int32, and float32 holds whole numbers up to 2**24.
        check_bounds("peak", self.peak, 0, 2.0**24, above=True)

    @property
    def name(self) -> str:
        """Such as "poisson-p30"."""
        return f"poisson-p{label(self.peak)}"

    def apply(self, record: Record, key: Key[Array, ""]) -> Record:
        """See `Degradation.apply`."""
        peak_key, noise_key = jax.random.split(key)
        image, peak = record["image"], draw(self.peak, peak_key)
        rate = jax.lax.stop_gradient(peak * jnp.maximum(image, 0.0))
        counts = jax.random.poisson(noise_key, rate)
        return {**record, "image": straight_through(counts.astype(image.dtype) / peak, image)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class PoissonGaussianNoise(Degradation):
    """Noise of a sensor: Gaussian, of variance gain * image + sigma², differentiable.

    The heteroscedastic normal approximation of Poisson and Gaussian noise together (Foi et al. 2008, "Practical
    Poissonian-Gaussian noise modeling and fitting for single-image raw-data", where gain is `a` and sigma² is `b`).
    Exact counts are `Pipeline(steps=(PoissonNoise(peak=1/gain), GaussianNoise(sigma=sigma)))`; the two differ where a
    pixel gets fewer than some ten photons. Values below 0 count as 0 in the variance.

    Args:
        gain: Variance per unit of the image: 1 / (photons of a white pixel).
        sigma: Standard deviation of what is there in the dark, in units of the range [0, 1].
        gray: Probability that a record's noise is that of its luma (BT.601 of three channels, else their mean), the
            same in all channels.
    """

    gain: Draw
    sigma: Draw = 0.0
    gray: float = 0.0

    def __post_init__(self) -> None:
        check_bounds("gain", self.gain, 0, 1, hint="it is 1 / (photons of a white pixel)")
        check_bounds("sigma", self.sigma, 0, 1, hint=SIGMA_HINT)
        check_bounds("gray", self.gray, 0, 1)

    @property
    def name(self) -> str:
        """Such as "sensor-a0.01-s5": gain, and sigma in gray levels of 255."""
        return f"sensor-a{label(self.gain)}-s{label(self.sigma, 255)}{_gray_label(self.gray)}"

    def apply(self, record: Record, key: Key[Array, ""]) -> Record:
        """See `Degradation.apply`."""
        gain_key, sigma_key, noise_key, gray_key = jax.random.split(key, 4)
        image, gain, sigma = record["image"], draw(self.gain, gain_key), draw(self.sigma, sigma_key)
        is_gray = jax.random.bernoulli(gray_key, self.gray) if self.gray else None
        light = image if is_gray is None else jnp.where(is_gray, _luma(image), image)
        variance = gain * jnp.maximum(light, 0.0) + sigma**2
        # A root's slope at 0 is infinite: without light and without sigma there is no noise, and no gradient of it.
        deviation = jnp.where(variance > 0, jnp.sqrt(jnp.where(variance > 0, variance, 1.0)), 0.0)
        return {**record, "image": image + deviation * _normal(noise_key, image, is_gray)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class SaltAndPepper(Degradation):
    """Replaces values by 1 (salt) or 0 (pepper), each channel of each pixel by itself.

    Args:
        share: Share of the values that are replaced.
        salt: Share of these that become 1.
    """

    share: Draw
    salt: Draw = 0.5

    def __post_init__(self) -> None:
        check_bounds("share", self.share, 0, 1)
        check_bounds("salt", self.salt, 0, 1)

    @property
    def name(self) -> str:
        """Such as "saltpepper-p0.1", with "-salt0.3" where salt is not half of it."""
        return f"saltpepper-p{label(self.share)}{'' if self.salt == 0.5 else f'-salt{label(self.salt)}'}"

    def apply(self, record: Record, key: Key[Array, ""]) -> Record:
        """See `Degradation.apply`; the gradient passes where the value is kept."""
        share_key, salt_key, place_key, kind_key = jax.random.split(key, 4)
        image = record["image"]
        replaced = jax.random.bernoulli(place_key, draw(self.share, share_key), image.shape)
        salt = jax.random.bernoulli(kind_key, draw(self.salt, salt_key), image.shape)
        return {**record, "image": jnp.where(replaced, salt.astype(image.dtype), image)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Speckle(Degradation):
    """Multiplies by 1 + sigma * (white Gaussian noise), as radar and ultrasound images are spoilt; differentiable.

    Args:
        sigma: Standard deviation relative to the image.
    """

    sigma: Draw

    def __post_init__(self) -> None:
        check_bounds("sigma", self.sigma, 0, 1, hint="it is relative to the image: 0.25 for a quarter")

    @property
    def name(self) -> str:
        """Such as "speckle-s0.1"."""
        return f"speckle-s{label(self.sigma)}"

    def apply(self, record: Record, key: Key[Array, ""]) -> Record:
        """See `Degradation.apply`."""
        sigma_key, noise_key = jax.random.split(key)
        image = record["image"]
        noise = draw(self.sigma, sigma_key) * jax.random.normal(noise_key, image.shape)
        return {**record, "image": image * (1.0 + noise)}


def _normal(key: Key[Array, ""], image: Image, is_gray: Bool[Array, ""] | None) -> Image:
    """White Gaussian noise of the image's shape, the same in all channels where it is gray."""
    noise = jax.random.normal(key, image.shape)
    return noise if is_gray is None else jnp.where(is_gray, noise[..., :1], noise)


def _luma(image: Image) -> Image:
    """Its luma in each channel."""
    if image.shape[-1] != 3:
        return jnp.broadcast_to(image.mean(axis=-1, keepdims=True), image.shape)
    weights = jnp.asarray(_LUMA, image.dtype).reshape(1, 1, 3)
    return jnp.broadcast_to((image * weights).sum(axis=-1, keepdims=True), image.shape)


def _gray_label(gray: float) -> str:
    return f"-gray{'' if gray == 1 else number(gray)}" if gray else ""
