"""Restoration without training, for the same tables as networks: one record in, one image out, on the host.

A method of your own is a subclass of `Method`, named in a config by its import path. All are deterministic.
"""

import abc
import dataclasses
import math
from collections.abc import Mapping
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from skimage import registration, restoration

from jgr.degradations.inputs import check_image, check_kernel, check_mask, check_sigma
from jgr.errors import ConfigError, DataError
from jgr.models.bm3d import bm3d

Image = Float[np.ndarray, "height width channels"]
Record = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Method(abc.ABC):
    """Restores the image of one record. What it `needs` of the record besides the image is checked before."""

    needs: ClassVar[tuple[str, ...]] = ()

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """What tables call it, such as "nlm-p5-d6-h0.8": all parameters that change its numbers are in it."""

    @abc.abstractmethod
    def restore(self, image: Image, record: Record) -> Float[np.ndarray, "new_height new_width channels"]:
        """The restored image, which may exceed [0, 1].

        Args:
            image: The degraded image, float32.
            record: The record, with all that the method `needs`.
        """

    def __call__(self, record: Record) -> Float[np.ndarray, "new_height new_width channels"]:
        """The restored image, float32, not clipped.

        Args:
            record: `image` [height, width, channels], uint8 or float in units of [0, 1], and of `sigma`, `mask`,
                `kernel` and `shots` what the method needs, as in `jgr.degradations.degradation.Record`.

        Raises:
            DataError: The record lacks something, or has an impossible value.
        """
        checks = {"sigma": check_sigma, "kernel": check_kernel, "mask": check_mask, "shots": check_image}
        for key in ("image", *self.needs):
            if key not in record:
                raise DataError(f"{self.name}: the record has no {key}, only {', '.join(sorted(record)) or 'nothing'}")
        for key in self.needs:
            checks[key](np.asarray(record[key]), self.name)
        image = np.asarray(record["image"])
        check_image(image, self.name)
        image = image.astype(np.float32) / np.float32(255 if image.dtype == np.uint8 else 1)
        return np.asarray(self.restore(image, record), np.float32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Degraded(Method):
    """The degraded image itself: the row that others are compared with."""

    name = "degraded"

    def restore(self, image: Image, record: Record) -> Image:
        """See `Method.restore`."""
        return image


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShotAverage(Method):
    """The mean of the image and further shots of it (`jgr.degradations.burst.Burst`).

    Args:
        aligned: Whether each is first moved to where it agrees with the image best, by whole pixels: the peak of the
            cross-correlation, by scikit-image. What lies beyond a border comes from the opposite one.
    """

    aligned: bool = True
    needs = ("shots",)

    @property
    def name(self) -> str:
        """average-aligned, or average."""
        return "average-aligned" if self.aligned else "average"

    def restore(self, image: Image, record: Record) -> Image:
        """See `Method.restore`."""
        height, width, channels = image.shape
        total, others = image.astype(np.float64), np.asarray(record["shots"]).reshape(height, width, -1, channels)
        for number in range(others.shape[2]):
            shot = others[:, :, number]
            if self.aligned:
                shift, _, _ = registration.phase_cross_correlation(
                    image.mean(axis=-1), shot.mean(axis=-1), normalization=None
                )
                shot = np.roll(shot, np.round(shift).astype(int), axis=(0, 1))
            total = total + shot
        return total / (1 + others.shape[2])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bicubic(Method):
    """Bicubic enlargement, as MATLAB's `imresize` does it.

    Args:
        scale: Factor of both sides.
    """

    scale: int

    def __post_init__(self) -> None:
        _at_least("scale", self.scale, 1)

    @property
    def name(self) -> str:
        """Such as "bicubic-x2"."""
        return f"bicubic-x{self.scale}"

    def restore(self, image: Image, record: Record) -> Float[np.ndarray, "new_height new_width channels"]:
        """See `Method.restore`."""
        from jgr.degradations.resize import imresize_numpy

        height, width, _ = image.shape
        return imresize_numpy(image, height * self.scale, width * self.scale)


@dataclasses.dataclass(frozen=True, kw_only=True)
class NonLocalMeans(Method):
    """Non-local means (Buades et al. 2005; the fast variant: Darbon et al. 2008), by scikit-image.

    Args:
        patch_size: Rows and columns of the patches that are compared.
        patch_distance: Pixels to the farthest patch, across and down.
        strength: Weights fall off with patch differences of `strength * sigma`.
        fast: Whether patches count evenly, instead of weighted by a Gaussian around their centre.
    """

    patch_size: int = 5
    patch_distance: int = 6
    strength: float = 0.8
    fast: bool = True
    needs = ("sigma",)

    def __post_init__(self) -> None:
        _at_least("patch_size", self.patch_size, 1)
        _at_least("patch_distance", self.patch_distance, 1)
        _positive("strength", self.strength)

    @property
    def name(self) -> str:
        """Such as "nlm-p5-d6-h0.8"."""
        exact = "" if self.fast else "-weighted"
        return f"nlm-p{self.patch_size}-d{self.patch_distance}-h{self.strength:g}{exact}"

    def restore(self, image: Image, record: Record) -> Image:
        """See `Method.restore`."""
        sigma = float(np.squeeze(record["sigma"]))
        if sigma == 0:
            return image
        restored = restoration.denoise_nl_means(
            image,
            patch_size=self.patch_size,
            patch_distance=self.patch_distance,
            h=self.strength * sigma,
            sigma=sigma,
            fast_mode=self.fast,
            preserve_range=True,
            channel_axis=-1,
        )
        return restored.reshape(image.shape)  # scikit-image drops the axis of a single channel


@dataclasses.dataclass(frozen=True, kw_only=True)
class TotalVariation(Method):
    """Total variation denoising (Chambolle 2004), by scikit-image, each channel by itself.

    Args:
        weight_factor: The weight of the total variation is `weight_factor * sigma`.
    """

    weight_factor: float = 1.0
    needs = ("sigma",)

    def __post_init__(self) -> None:
        _positive("weight_factor", self.weight_factor)

    @property
    def name(self) -> str:
        """Such as "tv-w1"."""
        return f"tv-w{self.weight_factor:g}"

    def restore(self, image: Image, record: Record) -> Image:
        """See `Method.restore`."""
        weight = self.weight_factor * float(np.squeeze(record["sigma"]))
        return restoration.denoise_tv_chambolle(image, weight=weight, channel_axis=-1) if weight else image


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wavelet(Method):
    """Soft thresholding with BayesShrink (Chang et al. 2000, equation 10) of a shift-invariant wavelet transform.

    Daubechies' wavelet with two vanishing moments, undecimated, which is the mean over all shifts (Coifman and Donoho
    1995). Written here, since scikit-image's needs PyWavelets, and shifts the image for each of them.

    Args:
        levels: Levels of the transform.
    """

    levels: int = 4
    needs = ("sigma",)

    def __post_init__(self) -> None:
        _at_least("levels", self.levels, 1)

    @property
    def name(self) -> str:
        """Such as "wavelet-db2-l4-bayes"."""
        return f"wavelet-db2-l{self.levels}-bayes"

    def restore(self, image: Image, record: Record) -> Image:
        """See `Method.restore`."""
        sigma = float(np.squeeze(record["sigma"]))
        height, width, _ = image.shape
        beyond = 3 * 2**self.levels  # what wraps around stays out of the image
        padded = np.pad(image, ((beyond, beyond), (beyond, beyond), (0, 0)), mode="symmetric")
        return self._shrunk(padded, sigma, 0)[beyond : beyond + height, beyond : beyond + width]

    def _shrunk(self, image: Image, sigma: float, level: int) -> Image:
        if level == self.levels:
            return image
        low = np.array([1 + 3**0.5, 3 + 3**0.5, 3 - 3**0.5, 1 - 3**0.5], np.float32) / 8  # sum 1
        high = low[::-1] * np.array([1, -1, 1, -1], np.float32)
        step = 2**level
        total = np.zeros_like(image)
        for down, across in ((low, low), (low, high), (high, low), (high, high)):
            band = _filtered(_filtered(image, down, step, 0), across, step, 1)
            if down is low and across is low:
                band = self._shrunk(band, sigma, level + 1)
            else:
                noise = sigma / 2 ** (level + 1)
                signal = np.maximum(np.mean(band**2, axis=(0, 1), keepdims=True) - noise**2, 1e-12)
                band = np.sign(band) * np.maximum(np.abs(band) - np.float32(noise**2) / np.sqrt(signal), 0)
            total += _filtered(_filtered(band, across, -step, 1), down, -step, 0)
        return total


def _filtered(image: Image, taps: Float[np.ndarray, "4"], step: int, axis: int) -> Image:
    """Sum of taps[k] * image moved by k * step, around the border; of -step it is the transpose."""
    return np.sum([tap * np.roll(image, -number * step, axis) for number, tap in enumerate(taps)], axis=0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wiener(Method):
    """Deconvolution by the Wiener-Hunt filter with a Laplacian prior, by scikit-image.

    The weight of the prior is the noise's variance over the variance of a photograph's Laplacian, which
    `laplacian_std` stands for. The image is mirrored to twice its size, where the Fourier transform wraps around
    without a step: with a point-symmetric kernel and an image blurred under reflection the border is like the rest.

    Args:
        laplacian_std: Standard deviation of the Laplacian of clean images, in units of [0, 1].
    """

    laplacian_std: float = 0.1
    needs = ("kernel", "sigma")

    def __post_init__(self) -> None:
        _positive("laplacian_std", self.laplacian_std)

    @property
    def name(self) -> str:
        """Such as "wiener-l0.1"."""
        return f"wiener-l{self.laplacian_std:g}"

    def restore(self, image: Image, record: Record) -> Image:
        """See `Method.restore`."""
        height, width, _ = image.shape
        padded = np.pad(image, ((0, max(height - 2, 0)), (0, max(width - 2, 0)), (0, 0)), mode="reflect")
        padded = padded.astype(np.float64)
        balance = (_noise(record) / self.laplacian_std) ** 2
        kernel = np.asarray(record["kernel"], np.float64)
        _fits(kernel, padded, self.name)
        channels = [
            restoration.wiener(padded[..., c], kernel, balance, clip=False)[:height, :width]
            for c in range(image.shape[-1])
        ]
        return np.stack(channels, axis=-1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RichardsonLucy(Method):
    """Richardson-Lucy deconvolution, by scikit-image, ended early: the noisier, the earlier.

    It makes `max(1, round(effort / sigma))` iterations, at most `max_iterations`, on the image mirrored by twice the
    kernel's size, since it takes what lies beyond the border for black. Values below zero are set to zero.

    Args:
        effort: Iterations times sigma.
        max_iterations: For images with hardly any noise. On five images of Train400 without noise 50 gives 30.0 dB for
            a Gaussian of 1.6 pixels and 31.2 for motion of 11 pixels; 100 gives 30.4 and 27.6.
    """

    effort: float = 0.2
    max_iterations: int = 50
    needs = ("kernel", "sigma")

    def __post_init__(self) -> None:
        _positive("effort", self.effort)
        _at_least("max_iterations", self.max_iterations, 1)

    @property
    def name(self) -> str:
        """Such as "richardson-lucy-e0.2-max50"."""
        return f"richardson-lucy-e{self.effort:g}-max{self.max_iterations}"

    def restore(self, image: Image, record: Record) -> Image:
        """See `Method.restore`."""
        height, width, channels = image.shape
        kernel = np.asarray(record["kernel"], np.float64)
        beyond = 2 * len(kernel)
        padded = np.pad(image, ((beyond, beyond), (beyond, beyond), (0, 0)), mode="reflect").astype(np.float64)
        padded = np.maximum(padded, 0)
        iterations = min(max(1, round(self.effort / _noise(record))), self.max_iterations)
        restored = [
            restoration.richardson_lucy(padded[..., c], kernel, num_iter=iterations, clip=False)
            for c in range(channels)
        ]
        return np.stack(restored, axis=-1)[beyond : beyond + height, beyond : beyond + width]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Biharmonic(Method):
    """Inpainting by the biharmonic equation (Damelin and Hoang 2018), by scikit-image. Known pixels are kept."""

    name = "biharmonic"
    needs = ("mask",)

    def restore(self, image: Image, record: Record) -> Image:
        """See `Method.restore`."""
        holes = np.asarray(record["mask"])[..., 0] == 0
        return np.where(holes[..., None], restoration.inpaint_biharmonic(image, holes, channel_axis=-1), image)


@dataclasses.dataclass(frozen=True, kw_only=True)
class BM3D(Method):
    """BM3D, and CBM3D for colour: `jgr.models.bm3d`."""

    name = "bm3d"
    needs = ("sigma",)

    def restore(self, image: Image, record: Record) -> Image:
        """See `Method.restore`."""
        return np.asarray(bm3d(jnp.asarray(image), float(np.squeeze(record["sigma"]))))


def _noise(record: Record) -> float:
    """Standard deviation of the record's noise, and of rounding to uint8, which no image is without."""
    return math.hypot(float(np.squeeze(record["sigma"])), 1 / 255 / math.sqrt(12))


def _fits(kernel: Float[np.ndarray, "size size"], image: Image, name: str) -> None:
    if len(kernel) > min(image.shape[:2]):
        height, width = image.shape[:2]
        raise DataError(f"{name}: a kernel of {len(kernel)} pixels is larger than the mirrored image, {height}x{width}")


def _at_least(field: str, value: int, least: int) -> None:
    if value < least:
        raise ConfigError(f"{field} = {value} must be at least {least}")


def _positive(field: str, value: float) -> None:
    if not value > 0:
        raise ConfigError(f"{field} = {value} must be positive")
