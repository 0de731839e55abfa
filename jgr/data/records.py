"""Host batches: NumPy arrays of one training step or one evaluation batch, as pure functions of its number.

Free of JAX, so that worker processes start fast.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image

from jgr.data.order import random_crop_corners, record_index
from jgr.data.source import IMAGES, Source, caption_of, read_records, record_name
from jgr.data.vocabulary import Vocabulary
from jgr.errors import DataError

HostBatch = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Fit:
    """How decoded images become images of one size.

    Attributes:
        resize: The shorter side after a bicubic resize (Pillow's, antialiased); None keeps the size.
        crop: Height and width of the crop that follows; None keeps the whole image.
        vocabulary: What captions are read with; None leaves them out.
    """

    resize: int | None
    crop: int | None
    vocabulary: Vocabulary | None = None

    def read(
        self, source: Source, index: Sequence[int], *, seed: int = 0, position: Sequence[int] | None = None
    ) -> HostBatch:
        """The records at `index`: `image` and, where they have them, `target` and `label`.

        A target is resized and cut as its image is.

        Args:
            source: Where the records are.
            index: Which records.
            seed: The run's seed, for random crops.
            position: Positions in the run, which decide the random crops; None crops the centre.

        Returns:
            `image` and `target` uint8 [n, height, width, channels], `label` int32 [n], and with a vocabulary `tokens`
            int32 and `token_mask` bool [n, length].

        Raises:
            DataError: Images of different sizes remain, a crop does not fit, or only some records have a target, a
                label or, with a vocabulary, a caption.
        """
        index = [int(i) for i in index]
        records = read_records(source, index)
        batch = {}
        for name in IMAGES:
            if images := _values(source, index, records, name):
                batch[name] = self._fitted(source, index, name, images, seed, position)
        if labels := _values(source, index, records, "label"):
            batch["label"] = np.array(labels, np.int32)
        if self.vocabulary is not None:
            tokens = self.vocabulary.encode([caption_of(source, i, one) for i, one in zip(index, records, strict=True)])
            batch |= {"tokens": tokens.ids, "token_mask": tokens.mask}
        return batch

    def _fitted(
        self,
        source: Source,
        index: list[int],
        name: str,
        images: list[np.ndarray],
        seed: int,
        position: Sequence[int] | None,
    ) -> UInt8[np.ndarray, "n height width channels"]:
        """Images of one name, of one size. What they are cut by does not depend on the name."""
        images = [self._resized(np.asarray(image)) for image in images]
        if self.crop:
            images = self._cropped(source, index, name, images, seed, position)
        for i, image in zip(index, images, strict=True):
            if image.shape != images[0].shape:
                raise DataError(
                    f"{record_name(source, i)}: its {name} is {_size(image)}, that of {record_name(source, index[0])} "
                    f"is {_size(images[0])}; set config.data.crop to cut one size from all, or, "
                    "where images are restored and scored, config.evaluation.batch_size=1"
                )
        return np.stack(images)

    def _resized(self, image: UInt8[np.ndarray, "h w c"]) -> UInt8[np.ndarray, "h2 w2 c"]:
        height, width, channels = image.shape
        shorter = min(height, width)
        if self.resize is None or shorter == self.resize:
            return image
        height, width = (math.floor(side * self.resize / shorter + 0.5) for side in (height, width))
        planes = [
            Image.fromarray(np.ascontiguousarray(image[..., channel])).resize((width, height), Image.Resampling.BICUBIC)
            for channel in range(channels)
        ]
        return np.stack([np.asarray(plane) for plane in planes], axis=-1)

    def _cropped(
        self,
        source: Source,
        index: list[int],
        name: str,
        images: list[np.ndarray],
        seed: int,
        position: Sequence[int] | None,
    ) -> list[np.ndarray]:
        crop = self.crop or 0
        for i, image in zip(index, images, strict=True):
            if min(image.shape[:2]) < crop:
                raise DataError(
                    f"{record_name(source, i)}: its {name} is {_size(image)}, too small for config.data.crop={crop}; "
                    "lower it, or set config.data.resize to enlarge the shorter side"
                )
        sizes = np.array([image.shape[:2] for image in images])
        if position is None:
            corners = (sizes - crop) // 2
        else:
            corners = random_crop_corners(seed, np.asarray(position), sizes, crop)
        return [image[y : y + crop, x : x + crop] for image, (y, x) in zip(images, corners, strict=True)]


@dataclasses.dataclass(frozen=True)
class TrainingRecords:
    """The host batches of training steps: every array has the leading shape [steps, batches, rows].

    Attributes:
        source: Where the records are.
        fit: How their images become images of one size; None leaves the images out (they are on the device).
        seed: The run's seed.
        shuffle: Whether each epoch has an order of its own; else records come in the source's.
        steps: Steps that are taken at once.
        batches: Batches of a step.
        batch_size: Records of a batch, over all processes.
        rows: Which of them this process reads; all when None.
    """

    source: Source
    fit: Fit | None
    seed: int
    shuffle: bool
    steps: int
    batches: int
    batch_size: int
    rows: Int[np.ndarray, "rows"] | None = None

    def __call__(self, call: int) -> HostBatch:
        """Of the steps from `call * steps` on: `index` int32, `position` uint32, and with `fit` what it reads."""
        count = self.steps * self.batches * self.batch_size
        grid = (int(call) * count + np.arange(count)).reshape(self.steps, self.batches, self.batch_size)
        if self.rows is not None:
            grid = grid[..., self.rows]
        position = grid.ravel()
        size = len(self.source)
        index = record_index(self.seed, position, size) if self.shuffle else position % size
        batch = {"index": index.astype(np.int32), "position": position.astype(np.uint32)}
        if self.fit:
            batch |= self.fit.read(self.source, index.tolist(), seed=self.seed, position=position.tolist())
        return {name: array.reshape(*grid.shape, *array.shape[1:]) for name, array in batch.items()}


@dataclasses.dataclass(frozen=True)
class EvaluationRecords:
    """The host batch of an evaluation: records in the source's order, the last repeated to fill the tail.

    Attributes:
        source: Where the records are.
        fit: How their images become images of one size; crops are of the centre.
        num_records: How many records, from the first, are evaluated.
        batch_size: Records of a batch, over all processes.
        rows: Which of them this process reads; all when None.
    """

    source: Source
    fit: Fit
    num_records: int
    batch_size: int
    rows: Int[np.ndarray, "rows"] | None = None

    def __call__(self, batch: int) -> HostBatch:
        """What `fit` reads, `index` int32, and `mask` bool, False where a record is a filling."""
        place = int(batch) * self.batch_size + np.arange(self.batch_size)
        if self.rows is not None:
            place = place[self.rows]
        index = np.minimum(place, self.num_records - 1)
        read, filling = np.unique(index, return_inverse=True)
        real = self.fit.read(self.source, read.tolist())
        filled = {name: array[filling] for name, array in real.items()}
        return {**filled, "index": index.astype(np.int32), "mask": place < self.num_records}


def _values(source: Source, index: list[int], records: list[dict[str, Any]], name: str) -> list[Any]:
    """What records have of a name, in their order; nothing where none has it.

    Raises:
        DataError: Only some have it.
    """
    values = [record.get(name) for record in records]
    missing = [i for i, value in zip(index, values, strict=True) if value is None]
    if missing and len(missing) < len(values):
        raise DataError(f"{record_name(source, missing[0])}: has no {name} while others have one")
    return [] if missing else values


def _size(image: Int[np.ndarray, "h w c"] | UInt8[np.ndarray, "h w c"]) -> str:
    return "x".join(str(side) for side in image.shape)
