"""R3GAN, residual networks without normalisation (Huang et al. 2024, arXiv:2501.05441, configuration E).

Generator and discriminator mirror each other. A level is a bilinear change of size (the filter 1, 3, 3, 1), a 1x1
convolution where the width changes, and residual blocks of a 1x1, a grouped 3x3 and a 1x1 convolution; the coarsest has
learned 4x4 maps in place of a change of size. They are meant for `jgr.losses.adversarial.relativistic` with
`jgr.losses.penalties.R1` and `R2` in every step.
"""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from flax.linen.dtypes import promote_dtype
from flax.typing import Dtype
from jaxtyping import Array, Float, Int

from jgr.errors import ConfigError
from jgr.images import from_signed, to_signed
from jgr.layers import Conv
from jgr.layers.fir import downsampled, upsampled
from jgr.layers.pointwise import Pointwise

Images = Float[Array, "batch height width channels"]
Hidden = Float[Array, "batch height width features"]
Widened = Float[Array, "batch height width new_features"]
Labels = Int[Array, "batch"]

VARIANTS: Mapping[str, Mapping[str, Any]] = {  # of both networks, table 9; parameters of generator and discriminator
    # 20,781,952 and 21,280,512; for Stacked MNIST without classes 20,732,160 and 20,683,776
    "cifar10": {"image_size": 32, "widths": (768,) * 4, "num_classes": 10},
    # 22,429,824 and 22,381,440
    "ffhq64": {"image_size": 64, "widths": (768,) * 4 + (384,)},
    # 23,057,952 and 23,009,568
    "ffhq256": {"image_size": 256, "widths": (768,) * 4 + (384, 192, 96)},
    # 82,914,304 and 86,548,992
    "imagenet32": {"image_size": 32, "widths": (1536,) * 4, "group_channels": 32, "num_classes": 1000},
    # 103,570,432 and 107,205,120
    "imagenet64": {"image_size": 64, "widths": (1536,) * 5, "group_channels": 32, "num_classes": 1000},
}

_EXPANSION = 2  # of a block's inner width: the inverted bottleneck of section 3
_SLOPE = 0.2
_GAIN = 2 / (1 + _SLOPE**2)  # He et al. 2015, equation 14: what a leaky ReLU takes of the variance

_activated = partial(nn.leaky_relu, negative_slope=_SLOPE)
_fan_in_init = nn.initializers.variance_scaling(1.0, "fan_in", "normal")


class ResidualBlock(nn.Module):
    """1x1 convolution to twice the width, grouped 3x3, 1x1 back; leaky ReLU between them.

    The last one starts at zero, so that a block starts as the identity. The other two start L^-1/4 times as large as
    usual in a network of L blocks (Zhang et al. 2019, Fixup; section 3 of the paper).

    Args:
        group_channels: Channels of a group of the 3x3 convolution.
        num_blocks: Blocks of the whole network.
        dtype: Of the computation; promoted from inputs and parameters when None.
    """

    group_channels: int
    num_blocks: int
    dtype: Dtype | None = None

    @nn.compact
    def __call__(self, hidden: Hidden) -> Hidden:
        """Images of any channels to images of the same."""
        width = hidden.shape[-1]
        inner = _EXPANSION * width
        init = nn.initializers.variance_scaling(_GAIN / math.sqrt(self.num_blocks), "fan_in", "normal")
        made = _activated(Pointwise(inner, kernel_init=init, dtype=self.dtype, name="enlarge")(hidden))
        grouped = Conv(
            inner,
            (3, 3),
            feature_group_count=inner // self.group_channels,
            kernel_init=init,
            dtype=self.dtype,
            name="grouped",
        )
        made = _activated(grouped(made))
        last = Pointwise(
            width, use_bias=False, kernel_init=nn.initializers.zeros_init(), dtype=self.dtype, name="shrink"
        )
        return hidden + last(made)


class Generator(nn.Module):
    """Learned maps weighted by the latents, doubled to the image.

    Args:
        image_size: Rows and columns of an image: the coarsest level's, 4 in the paper, doubled with every further one.
        channels: Channels of an image.
        latent_dim: Length of a latent vector.
        widths: Channels of each level, the coarsest first.
        blocks: Residual blocks of each level.
        group_channels: Channels of a group of the 3x3 convolutions, whose width is twice the level's: 16 gives the
            paper's 96 groups at a width of 768.
        num_classes: Number of labels, of which a learned vector as long as the latents is put beside them; None for
            images without labels.
        dtype: Of the computation, but of the coarsest level's, which the authors keep in float32; promoted from inputs
            and parameters when None.
        remat: Whether the gradient computes each block again instead of keeping what it needs: less memory, more time.

    Raises:
        ConfigError: If sizes are impossible, or latents or labels do not fit.
    """

    image_size: int
    channels: int = 3
    latent_dim: int = 64
    widths: tuple[int, ...] = (768, 768, 768, 768)
    blocks: int = 2
    group_channels: int = 16
    num_classes: int | None = None
    dtype: Dtype | None = None
    remat: bool = False

    def __post_init__(self) -> None:
        _require_possible(self, "channels", "latent_dim")
        super().__post_init__()

    @nn.compact
    def __call__(
        self, latents: Float[Array, "batch latent"], *, train: bool, labels: Labels | None = None
    ) -> Float[Array, "batch height width channels"]:
        """Standard normal latents to float32 images in [0, 1].

        The paper's generator ends without a bound. With `train`, images may leave that range, where the discriminator
        sees it and the gradient leads back; without, they are clipped.
        """
        if latents.shape[1] != self.latent_dim:
            raise ConfigError(f"generator: latents of length {latents.shape[1]}, but latent_dim = {self.latent_dim}")
        _check_labels(self, "generator", labels)
        if self.num_classes is not None and labels is not None:
            classes = nn.Embed(
                self.num_classes,
                self.latent_dim,
                embedding_init=nn.initializers.normal(1 / math.sqrt(self.num_classes)),
                name="classes",
            )
            latents = jnp.concatenate([latents, classes(labels)], axis=1)
        side, coarsest = _coarsest_side(self), self.widths[0]
        basis = self.param("basis", nn.initializers.normal(1.0), (side, side, coarsest), jnp.float32)
        weights = nn.Dense(coarsest, use_bias=False, kernel_init=_fan_in_init, name="weights")(latents)
        hidden = _blocks(self, basis[None] * weights[:, None, None, :], 0)
        (hidden,) = promote_dtype(hidden, dtype=self.dtype)
        for level, width in enumerate(self.widths[1:], start=1):
            hidden = _blocks(self, upsampled(_widened(self, hidden, width, level)), level)
        last = Pointwise(self.channels, use_bias=False, kernel_init=_fan_in_init, dtype=self.dtype, name="images")
        images = from_signed(last(hidden).astype("float32"))
        return images if train else jnp.clip(images, 0.0, 1.0)


class Discriminator(nn.Module):
    """An image halved to the coarsest level, weighted there by learned maps to features, one a channel, then the logit.

    Args:
        image_size: Rows and columns of an image: the coarsest level's, 4 in the paper, doubled with every further one.
        channels: Channels of an image.
        widths: Channels of each level, the coarsest first, as of the generator.
        blocks: Residual blocks of each level.
        group_channels: Channels of a group of the 3x3 convolutions, whose width is twice the level's.
        num_classes: Number of labels, each with a learned vector on which the features are projected (Miyato & Koyama
            2018); None for images without labels.
        dtype: Of the computation, but of the coarsest level's, which the authors keep in float32; promoted from inputs
            and parameters when None.
        remat: Whether the gradient computes each block again instead of keeping what it needs: less memory, more time.

    Raises:
        ConfigError: If sizes are impossible, or images or labels do not fit.
    """

    image_size: int
    channels: int = 3
    widths: tuple[int, ...] = (768, 768, 768, 768)
    blocks: int = 2
    group_channels: int = 16
    num_classes: int | None = None
    dtype: Dtype | None = None
    remat: bool = False

    def __post_init__(self) -> None:
        _require_possible(self, "channels")
        super().__post_init__()

    @nn.compact
    def __call__(self, images: Images, *, train: bool, labels: Labels | None = None) -> Float[Array, "batch"]:
        """Images in [0, 1] to float32 logits, positive for real; the same with and without `train`."""
        shape = (self.image_size, self.image_size, self.channels)
        if images.shape[1:] != shape:
            raise ConfigError(f"discriminator: images of {images.shape[1:]}, but image_size and channels say {shape}")
        _check_labels(self, "discriminator", labels)
        first = Pointwise(self.widths[-1], use_bias=False, kernel_init=_fan_in_init, dtype=self.dtype, name="images")
        hidden = first(to_signed(images))
        for level in reversed(range(1, len(self.widths))):
            hidden = _widened(self, downsampled(_blocks(self, hidden, level)), self.widths[level - 1], level)
        hidden = _blocks(self, hidden.astype("float32"), 0)
        side, coarsest = _coarsest_side(self), self.widths[0]
        basis = self.param("basis", nn.initializers.normal(1 / side), (side, side, coarsest), jnp.float32)
        features = (hidden * basis[None]).sum((1, 2))
        outputs = 1 if self.num_classes is None else coarsest
        logits = nn.Dense(outputs, use_bias=False, kernel_init=_fan_in_init, name="logits")(features)
        if self.num_classes is not None and labels is not None:
            # one over the number of terms as well: the variance of their sum does not grow with the width
            init = nn.initializers.normal(1 / math.sqrt(self.num_classes * coarsest))
            logits = logits * nn.Embed(self.num_classes, coarsest, embedding_init=init, name="classes")(labels)
        return logits.sum(1).astype("float32")


def _blocks(module: Generator | Discriminator, hidden: Hidden, level: int) -> Hidden:
    """The residual blocks of a level, counted from the coarsest."""
    block = nn.remat(ResidualBlock) if module.remat else ResidualBlock
    num_blocks = len(module.widths) * module.blocks
    dtype = module.dtype if level else None
    for number in range(module.blocks):
        hidden = block(module.group_channels, num_blocks, dtype, name=f"level_{level}_{number}")(hidden)
    return hidden


def _widened(module: Generator | Discriminator, hidden: Hidden, width: int, level: int) -> Widened:
    """Of another level's width."""
    if hidden.shape[-1] == width:
        return hidden
    layer = Pointwise(width, use_bias=False, kernel_init=_fan_in_init, dtype=module.dtype, name=f"level_{level}_width")
    return layer(hidden)


def _coarsest_side(module: Generator | Discriminator) -> int:
    return module.image_size >> len(module.widths) - 1


def _check_labels(module: Generator | Discriminator, name: str, labels: Labels | None) -> None:
    if (labels is None) != (module.num_classes is None):
        given = "no labels" if labels is None else "labels"
        raise ConfigError(f"{name}: {given} given, but num_classes = {module.num_classes}")


def _require_possible(module: Generator | Discriminator, *names: str) -> None:
    for name in (*names, "blocks", "group_channels"):
        if getattr(module, name) < 1:
            raise ConfigError(f"{name} = {getattr(module, name)} must be at least 1")
    if module.num_classes is not None and module.num_classes < 1:
        raise ConfigError(f"num_classes = {module.num_classes} must be at least 1, or None for images without labels")
    if not module.widths or min(module.widths) < 1:
        raise ConfigError(f"widths = {module.widths} must have one number, at least 1, for each level")
    for width in module.widths:
        if _EXPANSION * width % module.group_channels:
            raise ConfigError(
                f"group_channels = {module.group_channels} must divide {_EXPANSION * width}, twice the width of a level"
            )
    step = 1 << len(module.widths) - 1
    if module.image_size < step or module.image_size % step:
        raise ConfigError(
            f"image_size = {module.image_size} must be a multiple of {step}: widths = {module.widths} has "
            f"{len(module.widths)} levels"
        )
