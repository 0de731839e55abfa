"""Random flips, quarter turns and crops on the device, one key a record."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jgr.errors import ConfigError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Augment:
    """A random horizontal flip and quarter turns, then a random crop: whole pixels move and none changes.

    What happens to a record follows from its key alone, not from the batch it is in. CIFAR's usual augmentation (He et
    al. 2016, section 4.2) is `Augment(flip=True, pad=4)`, but for the padding: reflection instead of zeros.

    Attributes:
        flip: Whether half of the images are mirrored left to right.
        rotate: Whether images are turned by 0, 90, 180 or 270 degrees, all equally likely; with `flip` these are the
            eight ways to lay down a square. What is turned must be square: the crop, or else the image.
        crop: Height and width of the crop, which is uniform over the padded image; None crops to the image's own size,
            so that with `pad` it is a random shift.
        pad: Pixels added on every side by reflection before the crop.
    """

    flip: bool = False
    rotate: bool = False
    crop: int | None = None
    pad: int = 0

    def __post_init__(self) -> None:
        if self.crop is not None and self.crop < 1:
            raise ConfigError(f"crop = {self.crop} must be at least 1, or None")
        if self.pad < 0:
            raise ConfigError(f"pad = {self.pad} must be at least 0")

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width after augmentation of images of a size.

        Raises:
            ConfigError: The images are too small for the crop or the padding.
        """
        if self.pad >= min(height, width):
            raise ConfigError(
                f"config.data.augment.pad = {self.pad}: reflection needs less than the images' {height}x{width}"
            )
        if self.crop is None:
            if self.rotate and height != width:
                raise ConfigError(
                    f"config.data.augment.rotate turns squares only, and the images are {height}x{width}: set "
                    "augment.crop, or config.data.crop"
                )
            return height, width
        if self.crop > min(height, width) + 2 * self.pad:
            raise ConfigError(
                f"config.data.augment.crop = {self.crop} must fit the images' {height}x{width} plus twice "
                f"augment.pad={self.pad}"
            )
        return self.crop, self.crop

    def __call__(
        self, images: Float[Array, "batch height width channels"], keys: Key[Array, "batch"]
    ) -> Float[Array, "batch out_height out_width channels"]:
        """Augments a batch.

        Args:
            images: Images in any range.
            keys: One key a record, `jgr.rng.record_keys(key, position)`.

        Raises:
            ConfigError: As `output_size`.
        """
        _, height, width, channels = images.shape
        out_height, out_width = self.output_size(height, width)

        def augmented(image: Float[Array, "h w c"], key: Key[Array, ""]) -> Float[Array, "oh ow c"]:
            flip_key, crop_key = jax.random.split(key)
            if self.flip:
                image = jnp.where(jax.random.bernoulli(flip_key), image[:, ::-1], image)
            if self.pad:
                image = jnp.pad(image, ((self.pad, self.pad), (self.pad, self.pad), (0, 0)), mode="reflect")
            spare = jnp.array([image.shape[0] - out_height, image.shape[1] - out_width])
            top, left = jax.random.randint(crop_key, (2,), 0, spare + 1)
            image = jax.lax.dynamic_slice(image, (top, left, 0), (out_height, out_width, channels))
            if not self.rotate:
                return image
            turns = [functools.partial(jnp.rot90, k=quarters) for quarters in range(4)]
            return jax.lax.switch(jax.random.randint(jax.random.fold_in(key, 2), (), 0, 4), turns, image)

        if not self.flip and not self.rotate and not self.pad and (out_height, out_width) == (height, width):
            return images
        return jax.vmap(augmented)(images, keys)
