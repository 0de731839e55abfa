"""What a restoration network can be given."""

from jaxtyping import Array, Float

from jgr.errors import ConfigError


def check_input(
    network: str, images: Float[Array, "batch height width channels"], channels: int, multiple: int = 1
) -> None:
    """Raises ConfigError where images do not fit a network.

    Args:
        network: Its name, for the message.
        images: What it is given: the image, then condition maps.
        channels: Channels of the image.
        multiple: What the sides must be a multiple of.
    """
    height, width, given = images.shape[1:]
    if given < channels:
        raise ConfigError(f"{network}: images of {given} channels, but channels = {channels}")
    if height % multiple or width % multiple:
        raise ConfigError(f"{network}: images of {height}x{width}, but the sides must be multiples of {multiple}")
