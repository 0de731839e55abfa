"""Channels to pixels and back (Shi et al. 2016, arXiv:1609.05158, equation 4), in PyTorch's order of channels."""

from jaxtyping import Array, Float

from jgr.errors import ConfigError


def pixel_shuffle(
    images: Float[Array, "batch height width channels"], factor: int
) -> Float[Array, "batch new_height new_width new_channels"]:
    """Enlarges by `factor`, each group of `factor**2` channels becoming a block of pixels: `pixel_unshuffle` undone.

    Args:
        images: Channel `c * factor**2 + dy * factor + dx` holds row dy and column dx of the blocks of new channel c, as
            in `torch.nn.PixelShuffle`; TensorFlow's `depth_to_space` has (dy, dx, c) instead.
        factor: Rows and columns of a block.

    Raises:
        ConfigError: If the channels are not a multiple of `factor**2`.
    """
    batch, height, width, channels = images.shape
    if factor < 1 or channels % factor**2:
        raise ConfigError(f"pixel_shuffle: {channels} channels must be a multiple of factor**2 = {factor**2}")
    blocks = images.reshape(batch, height, width, channels // factor**2, factor, factor)
    return blocks.transpose(0, 1, 4, 2, 5, 3).reshape(batch, height * factor, width * factor, -1)


def pixel_unshuffle(
    images: Float[Array, "batch height width channels"], factor: int
) -> Float[Array, "batch new_height new_width new_channels"]:
    """Shrinks by `factor`, each block of pixels becoming `factor**2` channels: `pixel_shuffle` undone.

    Args:
        images: Of any channels.
        factor: Rows and columns of a block.

    Raises:
        ConfigError: If a side is not a multiple of `factor`.
    """
    batch, height, width, channels = images.shape
    if factor < 1 or height % factor or width % factor:
        raise ConfigError(f"pixel_unshuffle: the sides of {height}x{width} pixels must be multiples of {factor}")
    blocks = images.reshape(batch, height // factor, factor, width // factor, factor, channels)
    return blocks.transpose(0, 1, 3, 5, 2, 4).reshape(batch, height // factor, width // factor, -1)
