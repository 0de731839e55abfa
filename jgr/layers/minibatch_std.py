"""What a discriminator sees of the variety of its batch (Karras et al. 2018, arXiv:1710.10196, section 3)."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jgr.errors import ConfigError


def minibatch_std(
    images: Float[Array, "batch height width channels"], group_size: int
) -> Float[Array, "batch height width channels_and_one"]:
    """The images with one more channel, the same number everywhere: how much the images of a group differ.

    It is the standard deviation over the group, in float32, averaged over pixels and channels. Of m groups in a batch
    image i is in group i % m, as in the authors' code.

    Args:
        images: NHWC features.
        group_size: Images of a group; the whole batch where it is smaller.

    Raises:
        ConfigError: If groups do not fill the batch.
    """
    batch, height, width, channels = images.shape
    size = min(group_size, batch)
    if size < 1 or batch % size:
        raise ConfigError(f"group_size = {group_size} must be positive, and divide the batch of {batch} images")
    groups = images.reshape(size, batch // size, height, width, channels).astype(jnp.float32)
    variance = jnp.square(groups - groups.mean(0, keepdims=True)).mean(0)
    spread = jnp.sqrt(variance + 1e-8).mean((1, 2, 3))  # the root's own gradient is infinite at 0
    plane = jnp.broadcast_to(spread.reshape(1, -1, 1, 1, 1), (size, batch // size, height, width, 1))
    return jnp.concatenate([images, plane.reshape(batch, height, width, 1).astype(images.dtype)], -1)
