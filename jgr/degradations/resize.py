"""Resizing as MATLAB's `imresize` does it, border included: what super-resolution's test sets are made by."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Key, Num

from jgr.degradations.degradation import Degradation, Record, without
from jgr.errors import ConfigError

Method = Literal["cubic", "linear", "box", "nearest"]


def imresize(
    image: Float[Array, "*batch height width channels"],
    height: int,
    width: int,
    method: Method = "cubic",
    scale: float | None = None,
) -> Float[Array, "*batch new_height new_width channels"]:
    """Images of another size, equal to MATLAB's `imresize` of doubles to rounding; differentiable.

    One matrix product an axis. Shrinking stretches the kernel by the factor (antialiasing, which "nearest" has not),
    the image is mirrored beyond its border, and the weights of each pixel sum to one. Values are not clipped: a cubic
    kernel overshoots.

    Args:
        image: One image, or a batch; any range.
        height: New height.
        width: New width.
        method: "cubic" is Keys' kernel with a = -1/2 (1981, equation 4), "linear" the triangle, "box" the mean of the
            pixels that are covered, "nearest" one pixel.
        scale: New length over old one, for both axes, where lengths were rounded up from `scale * length`; the ratio
            of the lengths themselves when not given.

    Raises:
        ValueError: A side is not positive, or not ceil(scale * length).
    """
    rows, columns = _matrices(image.shape, height, width, method, scale)
    down = jnp.einsum("...hwc,uh->...uwc", image, rows.astype(np.float32), precision=lax.Precision.HIGHEST)
    return jnp.einsum("...uwc,vw->...uvc", down, columns.astype(np.float32), precision=lax.Precision.HIGHEST)


def imresize_numpy(
    image: Num[np.ndarray, "height width channels"],
    height: int,
    width: int,
    method: Method = "cubic",
    scale: float | None = None,
) -> Float[np.ndarray, "new_height new_width channels"]:
    """`imresize` on the host in float64, for protocols. The result of uint8 is in [0, 255], not rounded or clipped."""
    rows, columns = _matrices(image.shape, height, width, method, scale)
    down = np.tensordot(rows, image.astype(np.float64), axes=(1, 0))
    return np.matmul(columns, down)


def modcrop(image: Any, scale: int) -> Any:
    """The image [..., height, width, channels] without the last rows and columns that `scale` does not divide.

    Raises:
        ValueError: Nothing would be left.
    """
    height, width = image.shape[-3:-1]
    if min(height, width) < scale:
        raise ValueError(f"an image of {height}x{width} has no multiple of {scale} pixels a side")
    return image[..., : height - height % scale, : width - width % scale, :]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Downsample(Degradation):
    """Shrinks as MATLAB's `imresize` does. The result may overshoot [0, 1]; files of low-resolution images are rounded.

    Args:
        scale: Old length over new one; sides of the images must be multiples of it.
        method: See `imresize`.
    """

    scale: int
    method: Method = "cubic"

    def __post_init__(self) -> None:
        if self.scale < 1:
            raise ConfigError(f"scale = {self.scale} must be at least 1")

    @property
    def name(self) -> str:
        """Such as "bicubic-x4"."""
        words = {"cubic": "bicubic", "linear": "bilinear"}
        return f"{words.get(self.method, self.method)}-x{self.scale}"

    def apply(self, record: Record, key: Key[Array, ""]) -> Record:
        """See `Degradation.apply`; draws nothing.

        Raises:
            ConfigError: A side is no multiple of `scale`.
        """
        height, width, _ = record["image"].shape
        if height % self.scale or width % self.scale:
            raise ConfigError(f"scale = {self.scale} must divide both sides of the images, which are {height}x{width}")
        return {
            **without(record, "mask", "kernel", "sigma"),
            "image": imresize(record["image"], height // self.scale, width // self.scale, self.method),
        }


def _cubic(x: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    distance = np.abs(x)
    near = 1.5 * distance**3 - 2.5 * distance**2 + 1.0
    far = -0.5 * distance**3 + 2.5 * distance**2 - 4.0 * distance + 2.0
    return np.where(distance <= 1.0, near, np.where(distance <= 2.0, far, 0.0))


def _triangle(x: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    return np.maximum(1.0 - np.abs(x), 0.0)


def _box(x: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    return np.where((x >= -0.5) & (x < 0.5), 1.0, 0.0)


_KERNELS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], float, bool]] = {  # kernel, its width, antialiasing
    "cubic": (_cubic, 4.0, True),
    "linear": (_triangle, 2.0, True),
    "box": (_box, 1.0, True),
    "nearest": (_box, 1.0, False),
}


def _matrices(
    shape: tuple[int, ...], height: int, width: int, method: Method, scale: float | None
) -> tuple[Float[np.ndarray, "new_height height"], Float[np.ndarray, "new_width width"]]:
    rows, columns = (_weights(old, new, method, scale) for old, new in zip(shape[-3:-1], (height, width), strict=True))
    return rows, columns


def _weights(old: int, new: int, method: Method, scale: float | None) -> Float[np.ndarray, "new old"]:
    """What each old pixel gives to each new one, in MATLAB's order of operations: its ties are decided by rounding."""
    if new < 1 or (scale is not None and new != math.ceil(scale * old)):
        allowed = "positive" if scale is None else f"{math.ceil(scale * old)}, its {old} pixels times scale = {scale}"
        raise ValueError(f"a new side of {new} must be {allowed}")
    scale = new / old if scale is None else scale
    kernel, support, antialias = _KERNELS[method]
    stretch = 1.0 / scale if antialias and scale < 1.0 else 1.0
    support *= stretch
    centres = np.arange(1, new + 1) / scale + 0.5 * (1.0 - 1.0 / scale)  # pixels are numbered from 1
    first = np.floor(centres - support / 2.0).astype(int)
    pixels = first[:, None] + np.arange(math.ceil(support) + 2)
    values = kernel((centres[:, None] - pixels) / stretch)
    values /= values.sum(axis=1, keepdims=True)
    mirrored = np.concatenate([np.arange(old), np.arange(old)[::-1]])[(pixels - 1) % (2 * old)]
    weights = np.zeros((new, old))
    np.add.at(weights, (np.arange(new)[:, None], mirrored), values)
    return weights
