"""Images that are degraded as they are read: the second of two sets, where there is but one."""

import dataclasses
import hashlib
from typing import Any

import jax.numpy as jnp
import numpy as np

from jgr.data.source import Source, fingerprint, read_records, record_name
from jgr.degradations.protocol import Protocol
from jgr.errors import DataError
from jgr.images import to_uint8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Degraded:
    """A source whose images a protocol degrades on the host; they are uint8 again, and have no target.

    It is for two sets that are not paired, of which one is made from photographs (`jgr.data.pairs.UnpairedFolders`).
    Networks that learn from pairs have their images degraded on the device instead, which is faster.

    Attributes:
        source: The images.
        protocol: What is done to them, the same at every reading; `jgr.degradations.protocols.Seeded` makes one of any
            degradation.
    """

    source: Source
    protocol: Protocol

    @property
    def name(self) -> str:
        """The names of both, such as "bsds500_train-rgb+lowlight-e0.4-g2-seed0"."""
        return f"{self.source.name}+{self.protocol.name}"

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        (record,) = read_records(self.source, [index])
        try:
            degraded = np.asarray(self.protocol(np.asarray(record["image"]))["image"])
        except DataError as error:
            raise DataError(f"{self.record_name(index)}: {error}") from error
        image = degraded if degraded.dtype == np.uint8 else np.asarray(to_uint8(jnp.asarray(degraded)))
        return {"image": image, **({"label": record["label"]} if "label" in record else {})}

    def record_name(self, index: int) -> str:
        """The source's."""
        return record_name(self.source, index)

    def fingerprint(self) -> str:
        """Hash of the source's fingerprint and the protocol's name."""
        return hashlib.sha256(f"{fingerprint(self.source)} {self.protocol.name}".encode()).hexdigest()[:16]
