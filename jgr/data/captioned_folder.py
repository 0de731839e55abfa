"""A folder of image files with a table of captions."""

import csv
import dataclasses
import functools
import re
from pathlib import Path
from typing import Any

import numpy as np

from jgr.data.folder import ImageFolder
from jgr.data.source import files_fingerprint
from jgr.errors import ConfigError, DataError

_PART = re.compile(r"\[(\d*):(\d*)\]")
_FILE, _CAPTION = ("file", "file_name"), ("caption", "text")


@dataclasses.dataclass(frozen=True, kw_only=True)
class CaptionedFolder:
    """The image files that a CSV file names, with its captions; images are read as `jgr.data.folder.ImageFolder` does.

    The CSV file's first line names its columns, of which one is `file` (or `file_name`) and one `caption` (or `text`).
    A file is named by its path in the folder, or by its name alone where no other has the same. Images without a
    caption are left out.

    Attributes:
        path: The folder; `~` is the home folder, and `$NAME` an environment variable.
        captions: The CSV file, in the folder.
        color: "rgb" for three channels or "gray" for one; what is transparent is white.
        seed: Of the records' order, for parts that are drawn; None for that of the CSV file.
        part: Which of the records, in that order, as a slice: "[:1200]", "[1200:]"; all when empty.

    Raises:
        ConfigError: `part` is no slice.
        DataError: At first use, when the table is missing, lacks a column, or names a file twice, that is not there, or
            that several files are called.
    """

    path: str
    captions: str = "captions.csv"
    color: str = "rgb"
    seed: int | None = None
    part: str = ""

    def __post_init__(self) -> None:
        if self.part and not _PART.fullmatch(self.part):
            raise ConfigError(f"part = {self.part!r} must be a slice such as '[:1200]' or '[1200:]', or empty")
        _ = self._folder

    @property
    def name(self) -> str:
        """The folder's, the seed and the part, such as "emoji-rgb-seed0[:1200]"."""
        return self._folder.name + (f"-seed{self.seed}" if self.seed is not None else "") + self.part

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> dict[str, Any]:
        place, caption = self._records[index]
        return self._folder[place] | {"caption": caption}

    def record_name(self, index: int) -> str:
        """The record's file."""
        return self._folder.record_name(self._records[index][0])

    def fingerprint(self) -> str:
        """Hash of names and contents of the files and of the table; above 2 GB in all, of names and sizes."""
        files = {name: Path(self._folder.record_name(place)) for place, name in enumerate(self._folder.files)}
        return files_fingerprint(files | {self.captions: self._table})

    @functools.cached_property
    def _folder(self) -> ImageFolder:
        return ImageFolder(path=self.path, color=self.color)

    @property
    def _table(self) -> Path:
        return self._folder.root / self.captions

    @functools.cached_property
    def _records(self) -> tuple[tuple[int, str], ...]:
        """Places in the folder, and captions."""
        places = self._places()
        records: list[tuple[int, str]] = []
        known: set[int] = set()
        for line, (file, caption) in enumerate(self._lines(), start=2):
            found = places.get(file, [])
            if len(found) != 1:
                what = "is not in the folder" if not found else f"is the name of {len(found)} files: name their folders"
                raise DataError(f"{self._table}: line {line}: {file} {what}")
            if found[0] in known:
                raise DataError(f"{self._table}: line {line}: {file} has a caption already; an image has one")
            known.add(found[0])
            records.append((found[0], caption))
        if self.seed is not None:
            order = np.random.default_rng(self.seed).permutation(len(records))
            records = [records[place] for place in order]
        if self.part:
            start, stop = (int(end) if end else None for end in self.part[1:-1].split(":"))
            if not records[start:stop]:
                raise DataError(f"{self._table}: has {len(records)} records, and none is in part {self.part}")
            records = records[start:stop]
        return tuple(records)

    def _places(self) -> dict[str, list[int]]:
        """Of each way to name a file, which files it may mean."""
        places: dict[str, list[int]] = {}
        for place, name in enumerate(self._folder.files):
            for called in {name, name.rpartition("/")[2]}:
                places.setdefault(called, []).append(place)
        for place, name in enumerate(self._folder.files):
            places[name] = [place]  # a path means that file, whatever others are called
        return places

    def _lines(self) -> list[tuple[str, str]]:
        """File and caption of each line."""
        try:
            text = self._table.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{self._table}: cannot be read as UTF-8 text: {error}") from error
        reader = csv.DictReader(text.splitlines())
        header = reader.fieldnames or []
        columns = [next((name for name in header if name in names), None) for names in (_FILE, _CAPTION)]
        if missing := [names for names, column in zip((_FILE, _CAPTION), columns, strict=True) if column is None]:
            raise DataError(
                f"{self._table}: has no column {' or '.join(missing[0])}, only {', '.join(header) or 'none'}"
            )
        file, caption = (str(column) for column in columns)
        lines = [(line[file] or "", line[caption]) for line in reader]
        if bad := next((number for number, (_, said) in enumerate(lines, start=2) if said is None), None):
            raise DataError(f"{self._table}: line {bad}: has no caption")
        return lines
