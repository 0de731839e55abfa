"""Blends given images, and moves what some records have and others have not onto them, among an encoder's latents."""

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from jgr.data.captions import captions
from jgr.errors import ConfigError
from jgr.jobs.explore.exploration import Classes, require_at_least
from jgr.jobs.explore.records import RecordExplorer
from jgr.jobs.sampling import for_sampling

_COMPARED = 2000  # records whose posterior means say what an attribute is

Attribute = int | str
"""A label, or a word of captions."""


@dataclasses.dataclass(frozen=True)
class Transfer:
    """Records without an attribute, and the same with ever more of it.

    Args:
        originals: The records.
        images: A row for each, a column for each strength.
        records: Their places in the data.
        counts: How many records with and without the attribute said what it is.
    """

    originals: UInt8[np.ndarray, "rows height width channels"]
    images: UInt8[np.ndarray, "rows strengths height width channels"]
    records: Int[np.ndarray, "rows"]
    counts: tuple[int, int]


@dataclasses.dataclass(frozen=True, eq=False)
class BlendExplorer(RecordExplorer):
    """See `jgr.jobs.explore.explorer.Explorer`, of which this is the part for several given images."""

    def blend(
        self,
        images: UInt8[np.ndarray, "num height width channels"],
        shares: Float[np.ndarray, "blends num"],
        classes: Classes = None,
    ) -> UInt8[np.ndarray, "blends height width channels"]:
        """Images of weighted sums of the posterior means of given ones.

        Args:
            images: Of the size of the run's data.
            shares: A row of weights for each blend. Those of a row that sum to 1 stay between the images, or on the
                line through two of them.
            classes: The label of all of a conditional task.
        """
        self._require_untruncated("blend")
        self._latent_dim("blend")
        shares = np.asarray(shares, np.float64)
        if shares.ndim != 2 or shares.shape[1] != len(images) or not np.isfinite(shares).all():
            raise ConfigError(f"blend: shares must be rows of {len(images)} finite numbers, one an image")
        wanted = self._data.fit.read(self._data.source, [0])["image"].shape[1:]
        if images.shape[1:] != wanted:
            sizes = ["x".join(map(str, shape)) for shape in (images.shape[1:], wanted)]
            raise ConfigError(f"blend: images of {sizes[0]}, but those of the run's data are {sizes[1]}")
        label = self._one_label("blend", classes)
        entries = {"image": images, "index": np.arange(len(images), dtype=np.int32)}
        if self.task.num_classes is not None:
            entries["label"] = np.full(len(images), label, np.int32)
        means = self._of_entries(self._posterior_mean, entries).astype(np.float64)
        codes = (shares @ means).astype(np.float32)
        return self._drawn("blend", self._decode, codes, np.full(len(codes), label))

    def transfer(
        self,
        wanted: Attribute,
        without: Attribute,
        num: int = 8,
        strengths: tuple[float, ...] = (0.0, 0.5, 1.0, 1.5),
    ) -> Transfer:
        """Records of one kind on their way to another: along the difference of the kinds' mean latents.

        The attribute vector of Larsen et al. 2016 (arXiv:1512.09300), section 4.2, of the first 2,000 records.

        Args:
            wanted: A label, or a word of captions: what the records are to be.
            without: What they are.
            num: How many, the first ones.
            strengths: How much of the difference is added; 0 is the reconstruction.

        Raises:
            DataError: If the records cannot be read.
        """
        require_at_least(1, "transfer: num", num)
        if not strengths or not np.isfinite(strengths).all():
            raise ConfigError(f"transfer: strengths = {strengths} must be finite numbers, such as 0, 0.5 and 1")
        self._require_untruncated("transfer")
        size = self._latent_dim("transfer")
        places = np.arange(min(_COMPARED, len(self._data.source)))
        read, means = self._from_records("encode", self._posterior_mean, places)
        kinds = [self._having(kind, read) for kind in (wanted, without)]
        for kind, having in zip((wanted, without), kinds, strict=True):
            if not having.any():
                raise ConfigError(f"transfer: none of the first {len(places)} records of the run's data has {kind!r}")
        there, here = (means[having].astype(np.float64).mean(axis=0) for having in kinds)
        chosen = np.flatnonzero(kinds[1] & ~kinds[0])[:num]
        if not len(chosen):
            raise ConfigError(f"transfer: every record with {without!r} has {wanted!r} as well")
        codes = means[chosen][:, None] + np.asarray(strengths)[None, :, None] * (there - here)
        labels = read["label"][chosen] if self.task.num_classes is not None else np.zeros(len(chosen), np.int32)
        images = self._drawn(
            "transfer",
            self._decode,
            codes.reshape(-1, size).astype(np.float32),
            np.repeat(np.asarray(labels), len(strengths)),
        )
        rows = images.reshape(len(chosen), len(strengths), *images.shape[1:])
        return Transfer(read["image"][chosen], rows, chosen, (int(kinds[0].sum()), int(kinds[1].sum())))

    def _having(self, kind: Attribute, read: dict[str, np.ndarray]) -> Bool[np.ndarray, "num"]:
        """Which of the first records have a label, or a word in their caption."""
        count = len(read["image"])
        if isinstance(kind, int):
            if "label" not in read:
                raise ConfigError(f"transfer: the records of {self._data.source.name} have no label {kind}")
            return np.asarray(read["label"]) == kind
        whole = re.compile(rf"\b{re.escape(kind)}\b", re.IGNORECASE)
        said = [text for text, _ in zip(captions(self._data.source), range(count), strict=False)]
        return np.array([bool(whole.search(text)) for text in said])

    def _of_entries(self, function: Callable[..., Any], entries: dict[str, np.ndarray]) -> np.ndarray:
        """What a compiled function of state and batch makes of given entries."""
        count = len(entries["image"])
        size = self.mesh.rounded_up(count)
        filled = {name: np.resize(value, (size, *value.shape[1:])) for name, value in entries.items()}
        with self.mesh.entered():
            return np.asarray(function(for_sampling(self.state), self.mesh.put_batch(filled, size)))[:count]
