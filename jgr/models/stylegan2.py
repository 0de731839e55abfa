"""StyleGAN2 (Karras et al. 2020, arXiv:1912.04958), with labels as in StyleGAN2-ADA (2020, arXiv:2006.06676).

A mapping network makes a style of each latent, and every layer of the synthesis network is modulated by a style, so
that styles can be truncated, mixed and moved along. The generator's methods `map`, `mean_style` and `synthesise` are
for that: `generator.apply(variables, latents, method="map")`.

The networks for CIFAR-10 are `width=512, num_classes=10` with `mapping_layers=2` in the generator, 20,215,315
parameters, and `residual=False, group_size=32` in the discriminator, 23,089,664; those for 1024 pixels are `width=32`,
30,370,060 and 29,012,513.
"""

import math

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype
from jaxtyping import Array, Float, Int, Key

from jgr.errors import ConfigError
from jgr.images import from_signed, to_signed
from jgr.layers.equalized import EqualizedConv, EqualizedDense
from jgr.layers.fir import downsampled, upsampled
from jgr.layers.minibatch_std import minibatch_std
from jgr.layers.modulated_conv import ModulatedConv

Images = Float[Array, "batch height width channels"]
Hidden = Float[Array, "batch height width features"]
Resized = Float[Array, "batch new_height new_width new_features"]
Styles = Float[Array, "batch layers style"]
Labels = Int[Array, "batch"]
Keys = Key[Array, "batch"]

_MAPPING_LEARNING_RATE = 0.01  # StyleGAN (arXiv:1812.04948), appendix C
_NOISE, _MIXING = 0, 1  # what an image's key is for


class Mapping(nn.Module):
    """Fully connected layers from latents, labels or both, each scaled to mean square 1, to styles; in float32.

    Args:
        features: Length of a style, of the hidden layers and of a label's embedding.
        num_layers: Of fully connected layers.
        num_classes: Of labels; None for none.
    """

    features: int
    num_layers: int
    num_classes: int | None = None

    @nn.compact
    def __call__(
        self, latents: Float[Array, "batch latent"] | None, labels: Labels | None
    ) -> Float[Array, "batch style"]:
        """Styles of latents, labels or both."""
        parts = [] if latents is None else [_scaled_to_one(latents.astype("float32"))]
        if self.num_classes is not None:
            embed = EqualizedDense(self.features, name="embed")
            parts.append(_scaled_to_one(embed(jax.nn.one_hot(labels, self.num_classes))))
        hidden = jnp.concatenate(parts, axis=1)
        for number in range(self.num_layers):
            layer = EqualizedDense(self.features, learning_rate=_MAPPING_LEARNING_RATE, name=f"dense_{number}")
            hidden = _activated(layer(hidden))
        return hidden


class StyledLayer(nn.Module):
    """Modulated convolution, noise, bias and activation (figure 2d).

    Args:
        features: Channels of the result.
        upsample: Whether the sides become twice as long.
        dtype: Of the computation; promoted from images and parameters when None.
    """

    features: int
    upsample: bool = False
    dtype: Dtype | None = None

    @nn.compact
    def __call__(
        self,
        hidden: Hidden,
        styles: Float[Array, "batch style"],
        noise: Float[Array, "batch new_height new_width 1"] | None,
    ) -> Resized:
        """One style an image; the noise is the same for all channels, None for none."""
        made = ModulatedConv(self.features, upsample=self.upsample, dtype=self.dtype, name="conv")(hidden, styles)
        strength = self.param("noise_strength", nn.initializers.zeros_init(), (), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros_init(), (self.features,), jnp.float32)
        if noise is not None:
            made = made + (strength * noise).astype(made.dtype)
        return _activated(made + bias.astype(made.dtype).reshape(1, 1, 1, -1))


class SynthesisLevel(nn.Module):
    """The layers of one resolution, and what they add to the image (figure 7b, the generator with output skips).

    Args:
        features: Channels of its layers.
        channels: Of the image.
        is_first: Whether it is the coarsest: one layer that does not upsample, instead of two of which the first does.
        dtype: Of the computation; promoted from images and parameters when None.
    """

    features: int
    channels: int
    is_first: bool = False
    dtype: Dtype | None = None

    @nn.compact
    def __call__(
        self,
        hidden: Hidden,
        image: Images | None,
        styles: Styles,
        noises: list[Float[Array, "batch side side 1"] | None],
    ) -> tuple[Resized, Float[Array, "batch new_height new_width channels"]]:
        """The next features and float32 image; a style and a noise for each layer, and a style for the image's."""
        for number, noise in enumerate(noises):
            upsample = number == 0 and not self.is_first
            layer = StyledLayer(self.features, upsample, self.dtype, name=f"layer_{number}")
            hidden = layer(hidden, styles[:, number], noise)
        to_image = ModulatedConv(self.channels, 1, demodulate=False, dtype=self.dtype, name="to_image")
        bias = self.param("bias", nn.initializers.zeros_init(), (self.channels,), jnp.float32)
        added = to_image(hidden, styles[:, len(noises)]).astype("float32") + bias.reshape(1, 1, 1, -1)
        return hidden, added if image is None else upsampled(image) + added


class Generator(nn.Module):
    """Latents to styles, and a learned constant through layers that the styles modulate to an image.

    The mean of the styles that training has seen is kept in the collection "style_average".

    Args:
        image_size: Rows and columns of an image: s * 2^n, s in 4..7, n >= 1; s, 4 in the paper, is the side of the
            constant.
        channels: Channels of an image.
        latent_dim: Length of a latent vector.
        style_dim: Length of a style.
        mapping_layers: Layers from latent to style; the authors have 2 for CIFAR-10.
        width: Channels at the image's size; they double with every coarser level.
        max_width: Upper bound of a level's channels.
        num_classes: Classes of labels; None for an unconditional generator.
        mixing: Probability that an image of the training has two styles, which train the layers to be independent.
        average_decay: How much of the styles' mean an update keeps; StyleGAN2 and StyleGAN2-ADA have 0.995, StyleGAN3's
            authors 0.998.
        dtype: Of the synthesis; promoted from parameters when None. The mapping and the image's sum are float32.
        remat: Whether the gradient computes each level again instead of keeping what it needs: less memory, more time.

    Raises:
        ConfigError: If a field is impossible, latents are of another length, or labels are missing or not wanted.
    """

    image_size: int
    channels: int = 3
    latent_dim: int = 512
    style_dim: int = 512
    mapping_layers: int = 8
    width: int = 64
    max_width: int = 512
    num_classes: int | None = None
    mixing: float = 0.9
    average_decay: float = 0.995
    dtype: Dtype | None = None
    remat: bool = False

    draws = True  # noise, and the second styles of mixing

    def __post_init__(self) -> None:
        _require_possible(self, "channels", "latent_dim", "style_dim", "mapping_layers", "width", "max_width")
        if not 0 <= self.mixing <= 1:
            raise ConfigError(f"mixing = {self.mixing} must be a probability")
        if not 0 <= self.average_decay < 1:
            raise ConfigError(f"average_decay = {self.average_decay} must be at least 0 and below 1")
        super().__post_init__()

    @property
    def num_layers(self) -> int:
        """Styles of an image: one for each convolution, and one for the last layer, which makes the image."""
        return 2 * len(_widths(self))

    def setup(self) -> None:
        """Declares the networks."""
        self.mapping = Mapping(self.style_dim, self.mapping_layers, self.num_classes)
        self.average = self.variable("style_average", "mean", jnp.zeros, (self.style_dim,), jnp.float32)
        *finer, coarsest = _widths(self)
        side = self.image_size >> len(finer)
        self.constant = self.param("constant", nn.initializers.normal(1.0), (side, side, coarsest), jnp.float32)
        level = nn.remat(SynthesisLevel) if self.remat else SynthesisLevel
        self.levels = [
            level(features, self.channels, number == 0, self.dtype)
            for number, features in enumerate([coarsest, *reversed(finer)])
        ]

    def __call__(
        self,
        latents: Float[Array, "batch latent"],
        *,
        labels: Labels | None = None,
        keys: Keys | None = None,
        train: bool,
    ) -> Images:
        """Standard normal latents to float32 images in [0, 1], but see `synthesise` on `train`.

        Args:
            latents: One an image.
            labels: One an image, of a conditional generator.
            keys: One an image, for its noise and, with `train`, its mixing; None for neither.
            train: Whether styles are mixed, and counted in "style_average" if that is mutable.
        """
        styles = self.map(latents, labels=labels, train=train)
        if train and self.mixing and keys is not None:
            styles = self.mix(styles, labels=labels, keys=keys)
        return self.synthesise(styles, keys=keys, train=train)

    def map(
        self, latents: Float[Array, "batch latent"], *, labels: Labels | None = None, train: bool = False
    ) -> Styles:
        """The styles of latents: for each image `num_layers` equal ones.

        Args:
            latents: One an image.
            labels: One an image, of a conditional generator.
            train: Whether they are counted in "style_average", if that is mutable.
        """
        if latents.shape[1] != self.latent_dim:
            raise ConfigError(f"generator: latents of length {latents.shape[1]}, but latent_dim = {self.latent_dim}")
        _check_labels("generator", labels, self.num_classes)
        styles = self.mapping(latents, labels)
        if train and not self.is_initializing() and self.is_mutable_collection("style_average"):
            mean = jax.lax.stop_gradient(styles).mean(0)
            self.average.value = mean + self.average_decay * (self.average.value - mean)
        return jnp.repeat(styles[:, None], self.num_layers, axis=1)

    def mix(self, styles: Styles, *, labels: Labels | None = None, keys: Keys) -> Styles:
        """The styles as training mixes them (StyleGAN, section 3.1).

        With probability `mixing` an image takes the style of a second latent from a layer on, any but the first.

        Args:
            styles: Of each layer.
            labels: One an image, of a conditional generator.
            keys: One an image.
        """

        def draw(key: Key[Array, ""]) -> tuple[Float[Array, "latent"], Int[Array, ""]]:
            latent_key, chance_key, layer_key = jax.random.split(jax.random.fold_in(key, _MIXING), 3)
            crossover = jax.random.randint(layer_key, (), 1, self.num_layers)
            mixes = jax.random.uniform(chance_key) < self.mixing
            return jax.random.normal(latent_key, (self.latent_dim,)), jnp.where(mixes, crossover, self.num_layers)

        latents, crossovers = jax.vmap(draw)(keys)
        own = jnp.arange(self.num_layers).reshape(1, -1, 1) < crossovers.reshape(-1, 1, 1)
        return jnp.where(own, styles, self.mapping(latents, labels)[:, None])

    def mean_style(self) -> Float[Array, "style"]:
        """The running mean of the training's styles: what truncation pulls styles to (StyleGAN, appendix B)."""
        return self.average.value

    def synthesise(self, styles: Styles, *, keys: Keys | None = None, train: bool = False) -> Images:
        """Float32 images in [0, 1] of styles.

        Args:
            styles: Of each layer.
            keys: One an image, for its noise; None for no noise.
            train: Whether values beyond [0, 1] stay, so that the discriminator sees them and the gradient leads back.
                Without, they are clipped.
        """
        shape = (self.num_layers, self.style_dim)
        if styles.shape[1:] != shape:
            raise ConfigError(f"generator: styles of {styles.shape[1:]}, but image_size and style_dim say {shape}")
        hidden = jnp.broadcast_to(self.constant[None], (len(styles), *self.constant.shape))
        image, layer, side = None, 0, self.constant.shape[0]
        for number, level in enumerate(self.levels):
            layers = range(layer, layer + (1 if number == 0 else 2))
            noises = [_noise(keys, one, side << number) for one in layers]
            hidden, image = level(hidden, image, styles[:, layer : layers.stop + 1], noises)
            layer = layers.stop
        assert image is not None
        images = from_signed(image)
        return images if train else jnp.clip(images, 0.0, 1.0)


class DiscriminatorLevel(nn.Module):
    """Two convolutions at one resolution, of which the second halves it (figure 7c, the residual discriminator).

    Args:
        features: Channels of the result.
        residual: Whether the halved input, its channels mixed, is added.
        dtype: Of the computation; promoted from images and parameters when None.
    """

    features: int
    residual: bool = True
    dtype: Dtype | None = None

    @nn.compact
    def __call__(self, hidden: Hidden) -> Resized:
        """Images of any channels to images of half the sides."""
        made = _activated(EqualizedConv(hidden.shape[-1], dtype=self.dtype, name="conv_0")(hidden))
        made = _activated(EqualizedConv(self.features, downsample=True, dtype=self.dtype, name="conv_1")(made))
        if not self.residual:
            return made
        skip = EqualizedConv(self.features, 1, use_bias=False, dtype=self.dtype, name="skip")(downsampled(hidden))
        return (made + skip) * math.sqrt(0.5)  # the variance of one


class Discriminator(nn.Module):
    """An image through convolutions to the coarsest level, where the spread of its group is seen, and to the logit.

    With labels the last layer's features are multiplied with a mapping of the label: a projection discriminator (Miyato
    & Koyama 2018, arXiv:1802.05637) whose embedding is a network.

    Args:
        image_size: Rows and columns of an image: s * 2^n, s in 4..7, n >= 1. s is the side of the coarsest level.
        channels: Channels of an image.
        width: Channels at the image's size; they double with every coarser level.
        max_width: Upper bound of a level's channels.
        num_classes: Classes of labels; None for an unconditional discriminator.
        mapping_layers: Layers from a label's embedding on.
        group_size: Images whose standard deviation is seen, see `jgr.layers.minibatch_std`: a logit depends on the
            other images of its group. It must divide the batch, or exceed it.
        residual: Whether the levels are residual; False is "orig" in the authors' code, which they have for CIFAR-10.
        dtype: Of the computation but the last level's, which is float32; promoted from parameters when None.
        remat: Whether the gradient computes each level again instead of keeping what it needs: less memory, more time.

    Raises:
        ConfigError: If a field is impossible, images are of another size, groups do not fill the batch, or labels are
            missing or not wanted.
    """

    image_size: int
    channels: int = 3
    width: int = 64
    max_width: int = 512
    num_classes: int | None = None
    mapping_layers: int = 8
    group_size: int = 4
    residual: bool = True
    dtype: Dtype | None = None
    remat: bool = False

    def __post_init__(self) -> None:
        _require_possible(self, "channels", "width", "max_width", "mapping_layers", "group_size")
        super().__post_init__()

    @nn.compact
    def __call__(self, images: Images, *, labels: Labels | None = None, train: bool) -> Float[Array, "batch"]:
        """Images in [0, 1] to logits, positive for real; the same with and without `train`."""
        shape = (self.image_size, self.image_size, self.channels)
        if images.shape[1:] != shape:
            raise ConfigError(f"discriminator: images of {images.shape[1:]}, but image_size and channels say {shape}")
        _check_labels("discriminator", labels, self.num_classes)
        finest, *coarser = _widths(self)
        level = nn.remat(DiscriminatorLevel) if self.remat else DiscriminatorLevel
        hidden = _activated(EqualizedConv(finest, 1, dtype=self.dtype, name="from_image")(to_signed(images)))
        for number, features in enumerate(coarser):
            hidden = level(features, self.residual, self.dtype, name=f"levels_{number}")(hidden)
        width = hidden.shape[-1]
        hidden = minibatch_std(hidden.astype("float32"), self.group_size)
        hidden = _activated(EqualizedConv(width, name="last_conv")(hidden))
        hidden = _activated(EqualizedDense(width, name="dense")(hidden.reshape(len(hidden), -1)))
        if self.num_classes is None:
            return EqualizedDense(1, name="logit")(hidden)[:, 0]
        directions = Mapping(width, self.mapping_layers, self.num_classes, name="mapping")(None, labels)
        return (EqualizedDense(width, name="projected")(hidden) * directions).sum(1) / math.sqrt(width)


def _activated(values: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Leaky ReLU of slope 0.2, times sqrt 2 so that variance stays about 1."""
    return nn.leaky_relu(values, 0.2) * math.sqrt(2.0)


def _scaled_to_one(vectors: Float[Array, "batch features"]) -> Float[Array, "batch features"]:
    return vectors * jax.lax.rsqrt(jnp.square(vectors).mean(1, keepdims=True) + 1e-8)


def _noise(keys: Keys | None, layer: int, side: int) -> Float[Array, "batch side side 1"] | None:
    if keys is None:
        return None

    def draw(key: Key[Array, ""]) -> Float[Array, "side side 1"]:
        return jax.random.normal(jax.random.fold_in(jax.random.fold_in(key, _NOISE), layer), (side, side, 1))

    return jax.vmap(draw)(keys)


def _widths(module: Generator | Discriminator) -> list[int]:
    """Channels of every level, the finest first; the coarsest has 4 to 7 pixels a side."""
    num_levels = (module.image_size // 4).bit_length()
    return [min(module.width << level, module.max_width) for level in range(num_levels)]


def _check_labels(name: str, labels: Labels | None, num_classes: int | None) -> None:
    if (labels is None) != (num_classes is None):
        was = "was given no labels" if labels is None else "was given labels"
        raise ConfigError(f"{name} {was}, but num_classes = {num_classes}")


def _require_possible(module: Generator | Discriminator, *names: str) -> None:
    for name in names:
        if getattr(module, name) < 1:
            raise ConfigError(f"{name} = {getattr(module, name)} must be at least 1")
    if module.num_classes is not None and module.num_classes < 2:
        raise ConfigError(f"num_classes = {module.num_classes} must be at least 2; None for no labels")
    size = module.image_size
    if size < 8 or size % (1 << (size // 4).bit_length() - 1):
        raise ConfigError(f"image_size = {size} must be 4, 5, 6 or 7 times a power of two from 2 on")
