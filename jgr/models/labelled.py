"""Networks made conditional by concatenation (Mirza & Osindero 2014, arXiv:1411.1784), whatever their architecture."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype
from jaxtyping import Array, Float, Int, Key

from jgr.errors import ConfigError
from jgr.images import from_signed
from jgr.models.wrapping import computing_in

_embedding_init = nn.initializers.normal(1.0)  # as latents


class Generator(nn.Module):
    """A generator whose latents are ours, and beside them an embedding of the label.

    Args:
        generator: Any unconditional generator; its `latent_dim` counts the embedding.
        num_classes: Labels are 0 to `num_classes - 1`.
        embedding_dim: Length of an embedding.
        dtype: What the generator computes in, where it does not say so itself.

    Raises:
        ConfigError: If a size is below 1, or the embedding leaves nothing of the latents.
    """

    generator: nn.Module
    num_classes: int
    embedding_dim: int = 16
    dtype: Dtype | None = None

    def __post_init__(self) -> None:
        _require_positive(self, "num_classes", "embedding_dim")
        if self.latent_dim < 1:
            raise ConfigError(
                f"generator.latent_dim = {_latent_dim(self.generator)} must exceed embedding_dim = {self.embedding_dim}"
            )
        self.generator = computing_in(self.dtype, self.generator)
        super().__post_init__()

    @property
    def latent_dim(self) -> int:
        """Length of a latent vector: what the embedding leaves of the generator's."""
        return _latent_dim(self.generator) - self.embedding_dim

    @property
    def draws(self) -> bool:
        """Whether the generator draws from keys besides its latents."""
        return getattr(self.generator, "draws", False)

    @nn.compact
    def __call__(
        self,
        latents: Float[Array, "batch latent"],
        *,
        labels: Int[Array, "batch"],
        train: bool,
        keys: Key[Array, "batch"] | None = None,
    ) -> Float[Array, "batch height width channels"]:
        """Standard normal latents and labels to images in [0, 1]; `keys` is for a generator that draws."""
        embedded = nn.Embed(self.num_classes, self.embedding_dim, embedding_init=_embedding_init)(labels)
        drawn = {"keys": keys} if self.draws else {}
        both = jnp.concatenate([latents, embedded.astype(latents.dtype)], axis=1)
        images: Array = self.generator(both, **drawn, train=train)
        return images


class Discriminator(nn.Module):
    """A discriminator whose images are ours, and beside their channels planes that are an embedding of the label.

    Args:
        discriminator: Any unconditional discriminator; its `channels` count the planes.
        num_classes: Labels are 0 to `num_classes - 1`.
        planes: Channels of an embedding, each of the image's size.
        dtype: What the discriminator computes in, where it does not say so itself.

    Raises:
        ConfigError: If a size is below 1.
    """

    discriminator: nn.Module
    num_classes: int
    planes: int = 1
    dtype: Dtype | None = None

    def __post_init__(self) -> None:
        _require_positive(self, "num_classes", "planes")
        self.discriminator = computing_in(self.dtype, self.discriminator)
        super().__post_init__()

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width channels"], *, labels: Int[Array, "batch"], train: bool
    ) -> Any:
        """What the discriminator says of images in [0, 1] and labels."""
        batch, height, width, _ = images.shape
        table = nn.Embed(self.num_classes, height * width * self.planes, embedding_init=_embedding_init)
        # The networks take [0, 1] to [-1, 1]: inside, planes are the embedding itself.
        planes = from_signed(table(labels)).reshape(batch, height, width, self.planes)
        both = jnp.concatenate([images, planes.astype(images.dtype)], axis=-1)
        return self.discriminator(both, train=train)


def _latent_dim(generator: nn.Module) -> int:
    return getattr(generator, "latent_dim", 0)


def _require_positive(module: Generator | Discriminator, *names: str) -> None:
    for name in names:
        if getattr(module, name) < 1:
            raise ConfigError(f"{name} = {getattr(module, name)} must be at least 1")
