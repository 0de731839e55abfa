"""The folder of one run, and the only code that writes its files."""

import math
import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from jgr.config import flatten
from jgr.errors import RunError
from jgr.files import disk_errors, json_bytes, read_json, write_csv, write_json, write_new, write_png
from jgr.run import jsonl, rows
from jgr.run.manifest import STATUSES


class RunFolder:
    """Names and access to the files of one run.

    ```
    config.json    the resolved config        run.json       the manifest
    metrics.jsonl  one line per log step      results.jsonl  one line per metric value
    checkpoints/   Orbax                      samples/       pictures
    per_record/    metrics of single records  vocabulary.json  tokens of captions, where they are read
    ```

    Args:
        path: The folder. `create` makes a new one, `open` checks that there is one.
        writes: Whether this process writes there; of several that work on one run only one does, and for the others
            every method that writes does nothing.
    """

    def __init__(self, path: str | Path, writes: bool = True) -> None:
        self.path, self._writes = Path(path), writes
        self.config_path = self.path / "config.json"
        self.manifest_path = self.path / "run.json"
        self.metrics_path = self.path / "metrics.jsonl"
        self.results_path = self.path / "results.jsonl"
        self.checkpoints_path = self.path / "checkpoints"
        self.samples_path = self.path / "samples"
        self.records_path = self.path / "per_record"
        self.vocabulary_path = self.path / "vocabulary.json"

    def __repr__(self) -> str:
        return f"RunFolder({str(self.path)!r})"

    @classmethod
    def create(
        cls, path: str | Path, config: dict[str, Any], manifest: dict[str, Any], vocabulary: str | None = None
    ) -> "RunFolder":
        """Makes a run's folder, whole or not at all: filled under a temporary name beside it, then renamed.

        Args:
            path: Where it shall be. Missing parents are made; an empty folder is taken.
            config: The resolved config.
            manifest: As `jgr.run.manifest.new_manifest` makes it.
            vocabulary: What `vocabulary.json` shall hold; None for no such file.

        Raises:
            RunError: The path holds something already, a config value is not finite, or the disk refuses.
        """
        folder = cls(path)
        target = Path(os.path.realpath(path))
        _require_vacant(folder)
        _require_finite(config, folder.config_path)
        temporary = cls(target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp"))
        with disk_errors(folder.path, "made"):
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary.path.mkdir()
        try:
            with disk_errors(folder.path, "made"):
                temporary.checkpoints_path.mkdir()
                temporary.samples_path.mkdir()
                write_new(temporary.config_path, json_bytes(config))
                write_new(temporary.manifest_path, json_bytes(manifest))
                if vocabulary is not None:
                    write_new(temporary.vocabulary_path, vocabulary.encode())
                temporary.path.rename(target)
        except BaseException:
            shutil.rmtree(temporary.path, ignore_errors=True)
            raise
        return folder

    @staticmethod
    def exists(path: str | Path) -> bool:
        """Whether the path holds a run.

        Raises:
            RunError: The path may not be looked at.
        """
        folder = RunFolder(path)
        with disk_errors(folder.path, "read"):
            return folder.config_path.is_file() and folder.manifest_path.is_file()

    @classmethod
    def open(cls, path: str | Path, writes: bool = True) -> "RunFolder":
        """The run in an existing folder.

        Args:
            path: The folder.
            writes: Whether this process writes there.

        Raises:
            RunError: There is no folder, or `config.json` or `run.json` is missing in it.
        """
        folder = cls(path, writes)
        with disk_errors(folder.path, "read"):
            missing = [file.name for file in (folder.config_path, folder.manifest_path) if not file.is_file()]
        if missing:
            what = f"{' and '.join(missing)} missing" if folder.path.is_dir() else "no such folder"
            advice = f"make one with: jgr train --config=CONFIG --workdir={path}"
            raise RunError(f"{path} is not a run's folder: {what}; {advice}")
        return folder

    def config(self) -> dict[str, Any]:
        """The resolved config."""
        return read_json(self.config_path)

    def write_config(self, config: dict[str, Any]) -> None:
        """Replaces the resolved config.

        Raises:
            RunError: A value is not finite (JSON has no infinity), or the disk refuses.
        """
        _require_finite(config, self.config_path)
        if self._writes:
            write_json(self.config_path, config)

    def manifest(self) -> dict[str, Any]:
        """The manifest."""
        return read_json(self.manifest_path)

    def update_manifest(self, **fields: Any) -> None:
        """Sets fields of the manifest, leaving the others.

        Raises:
            ValueError: `status` is not one of `jgr.run.manifest.STATUSES`.
        """
        if fields.get("status", STATUSES[0]) not in STATUSES:
            raise ValueError(f"status={fields['status']!r} must be one of {', '.join(STATUSES)}")
        if self._writes:
            write_json(self.manifest_path, self.manifest() | fields)

    def append_metrics(self, row: dict[str, Any]) -> None:
        """Adds the row of one log step; it holds `step`. NaN and infinities are written as null."""
        if self._writes:
            jsonl.append(self.metrics_path, row)

    def metrics(self) -> list[dict[str, Any]]:
        """The rows of all log steps."""
        return jsonl.read(self.metrics_path)

    def cut_back_metrics(self, step: int) -> None:
        """Drops the rows of later steps, which a resumed training writes again."""
        if self._writes:
            jsonl.cut_back(self.metrics_path, step)

    def append_result(self, row: dict[str, Any]) -> None:
        """Adds a row of `jgr.run.rows.result_row`; several evaluating processes may do so at once."""
        if self._writes:
            jsonl.append(self.results_path, row)

    def results(self) -> list[dict[str, Any]]:
        """The rows of all measurements; where one was repeated, the later row.

        Raises:
            RunError: The file is damaged, or a row lacks what identifies a measurement.
        """
        found = jsonl.read(self.results_path)
        for number, row in enumerate(found, start=1):
            missing = [field for field in (*rows.KEY, "value", "status") if field not in row]
            if missing:
                raise RunError(
                    f"{self.results_path}: row {number} lacks {', '.join(missing)}; remove it and evaluate again"
                )
        return rows.newest(found)

    def write_png(self, relative_name: str, image: UInt8[np.ndarray, "height width channels"]) -> Path:
        """Writes a picture, atomically, if this process writes; returns its path.

        Args:
            relative_name: Its name below `samples/`, such as "step_00000100.png".
            image: uint8 in [0, 255], 1 (gray) or 3 (RGB) channels.
        """
        path = self.samples_path / relative_name
        if not self._writes:
            return path
        with disk_errors(path.parent, "made"):
            path.parent.mkdir(parents=True, exist_ok=True)
        return write_png(path, image)

    def write_csv(self, relative_name: str, columns: Mapping[str, Sequence[Any]]) -> Path:
        """Writes a table, atomically, if this process writes; returns its path.

        Args:
            relative_name: Its name below the run's folder, such as "per_record/step_00000100-ema-seed0.csv".
            columns: Values by header, all of one length.
        """
        path = self.path / relative_name
        if not self._writes:
            return path
        with disk_errors(path.parent, "made"):
            path.parent.mkdir(parents=True, exist_ok=True)
        return write_csv(path, columns)


def _require_vacant(folder: RunFolder) -> None:
    """Raises unless there is nothing at the folder's path, or an empty folder."""
    with disk_errors(folder.path, "read"):
        if folder.path.is_file():
            raise RunError(f"{folder.path} is a file; name another folder")
        if not folder.path.exists() or not any(folder.path.iterdir()):
            return
    if RunFolder.exists(folder.path):
        raise RunError(f"{folder.path} already holds a run; continue it or name another folder")
    raise RunError(f"{folder.path} holds files but no run; empty it or name another folder")


def _require_finite(config: dict[str, Any], path: Path) -> None:
    """Raises where JSON would lose an infinity or a NaN, naming the key."""
    for key, value in flatten(config).items():
        numbers = value if isinstance(value, list | tuple) else [value]
        if any(isinstance(number, float) and not math.isfinite(number) for number in numbers):
            raise RunError(f"{path} cannot hold {key}={value!r}: JSON has no infinity and no NaN; use a number or None")
