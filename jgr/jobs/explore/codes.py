"""What a generator makes images of, latents or styles: how they are drawn, truncated and blended."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jgr.state import TrainState
from jgr.tasks.task import StyleSampler, Task

_NEAR_PARALLEL = 1e-3  # sine of an angle: below it slerp and a straight line differ by less than 1e-6 of the length
_RESAMPLED = 0x5EED  # folded into a latent's key for the values drawn again, which must not repeat its own bits

Condition = Mapping[str, Int[Array, "batch *length"]] | None


@dataclasses.dataclass(frozen=True)
class CodeSpace:
    """The styles of a style-based generator, or the latents of any other.

    Args:
        task: A `LatentSampler`.
        truncation: None for none. Of styles psi, what is left of their distance from the mean; of latents the
            threshold that no value exceeds: see `pulled_to_mean` and `truncated`.
    """

    task: Task
    truncation: float | None = None

    @property
    def has_styles(self) -> bool:
        """Whether codes are styles."""
        return isinstance(self.task, StyleSampler) and self.task.has_styles

    def draw(
        self, state: TrainState, keys: Key[Array, "batch"], condition: Condition = None
    ) -> Float[Array, "batch *code"]:
        """Codes, one a key: latents [batch, latent] or styles [batch, layers, style]."""
        task: Any = self.task
        latents = task.latents(keys)
        if self.has_styles:
            styles = task.styles(state, latents, condition)
            return (
                styles if self.truncation is None else pulled_to_mean(styles, task.mean_style(state), self.truncation)
            )
        return latents if self.truncation is None else truncated(latents, keys, self.truncation)

    def blend(
        self, first: Float[Array, "batch *code"], second: Float[Array, "batch *code"], fraction: Float[Array, "batch"]
    ) -> Float[Array, "batch *code"]:
        """Codes on the way from the first, at fraction 0, to the second, at 1: straight for styles, else `slerp`."""
        if self.has_styles:
            share = fraction[:, None, None]
            return (1 - share) * first + share * second
        return slerp(first, second, fraction)

    def paint(
        self,
        state: TrainState,
        codes: Float[Array, "batch *code"],
        keys: Key[Array, "batch"],
        condition: Condition = None,
    ) -> Float[Array, "batch height width channels"]:
        """Images in [0, 1] of codes; the keys decide what is random besides."""
        task: Any = self.task
        if self.has_styles:
            return task.synthesise(state, codes, keys)
        return task.generate(state, codes, keys, condition)


def slerp(
    first: Float[Array, "batch latent"], second: Float[Array, "batch latent"], fraction: Float[Array, "batch"]
) -> Float[Array, "batch latent"]:
    """Spherical interpolation (Shoemake 1985; for latents White 2016, "Sampling Generative Networks").

    Normal latents of many dimensions lie close to a sphere, whose inside, where a straight line leads, a generator has
    never seen. Where the two are parallel to within 1e-3 it is a straight line; so it is where they are opposite, as no
    way around the sphere is shorter than the others.

    Args:
        first: Where it begins, at fraction 0.
        second: Where it ends, at fraction 1.
        fraction: In [0, 1], uniform in the angle.
    """
    units = [latents / jnp.maximum(_length(latents), jnp.finfo(latents.dtype).tiny) for latents in (first, second)]
    # An arc cosine would lose half of the digits of a small angle.
    angle = 2 * jnp.arctan2(_length(units[0] - units[1]), _length(units[0] + units[1]))
    share, sine = fraction[:, None], jnp.sin(angle)
    straight = jnp.abs(sine) < _NEAR_PARALLEL
    sine = jnp.where(straight, 1.0, sine)
    weights = jnp.sin((1 - share) * angle) / sine, jnp.sin(share * angle) / sine
    before, after = jnp.where(straight, 1 - share, weights[0]), jnp.where(straight, share, weights[1])
    return before * first + after * second


def truncated(
    latents: Float[Array, "batch latent"], keys: Key[Array, "batch"], threshold: float
) -> Float[Array, "batch latent"]:
    """Standard normal latents whose values beyond the threshold are drawn again until none is (Brock et al. 2019, 3.1).

    Values within stay as they are, so that a picture changes little by little with the threshold.

    Args:
        latents: Standard normal.
        keys: Those that the latents were drawn with.
        threshold: Largest magnitude, above 0.
    """

    def within(key: Key[Array, ""]) -> Float[Array, "latent"]:
        again = jax.random.fold_in(key, _RESAMPLED)
        return jax.random.truncated_normal(again, -threshold, threshold, latents.shape[1:], latents.dtype)

    return jnp.where(jnp.abs(latents) > threshold, jax.vmap(within)(keys), latents)


def pulled_to_mean(
    styles: Float[Array, "batch layers style"], mean: Float[Array, "style"], psi: float
) -> Float[Array, "batch layers style"]:
    """Mean + psi (styles - mean): less variety, fewer failures (Karras et al. 2019, appendix B).

    Args:
        styles: Of any generator.
        mean: Of the styles of many latents.
        psi: 1 changes nothing, 0 gives the mean.
    """
    centre = mean[None, None, :]
    return centre + psi * (styles - centre)


def mixed(
    coarse: Float[Array, "batch layers style"], fine: Float[Array, "batch layers style"], layer: Int[Array, "batch"]
) -> Float[Array, "batch layers style"]:
    """Styles of one image in the layers before `layer`, of another from there on (Karras et al. 2019, section 3.1)."""
    before = jnp.arange(coarse.shape[1])[None, :, None] < layer[:, None, None]
    return jnp.where(before, coarse, fine)


def _length(vectors: Float[Array, "batch latent"]) -> Float[Array, "batch 1"]:
    return jnp.linalg.norm(vectors, axis=1, keepdims=True)
