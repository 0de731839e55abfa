"""Statistics of real images, computed once and kept on disk."""

import hashlib
import io
import json
import logging
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from jgr.files import write_bytes
from jgr.metrics.features import FeatureSet

_LOGGER = logging.getLogger(__name__)
_SCHEMA = 1


class ReferenceCache:
    """Feature sets under a key of everything that they depend on, a file each.

    A file is written under another name and then renamed, so that jobs that share the folder read the whole of it or
    nothing; one that is damaged, or of another key, counts as not there.

    Args:
        folder: Where the files are; None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def load(self, key: dict[str, Any]) -> FeatureSet | None:
        """The set of a key; None where there is none."""
        path = self._path(key)
        if path is None or not path.is_file():
            return None
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
                if str(arrays["key"]) == _canonical(key):
                    return FeatureSet.from_arrays({name: arrays[name] for name in arrays.files if name != "key"})
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            _LOGGER.warning("%s is damaged and is made again: %s", path, error)
        return None

    def save(self, key: dict[str, Any], features: FeatureSet) -> None:
        """Keeps a set. A disk that refuses is only reported: the set can be made again."""
        path = self._path(key)
        if path is None:
            return
        content = io.BytesIO()
        np.savez(content, key=np.array(_canonical(key)), **features.to_arrays())  # type: ignore[arg-type]
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(path, content.getvalue())
        except Exception as error:
            _LOGGER.warning("statistics of the real images were not kept: %s", error)

    def _path(self, key: dict[str, Any]) -> Path | None:
        if self._folder is None:
            return None
        return self._folder / f"{hashlib.sha256(_canonical(key).encode()).hexdigest()[:24]}.npz"


def _canonical(key: dict[str, Any]) -> str:
    return json.dumps({"schema": _SCHEMA, **key}, sort_keys=True)
