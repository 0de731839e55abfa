"""What networks around networks share."""

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
