"""The generator of CycleGAN (Zhu et al. 2017, arXiv:1703.10593, section 7.2), after Johnson et al. 2016."""

import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype
from jaxtyping import Array, Float

from jgr.errors import ConfigError
from jgr.images import from_signed, to_signed
from jgr.layers import Conv, ConvTranspose
from jgr.layers.input_check import check_input
from jgr.layers.instance_norm import instance_norm

Hidden = Float[Array, "batch height width features"]
Changed = Float[Array, "batch new_height new_width new_features"]

_weight_init = nn.initializers.normal(0.02)  # section 7.1


class Generator(nn.Module):
    """An image, halved twice, through residual blocks, and enlarged twice to an image of another kind.

    Instance norm, without scale, bias or running statistics, follows every layer but the last: images do not depend on
    each other, and how bright an image is and how strong its contrast make no difference to the result, which takes
    them from the training set. Large photographs are best restored whole, by `jgr restore --tile=0`: tiles would each
    be normed by themselves. Layers before it have no bias, which it would take off again. Borders are reflected, but
    for the layers that change the size, which see zeros beyond them, as in the authors' code. Of 3 channels, with the
    width of 64, 9 blocks have 11,372,931 parameters and 6 have 7,833,987: those of the authors' networks, 11,378,179
    and 7,837,699, less such biases.

    Args:
        channels: Channels of the result; those of the input follow from the data.
        width: Channels of the finest level.
        blocks: Residual blocks at a quarter of the resolution: 9 in the paper for 256 pixels a side and more, 6 for
            128.
        skip: Whether the image is added, in [-1, 1], before the last tanh; not in the paper. It keeps brightness and
            contrast, and shortens the training where both kinds of image are alike.
        dtype: Of the computation; promoted from inputs and parameters when None.

    Raises:
        ConfigError: If a size is below 1, or images do not fit.
    """

    channels: int = 3
    width: int = 64
    blocks: int = 9
    skip: bool = False
    dtype: Dtype | None = None

    def __post_init__(self) -> None:
        for name in ("channels", "width", "blocks"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} = {getattr(self, name)} must be at least 1")
        super().__post_init__()

    @property
    def multiple(self) -> int:
        """What the sides of images must be a multiple of."""
        return 4

    @property
    def radius(self) -> None:
        """None: each pixel depends on all others through the statistics of instance norm."""
        return

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch height width inputs"], *, train: bool
    ) -> Float[Array, "batch height width channels"]:
        """Images in [0, 1] to float32 images in [0, 1] of the same size; the same with and without `train`."""
        check_input("generator", images, channels=1, multiple=self.multiple)
        if self.skip and images.shape[-1] != self.channels:
            raise ConfigError(
                f"skip = True needs images of as many channels as channels = {self.channels}, not {images.shape[-1]}"
            )
        hidden = _conv(self.width, 7, self.dtype, "first")(_reflected(to_signed(images), 3))
        hidden = nn.relu(instance_norm(hidden))
        for level in (1, 2):
            down = Conv(
                self.width << level,
                (3, 3),
                (2, 2),
                padding="VALID",
                use_bias=False,
                kernel_init=_weight_init,
                dtype=self.dtype,
                name=f"down_{level}",
            )
            # the windows begin a pixel outside, as PyTorch's padding=1 has them; "SAME" would begin at the border
            hidden = down(jnp.pad(hidden, ((0, 0), (1, 0), (1, 0), (0, 0))))
            hidden = nn.relu(instance_norm(hidden))
        for number in range(self.blocks):
            hidden = _ResidualBlock(self.dtype, name=f"block_{number}")(hidden)
        for level in (1, 0):
            up = ConvTranspose(
                self.width << level,
                (3, 3),
                (2, 2),
                padding="VALID",
                use_bias=False,
                kernel_init=_weight_init,
                dtype=self.dtype,
                name=f"up_{level}",
            )
            hidden = nn.relu(instance_norm(up(hidden)[:, 1:, 1:]))  # padding=1, output_padding=1
        last = _conv(self.channels, 7, self.dtype, "last", use_bias=True)
        made = last(_reflected(hidden, 3)).astype("float32")
        return from_signed(nn.tanh(made + to_signed(images) if self.skip else made))


class _ResidualBlock(nn.Module):
    """Two convolutions with instance norm, ReLU between them, added to what came in."""

    dtype: Dtype | None

    @nn.compact
    def __call__(self, hidden: Hidden) -> Hidden:
        made = _conv(hidden.shape[-1], 3, self.dtype, "conv_0")(_reflected(hidden, 1))
        made = nn.relu(instance_norm(made))
        made = _conv(hidden.shape[-1], 3, self.dtype, "conv_1")(_reflected(made, 1))
        return hidden + instance_norm(made)


def _conv(features: int, side: int, dtype: Dtype | None, name: str, use_bias: bool = False) -> Conv:
    return Conv(
        features,
        (side, side),
        padding="VALID",
        use_bias=use_bias,
        kernel_init=_weight_init,
        dtype=dtype,
        name=name,
    )


def _reflected(images: Hidden, border: int) -> Changed:
    return jnp.pad(images, ((0, 0), (border, border), (border, border), (0, 0)), "reflect")
