"""The colour photographs inside scikit-image's wheel: real images that need no download."""

import dataclasses
import importlib.resources
from pathlib import Path
from typing import Any

from jgr.data.decode import COLORS, decode_image
from jgr.data.source import files_fingerprint
from jgr.errors import ConfigError, DataError

_FILES = (
    "astronaut.png",
    "chelsea.png",
    "coffee.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "motorcycle_left.png",
    "retina.jpg",
    "rocket.jpg",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Photographs:
    """Eight colour photographs, 300 to 1,411 pixels a side and of differing sizes, without labels.

    A portrait, a cat, a cup, a galaxy field, a tissue section, a motorcycle, a retina and a rocket; their sources and
    licences are in scikit-image's `data/README.txt`. Enough to train a small restoration network on crops, not to score
    one.

    Attributes:
        color: "rgb" for three channels or "gray" for one.
    """

    color: str = "rgb"

    def __post_init__(self) -> None:
        if self.color not in COLORS:
            raise ConfigError(f"color = {self.color!r} must be {' or '.join(COLORS)}")

    @property
    def name(self) -> str:
        """`photographs-all`, or `photographs_gray-all`."""
        return "photographs-all" if self.color == "rgb" else f"photographs_{self.color}-all"

    def __len__(self) -> int:
        return len(_FILES)

    def __getitem__(self, index: int) -> dict[str, Any]:
        path = _path(_FILES[index])
        return {"image": decode_image(path, self.color, name=str(path), orient=True)}

    def record_name(self, index: int) -> str:
        """The photograph's file."""
        return f"photograph {_FILES[index]}"

    def fingerprint(self) -> str:
        """Hash of the files."""
        return files_fingerprint({name: _path(name) for name in _FILES})


def _path(name: str) -> Path:
    path = Path(str(importlib.resources.files("skimage"))) / "data" / name
    if not path.is_file():
        raise DataError(
            f"{path}: this scikit-image does not ship it; install scikit-image 0.25 or newer from its wheel"
        )
    return path
