"""What encoders and decoders of VAEs check of their sizes and labels."""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

from jgr.errors import ConfigError

Labels = Int[Array, "batch"] | None


def one_hot(labels: Labels, num_classes: int | None, batch: int) -> Float[Array, "batch classes"]:
    """One value a class, 1 for the label's; no values where there are no classes.

    Args:
        labels: From 0 to `num_classes - 1`; None where there are no classes.
        num_classes: None for none.
        batch: Records.

    Raises:
        ConfigError: If labels are missing, or not expected.
    """
    if (labels is None) != (num_classes is None):
        given = "no labels" if labels is None else "labels"
        raise ConfigError(f"num_classes = {num_classes} of a network, but it was given {given}")
    if labels is None or num_classes is None:
        return jnp.zeros((batch, 0))
    return nn.one_hot(labels, num_classes)


def require_positive(module: nn.Module, *names: str) -> None:
    """Raises ConfigError for a field, or a part of a tuple, below 1; None passes."""
    for name in names:
        value = getattr(module, name)
        if value is not None and min(value if isinstance(value, tuple) else (value,), default=1) < 1:
            raise ConfigError(f"{name} = {value} must be at least 1")
