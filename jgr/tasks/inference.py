"""How a restorer is applied at test time: whole, in tiles, averaged over flips and turns, or padded to few sizes.

Images of any size come out in their own size, whatever the network needs. What is chosen here changes numbers, so its
`name` belongs to every row of results.
"""

import dataclasses
import itertools
from collections.abc import Callable, Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from jgr.errors import ConfigError, DataError
from jgr.layers.padding import pad_to
from jgr.mesh import gathered
from jgr.state import TrainState
from jgr.tasks.precision import computing_in
from jgr.tasks.task import Batch, Restorer

HostBatch = dict[str, np.ndarray]
Restored = Float[np.ndarray, "batch height width channels"] | Float[Array, "batch height width channels"]

_STEPS = 1024  # blending weights are multiples of 1 / _STEPS: products and sums of two are exact in float32
_NUM_TURNS = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inference:
    """How a restorer is applied; by default to whole images as they are.

    Args:
        tile: Side of the square tiles that images are cut into, in pixels of the degraded image; 0 for none. All tiles
            have one size, so images of all sizes compile once, and only a tile's activations lie on the device.
        overlap: Pixels that neighbouring tiles share, at most half of `tile`. The quarter next to a tile's edge is
            thrown away and the middle half blended, so that the result is that of the whole image for networks whose
            result at a pixel depends on pixels at most a quarter of `overlap` away. For others, such as those that
            average over the image, it is another result.
        ensemble: Whether to average over the eight flips and quarter turns of each image (or tile). It takes eight
            times as long, and images that are not square compile twice.
        bucket: Sides are padded by reflection to multiples of it, to bound the number of sizes that are compiled; 0 for
            no padding. Besides `tile` it is for the images that lie within one tile, which are otherwise padded to it.
        dtype: What networks compute in: "bfloat16" saves memory and, on accelerators, time.
    """

    tile: int = 0
    overlap: int = 32
    ensemble: bool = False
    bucket: int = 0
    dtype: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        for name in ("tile", "overlap", "bucket"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} = {getattr(self, name)} must not be negative")
        if self.tile and 2 * self.overlap > self.tile:
            raise ConfigError(f"overlap = {self.overlap} must be at most half of tile = {self.tile}")

    @property
    def name(self) -> str:
        """What rows of results say of it: "tile256o32+x8+bucket64+bf16"; "" by default."""
        parts = {
            f"tile{self.tile}o{self.overlap}": self.tile,
            "x8": self.ensemble,
            f"bucket{self.bucket}": self.bucket,
            "bf16": self.dtype == "bfloat16",
        }
        return "+".join(part for part, used in parts.items() if used)


class AppliedRestorer:
    """A task's `restore`, applied as an `Inference` says. Keep it: it holds what is compiled.

    Args:
        task: What restores. It may have `scale`, how many times larger it makes images (1), and `on_host`, True where
            `restore` is plain Python on NumPy arrays. The sides of a tile must be multiples of the `multiple` of its
            `network` (1), or of the task itself.
        inference: How it is applied.

    Raises:
        ConfigError: The tiles do not fit the network's multiple, or the task cannot compute in the type.
    """

    def __init__(self, task: Restorer, inference: Inference) -> None:
        task = computing_in(inference.dtype, task, "inference.dtype")
        self._inference = inference
        self._scale: int = getattr(task, "scale", 1)
        self._multiple: int = getattr(getattr(task, "network", task), "multiple", 1)
        self._on_host: bool = getattr(task, "on_host", False)
        self._compilations = 0
        tile, overlap = inference.tile, inference.overlap
        if tile % self._multiple:
            raise ConfigError(f"tile = {tile} must be a multiple of {self._multiple}, as the network's images are")
        if tile and (tile - overlap) // self._multiple * self._multiple < max(overlap, 1):
            raise ConfigError(
                f"overlap = {overlap} is too large for tile = {tile}: the network moves tiles by multiples of "
                f"{self._multiple}"
            )

        def traced(state: TrainState, batch: Batch, keys: Key[Array, "batch"]) -> Array:
            self._compilations += 1  # when traced, not when run
            return task.restore(gathered(state), batch, keys)

        self._restore: Callable[[TrainState, Any, Array], Any] = task.restore if self._on_host else jax.jit(traced)

    @property
    def compilations(self) -> int:
        """How many shapes of images were compiled so far; 0 for a restorer on the host."""
        return self._compilations

    def __call__(self, state: TrainState, batch: Mapping[str, Any], keys: Key[Array, "batch"]) -> Restored:
        """Restored images [batch, scale * height, scale * width, channels], not clipped.

        Args:
            state: The state; of the task.
            batch: Degraded `image` [batch, height, width, channels] and what the restorer is told, each [batch, …].
                Arrays of the image's height and width are cut, padded and turned with it, `kernel` is turned with it,
                and all others pass. A `target` is left out.
            keys: One a record; all tiles and turns of an image get the same.

        Returns:
            On the host. Only of whole images, as by default, they stay on the device, sharded as the batch is.

        Raises:
            DataError: A value is not finite, or a kernel has no centre to be turned about. The message does not know
                the file's name.
        """
        batch = {name: value for name, value in batch.items() if name != "target"}
        check_finite(batch)
        if self._inference.ensemble:
            check_kernel(batch)
        if self._inference.name in ("", "bf16") and not self._on_host:
            return self._restore(state, batch, keys)
        return self._on_the_host(state, {name: np.asarray(value) for name, value in batch.items()}, keys)

    def _on_the_host(self, state: TrainState, batch: HostBatch, keys: Key[Array, "batch"]) -> np.ndarray:
        height, width = batch["image"].shape[1:3]
        tile, bucket = self._inference.tile, self._inference.bucket
        if tile and max(height, width) > tile:
            restored = self._tiled(state, batch, keys)
        else:
            sides = [_padded_side(side, tile, bucket) for side in (height, width)]
            restored = self._one(state, _padded(batch, *sides), keys)
        return restored[:, : height * self._scale, : width * self._scale]

    def _tiled(self, state: TrainState, batch: HostBatch, keys: Key[Array, "batch"]) -> np.ndarray:
        """Blended tiles. What is gathered lies on the host: no more than a tile does on the device."""
        tile, overlap, scale = self._inference.tile, self._inference.overlap, self._scale
        # The network would pad the whole image to its multiple: so padded, tiles keep to its grid.
        sides = [max(tile, -(-side // self._multiple) * self._multiple) for side in batch["image"].shape[1:3]]
        spatial, batch = _spatial(batch), _padded(batch, *sides)
        starts = [tile_starts(side, tile, overlap, self._multiple) for side in sides]
        weights = [
            tile_weights([scale * start for start in of_side], scale * tile, scale * overlap) for of_side in starts
        ]
        total = np.zeros(0, np.float32)
        for top, of_rows in zip(starts[0], weights[0], strict=True):
            for left, of_columns in zip(starts[1], weights[1], strict=True):
                part = {
                    name: value[:, top : top + tile, left : left + tile] if name in spatial else value
                    for name, value in batch.items()
                }
                restored = self._one(state, part, keys)
                if not total.size:
                    total = np.zeros(
                        (len(restored), scale * sides[0], scale * sides[1], restored.shape[-1]), np.float32
                    )
                place = total[:, scale * top : scale * (top + tile), scale * left : scale * (left + tile)]
                place += np.outer(of_rows, of_columns)[None, :, :, None] * restored
        return total

    def _one(self, state: TrainState, batch: HostBatch, keys: Key[Array, "batch"]) -> np.ndarray:
        """One call of the restorer, or the mean of eight."""
        if not self._inference.ensemble:
            return np.asarray(self._restore(state, batch, keys), np.float32)
        turned_names = _spatial(batch) | ({"kernel"} & set(batch))
        total: Any = 0.0
        for number in range(_NUM_TURNS):
            part = {name: turned(value, number) if name in turned_names else value for name, value in batch.items()}
            restored = np.asarray(self._restore(state, part, keys), np.float64)  # sums of 8 are exact in it
            total = total + turned_back(restored, number)
        return (total / _NUM_TURNS).astype(np.float32)


def check_finite(batch: Mapping[str, Any]) -> None:
    """Raises DataError, with the array's name, where a value is NaN or infinite."""
    for name, value in batch.items():
        if jnp.issubdtype(value.dtype, jnp.floating):
            here = not isinstance(value, jax.Array) or value.is_fully_addressable
            finite = np.isfinite(np.asarray(value)) if here else jnp.isfinite(value)  # NumPy compiles nothing
            if not bool(finite.all()):
                raise DataError(f"{name} has {int((~finite).sum())} of {value.size} values that are not finite numbers")


def check_kernel(batch: Mapping[str, Any]) -> None:
    """Raises DataError for a kernel of an even side: turned about its middle it would move the image."""
    if "kernel" in batch and not all(side % 2 for side in batch["kernel"].shape[1:3]):
        size = "x".join(str(side) for side in batch["kernel"].shape[1:3])
        raise DataError(f"kernel of {size}: with ensemble=True it is turned about its middle, so its sides must be odd")


def tile_starts(side: int, tile: int, overlap: int, multiple: int = 1) -> list[int]:
    """Where tiles begin along a side: the first at 0, the last ends with the side, neighbours share `overlap` or more.

    Args:
        side: Length of the side; at least `tile`, and like it a multiple of `multiple`.
        tile: Length of a tile.
        overlap: What neighbours share.
        multiple: What all starts are multiples of.
    """
    step = (tile - overlap) // multiple * multiple
    return [*range(0, side - tile, step), side - tile]


def tile_weights(starts: list[int], tile: int, overlap: int) -> list[Float[np.ndarray, "tile"]]:
    """The weight of each pixel of each tile along a side; at each pixel those of all tiles sum to exactly 1.

    From one tile to the next it is a linear ramp over half of `overlap`, in the middle of what they share: the
    quarters of `overlap` next to the tiles' edges, and all that they share besides, have no part in it.
    """
    weights = [np.ones(tile, np.float32) for _ in starts]
    length = overlap // 2
    ramp = np.round((np.arange(length) + 0.5) / max(length, 1) * _STEPS).astype(np.float32) / _STEPS
    for number, (start, after) in enumerate(itertools.pairwise(starts)):
        first = (after + start + tile) // 2 - overlap // 4  # where the ramp begins
        rise, fall = weights[number + 1], weights[number]
        rise[: first - after] = 0.0
        rise[first - after : first - after + length] = ramp
        fall[first - start : first - start + length] = 1.0 - ramp
        fall[first - start + length :] = 0.0
    return weights


def turned(array: np.ndarray, number: int) -> np.ndarray:
    """One of the eight flips and quarter turns of [batch, height, width, …]; number 0 changes nothing.

    Numbers from 4 on mirror left and right first; then follow `number % 4` quarter turns, counter-clockwise.
    """
    return np.rot90(array[:, :, ::-1] if number >= 4 else array, number % 4, (1, 2))


def turned_back(array: np.ndarray, number: int) -> np.ndarray:
    """The inverse of `turned`."""
    array = np.rot90(array, -(number % 4), (1, 2))
    return array[:, :, ::-1] if number >= 4 else array


def _spatial(batch: HostBatch) -> set[str]:
    """The names of arrays that are laid out as the image: [batch, height, width, any channels]."""
    shape = batch["image"].shape[:3]
    return {name for name, value in batch.items() if value.ndim == 4 and value.shape[:3] == shape}


def _padded_side(side: int, tile: int, bucket: int) -> int:
    """What a side becomes that is not cut: a multiple of the bucket, but no longer than a tile; or the tile."""
    if not bucket:
        return tile or side
    multiple = -(-side // bucket) * bucket
    return min(multiple, tile) if tile else multiple


def _padded(batch: HostBatch, height: int, width: int) -> HostBatch:
    spatial = _spatial(batch)
    return {name: pad_to(value, height, width) if name in spatial else value for name, value in batch.items()}
