"""A folder of image files."""

import dataclasses
import functools
import logging
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from jgr.data.decode import COLORS, decode_image
from jgr.data.source import files_fingerprint
from jgr.errors import ConfigError, DataError
from jgr.files import expanded

_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}

_VARIABLE = re.compile(r"\$\{?(\w+)\}?")
_PART = re.compile(r"\[(\d*):(\d*)\]")

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageFolder:
    """The PNG, JPEG, WebP, BMP and TIFF files of a folder, in the order of their names.

    Pixels become uint8 as `jgr.data.decode.decode_image` says: upright by EXIF, gray by BT.601, transparent over white.
    Files and folders whose name begins with a dot are left out.

    Attributes:
        path: The folder; `~` is the home folder, and `$NAME` an environment variable.
        color: "rgb" for three channels or "gray" for one.
        on_error: "stop" raises at a file that does not decode. "skip" decodes every file once at first use, drops those
            that do not, lists them in `skipped` and logs one warning.
        recursive: Whether files of folders inside the folder count too.
        part: Which of the files, in the order of their names, as a slice: "[:380]", "[380:]"; all when empty.
        labels: "none"; or "folder": each image lies in a folder inside the folder, and the label is that folder's place
            in sorted order (`classes`).

    Raises:
        DataError: At first use, when the folder is missing or holds no image; with labels="folder", when an image lies
            in no class folder.
    """

    path: str
    color: str = "rgb"
    on_error: str = "stop"
    recursive: bool = True
    part: str = ""
    labels: str = "none"

    def __post_init__(self) -> None:
        for field, allowed in (
            ("color", tuple(COLORS)),
            ("on_error", ("stop", "skip")),
            ("labels", ("none", "folder")),
        ):
            if getattr(self, field) not in allowed:
                raise ConfigError(f"{field} = {getattr(self, field)!r} must be {' or '.join(allowed)}")
        if self.part and not _PART.fullmatch(self.part):
            raise ConfigError(f"part = {self.part!r} must be a slice such as '[:380]' or '[380:]', or empty")
        if self.part and self.labels == "folder":
            raise ConfigError(f"part = {self.part!r} does not go with labels='folder': a part may lack some classes")
        if self.labels == "folder" and not self.recursive:
            raise ConfigError("recursive=False: labels='folder' needs the folders inside; set recursive=True")

    @property
    def name(self) -> str:
        """The folder's name, the colour and the part, such as "bsd68-gray" or "train400-gray[:380]"."""
        return f"{self._expanded.resolve().name}-{self.color}{self.part}"

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> dict[str, Any]:
        record: dict[str, Any] = {"image": self._decode(self.files[index])}
        if self.labels == "folder":
            record["label"] = self.classes.index(self.files[index].split("/")[0])
        return record

    def record_name(self, index: int) -> str:
        """The record's file."""
        return str(self.root / self.files[index])

    def fingerprint(self) -> str:
        """Hash of the files' names and contents; above 2 GB in all, of names and sizes."""
        return files_fingerprint({name: self.root / name for name in self.files})

    @property
    def files(self) -> tuple[str, ...]:
        """The image files, relative to the folder, "/" between its parts."""
        return self._listing[0]

    @property
    def skipped(self) -> tuple[str, ...]:
        """The files that do not decode and were dropped; empty with on_error="stop"."""
        return self._listing[1]

    @functools.cached_property
    def classes(self) -> tuple[str, ...]:
        """The class folders in the order of their labels."""
        return tuple(sorted({name.split("/")[0] for name in self.files}))

    @property
    def _expanded(self) -> Path:
        return expanded(self.path)

    @property
    def root(self) -> Path:
        """The folder.

        Raises:
            DataError: It names an environment variable that is not set.
        """
        path = self._expanded
        if (unset := _VARIABLE.search(str(path))) and not path.is_dir():
            raise DataError(f"{self.path}: the environment variable {unset[1]} is not set; it names a folder of data")
        return path

    @functools.cached_property
    def _listing(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        if not self.root.is_dir():
            raise DataError(f"{self.root}: no such folder; ImageFolder's path must name a folder of images")
        found = sorted(path.relative_to(self.root) for path in self.root.glob("**/*" if self.recursive else "*"))
        names = tuple(
            path.as_posix()
            for path in found
            if path.suffix.lower() in _SUFFIXES and not any(part.startswith(".") for part in path.parts)
        )
        if not names:
            raise DataError(f"{self.root}: holds no image ({' '.join(sorted(_SUFFIXES))})")
        if self.part:
            start, stop = (int(end) if end else None for end in self.part[1:-1].split(":"))
            if not names[start:stop]:
                raise DataError(f"{self.root}: holds {len(names)} images, and none is in part {self.part}")
            names = names[start:stop]
        if self.labels == "folder" and (loose := [name for name in names if "/" not in name]):
            raise DataError(f"{self.root / loose[0]}: lies in no class folder, which labels='folder' needs")
        return (names, ()) if self.on_error == "stop" else self._verify(names)

    def _verify(self, names: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        def decodes(name: str) -> bool:
            try:
                self._decode(name)
            except DataError:
                return False
            return True

        with ThreadPoolExecutor(os.cpu_count()) as threads:
            good = list(threads.map(decodes, names))
        kept = tuple(name for name, fine in zip(names, good, strict=True) if fine)
        skipped = tuple(name for name, fine in zip(names, good, strict=True) if not fine)
        if not kept:
            raise DataError(f"{self.root}: none of its {len(names)} images decodes")
        if skipped:
            _log.warning(
                "%s: skipped %d of %d images that do not decode: %s",
                self.root,
                len(skipped),
                len(names),
                ", ".join(skipped),
            )
        return kept, skipped

    def _decode(self, name: str) -> Any:
        path = self.root / name
        return decode_image(path, self.color, name=str(path), orient=True)
