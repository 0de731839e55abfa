"""Conditional batch normalisation (Dumoulin et al. 2017, arXiv:1610.07629; de Vries et al. 2017, arXiv:1707.00683)."""

import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype
from jaxtyping import Array, Float

from jgr.layers.spectral import normalised


class ConditionalBatchNorm(nn.Module):
    """Batch norm whose scale and bias follow from a vector an image, by a matrix each; the scale starts near 1.

    With one-hot labels the matrices hold a scale and a bias for each class, as in Miyato & Koyama 2018
    (arXiv:1802.05637); with an embedding, and a part of the latent beside it, it is BigGAN's (Brock et al. 2019,
    arXiv:1809.11096, appendix B).

    Args:
        spectral_norm: Whether the matrices are divided by their largest singular value.
        dtype: Of the computation; promoted from inputs and parameters when None.
    """

    spectral_norm: bool = False
    dtype: Dtype | None = None

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "batch height width channels"],
        condition: Float[Array, "batch condition"],
        *,
        train: bool,
    ) -> Float[Array, "batch height width channels"]:
        """With `train`, uses the statistics of the batch and updates "batch_stats"."""
        norm = nn.BatchNorm(not train, momentum=0.9, epsilon=1e-5, use_scale=False, use_bias=False, dtype=self.dtype)
        scale, bias = (self._from(condition, name, images.shape[-1], train) for name in ("scale", "bias"))
        return norm(images) * (1 + scale) + bias

    def _from(
        self, condition: Float[Array, "batch condition"], name: str, features: int, train: bool
    ) -> Float[Array, "batch 1 1 features"]:
        # 0.02: the spread of scales at the start, as batch norm's own in Radford et al. 2016
        layer = nn.Dense(
            features, use_bias=False, kernel_init=nn.initializers.normal(0.02), dtype=self.dtype, name=name
        )
        return jnp.expand_dims(normalised(layer, self.spectral_norm, train)(condition), (1, 2))
