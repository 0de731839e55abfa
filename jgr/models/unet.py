"""DRUNet, a bias-free U-Net of residual blocks (Zhang et al. 2021, arXiv:2008.13751)."""

from flax import linen as nn
from flax.typing import Dtype
from jaxtyping import Array, Float

from jgr.errors import ConfigError
from jgr.layers import Conv, ConvTranspose
from jgr.layers.input_check import check_input

Hidden = Float[Array, "batch height width features"]

_init = nn.initializers.orthogonal(0.2)  # the authors' options: github.com/cszn/KAIR, train_drunet.json


class ResidualBlock(nn.Module):
    """Convolution, ReLU, convolution, added to what came in.

    Args:
        dtype: Of the computation; promoted from inputs and parameters when None.
    """

    dtype: Dtype | None = None

    @nn.compact
    def __call__(self, hidden: Hidden) -> Hidden:
        """Images of any channels to images of the same."""
        made = nn.relu(_conv(hidden.shape[-1], self.dtype, "conv0")(hidden))
        return hidden + _conv(hidden.shape[-1], self.dtype, "conv1")(made)


class DRUNet(nn.Module):
    """Residual blocks at every level of a U-Net whose skips are added; the result is the image, not a residual.

    Without biases the network is homogeneous: k times the image with k times the map of the noise gives k times the
    result, so that it generalises to noise levels that it was not trained on (Mohan et al. 2020, arXiv:1906.05478).
    The published networks are given a noise map: 32,638,656 parameters, 32,640,960 in colour.

    Args:
        channels: Channels of the image; further channels of the input, such as a noise map, are conditions.
        width: Channels of the finest level; they double with every coarser one.
        levels: Number of levels, each of half the size of the one before.
        blocks: Residual blocks of every level, each way.
        dtype: Of the computation; promoted from inputs and parameters when None.

    Raises:
        ConfigError: If a size is impossible, or images do not fit.
    """

    channels: int = 1
    width: int = 64
    levels: int = 4
    blocks: int = 4
    dtype: Dtype | None = None

    def __post_init__(self) -> None:
        for name in ("channels", "width", "levels", "blocks"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} = {getattr(self, name)} must be at least 1")
        super().__post_init__()

    @property
    def multiple(self) -> int:
        """What the sides of images must be a multiple of: the coarsest level's pixel."""
        return 1 << (self.levels - 1)

    @property
    def radius(self) -> int:
        """How far, in pixels, the result depends on the input.

        A convolution at level l reaches 2**l further. Every level but the coarsest has its blocks twice, and the finest
        one convolution more each way; blocks have two. What remains is within one pixel of the coarsest level.
        """
        return 2 + 4 * self.blocks * (self.multiple - 1) + 2 * self.blocks * self.multiple + self.multiple - 1

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width inputs"], *, train: bool
    ) -> Float[Array, "batch height width channels"]:
        """Noisy images in [0, 1], with conditions, to restored float32 images."""
        check_input("DRUNet", images, self.channels, self.multiple)

        def blocks(hidden: Hidden, stage: str) -> Hidden:
            for number in range(self.blocks):
                hidden = ResidualBlock(self.dtype, name=f"{stage}{number}")(hidden)
            return hidden

        hidden = _conv(self.width, self.dtype, "head")(images)
        skips = [hidden]
        for level in range(self.levels - 1):
            shrink = Conv(
                self.width << (level + 1),
                (2, 2),
                (2, 2),
                use_bias=False,
                kernel_init=_init,
                dtype=self.dtype,
                name=f"shrink{level}",
            )
            hidden = shrink(blocks(hidden, f"down{level}_"))
            skips.append(hidden)
        hidden = blocks(hidden, "body")
        for level in reversed(range(self.levels - 1)):
            enlarge = ConvTranspose(
                self.width << level,
                (2, 2),
                (2, 2),
                use_bias=False,
                kernel_init=_init,
                dtype=self.dtype,
                name=f"enlarge{level}",
            )
            hidden = blocks(enlarge(hidden + skips.pop()), f"up{level}_")
        return _conv(self.channels, self.dtype, "tail")(hidden + skips.pop()).astype("float32")


def _conv(features: int, dtype: Dtype | None, name: str) -> Conv:
    return Conv(features, (3, 3), use_bias=False, kernel_init=_init, dtype=dtype, name=name)
