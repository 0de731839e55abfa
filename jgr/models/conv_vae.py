"""Convolutional encoder and decoder of a VAE: strided convolutions down, transposed ones up, no normalisation.

Layers of kernel 4 and stride 2 as in DCGAN (Radford et al. 2016). Batch norm is left out: it would make the bound of a
record depend on the others.
"""

import math

import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype
from jaxtyping import Array, Float

from jgr.errors import ConfigError
from jgr.images import to_signed
from jgr.layers import Conv, ConvTranspose
from jgr.layers.fusion import Fusion
from jgr.losses.gaussian import DiagonalGaussian
from jgr.models.vae_inputs import Labels, one_hot, require_positive

Hidden = Float[Array, "batch height width features"]

_weight_init = nn.initializers.he_normal()  # of ReLU layers


class Encoder(nn.Module):
    """An image, halved once for each of `widths`, to a posterior.

    Args:
        latent_dim: Length of a latent vector.
        widths: Channels of the levels, from the finest to the coarsest.
        num_classes: Labels, 0 to `num_classes - 1`, are joined to the image, a plane a class; None for none.
        dtype: Of the computation; promoted from inputs and parameters when None.

    Raises:
        ConfigError: If a size is below 1, or images cannot be halved so often.
    """

    latent_dim: int = 64
    widths: tuple[int, ...] = (64, 128)
    num_classes: int | None = None
    dtype: Dtype | None = None

    def __post_init__(self) -> None:
        require_positive(self, "latent_dim", "widths", "num_classes")
        super().__post_init__()

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width channels"], *, labels: Labels = None, train: bool
    ) -> DiagonalGaussian:
        """Images in [0, 1] to q(z | x), or q(z | x, label); the same with and without `train`."""
        height, width = images.shape[1:3]
        multiple = 2 ** len(self.widths)
        if height % multiple or width % multiple:
            raise ConfigError(
                f"encoder.widths = {self.widths} halves images {len(self.widths)} times: {height}x{width} must be "
                f"multiples of {multiple}"
            )
        hidden = to_signed(images)
        classes = one_hot(labels, self.num_classes, len(images))
        planes = jnp.broadcast_to(classes[:, None, None, :], (*images.shape[:3], classes.shape[1]))
        hidden = jnp.concatenate([hidden, planes], axis=-1)
        for features in self.widths:
            hidden = nn.relu(Conv(features, (4, 4), (2, 2), kernel_init=_weight_init, dtype=self.dtype)(hidden))
        outputs = nn.Dense(2 * self.latent_dim, dtype=self.dtype)(hidden.reshape(len(images), -1)).astype("float32")
        return DiagonalGaussian.bounded(*jnp.split(outputs, 2, axis=-1))


class Decoder(nn.Module):
    """A latent vector to what a likelihood needs, doubled once for each of `widths`.

    Args:
        image_size: Rows and columns of an image, a multiple of 2 to the number of `widths`.
        channels: Outputs of each pixel: of a Bernoulli or Gaussian likelihood the image's channels, of
            `DiscretizedLogisticMixture` 10 times its mixtures for colour images and 3 times for gray.
        latent_dim: Length of a latent vector.
        widths: Channels of the levels, from the finest to the coarsest, as the encoder's.
        num_classes: Labels, 0 to `num_classes - 1`, are joined to the latent, one value a class; None for none.
        modulated: Whether latents, and labels, also scale and shift the features of every level (Chen et al. 2019,
            arXiv:1810.01365, without the batch norm), so that one of them can say how strong another's shape is: a
            colour, for one.
        brightness: Mean of the data's values: where outputs are logits, they begin near its own. 0.5 begins at 0.
        dtype: Of the computation; promoted from inputs and parameters when None.

    Raises:
        ConfigError: If a size is impossible, or `brightness` is none.
    """

    image_size: int
    channels: int = 1
    latent_dim: int = 64
    widths: tuple[int, ...] = (64, 128)
    num_classes: int | None = None
    modulated: bool = False
    brightness: float = 0.5
    dtype: Dtype | None = None

    def __post_init__(self) -> None:
        require_positive(self, "image_size", "channels", "latent_dim", "widths", "num_classes")
        if not self.widths:
            raise ConfigError("widths = () must name at least one level")
        if self.image_size % 2 ** len(self.widths):
            raise ConfigError(
                f"image_size = {self.image_size} must be a multiple of {2 ** len(self.widths)}: widths = "
                f"{self.widths} doubles {len(self.widths)} times"
            )
        if not 0.0 < self.brightness < 1.0:
            raise ConfigError(f"brightness = {self.brightness} must lie between 0 and 1")
        super().__post_init__()

    @nn.compact
    def __call__(
        self, latents: Float[Array, "batch latent"], *, labels: Labels = None, train: bool
    ) -> Float[Array, "batch height width outputs"]:
        """Latents to float32 outputs; the same with and without `train`."""
        if latents.shape[1] != self.latent_dim:
            raise ConfigError(f"decoder: latents of length {latents.shape[1]}, but latent_dim = {self.latent_dim}")
        side, features = self.image_size // 2 ** len(self.widths), self.widths[-1]
        told = jnp.concatenate([latents, one_hot(labels, self.num_classes, len(latents))], axis=-1)

        def modulated(hidden: Hidden) -> Hidden:
            return Fusion("film", hidden.shape[-1], dtype=self.dtype)(hidden, told) if self.modulated else hidden

        hidden = nn.relu(nn.Dense(side**2 * features, kernel_init=_weight_init, dtype=self.dtype)(told))
        hidden = modulated(hidden.reshape(-1, side, side, features))
        for features in self.widths[-2::-1]:
            layer = ConvTranspose(features, (4, 4), (2, 2), kernel_init=_weight_init, dtype=self.dtype)
            hidden = modulated(nn.relu(layer(hidden)))
        bias_init = nn.initializers.constant(math.log(self.brightness / (1.0 - self.brightness)))
        outputs = ConvTranspose(self.channels, (4, 4), (2, 2), bias_init=bias_init, dtype=self.dtype)(hidden)
        return outputs.astype("float32")
