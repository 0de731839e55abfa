"""Path-length regularisation of a style-based generator (Karras et al. 2020, StyleGAN2, section 3.2)."""

import dataclasses
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jgr.errors import ConfigError

Images = Float[Array, "batch height width channels"]
Styles = Float[Array, "batch layers style"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PathLength:
    """weight * (|J^T y| - a)^2: steps of one length in the styles should move images by one length.

    J is the Jacobian of an image in [-1, 1] by its styles, y noise of that image's size, and a the running mean of the
    lengths |J^T y| themselves.

    Args:
        weight: 2 in the authors' code.
        decay: How fast a follows, per evaluation.
        shrink: The batch is cut to one in so many images, to save time.
        interval: It is computed at every so many steps, and counts so many times as much then.
    """

    weight: float = 2.0
    decay: float = 0.01
    shrink: int = 2
    interval: int = 4

    def __post_init__(self) -> None:
        if not self.weight > 0:
            raise ConfigError(f"weight = {self.weight} must be positive; for no such penalty set path_length to None")
        if not 0 < self.decay <= 1:
            raise ConfigError(f"decay = {self.decay} must be above 0 and at most 1")
        for name in ("shrink", "interval"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} = {getattr(self, name)} must be at least 1")

    def lengths(
        self, synthesise: Callable[[Styles], Images], styles: Styles, keys: Key[Array, "batch"]
    ) -> Float[Array, "batch"]:
        """|J^T y| of each image: the root of the mean over layers of the squared gradient, summed over a style.

        Args:
            synthesise: Styles to images in [0, 1].
            styles: At which the Jacobian is taken.
            keys: One an image, for y.
        """

        def projected(styles: Styles) -> Float[Array, ""]:
            images = 2.0 * synthesise(styles)  # in units of [-1, 1]
            noise = jax.vmap(lambda key: jax.random.normal(key, images.shape[1:]))(keys)
            return jnp.vdot(images, noise) / math.sqrt(images.shape[1] * images.shape[2])

        gradients = jax.grad(projected)(styles)
        # the gradient of a root is infinite at 0, where images do not depend on the styles
        return jnp.sqrt(jnp.square(gradients).sum(axis=2).mean(axis=1) + 1e-12)

    def followed(self, mean: Float[Array, ""], lengths: Float[Array, "batch"]) -> Float[Array, ""]:
        """The running mean after an evaluation."""
        return mean + self.decay * (lengths.mean() - mean)

    def penalty(self, lengths: Float[Array, "batch"], mean: Float[Array, ""]) -> Float[Array, "batch"]:
        """The penalty of each image, its weight included, `mean` being the running mean with these lengths in it."""
        return self.weight * jnp.square(lengths - mean)
