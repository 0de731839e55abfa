"""Copies of what is logged, for tools that read other formats. `metrics.jsonl` stays the record."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np
from jaxtyping import UInt8

from jgr.errors import ConfigError
from jgr.run.folder import RunFolder


class Mirror:
    """Does nothing; what a training without mirrors has."""

    def scalars(self, step: int, values: Mapping[str, float | None]) -> None:
        """Copies the values of a log step."""

    def image(self, step: int, name: str, image: UInt8[np.ndarray, "height width channels"]) -> None:
        """Copies a picture."""

    def close(self) -> None:
        """Writes what is left."""


class TensorBoard(Mirror):
    """Event files in the folder `tensorboard` of the run; what an interrupted training wrote later is marked void.

    Args:
        folder: The run's.
        start: The step the training goes on from.

    Raises:
        ConfigError: If the package tensorboardX is not installed.
    """

    def __init__(self, folder: RunFolder, start: int) -> None:
        require_tensorboard()
        from tensorboardX import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder.path / "tensorboard"), purge_step=start + 1)

    def scalars(self, step: int, values: Mapping[str, float | None]) -> None:
        """Copies the values of a log step."""
        for name, value in values.items():
            if value is not None:
                self._writer.add_scalar(name, value, step)

    def image(self, step: int, name: str, image: UInt8[np.ndarray, "height width channels"]) -> None:
        """Copies a picture."""
        self._writer.add_image(name, image, step, dataformats="HWC")

    def close(self) -> None:
        """Writes what is left."""
        self._writer.close()


def require_tensorboard() -> None:
    """Raises ConfigError if the package that writes event files is not installed."""
    if find_spec("tensorboardX") is None:
        raise ConfigError("--tensorboard needs the package tensorboardX: pip install 'jgr[tensorboard]'")
