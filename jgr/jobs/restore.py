"""Restores a user's photographs with a trained run."""

import dataclasses
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import jax
from tqdm import tqdm

from jgr.errors import ConfigError, DataError, RunError
from jgr.files import disk_errors
from jgr.jobs.conditions import Conditions, check_told, read_kernel, read_mask, read_shots
from jgr.jobs.load import Run, Weights
from jgr.jobs.photograph import SUFFIXES, read_photograph, write_photograph, written_name
from jgr.jobs.photograph_restorer import PhotographRestorer
from jgr.jobs.progress import images_bar
from jgr.jobs.sampling import told_captions
from jgr.state import averaged


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
    luma: bool = False,
    sigma: float | None = None,
    mask: str | Path | None = None,
    kernel: str | Path | None = None,
    quality: int | None = None,
    text: str | None = None,
    shots: Sequence[str | Path] = (),
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
        tile: See `PhotographRestorer`, as `overlap`, `ensemble` and `luma`.
        overlap: See there.
        ensemble: See there.
        luma: See there.
        sigma: What the network is told: see `Conditions`, as of `quality`.
        mask: An image file; white pixels are known.
        kernel: A file with a blur kernel; see `read_kernel`.
        quality: See `Conditions`.
        text: A caption of the photographs, for a network that is told captions.
        shots: Image files of further shots of the scene, for a network that restores bursts.
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
        shots=read_shots(shots) if shots else None,
    )
    named = [inputs] if isinstance(inputs, str | Path) else list(inputs)
    planned, failures = _plan([Path(path).expanduser() for path in named], Path(out).expanduser(), overwrite)
    run = Run(workdir, trust=trust)
    if text is not None:
        tokens = told_captions(run.experiment.task, run.experiment.data, [text], 1)[0]
        conditions = dataclasses.replace(conditions, tokens=tokens)
    check_told(run.experiment.task, conditions)
    state = run.restore(step)
    state = averaged(state) if weights == "ema" else state
    restorer = PhotographRestorer(
        run.experiment.task, state, conditions, tile=tile, overlap=overlap, ensemble=ensemble, luma=luma, seed=seed
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
