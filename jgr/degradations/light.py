"""Loss of light and of contrast."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from jgr.degradations.degradation import Degradation, Record, without
from jgr.degradations.parameters import Draw, check_bounds, draw, label


@dataclasses.dataclass(frozen=True, kw_only=True)
class LowLight(Degradation):
    """Darkens: exposure * image ** gamma, the synthesis of Lv et al. 2021 ("Attention guided low-light image
    enhancement with a large scale low-light simulation dataset", equation 1, with one linear factor).

    Noise is a step of its own, behind it. Values below 0 count as 0.

    Args:
        exposure: Linear factor, above 0 and at most 1.
        gamma: Exponent, at least 1: dark parts lose more.
    """  # noqa: D205

    exposure: Draw
    gamma: Draw = 1.0

    def __post_init__(self) -> None:
        check_bounds("exposure", self.exposure, 0, 1, above=True)
        check_bounds("gamma", self.gamma, 1)

    @property
    def name(self) -> str:
        """Such as "lowlight-e0.5-g2"."""
        return f"lowlight-e{label(self.exposure)}-g{label(self.gamma)}"

    def apply(self, record: Record, key: Key[Array, ""]) -> Record:
        """See `Degradation.apply`; differentiable."""
        exposure_key, gamma_key = jax.random.split(key)
        exposure, gamma = draw(self.exposure, exposure_key), draw(self.gamma, gamma_key)
        return {**without(record, "sigma"), "image": exposure * jnp.maximum(record["image"], 0.0) ** gamma}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ContrastLoss(Degradation):
    """Pulls all values towards the image's mean: mean + factor * (image - mean), one mean for all channels.

    Args:
        factor: Contrast that is left, above 0 and at most 1.
    """

    factor: Draw

    def __post_init__(self) -> None:
        check_bounds("factor", self.factor, 0, 1, above=True)

    @property
    def name(self) -> str:
        """Such as "contrast-f0.5"."""
        return f"contrast-f{label(self.factor)}"

    def apply(self, record: Record, key: Key[Array, ""]) -> Record:
        """See `Degradation.apply`; differentiable."""
        image = record["image"]
        mean = image.mean()
        return {**without(record, "sigma"), "image": mean + draw(self.factor, key) * (image - mean)}
