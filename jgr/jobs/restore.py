"""Restores a user's photographs with a trained run."""

import dataclasses
import sys
import time
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import jax
import numpy as np
from jaxtyping import Array, Bool, Float32, Key
from PIL import Image
from tqdm import tqdm

from jgr.data.decode import decode_image
from jgr.degradations.degradation import Pipeline
from jgr.degradations.inputs import check_kernel, check_mask, check_sigma
from jgr.degradations.kernels import KernelFile
from jgr.degradations.masks import Mask
from jgr.errors import ConfigError, DataError, RunError
from jgr.files import disk_errors
from jgr.jobs.load import Run, Weights
from jgr.jobs.photograph import SUFFIXES, Pixels, read_photograph, write_photograph, written_name
from jgr.jobs.progress import images_bar
from jgr.jobs.sampling import for_sampling
from jgr.rng import purpose_key
from jgr.state import TrainState, averaged
from jgr.tasks.inference import AppliedRestorer, Inference
from jgr.tasks.task import Restorer, Task

_LARGE = 1_500_000  # pixels, above which an image is restored in tiles unless the caller decides
_TILE, _OVERLAP = 512, 32
_BUCKET = 64
_TOLD = "what the network is told"
_LUMA = np.array([[0.299], [0.587], [0.114]], np.float32)  # BT.601, section 2.5.1

Image01 = Float32[np.ndarray, "_height _width _channels"]  # of sizes and channels that differ within a function


@dataclasses.dataclass(frozen=True, kw_only=True)
class Conditions:
    """What a network may be told about a photograph besides its pixels.

    Args:
        sigma: Standard deviation of its noise, in units of the range [0, 1].
        mask: Which of its pixels are known.
        kernel: What it was blurred with; its values sum to 1.
        quality: Of the JPEG file that it was, 1 to 100.

    Raises:
        DataError: A value is impossible: see `jgr.degradations.inputs`.
    """

    sigma: float | None = None
    mask: Bool[np.ndarray, "height width"] | None = None
    kernel: Float32[np.ndarray, "size size"] | None = None
    quality: int | None = None

    def __post_init__(self) -> None:
        if self.sigma is not None:
            check_sigma(self.sigma, _TOLD)
        if self.mask is not None:
            check_mask(self.mask, _TOLD)
        if self.kernel is not None:
            check_kernel(self.kernel, _TOLD)
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise DataError(f"{_TOLD}: quality = {self.quality} must be from 1 to 100")

    def given(self) -> set[str]:
        """The names of those that are given."""
        return {field.name for field in dataclasses.fields(self) if getattr(self, field.name) is not None}

    def batch(self, height: int, width: int) -> dict[str, np.ndarray]:
        """As entries of a batch of one image, as `jgr.degradations.degradation.Record` has them.

        Raises:
            DataError: The mask is not of the image's size.
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
        return entries


def read_mask(path: str | Path) -> Bool[np.ndarray, "height width"]:
    """A mask from an image file of two values: white, or what is known, and black, or what is not.

    Raises:
        DataError: The file is no image, or `jgr.degradations.inputs.check_mask` refuses the mask.
    """
    levels = decode_image(Path(path).expanduser(), "gray", name=str(path), orient=True)[..., 0]
    check_mask(levels / 255, str(path))
    return levels > 0


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


class PhotographRestorer:
    """Restores photographs, one after another, each in the precision that it has.

    A network of one channel restores the luma of a colour photograph, and its chroma stays (BT.601 over the full range:
    the change of luma is added to red, green and blue); where pixels are unknown, it restores red, green and blue one
    by one. A network of three channels takes a gray photograph as a colour one, and the mean of what it gives is the
    result. Alpha stays; super-resolution enlarges it, as the chroma, bicubically. A network that only fills holes
    leaves the known pixels as they are.

    Args:
        task: What restores.
        state: Its weights.
        conditions: What the network is told.
        tile: Pixels a side of the tiles in which photographs are restored; 0 for whole ones. When None, 512 for those
            above 1.5 megapixels and 0 for others.
        overlap: Pixels that neighbouring tiles share; 32 when None.
        ensemble: Whether to average over the 8 turns and flips.
        seed: Decides what is random, for restorers that draw something.

    Raises:
        ConfigError: The task restores nothing, or is not told what it must be told, or told something else.
    """

    def __init__(
        self,
        task: Task,
        state: TrainState,
        conditions: Conditions = Conditions(),
        *,
        tile: int | None = None,
        overlap: int | None = None,
        ensemble: bool = False,
        seed: int = 0,
    ) -> None:
        check_told(task, conditions)
        assert isinstance(task, Restorer)
        self._channels: int | None = getattr(getattr(task, "network", None), "channels", None)
        if self._channels not in (None, 1, 3):
            raise ConfigError(f"this run's network is for images of {self._channels} channels; photographs have 1 or 3")
        self._scale: int = getattr(task, "scale", 1)
        self._degradation = getattr(task, "degradation", None)
        self._conditions, self._key = conditions, purpose_key(seed, "restore")
        bucket = 0 if getattr(task, "on_host", False) else _BUCKET  # nothing is compiled there
        multiple = getattr(getattr(task, "network", task), "multiple", 1)
        large = Inference(
            tile=-(-_TILE // multiple) * multiple if tile is None else tile,
            overlap=_OVERLAP if overlap is None else overlap,
            ensemble=ensemble,
            bucket=bucket,
        )
        self._large = AppliedRestorer(task, large)
        # Where the caller names a tile, or none, that is for all.
        self._small = AppliedRestorer(task, dataclasses.replace(large, tile=0)) if tile is None else self._large
        # On one device, whatever the run was trained on: photographs come one at a time.
        self._state = jax.device_put(jax.device_get(for_sampling(state)), jax.local_devices()[0])

    def __call__(self, pixels: Pixels, name: str = "") -> np.ndarray:
        """The restored photograph.

        Args:
            pixels: As `jgr.jobs.photograph.Photograph` has them.
            name: Decides, with the seed, what is random; other photographs do not.

        Returns:
            Pixels of the same type and channels, `scale` times as large. Integers are clipped and rounded half up;
            floats are as the network gives them.

        Raises:
            DataError: The mask does not fit, or the result is not finite.
        """
        conditions = self._conditions.batch(*pixels.shape[:2])
        key = jax.random.fold_in(self._key, zlib.crc32(name.encode()))
        colors = _num_colors(pixels)
        image, alpha = _to_float(pixels[..., :colors]), _to_float(pixels[..., colors:])
        if "mask" in conditions:
            image = np.where(conditions["mask"][0] > 0, image, np.float32(_fill_of(self._degradation)))
        restored = _as_type(self._in_colors(image, conditions, key), pixels.dtype)
        if isinstance(self._degradation, Mask) and self._scale == 1:
            restored = np.where(conditions["mask"][0] > 0, pixels[..., :colors], restored)
        return np.concatenate([restored, _as_type(self._enlarged(alpha), pixels.dtype)], axis=-1)

    def remark(self, pixels: Pixels) -> str | None:
        """What is to be said where the network's channels are not those of a photograph."""
        if self._channels in (None, _num_colors(pixels)):
            return None
        if self._channels == 3:
            return (
                "The network is for colour images: gray photographs are restored as colour ones and averaged to gray."
            )
        if self._conditions.mask is not None:
            return "The network is for gray images: red, green and blue of colour photographs are restored one by one."
        return "The network is for gray images: of colour photographs the luma is restored and the chroma is kept."

    def _in_colors(self, image: Image01, conditions: dict[str, np.ndarray], key: Key[Array, ""]) -> Image01:
        """The restored image in the colours that it has, by a network that may have others."""
        if self._channels in (None, image.shape[-1]):
            return self._restored(image, conditions, key)
        if self._channels == 3:
            return self._restored(image.repeat(3, axis=-1), conditions, key).mean(axis=-1, keepdims=True)
        if "mask" in conditions:
            parts = [self._restored(image[..., i : i + 1], conditions, key) for i in range(3)]
            return np.concatenate(parts, axis=-1)
        enlarged = self._enlarged(image)
        return enlarged + (self._restored(_luma(image), conditions, key) - _luma(enlarged))

    def _restored(self, image: Image01, conditions: dict[str, np.ndarray], key: Key[Array, ""]) -> Image01:
        height, width, channels = image.shape
        apply = self._large if height * width > _LARGE else self._small
        restored = np.asarray(apply(self._state, {"image": image[None], **conditions}, key[None]))[0]
        if restored.shape != (height * self._scale, width * self._scale, channels):
            raise DataError(f"the network gives {list(restored.shape)} for {list(image.shape)} at scale {self._scale}")
        if not np.isfinite(restored).all():
            bad = np.count_nonzero(~np.isfinite(restored).all(axis=-1))
            raise DataError(f"the network gives {bad} pixels that are not finite")
        return restored

    def _enlarged(self, image: Image01) -> Image01:
        """The image at the size of a restored one, by Keys' bicubic kernel, as degradations have it."""
        if self._scale == 1:
            return image
        size = (image.shape[1] * self._scale, image.shape[0] * self._scale)
        layers = [Image.fromarray(layer).resize(size, Image.Resampling.BICUBIC) for layer in np.moveaxis(image, -1, 0)]
        return np.stack([np.asarray(layer) for layer in layers], axis=-1) if layers else image.reshape(*size[::-1], 0)


@dataclasses.dataclass(frozen=True)
class Restored:
    """What a job of restoration did.

    Args:
        files: The restored image of every photograph.
        failures: Why others have none.
        seconds: Wall time of all, with reading, compiling and writing.
    """

    files: Mapping[Path, Path]
    failures: Mapping[Path, str]
    seconds: float

    def __str__(self) -> str:
        if not self.files:
            return "No image was restored."
        folders = sorted({str(path.parent) for path in self.files.values()}, key=len)
        count = f"{len(self.files)} image{'s' if len(self.files) > 1 else ''}"
        return f"{count} in {folders[0]}, {self.seconds / len(self.files):.2f} s each"


def restore(
    workdir: str | Path,
    inputs: str | Path | Iterable[str | Path],
    out: str | Path,
    *,
    step: int | str = "latest",
    weights: Weights = "ema",
    tile: int | None = None,
    overlap: int | None = None,
    ensemble: bool = False,
    sigma: float | None = None,
    mask: str | Path | None = None,
    kernel: str | Path | None = None,
    quality: int | None = None,
    seed: int = 0,
    trust: bool = False,
    overwrite: bool = False,
    quiet: bool = False,
) -> Restored:
    """Restores image files with a run's checkpoint, and writes them without loss.

    Args:
        workdir: The run's folder.
        inputs: Files, and folders of which every PNG, JPEG, WebP, BMP and TIFF file is taken, in folders inside too.
        out: The folder that the restored images go to, made where it is missing; names are kept.
        step: "latest", "best" or a number.
        weights: "ema" for the average where there is one, or "raw".
        tile: See `PhotographRestorer`, as `overlap` and `ensemble`.
        overlap: See there.
        ensemble: See there.
        sigma: What the network is told: see `Conditions`, as of `quality`.
        mask: An image file; white pixels are known.
        kernel: A file with a blur kernel; see `read_kernel`.
        quality: See `Conditions`.
        seed: Decides what is random.
        trust: Whether the run's config may name classes outside jgr, optax and flax.
        overwrite: Whether files may be replaced; a photograph itself never is.
        quiet: Whether to print nothing.

    Returns:
        The files; a photograph that cannot be read does not keep the others from being restored.

    Raises:
        DataError: Before anything is done: an input is missing, two results would have one name, the mask hides
            everything, or the kernel does not sum to one.
        RunError: A result is there already, or cannot be written; the folder is no run's.
        ConfigError: The task restores nothing, or is not told what it must be told.
    """
    conditions = Conditions(
        sigma=sigma,
        mask=None if mask is None else read_mask(mask),
        kernel=None if kernel is None else read_kernel(kernel),
        quality=quality,
    )
    named = [inputs] if isinstance(inputs, str | Path) else list(inputs)
    planned, failures = _plan([Path(path).expanduser() for path in named], Path(out).expanduser(), overwrite)
    run = Run(workdir, trust=trust)
    check_told(run.experiment.task, conditions)
    state = run.restore(step)
    state = averaged(state) if weights == "ema" else state
    restorer = PhotographRestorer(
        run.experiment.task, state, conditions, tile=tile, overlap=overlap, ensemble=ensemble, seed=seed
    )
    done: dict[Path, Path] = {}
    remarks: set[str] = set()
    begun = time.perf_counter()
    with images_bar("restore", len(planned) + len(failures), "image", quiet) as bar:
        for reason in failures.values():
            _print_beside(bar, reason, sys.stderr)
            bar.update()
        for source, target in planned.items():
            try:
                found = _restore_file(source, target, Path(out).expanduser(), restorer)
                done[source] = target
            except DataError as error:
                failures[source] = str(error)
                _print_beside(bar, str(error), sys.stderr)
                found = set()
            for remark in sorted(found - remarks):
                if not quiet:
                    _print_beside(bar, remark, sys.stdout)
            remarks |= found
            bar.update()
    return Restored(done, failures, time.perf_counter() - begun)


def _print_beside(bar: "tqdm[NoReturn]", message: str, stream: Any) -> None:
    """Prints a line beside a bar; where there is no terminal the bar would leave control characters in it."""
    if sys.stderr.isatty():
        bar.write(message, file=stream)
    else:
        print(message, file=stream, flush=True)


def _restore_file(source: Path, target: Path, out: Path, restorer: PhotographRestorer) -> set[str]:
    """Restores one file; returns what is to be said about it."""
    photograph = read_photograph(source)
    try:
        restored = restorer(photograph.pixels, target.relative_to(out).as_posix())
    except (ConfigError, DataError) as error:  # of a network that cannot be applied to this image
        raise DataError(f"{source}: {error}") from error
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        if not isinstance(error, MemoryError) and "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise DataError(
            f"{source}: does not fit the memory; restore it in smaller tiles, such as --tile=256"
        ) from error
    with disk_errors(target.parent, "made"):
        target.parent.mkdir(parents=True, exist_ok=True)
    write_photograph(target, dataclasses.replace(photograph, pixels=restored))
    remark = restorer.remark(photograph.pixels)
    remarks = set() if remark is None else {remark}
    if source.suffix.lower() in (".jpg", ".jpeg"):
        remarks.add("JPEG files are written as PNG, which loses nothing.")
    return remarks


def _plan(inputs: list[Path], out: Path, overwrite: bool) -> tuple[dict[Path, Path], dict[Path, str]]:
    """The file that each photograph is restored into, and why there is none for some.

    Raises:
        DataError: See `restore`.
        RunError: See `restore`.
    """
    if out.exists() and not out.is_dir():
        raise RunError(f"{out} is a file; name a folder with --out")
    planned: dict[Path, Path] = {}
    failures: dict[Path, str] = {}
    for source, folder in _sources(inputs, out):
        try:
            planned[source] = out / folder / written_name(source)
        except DataError as error:
            failures[source] = str(error)
    owners: dict[Path, Path] = {}
    for source, target in planned.items():
        if (other := owners.setdefault(target, source)) != source:
            raise DataError(f"{other} and {source} would both become {target}; restore them into folders of their own")
    originals = {_identity(source) for source in planned}
    for source, target in planned.items():
        if target.exists() and _identity(target) in originals:
            raise RunError(f"{source} would become {target}, which is itself to be restored; name another --out")
        if target.exists() and not overwrite:
            raise RunError(f"{target} exists; name another --out, or replace what is there with --overwrite")
    return planned, failures


def _sources(inputs: list[Path], out: Path) -> list[tuple[Path, Path]]:
    """The image files, each once, with the folder below `out` that it is restored into."""
    found: dict[Path, Path] = {}
    for path in inputs:
        if not path.exists():
            raise DataError(f"{path}: no such file or folder")
        if not path.is_dir():
            found.setdefault(path, Path())
            continue
        inside = out.resolve() if path.resolve() in out.resolve().parents else None  # results of an earlier call
        files = [
            file
            for file in sorted(path.rglob("*"))
            if file.suffix.lower() in SUFFIXES
            and file.is_file()
            and not any(part.startswith(".") for part in file.relative_to(path).parts)
            and (inside is None or inside not in file.resolve().parents)
        ]
        if not files:
            raise DataError(f"{path}: holds no image ({' '.join(SUFFIXES)})")
        for file in files:
            found.setdefault(file, file.parent.relative_to(path))
    if not found:
        raise DataError("there is nothing to restore: name image files or folders")
    return list(found.items())


def _identity(path: Path) -> tuple[int, int]:
    """What is equal for two names of one file."""
    found = path.stat()
    return found.st_dev, found.st_ino


_OPTIONS = {
    "sigma": "the standard deviation of the noise: give --sigma=25/255",
    "mask": "which pixels are known: give --mask=FILE",
    "kernel": "what the photograph was blurred with: give --kernel=FILE",
    "quality": "the quality of the JPEG file: give --quality=10",
}


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
    if missing := sorted(wanted - given):
        if missing[0] not in _OPTIONS:
            raise ConfigError(f"this run must be told {missing[0]!r}, which a photograph does not have")
        raise ConfigError(f"this run must be told {_OPTIONS[missing[0]]}")
    if surplus := sorted(given - wanted):
        raise ConfigError(f"this run is told no {surplus[0]}: leave --{surplus[0]} out")


def _fill_of(degradation: Any) -> float:
    """What hidden pixels were filled with in training."""
    if isinstance(degradation, Pipeline):
        return max(map(_fill_of, degradation.steps), default=0.0)
    return degradation.fill if isinstance(degradation, Mask) else 0.0


def _num_colors(pixels: Pixels) -> int:
    return 3 if pixels.shape[-1] > 2 else 1


def _luma(image: Image01) -> Image01:
    return image @ _LUMA


def _to_float(pixels: Pixels) -> Image01:
    """Integers to float32 in [0, 1]."""
    if pixels.dtype == np.float32:
        return pixels
    return pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)


def _as_type(image: Image01, dtype: np.dtype[Any]) -> np.ndarray:
    """The inverse of `_to_float`: integers are clipped and rounded half up, as `jgr.images.to_uint8` does it."""
    if dtype == np.float32:
        return image
    largest = np.float32(np.iinfo(dtype).max)
    return np.floor(np.clip(image, 0.0, 1.0) * largest + np.float32(0.5)).astype(dtype)
