"""Residual networks of SNGAN (Miyato et al. 2018, arXiv:1802.05957, table 4), SAGAN and BigGAN, which differ by fields.

SAGAN (Zhang et al. 2019, arXiv:1805.08318) has self-attention at one level and spectral normalisation in the generator
too; BigGAN (Brock et al. 2019, arXiv:1809.11096) also gives every block a part of the latent, with a class embedding
that all blocks share. `VARIANTS` has them for 32 pixels. Upsampling repeats pixels, downsampling takes means. Weights
start by Glorot's rule, as in SNGAN's code, where BigGAN's are orthogonal. The first convolution of a generator's block,
which batch norm follows, has no bias here, which changes no function.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype
from jaxtyping import Array, Float

from jgr.errors import ConfigError
from jgr.images import from_signed, to_signed
from jgr.layers import Conv, heads
from jgr.layers.attention import SelfAttention
from jgr.layers.conditional_norm import ConditionalBatchNorm
from jgr.layers.pointwise import Pointwise
from jgr.layers.spectral import normalised

Images = Float[Array, "batch height width channels"]
Resized = Float[Array, "batch new_height new_width features"]
Condition = Float[Array, "batch condition"] | None

_residual_init = nn.initializers.variance_scaling(2.0, "fan_avg", "uniform")  # a gain of 2^0.5: SNGAN's code
_weight_init = nn.initializers.glorot_uniform()

VARIANTS: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {
    # Fields of the generator and of the discriminator besides image_size, channels, num_classes and head.
    "sngan": ({}, {}),
    "sagan": ({"spectral_norm": True, "attention_side": 16}, {"attention_side": 16}),
    "biggan": (  # PyTorch-StudioGAN's for CIFAR-10
        {
            "latent_dim": 80,
            "widths": (384,) * 4,
            "embedding_dim": 128,
            "split_latents": True,
            "spectral_norm": True,
            "attention_side": 16,
        },
        {"widths": (192,) * 4, "attention_side": 16},
    ),
}


class GeneratorBlock(nn.Module):
    """Twice batch norm, ReLU and convolution, with upsampling before the first; the shortcut is a matrix.

    Args:
        features: Channels of the result.
        spectral_norm: Whether weights are divided by their largest singular value; not those that turn one-hot labels
            into batch norm's scale and bias.
        one_hot: Whether the condition is a one-hot label.
        dtype: Of the computation; promoted from inputs and parameters when None.
    """

    features: int
    spectral_norm: bool = False
    one_hot: bool = False
    dtype: Dtype | None = None

    @nn.compact
    def __call__(self, hidden: Images, condition: Condition, *, train: bool) -> Resized:
        """Images of any channels to images of twice the sides; batch norm is conditional where there is a condition."""

        def activated(images: Images) -> Images:
            if condition is None:
                return nn.relu(_batch_norm(train, self.dtype)(images))
            norm = ConditionalBatchNorm(self.spectral_norm and not self.one_hot, self.dtype)
            return nn.relu(norm(images, condition, train=train))

        def convolved(images: Images, use_bias: bool) -> Resized:
            layer = Conv(self.features, (3, 3), use_bias=use_bias, kernel_init=_residual_init, dtype=self.dtype)
            return normalised(layer, self.spectral_norm, train)(images)

        made = convolved(_doubled(activated(hidden)), use_bias=False)
        made = convolved(activated(made), use_bias=True)
        shortcut = Pointwise(self.features, kernel_init=_weight_init, dtype=self.dtype)
        return made + _doubled(normalised(shortcut, self.spectral_norm, train)(hidden))


class Generator(nn.Module):
    """Latents to the coarsest level by a matrix, blocks that each double it, batch norm, and a convolution to tanh.

    Args:
        image_size: Rows and columns of an image: a multiple of 2 for every block.
        channels: Channels of an image.
        latent_dim: Length of a latent vector.
        widths: Channels of the coarsest level, and then of the result of each block.
        num_classes: Of a conditional generator, whose blocks have conditional batch norm; None for none.
        embedding_dim: Length of a class embedding that all blocks share, of which each derives the scales and biases of
            its batch norms; None: each has its own for every class.
        split_latents: Whether the latent is cut into equal parts, the first for the coarsest level, and one for the
            batch norms of each block, which are then conditional without classes, too.
        attention_side: Rows of the level, the result of a block, that self-attention follows; None for none.
        spectral_norm: Whether weights are divided by their largest singular value, except those of embeddings.
        dtype: Of the computation; promoted from inputs and parameters when None.

    Raises:
        ConfigError: If a size is impossible, or latents are of another length, or labels are given without
            `num_classes` or the other way round.
    """

    image_size: int
    channels: int = 1
    latent_dim: int = 128
    widths: tuple[int, ...] = (256, 256, 256, 256)
    num_classes: int | None = None
    embedding_dim: int | None = None
    split_latents: bool = False
    attention_side: int | None = None
    spectral_norm: bool = False
    dtype: Dtype | None = None

    def __post_init__(self) -> None:
        _require_positive(self, "channels", "latent_dim", "widths", "num_classes", "embedding_dim")
        sides = [self.image_size >> block for block in range(len(self.widths) - 1)]
        _require_sides(self, len(self.widths) - 1, sides)
        if self.embedding_dim is not None and self.num_classes is None:
            raise ConfigError(f"embedding_dim = {self.embedding_dim} needs num_classes")
        if self.split_latents and self.latent_dim % len(self.widths):
            raise ConfigError(
                f"latent_dim = {self.latent_dim} must be a multiple of {len(self.widths)}: split_latents gives a part "
                "to the coarsest level and one to each block"
            )
        super().__post_init__()

    @nn.compact
    def __call__(
        self, latents: Float[Array, "batch latent"], *, labels: heads.Labels = None, train: bool
    ) -> Float[Array, "batch height width channels"]:
        """Standard normal latents, and labels where `num_classes` is given, to float32 images in [0, 1].

        With `train`, batch norm uses the statistics of the batch and updates "batch_stats", and spectral normalisation
        updates "spectral".
        """
        if latents.shape[1] != self.latent_dim:
            raise ConfigError(f"generator: latents of length {latents.shape[1]}, but latent_dim = {self.latent_dim}")
        first, *conditions = self._conditions(latents, labels)
        side = self.image_size >> len(conditions)
        layer = nn.Dense(side * side * self.widths[0], kernel_init=_weight_init, dtype=self.dtype)
        hidden = normalised(layer, self.spectral_norm, train)(first).reshape(-1, side, side, self.widths[0])
        one_hot = self.num_classes is not None and self.embedding_dim is None and not self.split_latents
        for features, condition in zip(self.widths[1:], conditions, strict=True):
            block = GeneratorBlock(features, self.spectral_norm, one_hot, self.dtype)
            hidden = block(hidden, condition, train=train)
            if hidden.shape[1] == self.attention_side:
                hidden = SelfAttention(self.spectral_norm, self.dtype)(hidden, train=train)
        hidden = nn.relu(_batch_norm(train, self.dtype)(hidden))
        last = Conv(self.channels, (3, 3), kernel_init=_weight_init, dtype=self.dtype)
        return from_signed(nn.tanh(normalised(last, self.spectral_norm, train)(hidden)).astype("float32"))

    def _conditions(self, latents: Float[Array, "batch latent"], labels: heads.Labels) -> list[Any]:
        """What the coarsest level is made of, and then what the batch norms of each block depend on, or None."""
        num_blocks = len(self.widths) - 1
        shared: list[Array] = []
        if self.num_classes is None:
            if labels is not None:
                raise ConfigError("generator: it was given labels; set config.task.generator.num_classes")
        elif labels is None:
            raise ConfigError(f"generator: num_classes = {self.num_classes} needs labels; set config.task.num_classes")
        elif self.embedding_dim is None:
            shared = [jax.nn.one_hot(labels, self.num_classes)]
        else:
            shared = [nn.Embed(self.num_classes, self.embedding_dim, dtype=self.dtype)(labels)]
        first, *own = jnp.split(latents, num_blocks + 1, axis=1) if self.split_latents else [latents]
        parts = [[*shared, *own[block : block + 1]] for block in range(num_blocks)]
        return [first, *(jnp.concatenate(part, axis=1) if part else None for part in parts)]


class DiscriminatorBlock(nn.Module):
    """Two convolutions, each after ReLU; with `down`, means of 2x2 pixels follow.

    The shortcut is a matrix where channels or sides change. The matrix comes after the means, which gives the same.

    Args:
        features: Channels of the result.
        down: Whether sides are halved.
        first: Whether this is the first block, which does not begin with ReLU.
        spectral_norm: Whether weights are divided by their largest singular value.
        dtype: Of the computation; promoted from inputs and parameters when None.
    """

    features: int
    down: bool
    first: bool
    spectral_norm: bool
    dtype: Dtype | None = None

    @nn.compact
    def __call__(self, hidden: Images, *, train: bool) -> Resized:
        """Images of any channels to images of `features` channels."""

        def convolved(images: Images) -> Resized:
            layer = Conv(self.features, (3, 3), kernel_init=_residual_init, dtype=self.dtype)
            return normalised(layer, self.spectral_norm, train)(images)

        made = convolved(hidden if self.first else nn.relu(hidden))
        made = convolved(nn.relu(made))
        changes = self.down or hidden.shape[-1] != self.features
        if self.down:
            made, hidden = _halved(made), _halved(hidden)
        if changes:
            shortcut = Pointwise(self.features, kernel_init=_weight_init, dtype=self.dtype)
            hidden = normalised(shortcut, self.spectral_norm, train)(hidden)
        return made + hidden


class Discriminator(nn.Module):
    """Blocks, ReLU, and the sum over all pixels, of which the head makes logits.

    Args:
        image_size: Rows and columns of an image: a multiple of 2 for every halving.
        channels: Channels of an image.
        widths: Channels of the result of each block.
        num_down: How many blocks, from the first, halve the sides.
        attention_side: Rows of the level that self-attention follows, after the first block with such a result; None
            for none.
        spectral_norm: Whether weights are divided by their largest singular value.
        head: From features to logits, see `jgr.layers.heads`; its `spectral_norm` must be the same.
        dtype: Of the computation before the head; promoted from inputs and parameters when None.

    Raises:
        ConfigError: If a size is impossible, images are of another size, or the head's normalisation differs.
    """

    image_size: int
    channels: int = 1
    widths: tuple[int, ...] = (128, 128, 128, 128)
    num_down: int = 2
    attention_side: int | None = None
    spectral_norm: bool = True
    head: nn.Module = heads.Linear(spectral_norm=True)
    dtype: Dtype | None = None

    def __post_init__(self) -> None:
        _require_positive(self, "channels", "widths")
        if not 0 <= self.num_down <= len(self.widths):
            raise ConfigError(f"num_down = {self.num_down} must be 0 to {len(self.widths)}, the number of widths")
        sides = [self.image_size >> min(block + 1, self.num_down) for block in range(len(self.widths))]
        _require_sides(self, self.num_down, sides)
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
        hidden, attended = to_signed(images), False
        for number, features in enumerate(self.widths):
            down, first = number < self.num_down, number == 0
            block = DiscriminatorBlock(features, down, first, self.spectral_norm, self.dtype)
            hidden = block(hidden, train=train)
            if hidden.shape[1] == self.attention_side and not attended:
                hidden, attended = SelfAttention(self.spectral_norm, self.dtype)(hidden, train=train), True
        features_of_image = nn.relu(hidden).sum((1, 2), dtype=jnp.float32)
        judgement: heads.Judgement = self.head(features_of_image, labels=labels, train=train)
        return judgement


def _batch_norm(train: bool, dtype: Dtype | None) -> nn.BatchNorm:
    return nn.BatchNorm(not train, momentum=0.9, epsilon=1e-5, dtype=dtype)


def _doubled(images: Images) -> Resized:
    """Every pixel four times."""
    return images.repeat(2, axis=1).repeat(2, axis=2)


def _halved(images: Images) -> Resized:
    """Means of 2x2 pixels."""
    batch, height, width, channels = images.shape
    return images.reshape(batch, height // 2, 2, width // 2, 2, channels).mean((2, 4))


def _require_positive(module: Generator | Discriminator, *names: str) -> None:
    for name in names:
        value = getattr(module, name)
        if value is not None and min(value if isinstance(value, tuple) else (value,), default=0) < 1:
            raise ConfigError(f"{name} = {value} must be at least 1")


def _require_sides(module: Generator | Discriminator, num_halvings: int, sides: list[int]) -> None:
    """Raises ConfigError unless the image can be halved so often, and attention's level has one of the `sides`."""
    multiple = 1 << num_halvings
    if module.image_size < multiple or module.image_size % multiple:
        raise ConfigError(f"image_size = {module.image_size} must be a multiple of {multiple}")
    if module.attention_side is not None and (module.attention_side not in sides or module.attention_side % 2):
        allowed = sorted({side for side in sides if side % 2 == 0})
        raise ConfigError(f"attention_side = {module.attention_side} must be one of {allowed}, even sides of a level")
