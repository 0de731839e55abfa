"""Fréchet distance between Gaussians fitted to features of real and generated images."""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jaxtyping import Array, Float, UInt8

from jgr.metrics.metric import DistributionMetric
from jgr.metrics.moments import Moments


def frechet_distance(
    mean_a: Float[np.ndarray, "d"],
    covariance_a: Float[np.ndarray, "d d"],
    mean_b: Float[np.ndarray, "d"],
    covariance_b: Float[np.ndarray, "d d"],
) -> float:
    """Squared 2-Wasserstein distance of two Gaussians: |m_a - m_b|^2 + tr(A + B - 2 (A B)^(1/2)).

    Dowson & Landau 1982; Heusel et al. 2017, equation 6. The trace of (A B)^(1/2) is that of the symmetric
    (A^(1/2) B A^(1/2))^(1/2), so two symmetric eigenvalue problems in float64 serve also where A or B is singular, with
    no imaginary part to drop and no constant added to the diagonal.

    Raises:
        ValueError: If a covariance is not finite, or has an eigenvalue that is negative beyond rounding.
    """
    values, vectors = scipy.linalg.eigh(covariance_a)
    root = (vectors * np.sqrt(_not_negative(values))) @ vectors.T
    _not_negative(scipy.linalg.eigvalsh(covariance_b))  # where A is singular, the product would hide it
    product = scipy.linalg.eigvalsh(root @ covariance_b @ root)
    cross = np.sqrt(np.clip(product, 0.0, None)).sum()
    shift = mean_a - mean_b
    return float(shift @ shift + np.trace(covariance_a) + np.trace(covariance_b) - 2.0 * cross)


def _not_negative(values: Float[np.ndarray, "d"]) -> Float[np.ndarray, "d"]:
    """Ascending eigenvalues of a covariance, those that are negative by rounding set to 0."""
    if values[0] < -1e-6 * max(abs(values[-1]), 1e-300):
        raise ValueError(f"not a covariance: its smallest eigenvalue is {values[0]:.3g}, its largest {values[-1]:.3g}")
    return np.clip(values, 0.0, None)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PixelFrechetDistance(DistributionMetric):
    """Fréchet distance over raw pixels: the features are the uint8-quantised pixels, scaled to [0, 1].

    A cheap check of mean, contrast and pixel correlations, comparable within one data set only. It is not FID, which is
    defined on the features of one Inception network.
    """

    higher_is_better: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """fd_pixels."""
        return "fd_pixels"

    def features(self, images: UInt8[Array, "batch height width channels"]) -> Float[Array, "batch features"]:
        """All pixels of an image, in [0, 1]."""
        return images.reshape(images.shape[0], -1).astype(jnp.float32) / 255.0

    def state(self) -> Moments:
        """Moments of the pixels."""
        return Moments()

    def compute(self, reference: Moments, generated: Moments) -> float:
        """The distance; 0 for equal moments."""
        return frechet_distance(reference.mean, reference.covariance, generated.mean, generated.covariance)
