"""What a metric is: a pure, jitted stage on the device, and a state on the host."""

import abc
import dataclasses
from typing import Any, ClassVar, Protocol

import numpy as np
from jaxtyping import Array, Bool, Float, Num, UInt8


class HostState(Protocol):
    """What a metric gathers on the host, in float64."""

    n: int

    def update(self, features: Num[np.ndarray, "batch ..."], mask: Bool[np.ndarray, "batch"]) -> None:
        """Takes in the features of the records where `mask` is true."""

    def merge(self, other: Any) -> None:
        """Takes in what another state gathered."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DistributionMetric(abc.ABC):
    """A metric that compares generated images with real ones through features of each.

    A metric of your own is a subclass in your own file, named in a config by its import path under
    `config.evaluation.metrics`: it gives `name`, `features`, `state` and `compute`, and the jobs do the rest.
    """

    higher_is_better: ClassVar[bool]

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """Name in result tables, such as "fd_pixels"."""

    @property
    def variant(self) -> str:
        """What of the metric's settings changes its numbers; part of the protocol id. Nothing by default."""
        return ""

    @abc.abstractmethod
    def features(self, images: UInt8[Array, "batch height width channels"]) -> Float[Array, "batch features"]:
        """Features of quantised images, each record's from its own image alone; jitted by the caller."""

    @abc.abstractmethod
    def state(self) -> Any:
        """An empty `HostState`."""

    @abc.abstractmethod
    def compute(self, reference: Any, generated: Any) -> float:
        """The value, from the states of the real and of the generated images."""

    def protocol(self, num_images: int, split: str) -> str:
        """Protocol id: two values compare only if theirs are equal.

        Args:
            num_images: Generated images.
            split: Split of the real images, all of which are used.

        A metric from outside jgr carries its import path.
        """
        variant = f"_{self.variant}" if self.variant else ""
        if not type(self).__module__.startswith("jgr."):  # its numbers are not those of jgr's metric of that name
            variant += f"_{type(self).__module__}.{type(self).__qualname__}"
        return f"{self.name}_u8{variant}_n{num_images}_{split}"
