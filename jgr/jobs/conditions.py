"""What a network may be told about a photograph besides its pixels."""

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Bool, Float32, Int32

from jgr.data.decode import decode_image
from jgr.degradations.inputs import check_image, check_kernel, check_mask, check_sigma
from jgr.degradations.kernels import KernelFile
from jgr.errors import ConfigError, DataError
from jgr.jobs.photograph import SUFFIXES, as_floats, num_colors, read_photograph
from jgr.tasks.task import Restorer, Task

_TOLD = "what the network is told"
_OPTIONS = {
    "sigma": "the standard deviation of the noise: give --sigma=25/255",
    "mask": "which pixels are known: give --mask=FILE",
    "kernel": "what the photograph was blurred with: give --kernel=FILE",
    "quality": "the quality of the JPEG file: give --quality=10",
    "tokens": 'a caption: give --text="…"',
    "shots": "further shots of the scene: give --shots FILE…",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Conditions:
    """What a network may be told about a photograph besides its pixels.

    Args:
        sigma: Standard deviation of its noise, in units of the range [0, 1].
        mask: Which of its pixels are known.
        kernel: What it was blurred with; its values sum to 1.
        quality: Of the JPEG file that it was, 1 to 100.
        tokens: Of a caption of it, as the run's vocabulary has them.
        shots: Further shots of the same scene, in [0, 1] and of its colours, without alpha.

    Raises:
        DataError: A value is impossible: see `jgr.degradations.inputs`.
    """

    sigma: float | None = None
    mask: Bool[np.ndarray, "height width"] | None = None
    kernel: Float32[np.ndarray, "size size"] | None = None
    quality: int | None = None
    tokens: Int32[np.ndarray, "length"] | None = None
    shots: Float32[np.ndarray, "num shot_height shot_width colors"] | None = None

    def __post_init__(self) -> None:
        if self.sigma is not None:
            check_sigma(self.sigma, _TOLD)
        if self.mask is not None:
            check_mask(self.mask, _TOLD)
        if self.kernel is not None:
            check_kernel(self.kernel, _TOLD)
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise DataError(f"{_TOLD}: quality = {self.quality} must be from 1 to 100")
        if self.shots is not None:
            check_image(self.shots, _TOLD)

    @property
    def num_colors(self) -> int | None:
        """Of the further shots; None where there are none."""
        return None if self.shots is None else self.shots.shape[-1]

    def given(self) -> set[str]:
        """The names of those that are given."""
        return {field.name for field in dataclasses.fields(self) if getattr(self, field.name) is not None}

    def batch(self, height: int, width: int) -> dict[str, np.ndarray]:
        """As entries of a batch of one image, as `jgr.degradations.degradation.Record` has them.

        Raises:
            DataError: The mask, or a further shot, is not of the image's size.
        """
        entries: dict[str, np.ndarray] = {}
        if self.sigma is not None:
            entries["sigma"] = np.array([self.sigma], np.float32)
        if self.mask is not None:
            if self.mask.shape != (height, width):
                rows, columns = self.mask.shape
                raise DataError(f"it is {width}x{height} pixels, and the mask {columns}x{rows}: they must be equal")
            entries["mask"] = self.mask[None, ..., None].astype(np.float32)
        if self.kernel is not None:
            entries["kernel"] = self.kernel[None]
        if self.quality is not None:
            entries["quality"] = np.array([self.quality / 100], np.float32)
        if self.tokens is not None:
            entries["tokens"] = self.tokens[None]
        if self.shots is not None:
            rows, columns = self.shots.shape[1:3]
            if (rows, columns) != (height, width):
                raise DataError(f"it is {width}x{height} pixels, and the other shots {columns}x{rows}")
            entries["shots"] = np.moveaxis(self.shots, 0, 2).reshape(1, height, width, -1)
        return entries


def read_mask(path: str | Path) -> Bool[np.ndarray, "height width"]:
    """A mask from an image file of two values: 0, or what is not known, and another, such as white, or what is.

    Raises:
        DataError: The file is no image, or `jgr.degradations.inputs.check_mask` refuses the mask.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise DataError(f"{path}: there is no such file")
    levels = decode_image(file, "gray", name=str(path), orient=True)[..., 0]
    check_mask(levels / max(levels.max(), 1), str(path))
    return levels > 0


def read_shots(paths: Sequence[str | Path]) -> Float32[np.ndarray, "num height width colors"]:
    """Further shots of a scene from image files, without alpha.

    Raises:
        DataError: A file cannot be read, or is of another size or other colours than the first.
    """
    read = [read_photograph(Path(path).expanduser()).pixels for path in paths]
    shots = [as_floats(pixels)[..., : num_colors(pixels)] for pixels in read]
    for path, shot in zip(paths, shots, strict=True):
        if shot.shape != shots[0].shape:
            sizes = ["x".join(map(str, each.shape)) for each in (shots[0], shot)]
            raise DataError(f"{path}: shots must be of one size, but the first is {sizes[0]}, and this {sizes[1]}")
    return np.stack(shots)


def read_kernel(path: str | Path) -> Float32[np.ndarray, "size size"]:
    """A blur kernel from a file, as `jgr.degradations.kernels.KernelFile` reads it; an image is divided by its sum.

    Raises:
        DataError: The file cannot be read, or `jgr.degradations.inputs.check_kernel` refuses the kernel.
    """
    is_image = Path(path).suffix.lower() in SUFFIXES
    try:
        return np.asarray(KernelFile(path=str(path), normalise=is_image)(jax.random.key(0)))
    except ConfigError as error:
        raise DataError(str(error).removeprefix("path = ").removesuffix(", or set normalise=True")) from error


def check_told(task: Task, conditions: Conditions) -> None:
    """Refuses a task that restores nothing, or is not told what it must be told.

    Raises:
        ConfigError: With the option that is missing or superfluous.
    """
    if not isinstance(task, Restorer):
        raise ConfigError(f"{type(task).__qualname__} of this run restores no images: it has no method restore")
    inputs: Iterable[str] | None = getattr(task, "inputs", getattr(getattr(task, "method", None), "needs", None))
    if inputs is None:
        return  # a task of a user's own need not say it before it restores
    wanted, given = set(inputs), conditions.given()
    if getattr(task, "keep_known", False):
        wanted.add("mask")
    if task.condition_name == "tokens":
        wanted.add("tokens")
    if missing := sorted(wanted - given):
        if missing[0] not in _OPTIONS:
            raise ConfigError(f"this run must be told {missing[0]!r}, which a photograph does not have")
        raise ConfigError(f"this run must be told {_OPTIONS[missing[0]]}")
    if surplus := sorted(given - wanted):
        option = "text" if surplus[0] == "tokens" else surplus[0]
        raise ConfigError(f"this run is told no {option}: leave --{option} out")
