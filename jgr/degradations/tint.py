"""The colour of the light."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from jgr.degradations.degradation import Degradation, Record, without
from jgr.degradations.parameters import Draw, check_bounds, draw, label
from jgr.errors import ConfigError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tint(Degradation):
    """Each channel times a factor of its own, as under a coloured light (von Kries 1902).

    Args:
        factors: One for each channel, above 0 and at most 1: (1.0, 0.7, 0.4) for red, green and blue is warm.
    """

    factors: tuple[Draw, ...]

    def __post_init__(self) -> None:
        for place, factor in enumerate(self.factors):
            check_bounds(f"factors[{place}]", factor, 0, 1, above=True)

    @property
    def name(self) -> str:
        """Such as "tint-1-0.7-0.4"."""
        return "-".join(["tint", *map(label, self.factors)])

    def apply(self, record: Record, key: Key[Array, ""]) -> Record:
        """See `Degradation.apply`; differentiable. Factor i draws from `fold_in(key, i)`.

        Raises:
            ConfigError: The image has not as many channels as there are factors.
        """
        image = record["image"]
        if image.shape[-1] != len(self.factors):
            raise ConfigError(
                f"factors = {self.factors} must be one for each of the {image.shape[-1]} channels of the image"
            )
        drawn = [draw(factor, jax.random.fold_in(key, place)) for place, factor in enumerate(self.factors)]
        return {**without(record, "sigma"), "image": image * jnp.stack(drawn).reshape(1, 1, -1)}
