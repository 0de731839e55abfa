"""What networks around networks share."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype

from jgr.errors import ConfigError


def computing_in(dtype: Dtype | None, network: nn.Module) -> nn.Module:
    """The network, computing in a type of number where it names none.

    Raises:
        ConfigError: If it has no field `dtype`.
    """
    if dtype is None:
        return network
    if not hasattr(network, "dtype"):
        raise ConfigError(f"dtype = {jnp.dtype(dtype).name}: {type(network).__qualname__} has no field dtype")
    return network if network.dtype is not None else network.clone(dtype=dtype)


class AroundRestorer:
    """What a task asks of a restoration network, for a module whose field `network` has it inside."""

    network: Any

    @property
    def channels(self) -> int | None:
        """Channels of the image; None where the network does not say."""
        return getattr(self.network, "channels", None)

    @property
    def scale(self) -> int:
        """How many times larger it makes images."""
        return getattr(self.network, "scale", 1)

    @property
    def multiple(self) -> int:
        """What the sides of images must be a multiple of."""
        return getattr(self.network, "multiple", 1)
