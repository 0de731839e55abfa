"""A pool of generated images, of which a discriminator sees old ones too (Shrivastava et al. 2017, section 2.3)."""

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from jgr.state import Tree

Images = Float[Array, "batch height width channels"]


class ImagePool(flax.struct.PyTreeNode):
    """Images that a generator made in earlier steps: part of the train state, so that a resumed run has the same.

    Args:
        images: [size, height, width, channels], in [0, 1]; the first `count` are filled.
        count: How many are filled, int32.
    """

    # Anything may stand at a leaf: an array, a shape, a sharding. So no field is annotated more closely.
    images: Tree
    count: Tree

    @classmethod
    def empty(cls, size: int, shape: tuple[int, ...]) -> "ImagePool":
        """A pool that holds nothing yet.

        Args:
            size: How many images it can hold; one of size 0 gives every image back.
            shape: Of an image: height, width, channels.
        """
        return cls(images=jnp.zeros((size, *shape)), count=jnp.int32(0))

    def exchange(self, images: Images, keys: Key[Array, "batch"]) -> tuple["ImagePool", Images]:
        """Gives an image for each image, one after another, as the authors' util/image_pool.py does it.

        While the pool fills, an image is stored and given back. Then, with probability 1/2 each, it is given back, or
        takes the place of a random stored one, which is given instead.

        Args:
            images: What the generator has just made.
            keys: One an image.

        Returns:
            The pool after, and as many images as were given.
        """
        size = self.images.shape[0]
        if not size:
            return self, images

        def one(
            pool: tuple[Float[Array, "size height width channels"], Int[Array, ""]],
            arrival: tuple[Float[Array, "height width channels"], Key[Array, ""]],
        ) -> tuple[tuple[Array, Array], Array]:
            (stored, count), (image, key) = pool, arrival
            coin_key, place_key = jax.random.split(key)
            fills: Bool[Array, ""] = count < size
            swaps = ~fills & jax.random.bernoulli(coin_key)
            place = jnp.where(fills, count, jax.random.randint(place_key, (), 0, size))
            old = stored[place]
            stored = stored.at[place].set(jnp.where(fills | swaps, image, old))
            return (stored, count + fills.astype(jnp.int32)), jnp.where(swaps, old, image)

        (stored, count), given = jax.lax.scan(one, (self.images, self.count), (images, keys))
        return ImagePool(images=stored, count=count), given
