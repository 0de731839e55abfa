"""DiffAugment (Zhao et al. 2020, arXiv:2006.10738): every image is changed, in ways a discriminator can see through."""

import dataclasses
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jgr.augmentations.augmentation import Augmentation, Images
from jgr.errors import ConfigError

Image = Float[Array, "height width channels"]
Draws = Float[Array, "3"]  # uniform from 0 to 1; not all need all

_GRAY = 0.5  # what the authors, whose images are in [-1, 1], fill with: 0 there


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiffAugment(Augmentation):
    """Changes of colour, place and visibility, drawn for each image (section 3.2; sizes as in the authors' code).

    - "color": up to .25 is added to all pixels, or taken from them; then the distance of a pixel's channels from their
      mean is multiplied by 0 to 2, and that of all values from the image's mean by .5 to 1.5.
    - "translation": the image moves by whole pixels, up to an eighth of each side.
    - "cutout": a square of half the sides is hidden around a pixel, also one at the border, so that less is hidden.

    What has moved in and what is hidden is gray, halfway between black and white. Published settings for CIFAR-10 are
    ("translation", "cutout") with BigGAN and ("color", "cutout") with StyleGAN2, all three for few images.

    Args:
        policy: Which, in this order.
    """

    policy: tuple[str, ...] = ("color", "translation", "cutout")

    def __post_init__(self) -> None:
        unknown = [name for name in self.policy if name not in _CHANGES]
        if unknown or not self.policy:
            raise ConfigError(f"policy = {self.policy} must name some of {', '.join(_CHANGES)}")

    def __call__(self, images: Images, keys: Key[Array, "batch"], strength: Float[Array, ""]) -> Images:
        """See `Augmentation.__call__`; the strength is of no matter."""

        def changed(image: Image, key: Key[Array, ""]) -> Image:
            for name, draws in zip(self.policy, jax.random.uniform(key, (len(self.policy), 3)), strict=True):
                image = _CHANGES[name](image, draws)
            return image

        return jax.vmap(changed)(images, keys)


def _colored(image: Image, draws: Draws) -> Image:
    brightness, saturation, contrast = draws
    image = image + 0.5 * (brightness - 0.5)
    image = _stretched(image, image.mean(2, keepdims=True), 2.0 * saturation)
    return _stretched(image, image.mean(keepdims=True), 0.5 + contrast)


def _stretched(image: Image, mean: Float[Array, "rows columns values"], factor: Float[Array, ""]) -> Image:
    return mean + factor * (image - mean)


def _translated(image: Image, draws: Draws) -> Image:
    most = [int(side / 8 + 0.5) for side in image.shape[:2]]
    framed = jnp.pad(image, (*((by, by) for by in most), (0, 0)), constant_values=_GRAY)
    starts = [_whole(draw, 2 * by + 1) for draw, by in zip(draws, most, strict=False)]
    return jax.lax.dynamic_slice(framed, (*starts, 0), image.shape)


def _cut_out(image: Image, draws: Draws) -> Image:
    hidden = []
    for side, draw in zip(image.shape[:2], draws, strict=False):
        size, place = int(side / 2 + 0.5), jnp.arange(side)
        first = _whole(draw, side + 1 - size % 2) - size // 2
        hidden.append((place >= first) & (place < first + size))
    rows, columns = hidden
    return jnp.where(rows[:, None, None] & columns[None, :, None], _GRAY, image)


def _whole(draw: Float[Array, ""], number: int) -> Int[Array, ""]:
    """One of so many whole numbers from 0 on."""
    return (number * draw).astype(jnp.int32)


_CHANGES: Mapping[str, Callable[[Image, Draws], Image]] = {
    "color": _colored,
    "translation": _translated,
    "cutout": _cut_out,
}
