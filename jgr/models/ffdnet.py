"""FFDNet, a denoiser at half resolution that is told the noise level (Zhang et al. 2018, arXiv:1710.04026)."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype
from jaxtyping import Array, Float

from jgr.errors import ConfigError
from jgr.layers import Conv, pixel_shuffle, pixel_unshuffle
from jgr.layers.input_check import check_input

VARIANTS: Mapping[str, Mapping[str, Any]] = {  # section III.B
    "gray": {"channels": 1, "depth": 15, "width": 64},  # 485,316 parameters with a noise map
    "color": {"channels": 3, "depth": 12, "width": 96},  # 852,108
}


class FFDNet(nn.Module):
    """3x3 convolutions with ReLU between four half-size images and back; the result is the image, not the noise.

    These are the published networks, whose batch norm has been merged into convolutions with biases. Without it, they
    are trained from He's initialisation.

    Args:
        channels: Channels of the image. The input has further ones: the map of the noise's standard deviation, of
            which every second pixel is taken, and more conditions if wanted.
        depth: Number of convolutions.
        width: Channels between them.
        dtype: Of the computation; promoted from inputs and parameters when None.

    Raises:
        ConfigError: If a size is impossible, or images do not fit or come without a map.
    """

    channels: int = 1
    depth: int = 15
    width: int = 64
    dtype: Dtype | None = None

    def __post_init__(self) -> None:
        for name, least in (("channels", 1), ("depth", 2), ("width", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} = {getattr(self, name)} must be at least {least}")
        super().__post_init__()

    @property
    def multiple(self) -> int:
        """What the sides of images must be a multiple of."""
        return 2

    @property
    def radius(self) -> int:
        """How far, in pixels, the result depends on the input: two for every convolution, one within a 2x2 block."""
        return 2 * self.depth + 1

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width inputs"], *, train: bool
    ) -> Float[Array, "batch height width channels"]:
        """Noisy images in [0, 1] with the noise map in the same unit to restored float32 images."""
        check_input("FFDNet", images, self.channels, self.multiple)
        if images.shape[-1] == self.channels:
            raise ConfigError(
                f"FFDNet: images of {self.channels} channels come without the map of the noise: let the task's inputs "
                'name "sigma"'
            )
        half = pixel_unshuffle(images[..., : self.channels], 2)
        hidden = jnp.concatenate([half, images[:, ::2, ::2, self.channels :]], axis=-1)
        for number in range(self.depth - 1):
            init = nn.initializers.he_normal()
            hidden = nn.relu(Conv(self.width, (3, 3), kernel_init=init, dtype=self.dtype, name=f"conv{number}")(hidden))
        last = Conv(4 * self.channels, (3, 3), dtype=self.dtype, name=f"conv{self.depth - 1}")
        return pixel_shuffle(last(hidden).astype("float32"), 2)
