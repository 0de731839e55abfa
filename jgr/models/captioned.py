"""Networks that are told captions, whatever their architecture: a text's vector joins latents or features.

What other networks take as `labels` are `tokens` here, as `jgr.data.captions.Captions` makes them. Each network has an
encoder of its own, which its own optimiser trains.
"""

import inspect
import math
import zlib
from typing import Any, ClassVar, Literal

import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype
from jaxtyping import Array, Float, Int, Key

from jgr.data.vocabulary import PAD
from jgr.errors import ConfigError
from jgr.layers import Conv
from jgr.layers.fusion import Fusion
from jgr.losses.gaussian import DiagonalGaussian
from jgr.models.wrapping import AroundRestorer, computing_in
from jgr.rng import folded

_TEXT = zlib.crc32(b"text")  # what a record's key is folded with for its text, which tells nothing about other draws

Tokens = Int[Array, "batch length"]
Kind = Literal["concat", "add", "mul", "film"]


class Generator(nn.Module):
    """A generator whose latents are fused with a text's vector.

    Args:
        generator: Any unconditional generator with an int `latent_dim`, which is the width of the fused vector.
        text_encoder: See `jgr.models.text_encoders`.
        fusion: How, see `jgr.layers.fusion.Fusion`; "mul" wants `latents` of another length, for only then has what
            it multiplies a bias.
        latents: Length of a latent vector; as wide as the fused vector when None. Fewer leave more to the text.
        dtype: What both compute in, where they do not say so themselves.

    Raises:
        ConfigError: If `latents` is below 1.
    """

    generator: nn.Module
    text_encoder: nn.Module
    fusion: Kind = "concat"
    latents: int | None = None
    dtype: Dtype | None = None

    def __post_init__(self) -> None:
        _require_latents(self.latents)
        self.generator = computing_in(self.dtype, self.generator)
        self.text_encoder = computing_in(self.dtype, self.text_encoder)
        super().__post_init__()

    @property
    def latent_dim(self) -> int:
        """Length of a latent vector."""
        return self._width if self.latents is None else self.latents

    @property
    def _width(self) -> int:
        return getattr(self.generator, "latent_dim", 0)

    @property
    def draws(self) -> bool:
        """Whether the generator, or the text's encoder, draws from keys besides the latents."""
        return getattr(self.generator, "draws", False) or self.draws_text

    @property
    def draws_text(self) -> bool:
        """Whether the text's vector is drawn: `jgr.models.text_encoders.Augmented`."""
        return getattr(self.text_encoder, "draws", False)

    def divergence(self, labels: Tokens) -> Float[Array, "batch"]:
        """KL divergence from N(0, 1), in nats a value, of what each text's vector is drawn from."""
        found: DiagonalGaussian = self.text_encoder.distribution(labels, labels != PAD, train=True)
        return found.divergence().mean(axis=-1)

    @nn.compact
    def __call__(
        self,
        latents: Float[Array, "batch latent"],
        *,
        labels: Tokens,
        train: bool,
        keys: Key[Array, "batch"] | None = None,
    ) -> Float[Array, "batch height width channels"]:
        """Standard normal latents and tokens to images in [0, 1]; `keys` is for a generator or a text that is drawn."""
        drawn = {"keys": None if keys is None else folded(keys, _TEXT)} if self.draws_text else {}
        text = self.text_encoder(labels, labels != PAD, train=train, **drawn)
        fused = Fusion(self.fusion, self._width, dtype=self.dtype, name="fusion")(latents, text)
        of_network = {"keys": keys} if getattr(self.generator, "draws", False) else {}
        images: Array = self.generator(fused, **of_network, train=train)
        return images


class Head(nn.Module):
    """A discriminator's head that is told captions: features through a matrix, fused with a text's vector, to a logit.

    It can be asked about several captions of each image at once, [batch, captions, length]: an image's features are
    then computed once, and `judges_several` says so to a task.

    Args:
        text_encoder: See `jgr.models.text_encoders`.
        fusion: How, see `jgr.layers.fusion.Fusion`.
        width: Of the fused features.
        dtype: Of the computation; promoted from inputs and parameters when None.

    Raises:
        ConfigError: If the width is below 1, or it is given no tokens.
    """

    judges_several: ClassVar[bool] = True

    text_encoder: nn.Module
    fusion: Kind = "concat"
    width: int = 256
    dtype: Dtype | None = None

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ConfigError(f"width = {self.width} must be at least 1")
        super().__post_init__()

    @nn.compact
    def __call__(
        self,
        features: Float[Array, "batch features"],
        *,
        labels: Int[Array, "batch *captions length"] | None,
        train: bool,
    ) -> Float[Array, "batch *captions"]:
        """Float32 logits of features and tokens; see `jgr.layers.heads`."""
        if labels is None:
            raise ConfigError("discriminator: this head needs captions; set config.task.captions")
        *asked, length = labels.shape
        tokens = labels.reshape(-1, length)
        text = self.text_encoder(tokens, tokens != PAD, train=train)
        hidden = nn.leaky_relu(nn.Dense(self.width, dtype=self.dtype, name="features")(features), 0.2)
        hidden = jnp.repeat(hidden, math.prod(asked[1:]), axis=0)
        hidden = nn.leaky_relu(Fusion(self.fusion, self.width, dtype=self.dtype, name="fusion")(hidden, text), 0.2)
        logits: Array = nn.Dense(1, dtype=self.dtype, name="logit")(hidden).reshape(asked)
        return logits.astype("float32")


class Encoder(nn.Module):
    """q(z | x, t): an encoder of images whose posterior's numbers are fused with a text's vector.

    Args:
        encoder: Any unconditional encoder of a VAE.
        text_encoder: See `jgr.models.text_encoders`.
        fusion: How, see `jgr.layers.fusion.Fusion`.
        dtype: What both compute in, where they do not say so themselves.
    """

    encoder: nn.Module
    text_encoder: nn.Module
    fusion: Kind = "concat"
    dtype: Dtype | None = None

    def __post_init__(self) -> None:
        self.encoder = computing_in(self.dtype, self.encoder)
        self.text_encoder = computing_in(self.dtype, self.text_encoder)
        super().__post_init__()

    @property
    def latent_dim(self) -> int:
        """Length of a latent vector: the encoder's."""
        return getattr(self.encoder, "latent_dim", 0)

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width channels"], *, labels: Tokens, train: bool
    ) -> DiagonalGaussian:
        """Images in [0, 1] and tokens to a posterior."""
        text = self.text_encoder(labels, labels != PAD, train=train)
        seen: Any = self.encoder(images, train=train)
        mean = Fusion(self.fusion, self.latent_dim, name="mean_fusion")(seen.mean, text)
        log_variance = Fusion(self.fusion, self.latent_dim, name="variance_fusion")(seen.log_variance, text)
        return DiagonalGaussian.bounded(mean, log_variance)


class Decoder(nn.Module):
    """p(x | z, t): a decoder whose latents are fused with a text's vector.

    Args:
        decoder: Any unconditional decoder of a VAE, whose `latent_dim` is the width of the fused vector.
        text_encoder: See `jgr.models.text_encoders`.
        fusion: How, see `jgr.layers.fusion.Fusion`.
        latents: Length of a latent vector; as wide as the fused vector when None. Fewer leave more to the text.
        dtype: What both compute in, where they do not say so themselves.

    Raises:
        ConfigError: If `latents` is below 1.
    """

    decoder: nn.Module
    text_encoder: nn.Module
    fusion: Kind = "concat"
    latents: int | None = None
    dtype: Dtype | None = None

    def __post_init__(self) -> None:
        _require_latents(self.latents)
        self.decoder = computing_in(self.dtype, self.decoder)
        self.text_encoder = computing_in(self.dtype, self.text_encoder)
        super().__post_init__()

    @property
    def latent_dim(self) -> int:
        """Length of a latent vector."""
        return self._width if self.latents is None else self.latents

    @property
    def _width(self) -> int:
        return getattr(self.decoder, "latent_dim", 0)

    @nn.compact
    def __call__(
        self, latents: Float[Array, "batch latent"], *, labels: Tokens, train: bool
    ) -> Float[Array, "batch height width outputs"]:
        """Latents and tokens to what a likelihood needs."""
        text = self.text_encoder(labels, labels != PAD, train=train)
        fused = Fusion(self.fusion, self._width, dtype=self.dtype, name="fusion")(latents, text)
        outputs: Array = self.decoder(fused, train=train)
        return outputs


class Prior(nn.Module):
    """p(z | t): of a text's vector the mean and the variance of latents, which begin as N(0, 1).

    Args:
        text_encoder: See `jgr.models.text_encoders`.
        latent_dim: Length of a latent vector.
        dtype: Of the encoder's computation, where it does not say so itself.

    Raises:
        ConfigError: If the length is below 1.
    """

    text_encoder: nn.Module
    latent_dim: int
    dtype: Dtype | None = None

    def __post_init__(self) -> None:
        if self.latent_dim < 1:
            raise ConfigError(f"latent_dim = {self.latent_dim} must be at least 1")
        self.text_encoder = computing_in(self.dtype, self.text_encoder)
        super().__post_init__()

    @nn.compact
    def __call__(self, *, labels: Tokens, train: bool) -> DiagonalGaussian:
        """Tokens to a distribution of latents."""
        text = self.text_encoder(labels, labels != PAD, train=train)
        outputs = nn.Dense(2 * self.latent_dim, kernel_init=nn.initializers.zeros, name="latents")(text)
        return DiagonalGaussian.bounded(*jnp.split(outputs.astype("float32"), 2, axis=-1))


class Restorer(AroundRestorer, nn.Module):
    """A restoration network that is told captions: of each pixel, features that know the text join its channels.

    A convolution makes features of the degraded image; fused with the text's vector they follow the image and its maps
    as further conditions, so that any network of `jgr.models` can be told captions.

    Args:
        network: Any restoration network that takes conditions after the image's channels.
        text_encoder: See `jgr.models.text_encoders`.
        fusion: How, see `jgr.layers.fusion.Fusion`.
        width: Fused features of each pixel.
        dtype: What all compute in, where they do not say so themselves.

    Raises:
        ConfigError: If the width is below 1.
    """

    network: nn.Module
    text_encoder: nn.Module
    fusion: Kind = "film"
    width: int = 16
    dtype: Dtype | None = None

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ConfigError(f"width = {self.width} must be at least 1")
        self.network = computing_in(self.dtype, self.network)
        self.text_encoder = computing_in(self.dtype, self.text_encoder)
        super().__post_init__()

    @property
    def draws(self) -> bool:
        """Whether the network draws from keys."""
        return getattr(self.network, "draws", False)

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "batch height width inputs"],
        *,
        labels: Tokens,
        train: bool,
        keys: Key[Array, "batch"] | None = None,
    ) -> Float[Array, "batch new_height new_width channels"]:
        """Degraded images in [0, 1] with maps, and tokens, to what the network gives; `keys` is for one that draws."""
        text = self.text_encoder(labels, labels != PAD, train=train)
        hidden = Conv(self.width, (3, 3), dtype=self.dtype, name="features")(images)
        fused = nn.leaky_relu(Fusion(self.fusion, self.width, dtype=self.dtype, name="fusion")(hidden, text), 0.2)
        told = jnp.concatenate([images, fused.astype(images.dtype)], axis=-1)
        restored: Array = self.network(told, **({"keys": keys} if self.draws else {}), train=train)
        return restored


class CodeRestorer(AroundRestorer, nn.Module):
    """A restoration network whose code is told captions: what a text says of the whole image meets the image there.

    The way for holes that pixels nearby say nothing about; `Restorer` is for networks without a code. How both are
    fused is the network's own `fusion`.

    Args:
        network: A restoration network that takes a vector as `told`: `jgr.models.encoder_decoder.EncoderDecoder`.
        text_encoder: See `jgr.models.text_encoders`.
        dtype: What both compute in, where they do not say so themselves.

    Raises:
        ConfigError: If the network has no place for a vector.
    """

    network: nn.Module
    text_encoder: nn.Module
    dtype: Dtype | None = None

    def __post_init__(self) -> None:
        if "told" not in inspect.signature(type(self.network).__call__).parameters:
            raise ConfigError(
                f"network: {type(self.network).__qualname__} has no code that could be told captions; take "
                "jgr.models.encoder_decoder.EncoderDecoder, or jgr.models.captioned.Restorer around this one"
            )
        self.network = computing_in(self.dtype, self.network)
        self.text_encoder = computing_in(self.dtype, self.text_encoder)
        super().__post_init__()

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width inputs"], *, labels: Tokens, train: bool
    ) -> Float[Array, "batch new_height new_width channels"]:
        """Degraded images in [0, 1] with maps, and tokens, to what the network gives."""
        text = self.text_encoder(labels, labels != PAD, train=train)
        restored: Array = self.network(images, told=text, train=train)
        return restored


def _require_latents(latents: int | None) -> None:
    if latents is not None and latents < 1:
        raise ConfigError(f"latents = {latents} must be at least 1, or None")
