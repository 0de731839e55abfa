"""The very deep VAE (Child 2021, arXiv:2011.10650): latents in many groups, from one pixel to the image's resolution.

Images go up through an encoder without randomness; its features of every resolution meet a decoder that goes down and
draws a group of latents after another. Prior and posterior of a group share the way down, as in the ladder VAE
(Sønderby et al. 2016), whose posterior multiplies two normal distributions where this one joins their features.

It differs from github.com/openai/vdvae in that the encoder has as many blocks as the decoder, log-variances are
bounded, and the features before the last layer have no gain and bias of their own.
"""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype, Initializer
from jaxtyping import Array, Float, Int, Key

from jgr.errors import ConfigError
from jgr.images import to_signed
from jgr.layers import Conv, pixel_shuffle, pixel_unshuffle
from jgr.layers.pointwise import Pointwise
from jgr.losses.gaussian import DiagonalGaussian
from jgr.models.vae_inputs import one_hot
from jgr.rng import folded

Labels = Int[Array, "batch"] | None
Hidden = Float[Array, "batch height width features"]
Latents = Float[Array, "batch height width latents"]
Features = tuple[Float[Array, "batch _ _ features"], ...]


class Pass(NamedTuple):
    """What becomes of images on the way down.

    Args:
        outputs: What a likelihood needs.
        divergence: KL(q || p) of each group, of the groups above as they were drawn, in nats.
        log_ratio: Log p - log q of what was drawn of each group: in expectation minus the divergence.
    """

    outputs: Float[Array, "batch height width outputs"]
    divergence: Float[Array, "groups batch"]
    log_ratio: Float[Array, "groups batch"]


class Bottleneck(nn.Module):
    """Four convolutions, each after a GELU: 1x1 to few channels, twice 3x3, 1x1 (Child 2021, figure 3).

    Args:
        features: Channels of the result.
        width: Channels within.
        last_init: Of the last kernel.
        dtype: Of the computation; promoted from inputs and parameters when None.
    """

    features: int
    width: int
    last_init: Initializer = nn.initializers.lecun_normal()
    dtype: Dtype | None = None

    @nn.compact
    def __call__(self, hidden: Hidden) -> Float[Array, "batch height width new_features"]:
        """Images of any channels to images of `features`; on 2x2 pixels and fewer all convolutions are 1x1."""
        spatial = hidden.shape[1] > 2
        hidden = Pointwise(self.width, dtype=self.dtype, name="first")(nn.gelu(hidden))
        for name in ("second", "third"):
            layer = (
                Conv(self.width, (3, 3), dtype=self.dtype, name=name)
                if spatial
                else Pointwise(self.width, dtype=self.dtype, name=name)
            )
            hidden = layer(nn.gelu(hidden))
        last = Pointwise(self.features, kernel_init=self.last_init, dtype=self.dtype, name="last")
        return last(nn.gelu(hidden))


class StochasticBlock(nn.Module):
    """Draws a group of latents and adds what they say (Child 2021, figure 3, right).

    Args:
        latent_channels: Latents of each pixel.
        bottleneck: Channels within residual branches.
        last_init: Of the kernels whose results are added.
        dtype: Of the computation; promoted from inputs and parameters when None.
    """

    latent_channels: int
    bottleneck: int
    last_init: Initializer
    dtype: Dtype | None = None

    @nn.compact
    def __call__(
        self, hidden: Hidden, features: Hidden | None, noise: Latents
    ) -> tuple[Hidden, DiagonalGaussian, DiagonalGaussian]:
        """What comes from above, and of the image, to what goes down, the prior, and what the noise was put into.

        Args:
            hidden: From above.
            features: Of the encoder; None to draw from the prior.
            noise: Standard normal, or less.
        """
        width, count = hidden.shape[-1], self.latent_channels
        zeros = nn.initializers.zeros_init()  # the first prior is N(0, 1), as in the released code
        above = Bottleneck(2 * count + width, self.bottleneck, zeros, self.dtype, name="prior")(hidden)
        chosen = prior = _gaussian(above[..., : 2 * count])
        if features is not None:
            both = jnp.concatenate([hidden, features], axis=-1)
            chosen = _gaussian(Bottleneck(2 * count, self.bottleneck, dtype=self.dtype, name="posterior")(both))
        latents = chosen.at(noise)
        told = Pointwise(width, kernel_init=self.last_init, dtype=self.dtype, name="latents")(latents)
        hidden = hidden + above[..., 2 * count :] + told
        branch = Bottleneck(width, self.bottleneck, self.last_init, self.dtype, name="residual")
        return hidden + branch(hidden), prior, chosen


class VDVAE(nn.Module):
    """Encoder, decoder and prior of a hierarchical VAE. Labels, where there are classes, join the decoder only.

    Args:
        blocks: Side of a resolution and its number of blocks, from the coarsest to the finest, each side a multiple of
            the one before. The decoder draws a group of latents in every block; the encoder has as many blocks.
        patch: Side of the squares of the image's pixels that are one pixel of the finest resolution: 1 as in the paper;
            with 2 its blocks cost a quarter.
        channels: Of the images.
        outputs: Of each pixel, as the likelihood needs them; None for as many as the images have channels.
        width: Channels of what goes up and down.
        bottleneck: Channels within residual branches; the paper's are a quarter of `width`.
        latent_channels: Latents of each pixel of a group.
        num_classes: Labels are 0 to `num_classes - 1`; None for none.
        brightness: Mean of the data's values: where outputs are logits, they begin near its own. 0.5 begins at 0.
        dtype: Of the computation; promoted from inputs and parameters when None.

    Raises:
        ConfigError: If a size is impossible, or images do not fit.
    """

    blocks: tuple[tuple[int, int], ...]
    patch: int = 1
    channels: int = 1
    outputs: int | None = None
    width: int = 64
    bottleneck: int = 16
    latent_channels: int = 16
    num_classes: int | None = None
    brightness: float = 0.5
    dtype: Dtype | None = None

    def __post_init__(self) -> None:
        for name in ("patch", "channels", "outputs", "width", "bottleneck", "latent_channels", "num_classes"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} = {value} must be at least 1")
        if not self.blocks or min(map(min, self.blocks)) < 1:
            raise ConfigError(f"blocks = {self.blocks} must be pairs of a side and a number of blocks, at least 1 each")
        sides = self._sides
        if any(fine % coarse or fine == coarse for coarse, fine in itertools.pairwise(sides)):
            raise ConfigError(f"blocks = {self.blocks}: the sides must rise, each a multiple of the one before")
        if not 0.0 < self.brightness < 1.0:
            raise ConfigError(f"brightness = {self.brightness} must lie between 0 and 1")
        super().__post_init__()

    @property
    def num_groups(self) -> int:
        """Groups of latents."""
        return sum(count for _, count in self.blocks)

    def setup(self) -> None:
        """The layers; what residual branches add begins so small that its sum does not grow with their number."""
        small = nn.initializers.variance_scaling(1.0 / self.num_groups, "fan_in", "truncated_normal")
        counts = [range(count) for _, count in self.blocks]
        self.stem = Conv(self.width, (3, 3), dtype=self.dtype)
        self.up = [[Bottleneck(self.width, self.bottleneck, small, self.dtype) for _ in each] for each in counts]
        self.down = [
            [StochasticBlock(self.latent_channels, self.bottleneck, small, self.dtype) for _ in each] for each in counts
        ]
        zeros = nn.initializers.zeros_init()
        self.biases = [self.param(f"bias_{side}", zeros, (1, side, side, self.width)) for side in self._sides]
        if self.num_classes is not None:
            self.classes = [nn.Dense(self.width, use_bias=False, dtype=self.dtype) for _ in self.blocks]
        self.last = Pointwise((self.outputs or self.channels) * self.patch**2, dtype=self.dtype)

    def __call__(
        self,
        images: Float[Array, "batch height width channels"],
        keys: Key[Array, "batch"],
        *,
        labels: Labels = None,
        train: bool,
    ) -> Pass:
        """Images in [0, 1] up and down, with latents drawn by the keys; the same with and without `train`."""
        return self.decode(self.encode(images), keys, labels=labels)

    def encode(self, images: Float[Array, "batch height width channels"]) -> Features:
        """Features of images in [0, 1], from the coarsest to the finest: all that `decode` needs of them."""
        side = self._sides[-1] * self.patch
        if images.shape[1:] != (side, side, self.channels):
            raise ConfigError(
                f"VDVAE: images of {'x'.join(map(str, images.shape[1:]))}, but blocks end with {self._sides[-1]}, "
                f"patch = {self.patch} and channels = {self.channels}: they must be {side}x{side}x{self.channels}"
            )
        hidden, found = self.stem(pixel_unshuffle(to_signed(images), self.patch)), []
        for level in reversed(range(len(self.blocks))):
            for block in self.up[level]:
                hidden = hidden + block(hidden)
            found.append(hidden)
            if level:
                hidden = _shrunk(hidden, self._sides[level] // self._sides[level - 1])
        return tuple(reversed(found))

    def decode(
        self, features: Features, keys: Key[Array, "batch"], temperature: float = 1.0, *, labels: Labels = None
    ) -> Pass:
        """Features down, with latents of the posteriors.

        Args:
            features: As `encode` gave them.
            keys: One a record, for all its noise.
            temperature: What deviations are multiplied by; 0 for the means.
            labels: Where there are classes.
        """
        return self._descend(features, keys, temperature, labels)

    def generate(
        self, keys: Key[Array, "batch"], temperature: float = 1.0, *, labels: Labels = None
    ) -> Float[Array, "batch height width outputs"]:
        """Outputs of latents from the priors. Arguments as of `decode`."""
        return self._descend(None, keys, temperature, labels).outputs

    def _descend(
        self, features: Features | None, keys: Key[Array, "batch"], temperature: float, labels: Labels
    ) -> Pass:
        side = self._sides[0]
        hidden = jnp.zeros((len(keys), side, side, self.width))
        classes = one_hot(labels, self.num_classes, len(keys))
        divergences: list[Array] = []
        log_ratios: list[Array] = []
        for level, bias in enumerate(self.biases):
            if level:
                hidden = _enlarged(hidden, self._sides[level] // self._sides[level - 1])
            hidden = hidden + bias
            if self.num_classes is not None:
                hidden = hidden + self.classes[level](classes)[:, None, None, :]
            for block in self.down[level]:
                noise = temperature * _normal(
                    folded(keys, len(divergences)), (*hidden.shape[1:3], self.latent_channels)
                )
                hidden, prior, chosen = block(hidden, None if features is None else features[level], noise)
                latents = chosen.at(noise)
                divergences.append(chosen.divergence(prior).sum(axis=(1, 2, 3)))
                log_ratios.append((prior.log_prob(latents) - chosen.log_prob(latents)).sum(axis=(1, 2)))
        offset = math.log(self.brightness / (1.0 - self.brightness))
        outputs = pixel_shuffle(self.last(hidden).astype("float32"), self.patch) + offset
        return Pass(outputs, jnp.stack(divergences), jnp.stack(log_ratios))

    @property
    def _sides(self) -> Sequence[int]:
        return [side for side, _ in self.blocks]


def _gaussian(outputs: Float[Array, "batch height width both"]) -> DiagonalGaussian:
    return DiagonalGaussian.bounded(*jnp.split(outputs.astype("float32"), 2, axis=-1))


def _shrunk(hidden: Hidden, times: int) -> Float[Array, "batch new_height new_width features"]:
    """Means of blocks of pixels."""
    batch, height, width, features = hidden.shape
    return hidden.reshape(batch, height // times, times, width // times, times, features).mean(axis=(2, 4))


def _enlarged(hidden: Hidden, times: int) -> Float[Array, "batch new_height new_width features"]:
    """Every pixel as a block of its own."""
    return jnp.repeat(jnp.repeat(hidden, times, axis=1), times, axis=2)


def _normal(keys: Key[Array, "batch"], shape: tuple[int, ...]) -> Float[Array, "batch height width latents"]:
    return jax.vmap(lambda key: jax.random.normal(key, shape))(keys)
