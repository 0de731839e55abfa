"""NAFNet, a U-Net of blocks without activation functions (Chen et al. 2022, arXiv:2204.04676)."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype
from jaxtyping import Array, Float

from jgr.errors import ConfigError
from jgr.layers import Conv
from jgr.layers.channel_norm import ChannelNorm
from jgr.layers.input_check import check_input
from jgr.layers.local_mean import local_mean
from jgr.layers.pixel_shuffle import pixel_shuffle
from jgr.layers.pointwise import Pointwise

Hidden = Float[Array, "batch height width features"]

_GOPRO: Mapping[str, Any] = {"encoder_blocks": (1, 1, 1, 28), "middle_blocks": 1, "decoder_blocks": (1, 1, 1, 1)}
_SIDD: Mapping[str, Any] = {"encoder_blocks": (2, 2, 4, 8), "middle_blocks": 12, "decoder_blocks": (2, 2, 2, 2)}

VARIANTS: Mapping[str, Mapping[str, Any]] = {  # the authors' settings: deblurring (GoPro), denoising (SIDD)
    "gopro-width32": {**_GOPRO, "width": 32},  # 17,111,907 parameters
    "gopro-width64": {**_GOPRO, "width": 64},  # 67,888,835
    "sidd-width32": {**_SIDD, "width": 32},  # 29,159,715
    "sidd-width64": {**_SIDD, "width": 64},  # 115,982,915
}


class NAFBlock(nn.Module):
    """Depthwise convolution with channel attention, then a gated matrix (figure 3d); both start as the identity.

    Args:
        window: Of the mean that channel attention is of; None for the whole image.
        dtype: Of the computation; promoted from inputs and parameters when None.
    """

    window: int | None = None
    dtype: Dtype | None = None

    @nn.compact
    def __call__(self, hidden: Hidden) -> Hidden:
        """Images of any channels to images of the same."""
        width = hidden.shape[-1]
        made = ChannelNorm(1e-6, dtype=self.dtype, name="norm_1")(hidden)
        made = Pointwise(2 * width, dtype=self.dtype, name="enlarge_1")(made)
        made = _gated(Conv(2 * width, (3, 3), feature_group_count=2 * width, dtype=self.dtype, name="depthwise")(made))
        made = made * Pointwise(width, dtype=self.dtype, name="attention")(self._pooled(made))
        made = Pointwise(width, dtype=self.dtype, name="shrink_1")(made)
        hidden = hidden + made * self._scale("beta", made)
        made = ChannelNorm(1e-6, dtype=self.dtype, name="norm_2")(hidden)
        made = _gated(Pointwise(2 * width, dtype=self.dtype, name="enlarge_2")(made))
        made = Pointwise(width, dtype=self.dtype, name="shrink_2")(made)
        return hidden + made * self._scale("gamma", made)

    def _pooled(self, hidden: Hidden) -> Float[Array, "batch height_or_1 width_or_1 features"]:
        if self.window is None:
            means = hidden.mean((1, 2), keepdims=True, dtype="float32")
        else:
            means = local_mean(hidden, self.window)
        return means.astype(hidden.dtype)

    def _scale(self, name: str, like: Hidden) -> Float[Array, "1 1 1 features"]:
        scale = self.param(name, nn.initializers.zeros_init(), (like.shape[-1],), jnp.float32)
        return scale.astype(like.dtype).reshape(1, 1, 1, -1)


def _gated(hidden: Hidden) -> Float[Array, "batch height width half"]:
    """Half of the channels times the other half (equation 4)."""
    left, right = jnp.split(hidden, 2, axis=-1)
    return left * right


class NAFNet(nn.Module):
    """Blocks at every level of a U-Net with additive skips; the result is added to the image.

    Args:
        channels: Channels of the image; further channels of the input are conditions.
        width: Channels of the finest level; they double with every coarser one.
        encoder_blocks: Blocks of each level on the way down, the finest first.
        middle_blocks: Blocks of the coarsest level.
        decoder_blocks: Blocks of each level on the way up, the coarsest first.
        local_pool: Outside training, channel attention takes means of windows of this many input pixels in place of the
            whole image: 1.5 times the side of the training crops (Chu et al. 2022, arXiv:2112.04491). None: of the
            whole image, which costs about 0.6 dB where a network trained on crops restores large images.
        dtype: Of the computation; promoted from inputs and parameters when None.
        remat: Whether the gradient computes each block again instead of keeping what it needs: less memory, more time.

    Raises:
        ConfigError: If a size is impossible, or images do not fit.
    """

    channels: int = 3
    width: int = 32
    encoder_blocks: tuple[int, ...] = (1, 1, 1, 28)
    middle_blocks: int = 1
    decoder_blocks: tuple[int, ...] = (1, 1, 1, 1)
    local_pool: int | None = None
    dtype: Dtype | None = None
    remat: bool = False

    def __post_init__(self) -> None:
        for name in ("channels", "width"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} = {getattr(self, name)} must be at least 1")
        if min(self.encoder_blocks + self.decoder_blocks, default=0) < 0 or self.middle_blocks < 0:
            raise ConfigError("encoder_blocks, middle_blocks and decoder_blocks must not be negative")
        if len(self.encoder_blocks) != len(self.decoder_blocks):
            raise ConfigError(
                f"decoder_blocks = {self.decoder_blocks} must have as many levels as "
                f"encoder_blocks = {self.encoder_blocks}"
            )
        if self.local_pool is not None and self.local_pool < self.multiple:
            raise ConfigError(f"local_pool = {self.local_pool} must be at least {self.multiple}, a pixel's coarsest")
        super().__post_init__()

    @property
    def multiple(self) -> int:
        """What the sides of images must be a multiple of."""
        return 1 << len(self.encoder_blocks)

    @property
    def radius(self) -> None:
        """None: each pixel depends on all others through channel attention."""
        return

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width inputs"], *, train: bool
    ) -> Float[Array, "batch height width channels"]:
        """Degraded images in [0, 1], with conditions, to restored float32 images; `train` turns `local_pool` off."""
        check_input("NAFNet", images, self.channels, self.multiple)
        block = nn.remat(NAFBlock) if self.remat else NAFBlock
        num_levels = len(self.encoder_blocks)

        def blocks(hidden: Hidden, count: int, level: int, stage: str) -> Hidden:
            window = None if train or self.local_pool is None else self.local_pool >> level
            for number in range(count):
                hidden = block(window, self.dtype, name=f"{stage}_{number}")(hidden)
            return hidden

        hidden = Conv(self.width, (3, 3), dtype=self.dtype, name="first")(images)
        skips = []
        for level, count in enumerate(self.encoder_blocks):
            hidden = blocks(hidden, count, level, f"encoder_{level}")
            skips.append(hidden)
            hidden = Conv(2 * hidden.shape[-1], (2, 2), (2, 2), dtype=self.dtype, name=f"down_{level}")(hidden)
        hidden = blocks(hidden, self.middle_blocks, num_levels, "middle")
        for level, count in zip(reversed(range(num_levels)), self.decoder_blocks, strict=True):
            up = Pointwise(2 * hidden.shape[-1], use_bias=False, dtype=self.dtype, name=f"up_{level}")
            hidden = pixel_shuffle(up(hidden), 2) + skips[level]
            hidden = blocks(hidden, count, level, f"decoder_{level}")
        residual = Conv(self.channels, (3, 3), dtype=self.dtype, name="last")(hidden)
        return images[..., : self.channels].astype("float32") + residual.astype("float32")
