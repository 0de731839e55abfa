"""DnCNN, the residual denoiser (Zhang et al. 2017, arXiv:1608.03981)."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype
from jaxtyping import Array, Float, Key

from jgr.errors import ConfigError
from jgr.layers import Conv
from jgr.layers.input_check import check_input

VARIANTS: Mapping[str, Mapping[str, Any]] = {  # one noise level, a range of them, and that in colour: section IV.B
    "s": {"depth": 17},  # 556,032 parameters
    "b": {"depth": 20},  # 667,008
    "color": {"depth": 20, "channels": 3},  # 669,312
}


class DnCNN(nn.Module):
    """3x3 convolutions with batch norm and ReLU; the result is the NOISE, to be taken away from the image.

    No convolution has a bias, at the ends neither, as in the released weights of github.com/SaoYan/DnCNN-PyTorch. Names
    of parameters are `conv{i}/kernel` and `bn{i}/{scale,bias}`, with `bn{i}/{mean,var}` in "batch_stats", i the number
    of the layer from 0; the first and the last layer have no batch norm.

    Weights start as in the authors' code (github.com/cszn/DnCNN, v1.1), batch norm's scales of either sign.

    Args:
        channels: Channels of the image; further channels of the input are conditions.
        depth: Number of convolutions.
        width: Channels between them.
        dtype: Of the computation; promoted from inputs and parameters when None.

    Raises:
        ConfigError: If a size is impossible, or images do not fit.
    """

    channels: int = 1
    depth: int = 17
    width: int = 64
    dtype: Dtype | None = None

    def __post_init__(self) -> None:
        for name, least in (("channels", 1), ("depth", 2), ("width", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} = {getattr(self, name)} must be at least {least}")
        super().__post_init__()

    @property
    def radius(self) -> int:
        """How far, in pixels, the result depends on the input: one for every convolution."""
        return self.depth

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width inputs"], *, train: bool
    ) -> Float[Array, "batch height width channels"]:
        """Noisy images in [0, 1], with conditions, to the float32 noise in the same unit.

        With `train`, batch norm uses the statistics of the batch and updates "batch_stats".
        """
        check_input("DnCNN", images, self.channels)

        def convolved(hidden: Array, features: int, number: int) -> Array:
            init = nn.initializers.normal(math.sqrt(2 / (9 * self.width)))
            conv = Conv(features, (3, 3), use_bias=False, kernel_init=init, dtype=self.dtype, name=f"conv{number}")
            return conv(hidden)

        hidden = nn.relu(convolved(images, self.width, 0))
        for number in range(1, self.depth - 1):
            norm = nn.BatchNorm(
                not train, momentum=0.9, epsilon=1e-5, scale_init=_scale_init, dtype=self.dtype, name=f"bn{number}"
            )
            hidden = nn.relu(norm(convolved(hidden, self.width, number)))
        return convolved(hidden, self.channels, self.depth - 1).astype("float32")


def _scale_init(key: Key[Array, ""], shape: Sequence[int], dtype: Dtype = jnp.float32) -> Float[Array, "features"]:
    """N(0, 2 / (9 features)), those nearer to zero than 0.025 moved there."""
    scales = math.sqrt(2 / (9 * shape[0])) * jax.random.normal(key, shape, dtype)
    return jnp.where(scales < 0, jnp.minimum(scales, -0.025), jnp.maximum(scales, 0.025))
