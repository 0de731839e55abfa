"""What was found out about the latents of records, and the grids on which latents are laid out."""

import dataclasses

import numpy as np
from jaxtyping import Float, Float32, Int, UInt8
from scipy.special import ndtri


@dataclasses.dataclass(frozen=True)
class Reconstructions:
    """Records, and what is left of them.

    Args:
        originals: The records.
        images: Their reconstructions.
    """

    originals: UInt8[np.ndarray, "num height width channels"]
    images: UInt8[np.ndarray, "num height width channels"]


@dataclasses.dataclass(frozen=True)
class Encoded:
    """Where an encoder puts records.

    Args:
        means: Of their posteriors.
        labels: Of the records; None where the data has none.
    """

    means: Float[np.ndarray, "num latents"]
    labels: Int[np.ndarray, "num"] | None


@dataclasses.dataclass(frozen=True)
class Traversal:
    """Images along some latents, each alone, and the image that they all start from.

    Args:
        start: The image of the latents that stay.
        images: A row for each latent, a column for each value.
        latents: Which they are, that with the largest variance first.
        variances: Of their posterior means over records; above 0.01 a latent counts as active (Burda et al. 2016,
            section 5.2).
        divergences: Their KL divergences from the prior in nats, means over records; None where the task has no
            `posterior_divergence`.
        values: What they are set to.
    """

    start: UInt8[np.ndarray, "height width channels"]
    images: UInt8[np.ndarray, "rows steps height width channels"]
    latents: Int[np.ndarray, "rows"]
    variances: Float[np.ndarray, "rows"]
    divergences: Float[np.ndarray, "rows"] | None
    values: Float[np.ndarray, "steps"]


def quantiles(count: int) -> Float32[np.ndarray, "count"]:
    """Values that cut N(0, 1) into so many parts of equal probability, each in the middle of its part."""
    return ndtri((np.arange(count) + 0.5) / count).astype(np.float32)


def plane(side: int) -> Float32[np.ndarray, "cells 2"]:
    """Two latents at the quantiles of N(0, 1), row by row (Kingma & Welling 2014, figure 4).

    The first grows to the right, the second upwards.

    Args:
        side: Cells of a row, and rows.
    """
    values = quantiles(side)
    return np.stack([np.tile(values, side), np.repeat(values[::-1], side)], axis=1)
