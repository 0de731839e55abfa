"""What an augmentation of a discriminator's images is.

It is not one of data: real and generated images both pass through it, and the generator's gradient too, so that what it
does never shows in generated images while it can be undone from their distribution (Karras et al. 2020, section 2.2).
"""

import abc
import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jgr.state import Tree

Images = Float[Array, "batch height width channels"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Augmentation(abc.ABC):
    """What images go through before a discriminator. One of your own is a subclass, named by its import path.

    One that adapts has a state of its own in `TrainState.extra`; the methods with bodies are for those alone.
    """

    @abc.abstractmethod
    def __call__(self, images: Images, keys: Key[Array, "batch"], strength: Float[Array, ""]) -> Images:
        """The images changed: pure, differentiable in them, each by its own key.

        Args:
            images: In [0, 1]; the result may exceed it.
            keys: One an image.
            strength: What `strength` says of the state.
        """

    def init(self) -> Tree:
        """The state before the first step: a pytree of arrays."""
        return {}

    def strength(self, state: Tree) -> Float[Array, ""]:
        """How strong the augmentation is, from 0 to 1; reported as `discriminator/augmentation`."""
        return jnp.float32(1.0)

    def adapt(self, state: Tree, real_sign: Float[Array, ""], num_images: int, step: Int[Array, ""]) -> Tree:
        """The state after a step.

        Args:
            state: The state before.
            real_sign: Mean sign of the logits of real images in this step: 1 where the discriminator is sure of all. Of
                their differences to those of generated images where the loss is of pairs.
            num_images: Real images of the step.
            step: Steps done before.
        """
        return state
