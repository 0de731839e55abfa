"""Whether the real image that is most like a generated one has the caption that it was drawn by."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from jaxtyping import Float, UInt8

from jgr.data.captions import captions as captions_of
from jgr.data.loader import Data
from jgr.data.source import fingerprint
from jgr.errors import ConfigError
from jgr.metrics.metric import CaptionMetric

_CHUNK = 256  # images that are compared at once


@dataclasses.dataclass(frozen=True, kw_only=True)
class Retrieval(CaptionMetric):
    """Share of images for which one of the nearest in a gallery of real ones has their caption.

    Distances are of pixels: Euclidean, of images that were halved as often as leaves at least `side` pixels a side, so
    that an edge need not be in the same place. Chance is `judged="swapped"`, or `top` over the gallery's size where no
    two captions are equal. A gallery image is always nearest to itself: of `judged="real"` images of the gallery the
    share is 1 where no two are equal.

    Args:
        gallery: Real images with captions, resized as the generated ones are.
        top: How many of the nearest count.
        side: Rows that halving leaves at least.

    Raises:
        ConfigError: A number is below 1.
    """

    gallery: Data
    top: int = 1
    side: int = 8

    higher_is_better: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("top", "side"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} = {getattr(self, name)} must be at least 1")

    @property
    def asked(self) -> str:
        """retrieval_top1 and its like."""
        return f"retrieval_top{self.top}"

    @property
    def variant(self) -> str:
        """The gallery, and the side."""
        source = self.gallery.source
        return f"{source.name}@{fingerprint(source)}-side{self.side}"

    def values(
        self, images: UInt8[np.ndarray, "n height width channels"], captions: Sequence[str]
    ) -> Float[np.ndarray, "n"]:
        """1 where one of the nearest has the caption, else 0; letters of either case count as equal.

        Raises:
            ValueError: The gallery's images are of another size, or fewer than `top`.
        """
        known, said = self._known
        if images.shape[1:] != known.shape[1:]:
            sizes = ["x".join(map(str, array.shape[1:])) for array in (known, images)]
            raise ValueError(f"the gallery has images of {sizes[0]}, not of {sizes[1]}: set gallery.resize and crop")
        if self.top > len(known):
            raise ValueError(f"top = {self.top}, but the gallery has {len(known)} images")
        theirs = self._halved(known)
        found = []
        for start in range(0, len(images), _CHUNK):
            ours = self._halved(images[start : start + _CHUNK])
            # |a - b|² without |a|², which is the same for all b.
            distances = np.square(theirs).sum(axis=1) - 2.0 * ours @ theirs.T
            found.append(np.argpartition(distances, self.top - 1, axis=1)[:, : self.top])
        wanted = [caption.casefold() for caption in captions]
        hits = [
            any(said[place] == own for place in row) for row, own in zip(np.concatenate(found), wanted, strict=True)
        ]
        return np.array(hits, np.float64)

    def _halved(self, images: UInt8[np.ndarray, "n height width channels"]) -> Float[np.ndarray, "n values"]:
        """Means of blocks of pixels, as vectors."""
        size = 1
        while min(images.shape[1:3]) // (2 * size) >= self.side:
            size *= 2
        count, height, width, channels = images.shape
        height, width = height // size, width // size
        blocks = images[:, : height * size, : width * size].reshape(count, height, size, width, size, channels)
        return blocks.mean(axis=(2, 4), dtype=np.float64).reshape(count, -1)

    @functools.cached_property
    def _known(self) -> tuple[UInt8[np.ndarray, "n height width channels"], list[str]]:
        """Images and captions of the gallery."""
        source = self.gallery.source
        images = self.gallery.fit.read(source, range(len(source)))["image"]
        return images, [caption.casefold() for caption in captions_of(source)]
