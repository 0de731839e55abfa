"""What an evaluation protocol is: how a test image is degraded so that numbers stand beside published ones."""

import abc
import dataclasses
from typing import Any

import numpy as np
from jaxtyping import UInt8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Protocol(abc.ABC):
    """The degradation of a test set, on the host, as its field defines it: the same bits at every call.

    One of your own is a subclass, named in `config.evaluation.degradation` by its import path.
    """

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """Part of the protocol id of every number, such as "awgn-s25-seed0-unclipped"."""

    @abc.abstractmethod
    def __call__(self, image: UInt8[np.ndarray, "height width channels"]) -> dict[str, Any]:
        """A record: `image` (degraded) and `target` (what it is compared with), and what a network may be told.

        Both are uint8, or float32 in units of [0, 1]; `sigma`, `mask`, `kernel` and `quality` as in
        `jgr.degradations.degradation.Record`, as float32 arrays.

        Args:
            image: The clean image.

        Raises:
            DataError: The image does not fit the protocol; the caller names it.
        """
