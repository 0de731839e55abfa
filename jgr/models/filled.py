"""Inpainting networks that start from a first guess of the holes."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype
from jaxtyping import Array, Float

from jgr.layers.fill import fill_holes
from jgr.models.wrapping import AroundRestorer, computing_in


class Filled(AroundRestorer, nn.Module):
    """A network that corrects images whose holes hold averages of known pixels near by (`jgr.layers.fill.fill_holes`).

    For a `Restoration` with `inputs=("mask",)`.

    Args:
        network: `(images [batch, height, width, channels + 1], the last of them the mask, train) -> images [batch,
            height, width, channels]`.
        residual: Whether what the network gives is added to the guess, for networks that do not add their input
            themselves.
        dtype: What the network computes in, where it does not say so itself.
    """

    network: nn.Module
    residual: bool = False
    dtype: Dtype | None = None

    def __post_init__(self) -> None:
        self.network = computing_in(self.dtype, self.network)
        super().__post_init__()

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width channels_and_mask"], *, train: bool
    ) -> Float[Array, "batch height width channels"]:
        """Images in [0, 1] with their mask, 1 where pixels are known, to restored float32 images."""
        mask = images[..., -1:]
        guess = fill_holes(images[..., :-1], mask)
        made: Any = self.network(jnp.concatenate([guess, mask.astype("float32")], axis=-1), train=train)
        return guess + made if self.residual else made
