"""DCGAN, the convolutional generator and discriminator of Radford et al. 2016 (arXiv:1511.06434).

The paper's 64x64 networks are `width=128, max_width=1024` with `batch_norm=True`; its figure has 5x5 kernels, these are
4x4 as in the authors' later code. The image's size decides the number of levels and the side of the coarsest.
"""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype
from jaxtyping import Array, Float, Key

from jgr.errors import ConfigError
from jgr.images import from_signed, to_signed
from jgr.layers import Conv, ConvTranspose, heads
from jgr.layers.fusion import Fusion

Images = Float[Array, "batch height width channels"]
Latents = Float[Array, "batch latent"]
Resized = Float[Array, "batch new_height new_width features"]

_weight_init = nn.initializers.normal(0.02)  # section 4


class Generator(nn.Module):
    """Latents to the coarsest level by a matrix, then doubled to the image by transposed convolutions.

    Batch norm and ReLU follow every layer but the last, which ends in tanh. Layers before batch norm have no bias.

    Args:
        image_size: Rows and columns of an image: s * 2^n, s in 4..7, n >= 1. s is the side of the coarsest level.
        channels: Channels of an image.
        latent_dim: Length of a latent vector.
        width: Channels of the finest hidden level, half the image's size; they double with every coarser level.
        max_width: Upper bound of a level's channels.
        modulated: Whether scale and shift of each batch norm are made of the latents by matrices (self-modulation, Chen
            et al. 2019, arXiv:1810.01365, with linear maps), so that what a generator is told reaches all levels.
        dtype: Of the computation; promoted from inputs and parameters when None.
        remat: Whether the gradient computes each level again instead of keeping what it needs: less memory, more time.

    Raises:
        ConfigError: If `image_size` is not of that form, a size is below 1, or latents are of another length.
    """

    image_size: int
    channels: int = 1
    latent_dim: int = 100
    width: int = 64
    max_width: int = 512
    modulated: bool = False
    dtype: Dtype | None = None
    remat: bool = False

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
        *finer, coarsest = _level_widths(self)
        side = self.image_size >> (len(finer) + 1)
        hidden = nn.Dense(side * side * coarsest, use_bias=False, kernel_init=_weight_init, dtype=self.dtype)(latents)
        hidden = nn.relu(_normalised(self, hidden.reshape(-1, side, side, coarsest), latents, train))
        for features in reversed(finer):
            level = partial(_enlarged, features=features, train=train)
            hidden = (nn.remat(level) if self.remat else level)(self, hidden, latents)
        last = ConvTranspose(self.channels, (4, 4), (2, 2), kernel_init=_weight_init, dtype=self.dtype)
        return from_signed(nn.tanh(last(hidden)).astype("float32"))


def _enlarged(module: Generator, hidden: Images, latents: Latents, features: int, train: bool) -> Resized:
    """A level of the generator."""
    layer = ConvTranspose(features, (4, 4), (2, 2), use_bias=False, kernel_init=_weight_init, dtype=module.dtype)
    return nn.relu(_normalised(module, layer(hidden), latents, train))


def _normalised(module: Generator, hidden: Images, latents: Latents, train: bool) -> Images:
    """Batch norm, with its own scale and shift or those that latents say."""
    if not module.modulated:
        return _batch_norm(train, module.dtype)(hidden)
    norm = _batch_norm(train, module.dtype, use_scale=False, use_bias=False)
    return Fusion("film", hidden.shape[-1], dtype=module.dtype)(norm(hidden), latents)


class Discriminator(nn.Module):
    """An image halved by strided convolutions to the coarsest level, then a matrix to the logit; LeakyReLU 0.2.

    Args:
        image_size: Rows and columns of an image: s * 2^n, s in 4..7, n >= 1. s is the side of the coarsest level.
        channels: Channels of an image.
        width: Channels of the finest hidden level, half the image's size; they double with every coarser level.
        max_width: Upper bound of a level's channels.
        batch_norm: Whether batch norm follows every layer but the first and the last, as in the paper. Such a logit
            depends on the other images of its batch.
        head: From all pixels of the coarsest level to logits, see `jgr.layers.heads`; None for one matrix, without
            labels.
        dtype: Of the computation; promoted from inputs and parameters when None.
        remat: Whether the gradient computes each level again instead of keeping what it needs: less memory, more time.

    Raises:
        ConfigError: If `image_size` is not of that form, a size is below 1, or images are of another size.
    """

    image_size: int
    channels: int = 1
    width: int = 64
    max_width: int = 512
    batch_norm: bool = False
    head: nn.Module | None = None
    dtype: Dtype | None = None
    remat: bool = False

    def __post_init__(self) -> None:
        _require_possible(self, "channels", "width", "max_width")
        super().__post_init__()

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width channels"], *, labels: heads.Labels = None, train: bool
    ) -> heads.Judgement:
        """Images in [0, 1] to logits, positive for real; `train` matters to batch norm and the head."""
        shape = (self.image_size, self.image_size, self.channels)
        if images.shape[1:] != shape:
            raise ConfigError(f"discriminator: images of {images.shape[1:]}, but image_size and channels say {shape}")
        hidden = to_signed(images)
        for number, features in enumerate(_level_widths(self)):
            level = partial(_shrunk, features=features, normed=self.batch_norm and number > 0, train=train)
            hidden = (nn.remat(level) if self.remat else level)(self, hidden)
        features_of_image = hidden.reshape(len(hidden), -1)
        if self.head is not None:
            judgement: heads.Judgement = self.head(features_of_image, labels=labels, train=train)
            return judgement
        heads.refuse(labels)
        return nn.Dense(1, kernel_init=_weight_init, dtype=self.dtype)(features_of_image)[:, 0].astype("float32")


def _shrunk(module: Discriminator, hidden: Images, features: int, normed: bool, train: bool) -> Resized:
    """A level of the discriminator."""
    layer = Conv(features, (4, 4), (2, 2), use_bias=not normed, kernel_init=_weight_init, dtype=module.dtype)
    hidden = layer(hidden)
    if normed:
        hidden = _batch_norm(train, module.dtype)(hidden)
    return nn.leaky_relu(hidden, 0.2)


def _level_widths(module: Generator | Discriminator) -> list[int]:
    """Channels of every hidden level, the finest first."""
    num_levels = (module.image_size // 4).bit_length() - 1
    return [min(module.width << level, module.max_width) for level in range(num_levels)]


def _batch_norm(train: bool, dtype: Dtype | None, use_scale: bool = True, use_bias: bool = True) -> nn.BatchNorm:
    return nn.BatchNorm(
        not train,
        momentum=0.9,
        epsilon=1e-5,
        dtype=dtype,
        use_scale=use_scale,
        use_bias=use_bias,
        scale_init=_scale_init,
    )


def _scale_init(key: Key[Array, ""], shape: Sequence[int], dtype: Dtype = jnp.float32) -> Float[Array, "..."]:
    return 1 + 0.02 * jax.random.normal(key, shape, dtype)  # N(1, 0.02): the authors' code


def _require_possible(module: Generator | Discriminator, *names: str) -> None:
    for name in names:
        if getattr(module, name) < 1:
            raise ConfigError(f"{name} = {getattr(module, name)} must be at least 1")
    size = module.image_size
    step = 1 << (max(size, 8) // 4).bit_length() - 1
    if size < 8 or size % step:
        nearest = "8" if size < 8 else f"{size // step * step} or {size // step * step + step}"
        raise ConfigError(f"image_size = {size} must be 4, 5, 6 or 7 times a power of two from 2 on: take {nearest}")
