"""Self-attention over the pixels of an image (Zhang et al. 2019, SAGAN, arXiv:1805.08318)."""

from functools import partial

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype
from jaxtyping import Array, Float

from jgr.errors import ConfigError
from jgr.layers.pointwise import Pointwise
from jgr.layers.spectral import normalised


class SelfAttention(nn.Module):
    """An image plus gamma times what its pixels attend to (equations 1 to 3); gamma is learned and starts at 0.

    Queries and keys have an eighth of the channels, values half, and keys and values are the maxima of 2x2 pixels, as
    in the authors' code and BigGAN's (Brock et al. 2019); there is no bias.

    Args:
        spectral_norm: Whether the four matrices are divided by their largest singular value.
        dtype: Of the computation; promoted from inputs and parameters when None. Attention weights are float32.

    Raises:
        ConfigError: If an image has an odd side or fewer than 8 channels.
    """

    spectral_norm: bool = False
    dtype: Dtype | None = None

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width channels"], *, train: bool
    ) -> Float[Array, "batch height width channels"]:
        """NHWC images to images of the same shape; `train` matters to spectral normalisation only."""
        batch, height, width, channels = images.shape
        if height % 2 or width % 2 or channels < 8:
            raise ConfigError(
                f"self-attention: {height}x{width} pixels of {channels} channels; it needs even sides and at least 8"
            )
        matrix = partial(Pointwise, use_bias=False, kernel_init=nn.initializers.glorot_uniform(), dtype=self.dtype)
        queries, keys, values, result = (
            normalised(matrix(features, name=name), self.spectral_norm, train)
            for name, features in (
                ("query", channels // 8),
                ("key", channels // 8),
                ("value", channels // 2),
                ("result", channels),
            )
        )
        scores = jnp.einsum(
            "bqc,bkc->bqk",
            _pixels(queries(images)),
            _pixels(_maxima(keys(images))),
            preferred_element_type=jnp.float32,
        )
        pooled = _pixels(_maxima(values(images)))
        attended = jnp.einsum("bqk,bkc->bqc", jax.nn.softmax(scores).astype(pooled.dtype), pooled)
        made = result(attended.reshape(batch, height, width, -1))
        gamma = self.param("gamma", nn.initializers.zeros_init(), (), jnp.float32)
        return images + (gamma * made).astype(images.dtype)


def _pixels(images: Float[Array, "batch height width channels"]) -> Float[Array, "batch pixels channels"]:
    return images.reshape(images.shape[0], -1, images.shape[-1])


def _maxima(images: Float[Array, "batch height width channels"]) -> Float[Array, "batch rows columns channels"]:
    """The largest of 2x2 pixels."""
    batch, height, width, channels = images.shape
    # not nn.max_pool: its gradient has no deterministic form on GPU
    return images.reshape(batch, height // 2, 2, width // 2, 2, channels).max((2, 4))
