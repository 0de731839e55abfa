"""Convolutions with pooling, a fully connected bottleneck, and back: of patches, which overlap in larger images."""

import functools
import math
import operator
from typing import Literal

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.typing import Dtype
from jaxtyping import Array, Float

from jgr.errors import ConfigError
from jgr.layers import Conv
from jgr.layers.fusion import Fusion
from jgr.layers.input_check import check_input
from jgr.layers.padding import pad_to

Hidden = Float[Array, "patches height width features"]
Convolved = Float[Array, "patches height width new_features"]
Patches = Float[Array, "patches side side channels"]


class EncoderDecoder(nn.Module):
    """A convolutional autoencoder of patches whose code is a vector.

    Each level is a 3x3 convolution, batch norm, ReLU, and the maximum of 2x2 pixels; on the way back nearest-neighbour
    enlargement comes before convolution, batch norm and ReLU. A matrix takes the coarsest level to the code and
    another takes it back, each followed by ReLU.

    With input channels c', output channels c, widths w_1 … w_n, patches of p pixels, code d and m = (p / 2^n)^2 w_n it
    has  sum_i (9 w_(i-1) w_i + 2 w_i) + (m d + d) + (d m + m) + sum_i (9 w_(i+1) w_i + 2 w_i) + (9 w_1 c + c)
    parameters, where w_0 = c' and w_(n+1) = w_n; what codes are told adds those of the fusion. Without skips between
    the levels it is meant as a baseline.

    A larger image is cut into patches every `stride` pixels, after reflection at the bottom and the right; where the
    restored patches overlap they are averaged.

    Args:
        channels: Channels of the image; further channels of the input are conditions.
        patch_size: Rows and columns that the matrices are for.
        stride: From one patch to the next.
        widths: Channels of each level, the finest first.
        bottleneck: Length of the code.
        residual: Whether the image is added to the result.
        fusion: How each code is fused with what the network is told of an image, see `jgr.layers.fusion.Fusion`;
            nothing where it is told nothing.
        dtype: Of the computation; promoted from inputs and parameters when None.

    Raises:
        ConfigError: If a size is impossible, or images have too few channels.
    """

    channels: int = 3
    patch_size: int = 32
    stride: int = 16
    widths: tuple[int, ...] = (32, 64, 128)
    bottleneck: int = 256
    residual: bool = True
    fusion: Literal["concat", "add", "mul", "film"] = "film"
    dtype: Dtype | None = None

    def __post_init__(self) -> None:
        for name in ("channels", "patch_size", "stride", "bottleneck"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} = {getattr(self, name)} must be at least 1")
        if min(self.widths, default=0) < 1:
            raise ConfigError(f"widths = {self.widths} must be at least 1, one for each level")
        if self.patch_size % (1 << len(self.widths)):
            raise ConfigError(
                f"patch_size = {self.patch_size} must be a multiple of {1 << len(self.widths)}: "
                f"it is halved {len(self.widths)} times"
            )
        if self.patch_size % self.stride:
            raise ConfigError(f"stride = {self.stride} must divide patch_size = {self.patch_size}")
        super().__post_init__()

    @property
    def multiple(self) -> int:
        """The stride: images of any sides are padded, but parts of one see its patches only at multiples of it."""
        return self.stride

    @property
    def radius(self) -> int:
        """How many pixels away the farthest pixel lies that one depends on: both ends of a patch."""
        return self.patch_size - 1

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "batch height width inputs"],
        *,
        train: bool,
        told: Float[Array, "batch dims"] | None = None,
    ) -> Float[Array, "batch height width channels"]:
        """Degraded images in [0, 1], with conditions, to restored float32 images; `told` is what codes are told.

        With `train`, batch norm uses the statistics of all patches of the batch and updates "batch_stats".
        """
        check_input("EncoderDecoder", images, self.channels)
        sides = [max(self.patch_size, -(-side // self.stride) * self.stride) for side in images.shape[1:3]]
        padded = pad_to(images, sides[0], sides[1])
        patches = _patches(padded, self.patch_size, self.stride)
        if told is not None:  # each patch of an image is told the same
            told = jnp.repeat(told, len(patches) // len(images), axis=0)
        restored = _averaged(self._restored(patches, told, train), sides, self.stride)
        restored = restored[:, : images.shape[1], : images.shape[2]]
        return restored + images[..., : self.channels].astype("float32") if self.residual else restored

    def _restored(
        self, patches: Patches, told: Float[Array, "patches dims"] | None, train: bool
    ) -> Float[Array, "patches side side new_channels"]:
        def convolved(hidden: Hidden, features: int, name: str) -> Convolved:
            hidden = Conv(features, (3, 3), use_bias=False, dtype=self.dtype, name=f"conv_{name}")(hidden)
            norm = nn.BatchNorm(not train, momentum=0.9, epsilon=1e-5, dtype=self.dtype, name=f"norm_{name}")
            return nn.relu(norm(hidden))

        hidden = patches
        for level, features in enumerate(self.widths):
            hidden = _pooled(convolved(hidden, features, f"down_{level}"))
        shape = hidden.shape[1:]
        hidden = hidden.reshape(len(hidden), -1)
        hidden = nn.relu(nn.Dense(self.bottleneck, dtype=self.dtype, name="encode")(hidden))
        if told is not None:
            hidden = nn.relu(Fusion(self.fusion, self.bottleneck, dtype=self.dtype, name="fusion")(hidden, told))
        hidden = nn.relu(nn.Dense(math.prod(shape), dtype=self.dtype, name="decode")(hidden))
        hidden = hidden.reshape(-1, *shape)
        for level, features in reversed(list(enumerate(self.widths))):
            hidden = convolved(_doubled(hidden), features, f"up_{level}")
        return Conv(self.channels, (3, 3), dtype=self.dtype, name="last")(hidden).astype("float32")


def _pooled(hidden: Hidden) -> Float[Array, "patches new_height new_width features"]:
    """The maximum of 2x2 pixels, as a reduction: unlike that of a pooling window its gradient is deterministic."""
    batch, height, width, features = hidden.shape
    return hidden.reshape(batch, height // 2, 2, width // 2, 2, features).max((2, 4))


def _doubled(hidden: Hidden) -> Float[Array, "patches new_height new_width features"]:
    """Each pixel as 2x2."""
    batch, height, width, features = hidden.shape
    blocks = jnp.broadcast_to(hidden[:, :, None, :, None], (batch, height, 2, width, 2, features))
    return blocks.reshape(batch, 2 * height, 2 * width, features)


def _patches(images: Float[Array, "batch height width inputs"], size: int, stride: int) -> Patches:
    """All patches at multiples of the stride: image by image, row by row."""
    batch, height, width, channels = images.shape
    steps = size // stride
    rows, columns = (height - size) // stride + 1, (width - size) // stride + 1
    blocks = images.reshape(batch, height // stride, stride, width // stride, stride, channels)
    blocks = jnp.concatenate([blocks[:, step : step + rows] for step in range(steps)], axis=2)
    blocks = jnp.concatenate([blocks[:, :, :, step : step + columns] for step in range(steps)], axis=4)
    return blocks.transpose(0, 1, 3, 2, 4, 5).reshape(-1, size, size, channels)


def _averaged(patches: Patches, sides: list[int], stride: int) -> Float[Array, "batch new_height new_width channels"]:
    """Images whose patches these are; the inverse of `_patches`."""
    size, channels = patches.shape[1], patches.shape[-1]
    rows, columns = ((side - size) // stride + 1 for side in sides)
    patches = patches.reshape(-1, rows, columns, size, size, channels).transpose(0, 1, 3, 2, 4, 5)
    return _overlapped(_overlapped(patches, 1, stride), 3, stride).reshape(-1, *sides, channels)


def _overlapped(patches: Float[Array, "..."], axis: int, stride: int) -> Float[Array, "..."]:
    """Patches along `axis`, of pixels along the next one, to the means of blocks of `stride` pixels."""
    count, size = patches.shape[axis : axis + 2]
    steps = size // stride
    parts = jnp.split(patches, steps, axis + 1)
    shifted = (
        jnp.pad(part, [(step, steps - 1 - step) if i == axis else (0, 0) for i in range(part.ndim)])
        for step, part in enumerate(parts)
    )
    number = np.convolve(np.ones(count), np.ones(steps)).astype(np.float32)  # of the patches that a block is in
    shape = [-1 if i == axis else 1 for i in range(patches.ndim)]
    return functools.reduce(operator.add, shifted) / jnp.asarray(number).reshape(shape)
