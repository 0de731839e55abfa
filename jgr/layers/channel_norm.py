"""Layer normalisation over the channels of each pixel (Ba et al. 2016, arXiv:1607.06450)."""

import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype
from jax import lax
from jaxtyping import Array, Float


class ChannelNorm(nn.Module):
    """Each pixel divided by the standard deviation of its channels, in float32; then scaled by channel.

    Args:
        epsilon: Added to the variance.
        bias_free: Whether neither the mean is taken off nor a bias added, as in Restormer for denoising (Zamir et al.
            2022): the deviation is still the one from the mean.
        dtype: Of the result; that of the images when None.
    """

    epsilon: float
    bias_free: bool = False
    dtype: Dtype | None = None

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch height width channels"]:
        """NHWC images to images of the same shape."""
        features, dtype = images.shape[-1], self.dtype or images.dtype
        scale = self.param("scale", nn.initializers.ones_init(), (features,), jnp.float32).reshape(1, 1, 1, -1)
        images = images.astype("float32")
        centred = images - images.mean(-1, keepdims=True)
        scale = scale * lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + self.epsilon)
        if self.bias_free:
            return (images * scale).astype(dtype)
        bias = self.param("bias", nn.initializers.zeros_init(), (features,), jnp.float32).reshape(1, 1, 1, -1)
        return (centred * scale + bias).astype(dtype)
