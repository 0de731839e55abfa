"""Residual networks for super-resolution: EDSR (Lim et al. 2017, arXiv:1707.02921) and, before it, SRResNet.

Both work at the resolution of the input and enlarge at the end, by convolutions whose channels become pixels.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype
from jaxtyping import Array, Float

from jgr.errors import ConfigError
from jgr.images import from_signed
from jgr.layers import Conv, pixel_shuffle, pixel_unshuffle
from jgr.layers.input_check import check_input

Hidden = Float[Array, "batch height width features"]
Enlarged = Float[Array, "batch new_height new_width channels"]

VARIANTS: Mapping[str, Mapping[str, Any]] = {  # of EDSR: table 1
    "baseline": {"width": 64, "blocks": 16},  # 1,369,859 parameters at scale 2; 1,554,499 at 3; 1,517,571 at 4
    "large": {"width": 256, "blocks": 32, "res_scale": 0.1},  # 40,729,603; 43,680,003; 43,089,923
}

_MEANS = {3: (0.4488, 0.4371, 0.4040)}  # of DIV2K, by channels: the authors' code, src/model/common.py
_init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")  # PyTorch's own, which the authors' code leaves


class EDSR(nn.Module):
    """Residual blocks without batch norm under one skip; the result is the image.

    With `scale=1` it is a network for images that keep their size. It may then work at a fraction of their resolution
    (`unshuffle`), which saves computation. The input image is added to the result, and the last convolution starts at
    zero, so that an untrained network changes nothing. With `bilinear_skip` the same holds of the enlarged image.

    Args:
        scale: Factor of enlargement: 1, 3, or a power of two.
        channels: Channels of the image; further channels of the input are conditions. From three, the mean colour of
            DIV2K is subtracted.
        width: Channels of the blocks.
        blocks: Residual blocks.
        res_scale: Weight of the blocks' results: 0.1 in the paper's large network, for stability.
        unshuffle: Side of the blocks of pixels that become channels, with `scale=1` only.
        bilinear_skip: Whether the bilinearly enlarged input is added to the result, as in MSRResNet (Wang et al. 2018,
            arXiv:1809.00219, in BasicSR); the published network learns it all, for longer. With `scale` above 1 only.
        image_range: What white is inside: 255 in the authors' code. Only biases notice, which optimisers like Adam
            move by equal steps: with 1 they soon matter, which short trainings need.
        dtype: Of the computation; promoted from inputs and parameters when None.

    Raises:
        ConfigError: If a size is impossible, or images do not fit.
    """

    scale: int = 2
    channels: int = 3
    width: int = 64
    blocks: int = 16
    res_scale: float = 1.0
    unshuffle: int = 1
    bilinear_skip: bool = False
    image_range: float = 255.0
    dtype: Dtype | None = None

    def __post_init__(self) -> None:
        for name in ("channels", "width", "blocks", "unshuffle"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} = {getattr(self, name)} must be at least 1")
        for name in ("res_scale", "image_range"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} = {getattr(self, name)} must be positive")
        factors = _factors(self.scale)
        if factors and self.unshuffle > 1:
            raise ConfigError(f"unshuffle = {self.unshuffle} must be 1 with scale = {self.scale}")
        if self.bilinear_skip and not factors:
            raise ConfigError("bilinear_skip = True must be False with scale = 1, where the image is always added")
        super().__post_init__()

    @property
    def multiple(self) -> int:
        """What the sides of images must be a multiple of."""
        return self.unshuffle

    @property
    def radius(self) -> int:
        """How far, in pixels of the input, the result depends on it."""
        reach = 2 + 2 * self.blocks + _reach(self.scale, 1)
        return self.unshuffle * reach + self.unshuffle - 1

    @nn.compact
    def __call__(self, images: Float[Array, "batch height width inputs"], *, train: bool) -> Enlarged:
        """Images in [0, 1], with conditions, to restored float32 images `scale` times as large."""
        check_input("EDSR", images, self.channels, self.multiple)
        image = images[..., : self.channels].astype("float32")
        skip, mean = image, jnp.array(_MEANS.get(self.channels, (0.0,) * self.channels)).reshape(1, 1, 1, -1)
        if self.scale > 1:
            skip = _bilinear(image, self.scale) if self.bilinear_skip else mean
        hidden = jnp.concatenate([image - mean, images[..., self.channels :]], axis=-1) * self.image_range
        hidden = first = _conv(self.width, self.dtype, "head")(pixel_unshuffle(hidden, self.unshuffle))
        for number in range(self.blocks):
            hidden = _ResidualBlock(self.res_scale, self.dtype, name=f"block{number}")(hidden)
        hidden = first + _conv(self.width, self.dtype, "body")(hidden)
        for number, factor in enumerate(_factors(self.scale)):
            hidden = pixel_shuffle(_conv(self.width * factor**2, self.dtype, f"enlarge{number}")(hidden), factor)
        from_zero = self.scale == 1 or self.bilinear_skip
        tail = Conv(
            self.channels * self.unshuffle**2,
            (3, 3),
            kernel_init=nn.initializers.zeros_init() if from_zero else _init,
            dtype=self.dtype,
            name="tail",
        )
        return skip + pixel_shuffle(tail(hidden).astype("float32"), self.unshuffle) / self.image_range


class _ResidualBlock(nn.Module):
    """Convolution, ReLU, convolution, weighted, added to what came in."""

    res_scale: float
    dtype: Dtype | None

    @nn.compact
    def __call__(self, hidden: Hidden) -> Hidden:
        made = nn.relu(_conv(hidden.shape[-1], self.dtype, "conv0")(hidden))
        return hidden + self.res_scale * _conv(hidden.shape[-1], self.dtype, "conv1")(made)


class SRResNet(nn.Module):
    """Residual blocks with batch norm and PReLU, 9x9 convolutions at both ends (Ledig et al. 2017, arXiv:1609.04802).

    The result is the image; inside it is in [-1, 1], as in section 3.2. 1,549,462 parameters for scale 4.

    Args:
        scale: Factor of enlargement: 3, or a power of two.
        channels: Channels of the image; further channels of the input are conditions.
        width: Channels of the blocks.
        blocks: Residual blocks.
        dtype: Of the computation; promoted from inputs and parameters when None.

    Raises:
        ConfigError: If a size is impossible, or images do not fit.
    """

    scale: int = 4
    channels: int = 3
    width: int = 64
    blocks: int = 16
    dtype: Dtype | None = None

    def __post_init__(self) -> None:
        for name in ("channels", "width", "blocks"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} = {getattr(self, name)} must be at least 1")
        if not _factors(self.scale):
            raise ConfigError(f"scale = {self.scale} must be 3 or a power of two above 1")
        super().__post_init__()

    @property
    def radius(self) -> int:
        """How far, in pixels of the input, the result depends on it."""
        return 4 + 2 * self.blocks + 1 + _reach(self.scale, 4)

    @nn.compact
    def __call__(self, images: Float[Array, "batch height width inputs"], *, train: bool) -> Enlarged:
        """Images in [0, 1] to enlarged float32 images.

        With `train`, batch norm uses the statistics of the batch and updates "batch_stats".
        """
        check_input("SRResNet", images, self.channels)

        def prelu(hidden: Hidden, name: str) -> Hidden:
            return nn.PReLU(negative_slope_init=0.25, name=name)(hidden)

        def normed(hidden: Hidden, name: str) -> Hidden:
            hidden = _conv(self.width, self.dtype, f"{name}_conv")(hidden)
            return nn.BatchNorm(not train, momentum=0.9, epsilon=1e-5, dtype=self.dtype, name=f"{name}_norm")(hidden)

        head = Conv(self.width, (9, 9), kernel_init=_init, dtype=self.dtype, name="head")
        hidden = first = prelu(head(images), "head_prelu")
        for number in range(self.blocks):
            made = prelu(normed(hidden, f"block{number}_0"), f"block{number}_prelu")
            hidden = hidden + normed(made, f"block{number}_1")
        hidden = first + normed(hidden, "body")
        for number, factor in enumerate(_factors(self.scale)):
            hidden = pixel_shuffle(_conv(self.width * factor**2, self.dtype, f"enlarge{number}")(hidden), factor)
            hidden = prelu(hidden, f"enlarge{number}_prelu")
        tail = Conv(self.channels, (9, 9), kernel_init=_init, dtype=self.dtype, name="tail")
        return from_signed(tail(hidden).astype("float32"))


def _conv(features: int, dtype: Dtype | None, name: str) -> Conv:
    return Conv(features, (3, 3), kernel_init=_init, dtype=dtype, name=name)


def _factors(scale: int) -> tuple[int, ...]:
    """Factors of the enlargements, one after another; none for 1."""
    if scale == 3:
        return (3,)
    if scale < 1 or scale & (scale - 1):
        raise ConfigError(f"scale = {scale} must be 1, 3 or a power of two")
    return (2,) * (scale.bit_length() - 1)


def _reach(scale: int, last: int) -> int:
    """How far the last convolution sees, in pixels of the input, if it sees `last` pixels of the result.

    From the last pixel of an enlarged one: each convolution before an enlargement sees one pixel of its input more.
    """
    reach = scale - 1 + last
    for factor in _factors(scale):
        reach = reach // factor + 1
    return reach


def _bilinear(images: Float[Array, "batch height width channels"], factor: int) -> Enlarged:
    batch, height, width, channels = images.shape
    return jax.image.resize(images, (batch, factor * height, factor * width, channels), "bilinear")
