"""Layers with an equalised learning rate (Karras et al. 2018, arXiv:1710.10196, section 4.1).

Weights start as standard normal numbers and are scaled where they are used, by 1 / sqrt(inputs): what comes out has
variance 1, and as an optimiser such as Adam moves all weights by steps of one size, all layers learn at one speed,
whatever their number of inputs.
"""

import math

import jax.numpy as jnp
from flax import linen as nn
from flax.linen.dtypes import promote_dtype
from flax.typing import Dtype
from jaxtyping import Array, Float

from jgr.errors import ConfigError
from jgr.layers.conv import conv
from jgr.layers.fir import conv_downsampled

Images = Float[Array, "batch height width channels"]


class EqualizedDense(nn.Module):
    """A matrix.

    Args:
        features: Length of the result.
        use_bias: Whether to add a bias.
        bias: What the bias starts as.
        learning_rate: Of this layer, as a share of the optimiser's: its parameters are that many times larger, and
            scaled down where they are used (Karras et al. 2019, StyleGAN, appendix C: 0.01 in the mapping network).
        dtype: Of the computation; promoted from inputs and parameters when None.

    Raises:
        ConfigError: If `features` is below 1 or the learning rate is not positive.
    """

    features: int
    use_bias: bool = True
    bias: float = 0.0
    learning_rate: float = 1.0
    dtype: Dtype | None = None

    def __post_init__(self) -> None:
        _require_possible(self, "features")
        if not self.learning_rate > 0:
            raise ConfigError(f"learning_rate = {self.learning_rate} must be positive")
        super().__post_init__()

    @nn.compact
    def __call__(self, inputs: Float[Array, "batch inputs"]) -> Float[Array, "batch features"]:
        """Vectors to vectors of `features` numbers."""
        rate = self.learning_rate
        shape = (inputs.shape[1], self.features)
        kernel = self.param("kernel", nn.initializers.normal(1 / rate), shape, jnp.float32)
        bias = None
        if self.use_bias:
            bias = rate * self.param("bias", nn.initializers.constant(self.bias / rate), (self.features,), jnp.float32)
        inputs, kernel, bias = promote_dtype(inputs, kernel * (rate / math.sqrt(shape[0])), bias, dtype=self.dtype)
        result = inputs @ kernel
        return result if bias is None else result + bias.reshape(1, -1)


class EqualizedConv(nn.Module):
    """A convolution with zeros around the images, that may halve them after filtering.

    Args:
        features: Channels of the result.
        kernel_size: Rows and columns, odd.
        downsample: Whether to filter and keep every second row and column; see `jgr.layers.fir.conv_downsampled`.
        use_bias: Whether to add a bias to every channel, 0 at first.
        dtype: Of the computation; promoted from images and parameters when None.

    Raises:
        ConfigError: If a size is impossible.
    """

    features: int
    kernel_size: int = 3
    downsample: bool = False
    use_bias: bool = True
    dtype: Dtype | None = None

    def __post_init__(self) -> None:
        _require_possible(self, "features", "kernel_size")
        if self.kernel_size % 2 == 0:
            raise ConfigError(f"kernel_size = {self.kernel_size} must be odd")
        super().__post_init__()

    @nn.compact
    def __call__(self, images: Images) -> Float[Array, "batch new_height new_width features"]:
        """NHWC images to NHWC images of `features` channels."""
        shape = (self.kernel_size, self.kernel_size, images.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.normal(1.0), shape, jnp.float32)
        bias = (
            self.param("bias", nn.initializers.zeros_init(), (self.features,), jnp.float32) if self.use_bias else None
        )
        gain = 1 / math.sqrt(math.prod(shape[:3]))
        images, kernel, bias = promote_dtype(images, kernel * gain, bias, dtype=self.dtype)
        result = conv_downsampled(images, kernel) if self.downsample else same_conv(images, kernel)
        return result if bias is None else result + bias.reshape(1, 1, 1, -1)


def same_conv(
    images: Images, kernel: Float[Array, "rows columns channels features"]
) -> Float[Array, "batch height width features"]:
    """`conv`, but that a 1x1 kernel is one matrix product over all pixels, of which the gradient is faster on CPU.

    Args:
        images: NHWC.
        kernel: HWIO.
    """
    if kernel.shape[:2] != (1, 1):
        return conv(images, kernel)
    return (images.reshape(-1, images.shape[-1]) @ kernel[0, 0]).reshape(*images.shape[:-1], -1)


def _require_possible(module: nn.Module, *names: str) -> None:
    for name in names:
        if getattr(module, name) < 1:
            raise ConfigError(f"{name} = {getattr(module, name)} must be at least 1")
