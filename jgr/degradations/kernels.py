"""Generators of blur kernels: each record gets one of its own, [size, size], of odd size, summing to 1.

Rows count downwards and columns to the right from the middle pixel. Angles are in degrees, from the direction of
columns towards that of rows: clockwise as one sees the picture.
"""

import abc
import dataclasses
import functools
import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.io
from jaxtyping import Array, Float, Key
from PIL import Image

from jgr.degradations.inputs import check_kernel
from jgr.degradations.parameters import (
    Draw,
    bounds,
    check_bounds,
    check_weights,
    draw,
    draw_index,
    label,
    label_weighted,
)
from jgr.errors import ConfigError, DataError
from jgr.files import expanded

KernelArray = Float[Array, "size size"]
Map = Float[Array, "size size"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kernel(abc.ABC):
    """What gives each record its kernel. One of your own is a subclass."""

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """What a protocol calls it, such as "gaussian15-s2": all that changes the kernel is in it."""

    @abc.abstractmethod
    def __call__(self, key: Key[Array, ""]) -> KernelArray:
        """One kernel, of odd size, the same for every key, summing to 1."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class GaussianKernel(Kernel):
    """A Gaussian and its relatives, q being the squared distance in units of sigma.

    "gaussian" is exp(-q / 2), "generalised" exp(-q^beta / 2), and "plateau" 1 / (1 + q^beta), the shapes of
    Real-ESRGAN (Wang et al. 2021, section 3.1). Sampled at the pixels' centres and normalised.

    Args:
        size: Odd.
        sigma: Standard deviation in pixels, along the first axis.
        sigma_y: Along the second; None for an isotropic kernel, with sigma along both.
        angle: Of the first axis, in degrees.
        shape: "gaussian", "generalised" or "plateau".
        beta: Exponent of the two others; below 1 the tails are longer, above 1 the edge is harder.
    """

    size: int
    sigma: Draw
    sigma_y: Draw | None = None
    angle: Draw = 0.0
    shape: str = "gaussian"
    beta: Draw = 1.0

    def __post_init__(self) -> None:
        _check_size(self.size)
        check_bounds("sigma", self.sigma, 0, above=True)
        if self.sigma_y is not None:
            check_bounds("sigma_y", self.sigma_y, 0, above=True)
        check_bounds("angle", self.angle, -math.inf)
        check_bounds("beta", self.beta, 0, above=True)
        if self.shape not in ("gaussian", "generalised", "plateau"):
            raise ConfigError(f"shape = {self.shape!r} must be gaussian, generalised or plateau")

    @property
    def name(self) -> str:
        """Such as "gaussian15-s2", "gaussian21-s1..3-s0.5-a0..180", "plateau21-s2-b1..2"."""
        second = "" if self.sigma_y is None else f"-s{label(self.sigma_y)}-a{label(self.angle)}"
        beta = "" if self.shape == "gaussian" else f"-b{label(self.beta)}"
        return f"{self.shape}{self.size}-s{label(self.sigma)}{second}{beta}"

    def __call__(self, key: Key[Array, ""]) -> KernelArray:
        """See `Kernel`."""
        sigma_key, second_key, angle_key, beta_key = jax.random.split(key, 4)
        sigma = draw(self.sigma, sigma_key)
        second = sigma if self.sigma_y is None else draw(self.sigma_y, second_key)
        along, across = _turned(*_grid(self.size), draw(self.angle, angle_key))
        squared = (along / sigma) ** 2 + (across / second) ** 2
        beta = draw(self.beta, beta_key)
        if self.shape == "gaussian":
            return jax.nn.softmax(-0.5 * squared, axis=(0, 1))
        if self.shape == "generalised":
            return jax.nn.softmax(-0.5 * squared**beta, axis=(0, 1))
        return _normalised(1.0 / (1.0 + squared**beta))


@dataclasses.dataclass(frozen=True, kw_only=True)
class MotionKernel(Kernel):
    """The path of a point while the shutter is open, at constant speed, its centroid in the middle of the kernel.

    Straight without `wander`. With it the direction is a random walk: a simple form of the trajectories of Boracchi and
    Foi 2012 ("Modeling the performance of image restoration from motion blur", section III), without their changes
    of speed. The path is laid onto the pixels bilinearly.

    Args:
        size: Odd, larger than the length, so that the path fits whatever it does.
        length: Of the path, in pixels.
        angle: Direction at its start, in degrees.
        wander: Standard deviation of the change of direction, in degrees, over the first pixel of the path; it grows
            with the root of the way.
    """

    size: int
    length: Draw
    angle: Draw
    wander: Draw = 0.0

    def __post_init__(self) -> None:
        _check_size(self.size)
        check_bounds("length", self.length, 0, self.size - 1, hint=f"the path must fit into size = {self.size}")
        check_bounds("angle", self.angle, -math.inf)
        check_bounds("wander", self.wander, 0)

    @property
    def name(self) -> str:
        """Such as "motion25-l5..20-a0..360-w20"."""
        wander = f"-w{label(self.wander)}" if bounds(self.wander)[1] else ""
        return f"motion{self.size}-l{label(self.length)}-a{label(self.angle)}{wander}"

    def __call__(self, key: Key[Array, ""]) -> KernelArray:
        """See `Kernel`."""
        length_key, angle_key, wander_key, path_key = jax.random.split(key, 4)
        steps = 4 * self.size  # at most a quarter of a pixel each
        step = draw(self.length, length_key) / steps
        turns = draw(self.wander, wander_key) * jnp.sqrt(step) * jax.random.normal(path_key, (steps,))
        direction = jnp.radians(draw(self.angle, angle_key) + jnp.cumsum(turns) - turns[0])
        # No point of a path is further from its centroid than half its length.
        axes = [jnp.cumsum(step * jnp.sin(direction)), jnp.cumsum(step * jnp.cos(direction))]
        offsets = _offsets(self.size)[None, :]
        rows, columns = (jnp.maximum(1.0 - jnp.abs((way - way.mean())[:, None] - offsets), 0.0) for way in axes)
        return _normalised(jnp.einsum("tr,tc->rc", rows, columns, precision=jax.lax.Precision.HIGHEST))


@dataclasses.dataclass(frozen=True, kw_only=True)
class DefocusKernel(Kernel):
    """A disk, the circle of confusion of a lens out of focus; its edge is one pixel wide and linear.

    Args:
        size: Odd, at least twice the radius, so that the disk fits.
        radius: In pixels.
    """

    size: int
    radius: Draw

    def __post_init__(self) -> None:
        _check_size(self.size)
        check_bounds("radius", self.radius, 0, self.size / 2, hint=f"the disk must fit into size = {self.size}")

    @property
    def name(self) -> str:
        """Such as "defocus15-r3..6"."""
        return f"defocus{self.size}-r{label(self.radius)}"

    def __call__(self, key: Key[Array, ""]) -> KernelArray:
        """See `Kernel`."""
        rows, columns = _grid(self.size)
        return _normalised(jnp.clip(draw(self.radius, key) + 0.5 - jnp.hypot(rows, columns), 0.0, 1.0))


@dataclasses.dataclass(frozen=True, kw_only=True)
class SincKernel(Kernel):
    """The ideal low-pass filter in two dimensions, cut off: it rings, as over-sharpened pictures do.

    It has negative values.

    Wang et al. 2021 (Real-ESRGAN), equation 6: cutoff / (2 pi r) * J1(cutoff * r), normalised.

    Args:
        size: Odd.
        cutoff: Frequency in radians per pixel, above 0 and at most pi.
    """

    size: int
    cutoff: Draw

    def __post_init__(self) -> None:
        _check_size(self.size)
        check_bounds("cutoff", self.cutoff, 0, math.pi, above=True, hint="it is in radians per pixel")

    @property
    def name(self) -> str:
        """Such as "sinc21-c1.0472..3.14159"."""
        return f"sinc{self.size}-c{label(self.cutoff)}"

    def __call__(self, key: Key[Array, ""]) -> KernelArray:
        """See `Kernel`."""
        rows, columns = _grid(self.size)
        distance, cutoff = jnp.hypot(rows, columns), draw(self.cutoff, key)
        # 2 J1(x) / x = 2 / pi * the integral of cos(x cos t) sin(t)^2 from 0 to pi (Poisson). The midpoint rule is
        # exact to float rounding once it has somewhat more points than half the largest x.
        points = math.ceil(math.pi * self.size / math.sqrt(2) / 2) + 20
        angles = (np.arange(points) + 0.5) * np.pi / points
        waves = jnp.cos((cutoff * distance)[..., None] * np.cos(angles).astype(np.float32)[None, None])
        return _normalised((waves * (np.sin(angles) ** 2).astype(np.float32)[None, None]).sum(axis=-1))


@dataclasses.dataclass(frozen=True, kw_only=True)
class KernelFile(Kernel):
    """A kernel from a file, the same for every record.

    Args:
        path: `.npy`, `.txt` (rows of numbers), an image (gray), or `.npz` or `.mat` with one array of two axes.
        normalise: Whether to divide it by its sum, as images of kernels need.

    Raises:
        ConfigError: The file is missing or unreadable, or `jgr.degradations.inputs.check_kernel` refuses the kernel.
    """

    path: str
    normalise: bool = False

    def __post_init__(self) -> None:
        _ = self._kernel

    @property
    def name(self) -> str:
        """The file's name without its ending, and a hash of the kernel: "levin3@1f09ab"."""
        return f"{Path(self.path).stem}@{hashlib.sha256(self._kernel.tobytes()).hexdigest()[:6]}"

    def __call__(self, key: Key[Array, ""]) -> KernelArray:
        """See `Kernel`."""
        return jnp.asarray(self._kernel)

    @functools.cached_property
    def _kernel(self) -> Float[np.ndarray, "size size"]:
        try:
            kernel = _read_array(expanded(self.path))
            total = kernel.sum()
            if self.normalise and np.isfinite(total) and total > 0:
                kernel = kernel / total
            check_kernel(kernel, self.path)
        except DataError as error:
            hint = "" if self.normalise or "sums to" not in str(error) else ", or set normalise=True"
            raise ConfigError(f"path = {error}{hint}") from None
        return kernel.astype(np.float32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CroppedKernel(Kernel):
    """A kernel of which a square in the middle is left, normalised again; zeros fill it up to its size.

    Args:
        kernel: The kernel.
        size: The side of the square; a drawn value is rounded down to an odd number.
    """

    kernel: Kernel
    size: Draw

    def __post_init__(self) -> None:
        check_bounds("size", self.size, 1)

    @property
    def name(self) -> str:
        """Such as "gaussian21-s2-crop7|9|11"."""
        return f"{self.kernel.name}-crop{label(self.size)}"

    def __call__(self, key: Key[Array, ""]) -> KernelArray:
        """See `Kernel`."""
        kernel_key, size_key = jax.random.split(key)
        kernel = self.kernel(kernel_key)
        rows, columns = _grid(kernel.shape[0])
        inside = jnp.maximum(jnp.abs(rows), jnp.abs(columns)) <= (draw(self.size, size_key) - 1) / 2
        return _normalised(jnp.where(inside, kernel, 0.0))


@dataclasses.dataclass(frozen=True, kw_only=True)
class MixedKernel(Kernel):
    """One of several generators, drawn for each record; smaller kernels are padded with zeros.

    Args:
        kernels: The generators.
        weights: How likely each is, relative to the others; all equally without.
    """

    kernels: tuple[Kernel, ...]
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        check_weights("weights", self.weights, "kernels", self.kernels)

    @property
    def name(self) -> str:
        """Such as "(0.7:gaussian15-s2|0.3:defocus15-r3)"."""
        return f"({label_weighted([kernel.name for kernel in self.kernels], self.weights)})"

    def __call__(self, key: Key[Array, ""]) -> KernelArray:
        """See `Kernel`."""
        choice_key, kernel_key = jax.random.split(key)
        drawn = [kernel(jax.random.fold_in(kernel_key, number)) for number, kernel in enumerate(self.kernels)]
        size = max(kernel.shape[0] for kernel in drawn)
        padded = jnp.stack([padded_kernel(kernel, size) for kernel in drawn])
        return padded[draw_index(choice_key, self.weights, len(drawn))]


def padded_kernel(kernel: KernelArray, size: int) -> Float[Array, "large large"]:
    """The kernel with zeros around, of an odd size."""
    return jnp.pad(kernel, (size - kernel.shape[0]) // 2)


def _grid(size: int) -> tuple[Map, Map]:
    offsets = _offsets(size)
    rows, columns = jnp.meshgrid(offsets, offsets, indexing="ij")
    return rows, columns


def _offsets(size: int) -> Float[Array, "size"]:
    return jnp.arange(size, dtype=jnp.float32) - size // 2


def _turned(rows: Map, columns: Map, angle: Float[Array, ""]) -> tuple[Map, Map]:
    """Coordinates along and across a direction."""
    sine, cosine = jnp.sin(jnp.radians(angle)), jnp.cos(jnp.radians(angle))
    return columns * cosine + rows * sine, rows * cosine - columns * sine


def _normalised(kernel: KernelArray) -> KernelArray:
    return kernel / kernel.sum()


def _check_size(size: int) -> None:
    if size < 1 or size % 2 == 0:
        raise ConfigError(f"size = {size} must be odd and positive, so that the kernel has a centre")


def _read_array(path: Path) -> Float[np.ndarray, "..."]:
    """The one array of a file, as float64."""
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    try:
        if path.suffix == ".npy":
            array = np.load(path)
        elif path.suffix == ".txt":
            array = np.loadtxt(path, ndmin=2)
        elif path.suffix in (".npz", ".mat"):
            array = _only_array(np.load(path) if path.suffix == ".npz" else scipy.io.loadmat(path), path)
        else:
            with Image.open(path) as image:
                array = np.asarray(image if image.mode.startswith(("I", "F", "L")) else image.convert("L"))
        return np.asarray(array, np.float64)
    except DataError:
        raise
    except Exception as error:  # a damaged file makes the readers raise anything
        raise DataError(f"{path}: not a readable kernel ({error or type(error).__name__})") from error


def _only_array(arrays: Mapping[str, Any], path: Path) -> Any:
    found = {name: value for name, value in arrays.items() if not name.startswith("__") and np.ndim(value) == 2}
    if len(found) != 1:
        raise DataError(f"{path}: must hold one array of two axes, not {len(found)} ({', '.join(found) or 'none'})")
    return next(iter(found.values()))
