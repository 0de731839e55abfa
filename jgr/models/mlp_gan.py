"""Fully connected generator and discriminator, in the line of Goodfellow et al. 2014.

Where that paper has maxout and dropout, these have LeakyReLU and none, as is usual since.
"""

from functools import partial

from flax import linen as nn
from flax.typing import Dtype
from jaxtyping import Array, Float

from jgr.errors import ConfigError
from jgr.images import from_signed, to_signed
from jgr.layers import heads

_activation = partial(nn.leaky_relu, negative_slope=0.2)


class Generator(nn.Module):
    """Latents through `widths` to an image.

    Args:
        image_size: Rows and columns of an image.
        channels: Channels of an image.
        latent_dim: Length of a latent vector.
        widths: Units of the hidden layers, from the latent to the image.
        dtype: Of the computation; promoted from inputs and parameters when None.

    Raises:
        ConfigError: If a size is below 1, or latents are of another length.
    """

    image_size: int
    channels: int = 1
    latent_dim: int = 100
    widths: tuple[int, ...] = (256, 512, 1024)
    dtype: Dtype | None = None

    def __post_init__(self) -> None:
        _require_positive(self, "image_size", "channels", "latent_dim", "widths")
        super().__post_init__()

    @nn.compact
    def __call__(
        self, latents: Float[Array, "batch latent"], *, train: bool
    ) -> Float[Array, "batch height width channels"]:
        """Standard normal latents to float32 images in [0, 1]; the same with and without `train`."""
        if latents.shape[1] != self.latent_dim:
            raise ConfigError(f"generator: latents of length {latents.shape[1]}, but latent_dim = {self.latent_dim}")
        hidden = latents
        for width in self.widths:
            hidden = _activation(nn.Dense(width, dtype=self.dtype)(hidden))
        pixels = nn.tanh(nn.Dense(self.image_size**2 * self.channels, dtype=self.dtype)(hidden))
        images = pixels.reshape(-1, self.image_size, self.image_size, self.channels)
        return from_signed(images.astype("float32"))


class Discriminator(nn.Module):
    """An image through `widths` to a logit.

    Args:
        image_size: Rows and columns of an image.
        channels: Channels of an image.
        widths: Units of the hidden layers, from the image to the logit.
        head: From the last of them to logits, see `jgr.layers.heads`; None for one matrix, without labels.
        dtype: Of the computation; promoted from inputs and parameters when None.

    Raises:
        ConfigError: If a size is below 1, or images are of another size.
    """

    image_size: int
    channels: int = 1
    widths: tuple[int, ...] = (1024, 512, 256)
    head: nn.Module | None = None
    dtype: Dtype | None = None

    def __post_init__(self) -> None:
        _require_positive(self, "image_size", "channels", "widths")
        super().__post_init__()

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width channels"], *, labels: heads.Labels = None, train: bool
    ) -> heads.Judgement:
        """Images in [0, 1] to logits, positive for real; `train` matters to the head only."""
        shape = (self.image_size, self.image_size, self.channels)
        if images.shape[1:] != shape:
            raise ConfigError(f"discriminator: images of {images.shape[1:]}, but image_size and channels say {shape}")
        hidden = to_signed(images).reshape(len(images), -1)
        for width in self.widths:
            hidden = _activation(nn.Dense(width, dtype=self.dtype)(hidden))
        if self.head is not None:
            judgement: heads.Judgement = self.head(hidden, labels=labels, train=train)
            return judgement
        heads.refuse(labels)
        return nn.Dense(1, dtype=self.dtype)(hidden)[:, 0].astype("float32")


def _require_positive(module: nn.Module, *names: str) -> None:
    for name in names:
        value = getattr(module, name)
        if min(value if isinstance(value, tuple) else (value,), default=1) < 1:
            raise ConfigError(f"{name} = {value} must be at least 1")
