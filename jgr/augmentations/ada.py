"""Stochastic augmentation of a discriminator's images, and how much of it: ADA (Karras et al. 2020, arXiv:2006.06676).

Every operation is left out with some probability, so that the distribution of images without it still follows from that
of the augmented ones, and the generator has no reason to make augmented images (section 2.2).
"""

import dataclasses
import math
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jgr.augmentations.augmentation import Augmentation, Images
from jgr.errors import ConfigError
from jgr.state import Tree

Image = Float[Array, "height width channels"]
Map = Float[Array, "height width"]
Scalar = Float[Array, ""]
Place = TypeVar("Place", int, Array)

_GRAY = 0.5  # 0 in the units of the paper, [-1, 1]
# Deslauriers & Dubuc 1989: the polynomial of degree 5 through the six nearest pixels, halfway between the middle two.
_HALFWAY = np.array([3, -25, 150, 150, -25, 3]) / 256


@dataclasses.dataclass(frozen=True, kw_only=True)
class StochasticAugmentation(Augmentation):
    """Every operation is made with the same probability times a factor of its own, independently of the others.

    The operations, their order and the distributions of their parameters are those of the paper's appendix B. All that
    move pixels are one map from places to places, so that pixels are interpolated once: bilinearly in an image of twice
    the size, whose further pixels are of polynomials of degree 5. Where only flips, quarter turns and shifts are made,
    values stay what they are, bit for bit. Beyond the border the image is reflected about its outermost pixels
    (dcb|abcd|cba). Unlike the paper's, images are not smoothed before they shrink.

    Args:
        probability: Of an operation whose factor is 1.
        flip: Factor for mirroring left to right, which then happens to half of the images. This and other factors are 0
            where the result would not be one of the data, as with digits.
        quarter_turn: Factor for a turn by 0, 90, 180 or 270 degrees.
        shift: Factor for a move by whole pixels, up to an eighth of each side.
        geometry: Factor for each of a scale of 2^N(0, .2²), rotations by any angle before and after the next, a stretch
            of the rows by 2^N(0, .2²) and of the columns by the inverse, and a move by N(0, .125²) of each side.
        color: Factor for each of a brightness of N(0, .1²), a contrast of 2^N(0, .5²), a reflection of the luma about
            gray, any rotation of the hue, and a saturation of 2^N(0, 1²).
        cutout: Factor for a gray square of half the sides around any place; 0 in the paper's preferred set.
    """

    probability: float = 0.0
    flip: float = 1.0
    quarter_turn: float = 1.0
    shift: float = 1.0
    geometry: float = 1.0
    color: float = 1.0
    cutout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("probability", "flip", "quarter_turn", "shift", "geometry", "color", "cutout"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} = {getattr(self, name)} must be from 0 to 1")

    def __call__(self, images: Images, keys: Key[Array, "batch"], strength: Scalar) -> Images:
        """See `Augmentation.__call__`; the strength is the probability.

        Raises:
            ConfigError: If `color` is not 0 and the images have neither one channel nor three.
        """
        if self.color and images.shape[-1] not in (1, 3):
            raise ConfigError(f"color = {self.color} must be 0 for images of {images.shape[-1]} channels")

        def changed(image: Image, key: Key[Array, ""]) -> Image:
            # Only two draws: a further one takes as long to compile as all the rest.
            uniform_key, normal_key = jax.random.split(key)
            uniforms, normals = jax.random.uniform(uniform_key, (24,)), jax.random.normal(normal_key, (7,))
            if self.flip or self.quarter_turn or self.shift or self.geometry:
                image = warped(image, *self._places(image.shape, strength, uniforms[:14], normals[:4]))
            if self.color:
                image = self._colored(image, strength, uniforms[14:21], normals[4:])
            if self.cutout:
                image = _cut_out(image, self.cutout * strength, uniforms[21:])
            return image

        return jax.vmap(changed)(images, keys)

    def strength(self, state: Tree) -> Scalar:
        """See `Augmentation.strength`: the probability."""
        return jnp.float32(self.probability)

    def _places(
        self, shape: tuple[int, ...], strength: Scalar, uniforms: Float[Array, "14"], normals: Float[Array, "4"]
    ) -> tuple[Map, Map]:
        """Row and column from which each pixel of the result comes: the inverses, the last operation's first."""
        height, width = shape[:2]
        mirror, quarters, down, right, first, second = uniforms[:6]
        zoom, stretch, lower, further = normals
        geometry = self.geometry * strength
        once = 1 - jnp.sqrt(1 - geometry)  # of two rotations: either happens with the probability wanted
        factors = [self.flip * strength, self.quarter_turn * strength, self.shift * strength]
        made = uniforms[6:] < jnp.stack([*factors, geometry, once, geometry, once, geometry])
        flips, turns, shifts, scales, first_turns, stretches, second_turns, moves = made

        rows, columns = _centred_grid(height, width)
        rows = rows - jnp.where(moves, 0.125 * height * lower, 0.0)
        columns = columns - jnp.where(moves, 0.125 * width * further, 0.0)
        rows, columns = _rotated(rows, columns, jnp.where(second_turns, 2 * math.pi * second, 0.0))
        squeeze = jnp.where(stretches, 2 ** (-0.2 * stretch), 1.0)
        rows, columns = rows * squeeze, columns / squeeze
        rows, columns = _rotated(rows, columns, jnp.where(first_turns, 2 * math.pi * first, 0.0))
        scale = jnp.where(scales, 2 ** (-0.2 * zoom), 1.0)
        rows, columns = rows * scale, columns * scale
        rows = rows - jnp.where(shifts, _whole(down, height), 0.0)
        columns = columns - jnp.where(shifts, _whole(right, width), 0.0)
        number = jnp.where(turns, jnp.floor(4 * quarters), 0.0)
        rows, columns = _turned(rows, columns, (1 - number % 2) * (1 - number), number % 2 * (2 - number))
        return rows, columns * jnp.where(flips & (mirror < 0.5), -1.0, 1.0)

    def _colored(
        self, image: Image, strength: Scalar, uniforms: Float[Array, "7"], normals: Float[Array, "3"]
    ) -> Image:
        reflect, turn = uniforms[:2]
        made = uniforms[2:] < self.color * strength
        brightness, contrast, saturation = normals
        changed = recolored(
            image,
            brightness=jnp.where(made[0], 0.1 * brightness, 0.0),
            contrast=jnp.where(made[1], 2 ** (0.5 * contrast), 1.0),
            luma=jnp.where(made[2] & (reflect < 0.5), -1.0, 1.0),
            hue=jnp.where(made[3], 2 * math.pi * turn, 0.0),
            saturation=jnp.where(made[4], 2**saturation, 1.0),
        )
        return jnp.where(made.any(), changed, image)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ADA(StochasticAugmentation):
    """Adaptive: more probable where the discriminator is too sure of real images, less where it is not (section 3).

    How sure it is, is the mean sign of its logits of real images; with a loss of pairs, which compares logits with each
    other only, that of how far real ones are above generated ones.

    Args:
        probability: At the start.
        target: Of the mean sign; .6 in the paper.
        adjustment_images: Real images that the discriminator sees while the probability goes from 0 to 1; 500,000 in
            the paper.
        interval: Steps between changes, whose mean it is; 4 in the paper.
    """

    target: float = 0.6
    adjustment_images: int = 500_000
    interval: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if not -1 < self.target < 1:
            raise ConfigError(f"target = {self.target} must be between -1 and 1, a mean of signs")
        for name in ("adjustment_images", "interval"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} = {getattr(self, name)} must be at least 1")

    def init(self) -> Tree:
        """See `Augmentation.init`: the probability, and signs and number of the real images since it changed."""
        return {"strength": jnp.float32(self.probability), "signs": jnp.float32(0.0), "num": jnp.float32(0.0)}

    def strength(self, state: Tree) -> Scalar:
        """See `Augmentation.strength`: the probability."""
        strength: Scalar = state["strength"]
        return strength

    def adapt(self, state: Tree, real_sign: Scalar, num_images: int, step: Int[Array, ""]) -> Tree:
        """See `Augmentation.adapt`."""
        signs, num = state["signs"] + num_images * real_sign, state["num"] + num_images
        change = jnp.sign(signs - self.target * num) * num / self.adjustment_images
        due = (step + 1) % self.interval == 0
        return {
            "strength": jnp.where(due, jnp.clip(state["strength"] + change, 0.0, 1.0), state["strength"]),
            "signs": jnp.where(due, 0.0, signs),
            "num": jnp.where(due, 0.0, num),
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class RisingAugmentation(StochasticAugmentation):
    """More probable from step to step, from 0 along a cosine, as Huang et al. 2024 (R3GAN) train.

    Args:
        probability: At the end, and from then on.
        images: Real images that the discriminator sees until then.
    """

    images: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.images < 1:
            raise ConfigError(f"images = {self.images} must be at least 1")

    def init(self) -> Tree:
        """See `Augmentation.init`: the probability."""
        return {"strength": jnp.float32(0.0)}

    def strength(self, state: Tree) -> Scalar:
        """See `Augmentation.strength`: the probability."""
        strength: Scalar = state["strength"]
        return strength

    def adapt(self, state: Tree, real_sign: Scalar, num_images: int, step: Int[Array, ""]) -> Tree:
        """See `Augmentation.adapt`."""
        share = jnp.minimum((step + 1) * (num_images / self.images), 1.0)
        return {"strength": self.probability * 0.5 * (1 - jnp.cos(math.pi * share))}


def warped(image: Image, rows: Map, columns: Map) -> Image:
    """The image with each pixel from another place, interpolated; reflected beyond its border.

    Args:
        image: Of any range.
        rows: Of the place from which each pixel comes, counted from the image's centre.
        columns: Likewise.
    """
    height, width, _ = image.shape
    fine = jnp.einsum(
        "ih,jw,hwc->ijc", _interpolation(height), _interpolation(width), image, precision=jax.lax.Precision.HIGHEST
    )
    (row, below), (column, right) = _split(rows, height), _split(columns, width)

    def pixels(down: int, along: int) -> Image:
        return fine.at[row + down, column + along].get(mode="promise_in_bounds")

    upper = (1 - right) * pixels(0, 0) + right * pixels(0, 1)
    lower = (1 - right) * pixels(1, 0) + right * pixels(1, 1)
    return (1 - below) * upper + below * lower


def _split(places: Map, side: int) -> tuple[Int[Array, "height width"], Float[Array, "height width 1"]]:
    """The pixel before a place in the image of twice the size, and how far behind it the place lies."""
    reflected = _reflected(2 * places + (side - 1), 2 * (side - 1))
    before = jnp.clip(jnp.floor(reflected), 0, 2 * side - 3)
    return before.astype(jnp.int32), (reflected - before)[..., None]


def recolored(
    image: Image, *, brightness: Scalar, contrast: Scalar, luma: Scalar, hue: Scalar, saturation: Scalar
) -> Image:
    """The image in other colours, changed in the order of the arguments.

    Args:
        image: In [0, 1], of one channel or three; luma is the mean of the channels.
        brightness: Is added.
        contrast: Factor of the distance from mid-gray.
        luma: Factor of the luma's distance from mid-gray: -1 to reflect it.
        hue: Angle, in radians, by which colours turn about the gray axis: by 2 pi / 3 red becomes green.
        saturation: Factor of the distance from the gray axis.
    """
    mean = image.mean(2, keepdims=True)
    gray = _GRAY + luma * contrast * (mean + brightness - _GRAY)
    if image.shape[2] == 1:
        return gray
    color = image - mean
    before, after = jnp.roll(color, 1, 2), jnp.roll(color, -1, 2)
    turned = jnp.cos(hue) * color + jnp.sin(hue) / math.sqrt(3) * (before - after)  # Rodrigues
    return gray + contrast * saturation * turned


def _cut_out(image: Image, probability: Scalar, uniforms: Float[Array, "3"]) -> Image:
    chance, *centres = uniforms
    rows, columns = (
        jnp.abs((jnp.arange(side) + 0.5) / side - centre) < 0.25
        for side, centre in zip(image.shape[:2], centres, strict=True)
    )
    hidden = (chance < probability) & rows[:, None, None] & columns[None, :, None]
    return jnp.where(hidden, _GRAY, image)


def _interpolation(side: int) -> Float[np.ndarray, "fine side"]:
    """A matrix that puts a pixel between any two."""
    matrix = np.zeros((2 * side - 1, side), np.float32)
    matrix[::2] = np.eye(side)
    for place in range(side - 1):
        for tap, weight in enumerate(_HALFWAY, start=place - 2):
            matrix[2 * place + 1, _reflected(tap, side - 1)] += weight
    return matrix


def _reflected(place: Place, last: int) -> Place:
    """A place on a line as one from 0 to `last`, reflected at both as often as needed."""
    return last - abs(place % (2 * last) - last)


def _whole(share: Scalar, side: int) -> Scalar:
    """A uniform number from 0 to 1 as a number of pixels, up to an eighth of a side in both directions."""
    return jnp.round((2 * share - 1) * 0.125 * side)


def _centred_grid(height: int, width: int) -> tuple[Map, Map]:
    """Row and column of each pixel, counted from the centre."""
    rows, columns = (jnp.arange(side, dtype=jnp.float32) - (side - 1) / 2 for side in (height, width))
    return jnp.broadcast_to(rows[:, None], (height, width)), jnp.broadcast_to(columns[None], (height, width))


def _rotated(rows: Map, columns: Map, angle: Scalar) -> tuple[Map, Map]:
    return _turned(rows, columns, jnp.cos(angle), jnp.sin(angle))


def _turned(rows: Map, columns: Map, cosine: Scalar, sine: Scalar) -> tuple[Map, Map]:
    return cosine * rows + sine * columns, cosine * columns - sine * rows
