"""Masks for inpainting, [height, width, 1]: 1 where a pixel is known, 0 in a hole, and nothing between."""

import abc
import dataclasses
import functools
import hashlib
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key
from PIL import Image

from jgr.degradations.degradation import Degradation, Record
from jgr.degradations.inputs import check_mask
from jgr.degradations.parameters import Draw, bounds, check_bounds, draw, label, number
from jgr.errors import ConfigError, DataError
from jgr.files import expanded

MaskArray = Float[Array, "height width 1"]
Points = Float[Array, "parts 2"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaskGenerator(abc.ABC):
    """What gives each record its mask. One of your own is a subclass."""

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """What a protocol calls it, such as "pixels-k0.5": all that changes the mask is in it."""

    @abc.abstractmethod
    def __call__(self, key: Key[Array, ""], height: int, width: int) -> MaskArray:
        """One mask of zeros and ones; `Mask` takes care that it does not hide everything."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RandomPixels(MaskGenerator):
    """Each pixel is known or not by itself.

    Args:
        keep: Probability that a pixel is known, above 0.
    """

    keep: Draw

    def __post_init__(self) -> None:
        check_bounds("keep", self.keep, 0, 1, above=True, hint="0 hides every pixel")

    @property
    def name(self) -> str:
        """Such as "pixels-k0.5"."""
        return f"pixels-k{label(self.keep)}"

    def __call__(self, key: Key[Array, ""], height: int, width: int) -> MaskArray:
        """See `MaskGenerator`."""
        keep_key, pixel_key = jax.random.split(key)
        return jax.random.bernoulli(pixel_key, draw(self.keep, keep_key), (height, width, 1)).astype(jnp.float32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Boxes(MaskGenerator):
    """Rectangular holes inside the image, which may overlap.

    Args:
        count: How many, rounded to the nearest whole number.
        size: Height and width of a hole, each drawn by itself, as share of the image's side.
    """

    count: Draw
    size: Draw

    def __post_init__(self) -> None:
        check_bounds("count", self.count, 1)
        check_bounds("size", self.size, 0, 1, above=True, hint="it is a share of the image's side")
        if bounds(self.size)[0] == 1:
            raise ConfigError("size = 1 must be smaller: a hole of the image's own size hides every pixel")

    @property
    def name(self) -> str:
        """Such as "boxes-n1..4-s0.1..0.4"."""
        return f"boxes-n{label(self.count)}-s{label(self.size)}"

    def __call__(self, key: Key[Array, ""], height: int, width: int) -> MaskArray:
        """See `MaskGenerator`."""
        count_key, boxes_key = jax.random.split(key)
        most = _most(self.count)
        holes = jax.vmap(lambda k: _rectangle(k, self.size, height, width))(jax.random.split(boxes_key, most))
        used = jnp.arange(most) < jnp.round(draw(self.count, count_key))
        return 1.0 - jnp.max(holes * used[:, None, None], axis=0)[..., None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Window(MaskGenerator):
    """Only a rectangle inside the image is known, at a place drawn uniformly: the rest is to be painted around it.

    Args:
        size: Its height and width, each drawn by itself, as share of the image's side: 0.5 leaves a quarter known.
    """

    size: Draw

    def __post_init__(self) -> None:
        check_bounds("size", self.size, 0, 1, above=True, hint="it is a share of the image's side")

    @property
    def name(self) -> str:
        """Such as "window-s0.5"."""
        return f"window-s{label(self.size)}"

    def __call__(self, key: Key[Array, ""], height: int, width: int) -> MaskArray:
        """See `MaskGenerator`."""
        return _rectangle(key, self.size, height, width)[..., None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Strokes(MaskGenerator):
    """Free-form holes: strokes of a round brush along broken lines (Yu et al. 2019, algorithm 1).

    As there, the segments lean to either side of the stroke's main direction in turns; that direction is uniform,
    where the algorithm mirrors the mask at random.

    Args:
        count: How many strokes, rounded to the nearest whole number.
        segments: Straight parts of a stroke, rounded.
        length: Of a segment, as share of the image's shorter side; drawn for each.
        width: Of the brush, likewise; drawn for each stroke.
        turn: Angle between a segment and the main direction, in degrees; drawn for each.
    """

    count: Draw
    segments: Draw
    length: Draw
    width: Draw
    turn: Draw

    def __post_init__(self) -> None:
        check_bounds("count", self.count, 1)
        check_bounds("segments", self.segments, 1)
        check_bounds("length", self.length, 0, 2, above=True, hint="it is a share of the image's shorter side")
        check_bounds("width", self.width, 0, 1, above=True, hint="it is a share of the image's shorter side")
        check_bounds("turn", self.turn, -360, 360, hint="it is in degrees")

    @property
    def name(self) -> str:
        """Such as "strokes-n4-v4..12-l0.1..0.4-w0.05..0.15-a20..130"."""
        return (
            f"strokes-n{label(self.count)}-v{label(self.segments)}-l{label(self.length)}-w{label(self.width)}"
            f"-a{label(self.turn)}"
        )

    def __call__(self, key: Key[Array, ""], height: int, width: int) -> MaskArray:
        """See `MaskGenerator`."""
        side, most, parts = min(height, width), _most(self.count), _most(self.segments)
        rows = jnp.arange(height, dtype=jnp.float32)[:, None, None, None]
        columns = jnp.arange(width, dtype=jnp.float32)[None, :, None, None]

        def stroke(key: Key[Array, ""]) -> tuple[Points, Points, Float[Array, "parts"]]:
            start_key, parts_key, main_key, width_key, turn_key, length_key = jax.random.split(key, 6)
            start = jax.random.uniform(start_key, (1, 2)) * jnp.asarray([[height, width]], jnp.float32)
            turns = jax.vmap(lambda k: draw(self.turn, k))(jax.random.split(turn_key, parts))
            main = jax.random.uniform(main_key, maxval=2 * math.pi)
            direction = main + jnp.radians(turns) * jnp.where(jnp.arange(parts) % 2, -1.0, 1.0)
            lengths = side * jax.vmap(lambda k: draw(self.length, k))(jax.random.split(length_key, parts))
            ways = jnp.stack([jnp.sin(direction), jnp.cos(direction)], axis=-1) * lengths[:, None]
            ends = start + jnp.cumsum(ways, axis=0)
            used = jnp.arange(parts) < jnp.round(draw(self.segments, parts_key))
            radius = jnp.where(used, side * draw(self.width, width_key) / 2, -1.0)
            return ends - ways, ways, radius

        count_key, strokes_key = jax.random.split(key)
        starts, ways, radii = jax.vmap(stroke)(jax.random.split(strokes_key, most))
        used = jnp.arange(most) < jnp.round(draw(self.count, count_key))
        radii = jnp.where(used[:, None], radii, -1.0)[None, None]
        # The distance of each pixel to each segment.
        down, right = ways[None, None, ..., 0], ways[None, None, ..., 1]
        from_row, from_column = rows - starts[None, None, ..., 0], columns - starts[None, None, ..., 1]
        along = jnp.clip((from_row * down + from_column * right) / (down**2 + right**2), 0.0, 1.0)
        squared = (from_row - along * down) ** 2 + (from_column - along * right) ** 2
        hidden = ((radii > 0) & (squared <= radii**2)).any(axis=(2, 3))
        return 1.0 - hidden[..., None].astype(jnp.float32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaskFile(MaskGenerator):
    """A mask from a file, the same for every record, of the size of the images.

    Args:
        path: An image of two values, or a `.npy` of zeros and ones. White, or 1, is known; black, or 0, is a hole.

    Raises:
        ConfigError: The file is missing or unreadable, or `jgr.degradations.inputs.check_mask` refuses the mask.
    """

    path: str

    def __post_init__(self) -> None:
        _ = self._mask

    @property
    def name(self) -> str:
        """The file's name without its ending, and a hash of the mask: "scratches@1f09ab"."""
        return f"{Path(self.path).stem}@{hashlib.sha256(self._mask.tobytes()).hexdigest()[:6]}"

    def __call__(self, key: Key[Array, ""], height: int, width: int) -> MaskArray:
        """See `MaskGenerator`.

        Raises:
            ConfigError: The image has another size.
        """
        if self._mask.shape != (height, width, 1):
            rows, columns, _ = self._mask.shape
            raise ConfigError(f"path = {self.path}: the mask is {rows}x{columns}, the image {height}x{width}")
        return jnp.asarray(self._mask)

    @functools.cached_property
    def _mask(self) -> Float[np.ndarray, "height width 1"]:
        path = expanded(self.path)
        if not path.is_file():
            raise ConfigError(f"path = {self.path}: there is no such file")
        try:
            if path.suffix == ".npy":
                mask = np.load(path).astype(np.float32)
            else:
                with Image.open(path) as image:
                    mask = np.asarray(image.convert("L")).astype(np.float32) / 255
        except Exception as error:  # a damaged file makes the readers raise anything
            raise ConfigError(f"path = {self.path}: not a readable mask ({error or type(error).__name__})") from error
        mask = mask[..., None] if mask.ndim == 2 else mask
        if mask.ndim != 3 or mask.shape[2] != 1:
            raise ConfigError(f"path = {self.path}: the mask's shape {mask.shape} must be height, width")
        try:
            check_mask(mask, self.path)
        except DataError as error:
            raise ConfigError(f"path = {error}") from None
        return mask


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mask(Degradation):
    """Hides pixels; the record gains `mask`.

    A mask that would hide all shows one pixel, at a place drawn uniformly. A record that has a mask already gets the
    product of both; where that would hide all, this one hides nothing.

    Args:
        generator: What gives each record its mask.
        fill: Value of hidden pixels.
    """

    generator: MaskGenerator
    fill: float = 0.0

    def __post_init__(self) -> None:
        check_bounds("fill", self.fill, 0, 1)

    @property
    def name(self) -> str:
        """Such as "mask-pixels-k0.5", with "-fill0.5" where hidden pixels are not black."""
        return f"mask-{self.generator.name}{f'-fill{number(self.fill)}' if self.fill else ''}"

    def apply(self, record: Record, key: Key[Array, ""]) -> Record:
        """See `Degradation.apply`; differentiable: hidden pixels have no gradient."""
        mask_key, place_key = jax.random.split(key)
        image = record["image"]
        height, width, _ = image.shape
        mask = self.generator(mask_key, height, width)
        pixels = jnp.arange(height * width).reshape(height, width, 1)
        lone = (pixels == jax.random.randint(place_key, (), 0, height * width)).astype(mask.dtype)
        mask = jnp.where(mask.any(), mask, lone)
        known = mask
        if "mask" in record:
            mask = jnp.where((mask * record["mask"]).any(), mask, 1.0)
            known = mask * record["mask"]
        return {**record, "image": jnp.where(mask > 0, image, self.fill), "mask": known}


def _rectangle(key: Key[Array, ""], size: Draw, height: int, width: int) -> Float[Array, "height width"]:
    """1 inside a rectangle within the image, of sides that are shares of the image's, and 0 outside."""
    inside = []
    for place, side in enumerate((height, width)):
        size_key, start_key = jax.random.split(jax.random.fold_in(key, place))
        length = jnp.clip(jnp.round(draw(size, size_key) * side), 1, side).astype(jnp.int32)
        start = jax.random.randint(start_key, (), 0, side - length + 1)
        axis = jnp.arange(side)
        inside.append((axis >= start) & (axis < start + length))
    return (inside[0][:, None] & inside[1][None, :]).astype(jnp.float32)


def _most(count: Draw) -> int:
    """The largest whole number that a count is rounded to."""
    return round(bounds(count)[1])
