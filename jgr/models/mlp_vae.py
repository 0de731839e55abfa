"""Fully connected encoder and decoder: 784-500-20 units in Kingma & Welling 2014, 784-200-200-50 in Burda et al. 2016.

The latter, "Importance Weighted Autoencoders", has the defaults.
"""

import math
from collections.abc import Callable
from typing import Literal

import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype
from jaxtyping import Array, Float

from jgr.errors import ConfigError
from jgr.losses.gaussian import DiagonalGaussian
from jgr.models.vae_inputs import Labels, one_hot, require_positive

_weight_init = nn.initializers.glorot_uniform()  # as Burda et al. 2016, section 5
_ACTIVATIONS: dict[str, Callable[[Array], Array]] = {"tanh": nn.tanh, "relu": nn.relu, "gelu": nn.gelu}


class Encoder(nn.Module):
    """An image through `widths` to a posterior.

    Args:
        latent_dim: Length of a latent vector.
        widths: Units of the hidden layers, from the image to the latent.
        activation: After each of them.
        num_classes: Labels, 0 to `num_classes - 1`, are joined to the image, one value a class; None for none.
        dtype: Of the computation; promoted from inputs and parameters when None.

    Raises:
        ConfigError: If a size is below 1.
    """

    latent_dim: int = 50
    widths: tuple[int, ...] = (200, 200)
    activation: Literal["tanh", "relu", "gelu"] = "tanh"
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
        classes = one_hot(labels, self.num_classes, len(images))
        hidden = jnp.concatenate([images.reshape(len(images), -1), classes], axis=-1)
        for width in self.widths:
            hidden = _ACTIVATIONS[self.activation](nn.Dense(width, kernel_init=_weight_init, dtype=self.dtype)(hidden))
        outputs = nn.Dense(2 * self.latent_dim, kernel_init=_weight_init, dtype=self.dtype)(hidden).astype("float32")
        return DiagonalGaussian.bounded(*jnp.split(outputs, 2, axis=-1))


class Decoder(nn.Module):
    """A latent vector through `widths` to what a likelihood needs.

    Args:
        image_size: Rows and columns of an image.
        channels: Outputs of each pixel: of a Bernoulli or Gaussian likelihood the image's channels.
        latent_dim: Length of a latent vector.
        widths: Units of the hidden layers, from the latent to the image.
        activation: After each of them.
        num_classes: Labels, 0 to `num_classes - 1`, are joined to the latent, one value a class; None for none.
        brightness: Mean of the data's values: where outputs are logits, they begin near its own. 0.5 begins at 0.
        dtype: Of the computation; promoted from inputs and parameters when None.

    Raises:
        ConfigError: If a size is below 1, or `brightness` is none.
    """

    image_size: int
    channels: int = 1
    latent_dim: int = 50
    widths: tuple[int, ...] = (200, 200)
    activation: Literal["tanh", "relu", "gelu"] = "tanh"
    num_classes: int | None = None
    brightness: float = 0.5
    dtype: Dtype | None = None

    def __post_init__(self) -> None:
        require_positive(self, "image_size", "channels", "latent_dim", "widths", "num_classes")
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
        hidden = jnp.concatenate([latents, one_hot(labels, self.num_classes, len(latents))], axis=-1)
        for width in self.widths:
            hidden = _ACTIVATIONS[self.activation](nn.Dense(width, kernel_init=_weight_init, dtype=self.dtype)(hidden))
        bias_init = nn.initializers.constant(math.log(self.brightness / (1.0 - self.brightness)))
        pixels = nn.Dense(
            self.image_size**2 * self.channels, kernel_init=_weight_init, bias_init=bias_init, dtype=self.dtype
        )(hidden)
        return pixels.reshape(-1, self.image_size, self.image_size, self.channels).astype("float32")
