"""What a degradation is: a pure function of one record and one key.

An operator (blur, down-sampling, JPEG, a mask), noise, and what draws their parameters (`jgr.degradations.parameters`)
are three things, each named in a config by its import path. A degradation of your own is a subclass of `Degradation`.
"""

import abc
import dataclasses
from collections.abc import Mapping

import jax
from jaxtyping import Array, Float, Key

Record = Mapping[str, Array]
"""One record: `image` [height, width, channels], and what a degradation says of itself: `sigma` [] (standard deviation
of the noise, in units of the range [0, 1]), `mask` [height, width, 1] (1 where a pixel is known, 0 in a hole),
`kernel` [size, size] (sums to 1), `quality` [] (of JPEG, in [0, 1]), `shots` [height, width, others * channels] (of a
burst). An operator that makes one of these untrue drops it."""


def without(record: Record, *names: str) -> Record:
    """The record without what an operator made untrue: a mask after a warp, a sigma after a change of contrast."""
    return {name: value for name, value in record.items() if name not in names}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Degradation(abc.ABC):
    """What is done to an image in [0, 1]. The result is not clipped unless the degradation is `Clip`."""

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """What the protocol of a number calls it, such as "awgn-s25": all that changes the numbers is in it."""

    @abc.abstractmethod
    def apply(self, record: Record, key: Key[Array, ""]) -> Record:
        """The record with a degraded `image`, and with what a network may be told about it.

        Pure, of static shapes, to be used under `jax.vmap` and `jax.jit`; the image may change its size.

        Args:
            record: One record, without the axis of a batch.
            key: The record's own; a record's degradation does not depend on its batch.
        """

    def __call__(self, batch: Mapping[str, Array], keys: Key[Array, "batch"]) -> dict[str, Array]:
        """A batch with degraded `image`, the clean one as `target`, and the degradation's parameters.

        Args:
            batch: `image` in [0, 1] [batch, height, width, channels], and other keys, which are kept.
            keys: One a record.
        """

        def degrade(image: Float[Array, "height width channels"], key: Key[Array, ""]) -> dict[str, Array]:
            return dict(self.apply({"image": image}, key))

        return {**batch, **jax.vmap(degrade)(batch["image"], keys), "target": batch["image"]}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pipeline(Degradation):
    """Degradations one after another.

    Args:
        steps: The degradations, in order.
    """

    steps: tuple[Degradation, ...]

    @property
    def name(self) -> str:
        """The names of all, joined by "+"; "clean" without any."""
        return "+".join(step.name for step in self.steps) or "clean"

    def apply(self, record: Record, key: Key[Array, ""]) -> Record:
        """See `Degradation.apply`; step i draws from `fold_in(key, i)`."""
        for number, step in enumerate(self.steps):
            record = step.apply(record, jax.random.fold_in(key, number))
        return record
