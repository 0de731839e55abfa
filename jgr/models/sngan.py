"""SNGAN's convolutional networks, its "standard CNN" (Miyato et al. 2018, arXiv:1802.05957, table 3).

The discriminator's widths are those of the authors' group's chainer-gan-lib (`SNDCGANDiscriminator`), in which the
strided layers double the channels. At 32 pixels the levels are the paper's 4, 8, 16 and 32. The paper's latents have
128 numbers; layers before batch norm have no bias here, which changes no function.
"""

from functools import partial

from flax import linen as nn
from flax.typing import Dtype
from jaxtyping import Array, Float

from jgr.errors import ConfigError
from jgr.images import from_signed, to_signed
from jgr.layers import Conv, ConvTranspose, heads
from jgr.layers.spectral import normalised

_weight_init = nn.initializers.normal(0.02)  # chainer-gan-lib: wscale
_activation = partial(nn.leaky_relu, negative_slope=0.1)  # table 3


class Generator(nn.Module):
    """Latents to the coarsest level by a matrix, doubled to the image by transposed convolutions, then one of 3x3.

    Batch norm and ReLU follow every layer but the last, which ends in tanh.

    Args:
        image_size: Rows and columns of an image: s * 2^n, s in 4..7, n >= 1. s is the side of the coarsest level.
        channels: Channels of an image.
        latent_dim: Length of a latent vector.
        width: Channels of the finest level, the image's size; they double with every coarser level.
        max_width: Upper bound of a level's channels.
        dtype: Of the computation; promoted from inputs and parameters when None.

    Raises:
        ConfigError: If `image_size` is not of that form, a size is below 1, or latents are of another length.
    """

    image_size: int
    channels: int = 1
    latent_dim: int = 128
    width: int = 64
    max_width: int = 512
    dtype: Dtype | None = None

    def __post_init__(self) -> None:
        _require_possible(self, "channels", "latent_dim", "width", "max_width")
        super().__post_init__()

    @nn.compact
    def __call__(
        self, latents: Float[Array, "batch latent"], *, train: bool
    ) -> Float[Array, "batch height width channels"]:
        """Standard normal latents to float32 images in [0, 1].

        With `train`, batch norm uses the statistics of the batch and updates "batch_stats".
        """
        if latents.shape[1] != self.latent_dim:
            raise ConfigError(f"generator: latents of length {latents.shape[1]}, but latent_dim = {self.latent_dim}")

        def activated(hidden: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
            return nn.relu(nn.BatchNorm(not train, momentum=0.9, epsilon=1e-5, dtype=self.dtype)(hidden))

        *finer, coarsest = _level_widths(self)
        side = self.image_size >> len(finer)
        layer = nn.Dense(side * side * coarsest, use_bias=False, kernel_init=_weight_init, dtype=self.dtype)
        hidden = activated(layer(latents).reshape(-1, side, side, coarsest))
        for features in reversed(finer):
            enlarge = ConvTranspose(
                features, (4, 4), (2, 2), use_bias=False, kernel_init=_weight_init, dtype=self.dtype
            )
            hidden = activated(enlarge(hidden))
        pixels = Conv(self.channels, (3, 3), kernel_init=_weight_init, dtype=self.dtype)(hidden)
        return from_signed(nn.tanh(pixels).astype("float32"))


class Discriminator(nn.Module):
    """3x3 convolutions at every level, strided ones of 4x4 between levels, LeakyReLU 0.1; the head sees every pixel.

    Args:
        image_size: Rows and columns of an image: s * 2^n, s in 4..7, n >= 1. s is the side of the coarsest level.
        channels: Channels of an image.
        width: Channels of the finest level, the image's size; they double with every coarser level.
        max_width: Upper bound of a level's channels.
        spectral_norm: Whether weights are divided by their largest singular value. Without, and with a gradient
            penalty, this is the critic of WGAN-GP that SNGAN is compared with.
        head: From features to logits, see `jgr.layers.heads`; its `spectral_norm` must be the same.
        dtype: Of the computation before the head; promoted from inputs and parameters when None.

    Raises:
        ConfigError: If `image_size` is not of that form, a size is below 1, images are of another size, or the head's
            normalisation differs.
    """

    image_size: int
    channels: int = 1
    width: int = 64
    max_width: int = 512
    spectral_norm: bool = True
    head: nn.Module = heads.Linear(spectral_norm=True)
    dtype: Dtype | None = None

    def __post_init__(self) -> None:
        _require_possible(self, "channels", "width", "max_width")
        heads.require_alike(self.spectral_norm, self.head)
        super().__post_init__()

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width channels"], *, labels: heads.Labels = None, train: bool
    ) -> heads.Judgement:
        """What the head says of images in [0, 1], and of labels if it takes any; with `train`, updates "spectral"."""
        shape = (self.image_size, self.image_size, self.channels)
        if images.shape[1:] != shape:
            raise ConfigError(f"discriminator: images of {images.shape[1:]}, but image_size and channels say {shape}")

        def layer(features: int, side: int, stride: int, hidden: Float[Array, "b h w c"]) -> Float[Array, "b i j d"]:
            conv = Conv(features, (side, side), (stride, stride), kernel_init=_weight_init, dtype=self.dtype)
            return _activation(normalised(conv, self.spectral_norm, train)(hidden))

        finest, *coarser = _level_widths(self)
        hidden = layer(finest, 3, 1, to_signed(images))
        for features in coarser:
            hidden = layer(features, 3, 1, layer(features, 4, 2, hidden))
        judgement: heads.Judgement = self.head(hidden.reshape(len(hidden), -1), labels=labels, train=train)
        return judgement


def _level_widths(module: Generator | Discriminator) -> list[int]:
    """Channels of every level, the finest first."""
    num_levels = (module.image_size // 4).bit_length()
    return [min(module.width << level, module.max_width) for level in range(num_levels)]


def _require_possible(module: Generator | Discriminator, *names: str) -> None:
    for name in names:
        if getattr(module, name) < 1:
            raise ConfigError(f"{name} = {getattr(module, name)} must be at least 1")
    size = module.image_size
    if size < 8 or size % (1 << (size // 4).bit_length() - 1):
        raise ConfigError(f"image_size = {size} must be 4, 5, 6 or 7 times a power of two from 2 on")
