"""Restormer, a U-Net of transformers that attend across channels (Zamir et al. 2022, arXiv:2111.09881)."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype
from jax import lax
from jaxtyping import Array, Float

from jgr.errors import ConfigError
from jgr.layers import Conv
from jgr.layers.channel_norm import ChannelNorm
from jgr.layers.input_check import check_input
from jgr.layers.pixel_shuffle import pixel_shuffle, pixel_unshuffle
from jgr.layers.pointwise import Pointwise

Hidden = Float[Array, "batch height width features"]
Pixels = Float[Array, "batch heads pixels channels_of_a_head"]

VARIANTS: Mapping[str, Mapping[str, Any]] = {  # the authors' settings
    "colour-denoising": {"channels": 3, "bias_free": True},  # 26,111,668 parameters
    "gray-denoising": {"channels": 1, "bias_free": True},  # 26,109,076
    "deblurring": {"channels": 3, "bias_free": False},  # 26,126,644; deraining, too
}


class ChannelAttention(nn.Module):
    """Multi-head attention whose tokens are the channels (section 3.1, equation 1).

    Args:
        heads: Groups of channels; those of a group attend to each other.
        dtype: Of the computation; promoted from inputs and parameters when None.

    Raises:
        ConfigError: If `heads` does not divide the channels.
    """

    heads: int
    dtype: Dtype | None = None

    @nn.compact
    def __call__(self, hidden: Hidden) -> Hidden:
        """Images of any channels to images of the same."""
        batch, height, width, channels = hidden.shape
        if channels % self.heads:
            raise ConfigError(f"Restormer: heads = {self.heads} must divide the {channels} channels of their level")
        temperature = self.param("temperature", nn.initializers.ones_init(), (self.heads,), jnp.float32)
        made = Pointwise(3 * channels, use_bias=False, dtype=self.dtype, name="qkv")(hidden)
        made = _depthwise(3 * channels, self.dtype)(made).reshape(batch, height * width, 3 * channels)
        queries, keys, values = (_of_heads(part, self.heads) for part in jnp.split(made, 3, -1))
        made = _attend(queries, keys, values, temperature).transpose(0, 2, 1, 3).reshape(hidden.shape)
        return Pointwise(channels, use_bias=False, dtype=self.dtype, name="project")(made)


def _of_heads(pixels: Float[Array, "batch pixels channels"], heads: int) -> Pixels:
    """Transposed, so that heads share one product: 8 heads compile five times faster on CPU than with one each."""
    batch, count, channels = pixels.shape
    return pixels.reshape(batch, count, heads, channels // heads).transpose(0, 2, 1, 3)


def _attend(query: Pixels, key: Pixels, value: Pixels, temperature: Float[Array, "heads"]) -> Pixels:
    """Queries and keys have length 1 over the pixels: their products, a small matrix, are divided by it."""
    products = jnp.einsum("nhpc,nhpd->nhcd", query, key, preferred_element_type=jnp.float32)
    scale = _inverse_length(query) * temperature.reshape(1, -1, 1)
    weights = jax.nn.softmax(products * scale[..., None] * _inverse_length(key)[:, :, None], axis=-1)
    return jnp.einsum("nhcd,nhpd->nhpc", weights.astype(value.dtype), value)


def _inverse_length(pixels: Pixels) -> Float[Array, "batch heads channels_of_a_head"]:
    return lax.rsqrt(jnp.square(pixels.astype("float32")).sum(2) + 1e-24)  # PyTorch's normalize: at least 1e-12


class GatedFeedForward(nn.Module):
    """Matrix, depthwise convolution, gate, matrix (section 3.2, equation 2).

    Args:
        expansion: Channels in between, times those of the images; rounded down.
        dtype: Of the computation; promoted from inputs and parameters when None.
    """

    expansion: float
    dtype: Dtype | None = None

    @nn.compact
    def __call__(self, hidden: Hidden) -> Hidden:
        """Images of any channels to images of the same."""
        width = int(self.expansion * hidden.shape[-1])
        made = Pointwise(2 * width, use_bias=False, dtype=self.dtype, name="enlarge")(hidden)
        gate, made = jnp.split(_depthwise(2 * width, self.dtype)(made), 2, axis=-1)
        made = nn.gelu(gate, approximate=False) * made
        return Pointwise(hidden.shape[-1], use_bias=False, dtype=self.dtype, name="shrink")(made)


def _depthwise(width: int, dtype: Dtype | None) -> Conv:
    return Conv(width, (3, 3), feature_group_count=width, use_bias=False, dtype=dtype, name="depthwise")


class TransformerBlock(nn.Module):
    """Attention, then the feed-forward network, each normalised before and added.

    Args:
        heads: Of the attention.
        expansion: Of the feed-forward network.
        bias_free: Of the normalisation.
        dtype: Of the computation; promoted from inputs and parameters when None.
    """

    heads: int
    expansion: float
    bias_free: bool
    dtype: Dtype | None = None

    @nn.compact
    def __call__(self, hidden: Hidden) -> Hidden:
        """Images of any channels to images of the same."""
        made = ChannelNorm(1e-5, self.bias_free, self.dtype, name="norm_1")(hidden)
        hidden = hidden + ChannelAttention(self.heads, self.dtype, name="attention")(made)
        made = ChannelNorm(1e-5, self.bias_free, self.dtype, name="norm_2")(hidden)
        return hidden + GatedFeedForward(self.expansion, self.dtype, name="feed_forward")(made)


class Restormer(nn.Module):
    """Transformer blocks at every level of a U-Net with concatenated skips; the result is added to the image.

    The finest level of the way up keeps the channels of both, without a matrix that halves them; so do the refinement
    blocks after it.

    Args:
        channels: Channels of the image; further channels of the input are conditions.
        width: Channels of the finest level; they double with every coarser one.
        blocks: Blocks of each level, the finest first; down and up are the same.
        refinement_blocks: Blocks after the finest level of the way up.
        heads: Of the attention at each level, the finest first.
        expansion: Of the feed-forward networks.
        bias_free: Whether the normalisation neither takes the mean off nor adds a bias, as for the paper's denoising.
        dtype: Of the computation; promoted from inputs and parameters when None.
        remat: Whether the gradient computes each block again instead of keeping what it needs: less memory, more time.

    Raises:
        ConfigError: If a size is impossible, or images do not fit.
    """

    channels: int = 3
    width: int = 48
    blocks: tuple[int, ...] = (4, 6, 6, 8)
    refinement_blocks: int = 4
    heads: tuple[int, ...] = (1, 2, 4, 8)
    expansion: float = 2.66
    bias_free: bool = True
    dtype: Dtype | None = None
    remat: bool = False

    def __post_init__(self) -> None:
        if self.channels < 1:
            raise ConfigError(f"channels = {self.channels} must be at least 1")
        if self.width < 2 or self.width % 2:
            raise ConfigError(f"width = {self.width} must be even: half of it becomes pixels")
        if min(self.blocks, default=-1) < 0 or self.refinement_blocks < 0:
            raise ConfigError(
                f"blocks = {self.blocks} needs a level at least, and no number of blocks may be negative "
                f"(refinement_blocks = {self.refinement_blocks})"
            )
        if len(self.heads) != len(self.blocks) or min(self.heads) < 1:
            raise ConfigError(f"heads = {self.heads} must be positive, one for each level of blocks = {self.blocks}")
        if self.expansion * self.width < 1:
            raise ConfigError(f"expansion = {self.expansion} must leave a channel of width = {self.width}")
        super().__post_init__()

    @property
    def multiple(self) -> int:
        """What the sides of images must be a multiple of."""
        return 1 << len(self.blocks) - 1

    @property
    def radius(self) -> None:
        """None: each pixel depends on all others through the attention."""
        return

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width inputs"], *, train: bool
    ) -> Float[Array, "batch height width channels"]:
        """Degraded images in [0, 1], with conditions, to restored float32 images; `train` changes nothing."""
        check_input("Restormer", images, self.channels, self.multiple)
        block = nn.remat(TransformerBlock) if self.remat else TransformerBlock

        def blocks(hidden: Hidden, count: int, level: int, stage: str) -> Hidden:
            for number in range(count):
                arguments = (self.heads[level], self.expansion, self.bias_free, self.dtype)
                hidden = block(*arguments, name=f"{stage}_{number}")(hidden)
            return hidden

        def conv(features: int, name: str) -> Conv:
            return Conv(features, (3, 3), use_bias=False, dtype=self.dtype, name=name)

        hidden = conv(self.width, "first")(images)
        skips = []
        *finer, coarsest = self.blocks
        for level, count in enumerate(finer):
            hidden = blocks(hidden, count, level, f"encoder_{level}")
            skips.append(hidden)
            hidden = pixel_unshuffle(conv(hidden.shape[-1] // 2, f"down_{level}")(hidden), 2)
        hidden = blocks(hidden, coarsest, len(finer), "middle")
        for level in reversed(range(len(finer))):
            hidden = pixel_shuffle(conv(2 * hidden.shape[-1], f"up_{level}")(hidden), 2)
            hidden = jnp.concatenate([hidden, skips[level]], axis=-1)
            if level > 0:
                reduce = Pointwise(hidden.shape[-1] // 2, use_bias=False, dtype=self.dtype, name=f"reduce_{level}")
                hidden = reduce(hidden)
            hidden = blocks(hidden, finer[level], level, f"decoder_{level}")
        hidden = blocks(hidden, self.refinement_blocks, 0, "refinement")
        residual = conv(self.channels, "last")(hidden)
        return images[..., : self.channels].astype("float32") + residual.astype("float32")
