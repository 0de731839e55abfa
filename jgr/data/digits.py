"""The handwritten digits inside scikit-learn: real images that need no download."""

import dataclasses
import functools
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8

from jgr.errors import ConfigError

_NUM_TRAIN = 1437
_PARTS = {"all": slice(None), "train": slice(_NUM_TRAIN), "test": slice(_NUM_TRAIN, None)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Digits:
    """1,797 handwritten digits of 8x8 pixels with labels 0 to 9 (Alpaydin and Kaynak 1998, UCI "optdigits", test part).

    The original intensities 0 to 16 are scaled by 255/16 and rounded half up.

    Attributes:
        split: "all"; "train", the first 1,437 (80 %); or "test", the last 360. The order is scikit-learn's, which is by
            writer, so that few writers are in both.
    """

    split: str = "all"

    def __post_init__(self) -> None:
        if self.split not in _PARTS:
            raise ConfigError(f"split = {self.split!r} must be one of {', '.join(_PARTS)}")

    @property
    def name(self) -> str:
        """`digits-` and the split."""
        return f"digits-{self.split}"

    def __len__(self) -> int:
        return len(self._records[1])

    def __getitem__(self, index: int) -> dict[str, Any]:
        images, labels = self._records
        return {"image": images[index], "label": int(labels[index])}

    @property
    def _records(self) -> tuple[UInt8[np.ndarray, "n 8 8 1"], Int[np.ndarray, "n"]]:
        images, labels = _load()
        return images[_PARTS[self.split]], labels[_PARTS[self.split]]


@functools.cache
def _load() -> tuple[UInt8[np.ndarray, "1797 8 8 1"], Int[np.ndarray, "1797"]]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.floor(digits.images * (255 / 16) + 0.5).astype(np.uint8)
    return images[..., None], digits.target
