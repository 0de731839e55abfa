"""pix2pix: a U-Net whose noise is dropout, and a discriminator of patches (Isola et al. 2017, arXiv:1611.07004)."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype
from jaxtyping import Array, Float, Key

from jgr.errors import ConfigError
from jgr.images import from_signed, to_signed
from jgr.layers import Conv, ConvTranspose
from jgr.layers.input_check import check_input

Hidden = Float[Array, "batch height width features"]
Keys = Key[Array, "batch"]

_weight_init = nn.initializers.normal(0.02)  # appendix 6.2
_MAX_GROWTH = 8  # of the channels: they double with every level up to 8 times the width
_DROPPED_LEVELS = 3  # appendix 6.1.1: CD512-CD512-CD512-…
_NORMS = ("batch", "instance")


class Generator(nn.Module):
    """An image halved to the coarsest level and enlarged again, each level's result beside that of the way down.

    Convolutions are 4x4 of stride 2, with LeakyReLU 0.2 before them on the way down and ReLU on the way up; the last
    ends in tanh. A norm follows all but the first, the coarsest and the last; only the last has a bias. The paper's
    network for 256x256 is the default: 54,413,955 parameters.

    Args:
        channels: Channels of the result; those of the input follow from the data.
        width: Channels of the finest level.
        levels: How often the sides are halved; 8 turns 256 pixels into 1.
        norm: "batch" has running statistics outside training. "instance", of each image by itself, with scale and
            bias, is what batch norm is in batches of one with the batch's own statistics at test time, too, as in the
            paper.
        dropout: Share of the values that the three coarsest levels of the way up set to 0.
        dropout_at_test: Whether they do so outside training, too, as in the paper (section 3.3): then the result is
            drawn.
        dtype: Of the computation; promoted from inputs and parameters when None.

    Raises:
        ConfigError: If a value is impossible, or images do not fit.
    """

    channels: int = 3
    width: int = 64
    levels: int = 8
    norm: str = "batch"
    dropout: float = 0.5
    dropout_at_test: bool = True
    dtype: Dtype | None = None

    draws = True

    def __post_init__(self) -> None:
        _require_possible(self, "channels", "width", "levels")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout = {self.dropout} must be at least 0 and below 1")
        super().__post_init__()

    @property
    def multiple(self) -> int:
        """What the sides of images must be a multiple of."""
        return 1 << self.levels

    @property
    def radius(self) -> None:
        """None: each pixel depends on all others, or nearly all, through the coarsest level."""
        return

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width inputs"], *, train: bool, keys: Keys | None = None
    ) -> Float[Array, "batch height width channels"]:
        """Images in [0, 1] to float32 images in [0, 1] of the same size.

        With `train`, batch norm uses the statistics of the batch and updates "batch_stats". `keys` are for dropout, one
        an image; without them nothing is dropped.
        """
        check_input("generator", images, channels=1, multiple=self.multiple)
        hidden, levels = to_signed(images), []
        for level in range(self.levels):
            if level:
                hidden = nn.leaky_relu(hidden, 0.2)
            down = Conv(
                self.width * min(1 << level, _MAX_GROWTH),
                (4, 4),
                (2, 2),
                use_bias=False,
                kernel_init=_weight_init,
                dtype=self.dtype,
                name=f"down_{level}",
            )
            hidden = down(hidden)
            if 0 < level < self.levels - 1:  # of the coarsest, a single pixel, instance norm would leave nothing
                hidden = _normed(self, hidden, train, f"down_{level}_norm")
            levels.append(hidden)
        levels.pop()
        for level in reversed(range(self.levels)):
            up = ConvTranspose(
                levels[-1].shape[-1] if level else self.channels,
                (4, 4),
                (2, 2),
                use_bias=not level,
                kernel_init=_weight_init,
                dtype=self.dtype,
                name=f"up_{level}",
            )
            hidden = up(nn.relu(hidden))
            if not level:
                break
            hidden = _normed(self, hidden, train, f"up_{level}_norm")
            if keys is not None and level >= self.levels - _DROPPED_LEVELS and (train or self.dropout_at_test):
                hidden = _dropped(hidden, keys, level, self.dropout)
            hidden = jnp.concatenate([levels.pop(), hidden], axis=-1)
        return from_signed(nn.tanh(hidden.astype("float32")))


class Discriminator(nn.Module):
    """Logits of overlapping patches of an image, by 4x4 convolutions with LeakyReLU 0.2 (PatchGAN).

    A patch has 16, 34, 70 or 142 pixels a side with 1, 2, 3 or 4 layers; of 256x256 pixels there are 30x30 patches of
    70. The paper's network sees two colour images, joined by channel: 2,768,705 parameters.

    Args:
        layers: Convolutions of stride 2, before the two of stride 1.
        width: Channels of the first; they double up to 8 times as many.
        norm: Of all convolutions but the first and the last: "batch" or "instance".
        affine: Whether norms have a scale and a bias; CycleGAN's have none.
        dtype: Of the computation; promoted from inputs and parameters when None.

    Raises:
        ConfigError: If a value is impossible, or images are too small for a patch.
    """

    layers: int = 3
    width: int = 64
    norm: str = "batch"
    affine: bool = True
    dtype: Dtype | None = None

    def __post_init__(self) -> None:
        _require_possible(self, "layers", "width")
        super().__post_init__()

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width channels"], *, train: bool
    ) -> Float[Array, "batch rows columns"]:
        """Images in [0, 1] to float32 logits; batch norm as in `Generator`."""
        height, width = images.shape[1:3]
        if min(height, width) >> self.layers < 3:
            raise ConfigError(
                f"discriminator: images of {height}x{width} are too small for layers = {self.layers}: the shorter side "
                f"must be at least {3 << self.layers}"
            )
        hidden = to_signed(images)
        for layer in range(self.layers + 1):
            features = self.width * min(1 << layer, _MAX_GROWTH)
            hidden = self._convolved(hidden, features, stride=2 if layer < self.layers else 1, use_bias=not layer)
            if layer:
                hidden = _normed(self, hidden, train, f"norm_{layer}", self.affine)
            hidden = nn.leaky_relu(hidden, 0.2)
        return self._convolved(hidden, 1, stride=1, use_bias=True)[..., 0].astype("float32")

    def _convolved(
        self, hidden: Hidden, features: int, stride: int, use_bias: bool
    ) -> Float[Array, "batch new_height new_width new_features"]:
        """A convolution with one pixel of zeros around the image, so that stride 1 shrinks its sides by one."""
        layer = Conv(
            features,
            (4, 4),
            (stride, stride),
            padding="VALID",
            use_bias=use_bias,
            kernel_init=_weight_init,
            dtype=self.dtype,
        )
        return layer(jnp.pad(hidden, ((0, 0), (1, 1), (1, 1), (0, 0))))


def _dropped(hidden: Hidden, keys: Keys, level: int, rate: float) -> Hidden:
    """Values set to 0 at random, the others enlarged to keep the mean: each image's by its own key."""

    def kept(key: Key[Array, ""]) -> Array:
        return jax.random.bernoulli(jax.random.fold_in(key, level), 1 - rate, hidden.shape[1:])

    return jnp.where(jax.vmap(kept)(keys), hidden / (1 - rate), 0)


def _normed(module: Generator | Discriminator, hidden: Hidden, train: bool, name: str, affine: bool = True) -> Hidden:
    options: dict[str, Any] = {
        "epsilon": 1e-5,
        "use_scale": affine,
        "use_bias": affine,
        "scale_init": _scale_init,
        "use_fast_variance": False,  # exact where few pixels have next to no variance beside their mean
        "dtype": module.dtype,
        "name": name,
    }
    if module.norm == "instance":
        return nn.InstanceNorm(**options)(hidden)
    return nn.BatchNorm(not train, momentum=0.9, **options)(hidden)


def _scale_init(key: Key[Array, ""], shape: Sequence[int], dtype: Dtype = jnp.float32) -> Float[Array, "..."]:
    return 1 + 0.02 * jax.random.normal(key, shape, dtype)  # N(1, 0.02): the authors' code


def _require_possible(module: Generator | Discriminator, *names: str) -> None:
    for name in names:
        if getattr(module, name) < 1:
            raise ConfigError(f"{name} = {getattr(module, name)} must be at least 1")
    if module.norm not in _NORMS:
        raise ConfigError(f"norm = {module.norm!r} must be {' or '.join(_NORMS)}")
