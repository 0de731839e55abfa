"""Published weights of the networks that metrics are defined on: where they come from and where they are kept."""

import dataclasses
import hashlib
import http.client
import io
import os
import secrets
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from jgr.errors import ConfigError, DataError
from jgr.files import cache_folder, disk_errors, write_bytes
from jgr.metrics.torch_file import read_torch_file

Tree = dict[str, Any]

_CHUNK = 1 << 20
_SOURCE = "source_sha256"  # the entry of a converted file that says what it was converted from


@dataclasses.dataclass(frozen=True, kw_only=True)
class Published:
    """A published file of weights.

    Args:
        url: Where it is. Its name ends in the start of its SHA-256, as in `alexnet-owt-7be5be79.pth`.
        convert: A PyTorch state dict to a tree of arrays.
        needed_for: The metrics.
    """

    url: str
    convert: Callable[[Mapping[str, np.ndarray]], Mapping[str, Any]]
    needed_for: str

    @property
    def file(self) -> str:
        """The file's name."""
        return self.url.rpartition("/")[2]

    @property
    def sha256(self) -> str:
        """The start of the file's SHA-256."""
        return Path(self.file).stem.rpartition("-")[2]


def _inception(weights: Mapping[str, np.ndarray]) -> Mapping[str, Any]:
    from jgr.models.inception import from_torch

    return from_torch(weights)


def _trunk(net: str) -> Callable[[Mapping[str, np.ndarray]], Mapping[str, Any]]:
    def convert(weights: Mapping[str, np.ndarray]) -> Mapping[str, Any]:
        from jgr.metrics.perceptual import from_torch

        return from_torch(net, weights)

    return convert


PUBLISHED: dict[str, Published] = {
    "inception": Published(
        url="https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
        convert=_inception,
        needed_for="fid and every other metric with the extractor Inception",
    ),
    "lpips_alex": Published(
        url="https://download.pytorch.org/models/alexnet-owt-7be5be79.pth", convert=_trunk("alex"), needed_for="lpips"
    ),
    "lpips_vgg": Published(
        url="https://download.pytorch.org/models/vgg16-397923af.pth", convert=_trunk("vgg"), needed_for="lpips_vgg"
    ),
    "lpips_squeeze": Published(
        url="https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth",
        convert=_trunk("squeeze"),
        needed_for="lpips_squeeze",
    ),
}


def weights_file(name: str) -> Path:
    """Where converted weights are kept: `weights/NAME.npz` of `jgr.files.cache_folder`.

    Raises:
        ConfigError: There is none, as the variable JGR_CACHE is empty.
    """
    folder = cache_folder()
    if folder is None:
        raise ConfigError("JGR_CACHE is empty, so there is no folder for weights: unset it, or name one")
    return folder / "weights" / f"{name}.npz"


def load(name: str) -> Tree:
    """Converted weights, as nested dicts of arrays.

    Args:
        name: A key of `PUBLISHED`.

    Raises:
        ConfigError: There are no such weights, or they are not on this machine.
        DataError: Their file is damaged.
    """
    tree: Tree = {}
    for path, array in _read(name)[1].items():
        *parents, leaf = path.split("/")
        branch = tree
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[leaf] = array
    return tree


def digest(name: str) -> str:
    """SHA-256 of the published file that the weights on this machine were converted from.

    Args:
        name: A key of `PUBLISHED`.

    Raises:
        ConfigError, DataError: As `load`.
    """
    return _read(name, only_source=True)[0]


def install(name: str, file: str | os.PathLike[str] | None = None, *, quiet: bool = False) -> Path:
    """Converts published weights and keeps them; downloads them unless a file is given.

    Args:
        name: A key of `PUBLISHED`.
        file: The published file, if it is on this machine.
        quiet: Whether to show no progress.

    Returns:
        Where they are kept.

    Raises:
        ConfigError: There are no such weights.
        DataError: The file cannot be downloaded or read, has another SHA-256 than its name says, or does not hold what
            it should.
        RunError: The disk refuses.
    """
    published, target = _published(name), weights_file(name)
    with disk_errors(target.parent, "made"):
        target.parent.mkdir(parents=True, exist_ok=True)
    if file is not None:
        sha256 = _checked(published, str(file), _file_sha256(Path(file)))
        _convert(published, Path(file), sha256, target)
        return target
    temporary = target.with_name(f".{published.file}.{secrets.token_hex(4)}.tmp")
    try:
        sha256 = _checked(published, published.url, _download(name, published, temporary, quiet))
        _convert(published, temporary, sha256, target)
    finally:
        temporary.unlink(missing_ok=True)
    return target


def _published(name: str) -> Published:
    if name not in PUBLISHED:
        raise ConfigError(f"weights {name!r} are unknown; there are {', '.join(PUBLISHED)}")
    return PUBLISHED[name]


def _read(name: str, only_source: bool = False) -> tuple[str, dict[str, np.ndarray]]:
    """The SHA-256 of what was converted, and the arrays by their paths."""
    published, path = _published(name), weights_file(name)
    if not path.exists():
        raise ConfigError(
            f"{path} is missing: {published.needed_for} needs the weights {name}; get them with `jgr weights {name}`"
        )
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            names = [] if only_source else [entry for entry in arrays.files if entry != _SOURCE]
            source, found = str(arrays[_SOURCE]), {entry: arrays[entry] for entry in names}
    # What NumPy raises for a file that is cut, changed, or no archive.
    except (OSError, ValueError, KeyError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is damaged ({error}); make it again with `jgr weights {name}`") from error
    if not source.startswith(published.sha256):
        raise DataError(
            f"{path} was converted from a file of SHA-256 {source[:8]}…, not from {published.file}; make it again with "
            f"`jgr weights {name}`"
        )
    return source, found


def _convert(published: Published, source: Path, sha256: str, target: Path) -> None:
    arrays: dict[str, Any] = {_SOURCE: np.array(sha256), **dict(_flat(published.convert(read_torch_file(source))))}
    content = io.BytesIO()
    np.savez(content, **arrays)
    write_bytes(target, content.getvalue())


def _flat(tree: Mapping[str, Any], path: str = "") -> list[tuple[str, np.ndarray]]:
    """The arrays of a tree by their paths, "a/b/c"."""
    flat: list[tuple[str, np.ndarray]] = []
    for name, value in tree.items():
        flat += _flat(value, f"{path}{name}/") if isinstance(value, Mapping) else [(f"{path}{name}", value)]
    return flat


def _checked(published: Published, where: str, sha256: str) -> str:
    if not sha256.startswith(published.sha256):
        raise DataError(
            f"{where} is not the published {published.file}: its SHA-256 should begin with {published.sha256}, but is "
            f"{sha256}; get it again from {published.url}"
        )
    return sha256


def _file_sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


def _download(name: str, published: Published, target: Path, quiet: bool) -> str:
    """Writes the published file to `target`; returns its SHA-256."""
    hashed = hashlib.sha256()
    try:
        response = urllib.request.urlopen(published.url, timeout=30)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _not_fetched(name, published, error) from error
    with response:
        length, received = int(response.headers.get("Content-Length") or 0), 0
        bar = tqdm(desc=published.file, total=length or None, unit="B", unit_scale=True, disable=quiet or None)
        with bar, disk_errors(target, "written"), target.open("xb") as file:
            while True:
                try:
                    chunk = response.read(_CHUNK)
                except (OSError, http.client.HTTPException) as error:
                    raise _not_fetched(name, published, error) from error
                if not chunk:
                    break
                hashed.update(chunk)
                file.write(chunk)
                received += len(chunk)
                bar.update(len(chunk))
        if received < length:
            raise _not_fetched(name, published, f"it broke off after {received} of {length} bytes")
    return hashed.hexdigest()


def _not_fetched(name: str, published: Published, error: object) -> DataError:
    reason = getattr(error, "reason", None) or error
    reason = getattr(reason, "strerror", None) or reason
    return DataError(
        f"{published.url} cannot be fetched ({reason}); download it where there is a network, then run "
        f"`jgr weights {name} --from={published.file}`"
    )
