"""Applies a run's task to photographs: any size, channels and precision."""

import dataclasses
import zlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float32, Key
from PIL import Image

from jgr.degradations.degradation import Pipeline
from jgr.degradations.masks import Mask
from jgr.errors import ConfigError, DataError
from jgr.jobs.conditions import Conditions, check_told
from jgr.jobs.photograph import Pixels, as_floats, num_colors
from jgr.jobs.sampling import for_sampling
from jgr.rng import purpose_key
from jgr.state import TrainState
from jgr.tasks.inference import AppliedRestorer, Inference
from jgr.tasks.task import Restorer, Task

_LARGE = 1_500_000  # pixels, above which an image is restored in tiles unless the caller decides
_TILE, _OVERLAP = 512, 64
_LUMA = np.array([[0.299], [0.587], [0.114]], np.float32)  # BT.601, section 2.5.1

Image01 = Float32[np.ndarray, "_height _width _channels"]  # of sizes and channels that differ within a function


class PhotographRestorer:
    """Restores photographs, one after another, each in the precision that it has.

    A network of one channel restores red, green and blue of a colour photograph one by one; with `luma` it restores the
    luma, and the chroma stays, its noise included (BT.601 over the full range: the change of luma is added to red,
    green and blue). A network of three channels takes a gray photograph as a colour one, and the mean of what it gives
    is the result. Alpha stays; super-resolution enlarges it, as the chroma, bicubically. A network that only fills
    holes leaves the known pixels as they are.

    Args:
        task: What restores.
        state: Its weights.
        conditions: What the network is told.
        tile: Pixels a side of the tiles in which photographs are restored; 0 for whole ones. When None, 512 for those
            above 1.5 megapixels and 0 for others.
        overlap: Pixels that neighbouring tiles share; 64 when None, or a quarter of smaller tiles.
        ensemble: Whether to average over the 8 turns and flips.
        luma: Whether a network of one channel restores the luma of colour photographs alone, as is usual for
            super-resolution.
        seed: Decides what is random, for restorers that draw something.

    Raises:
        ConfigError: The task restores nothing, or is not told what it must be told, or told something else.
    """

    def __init__(
        self,
        task: Task,
        state: TrainState,
        conditions: Conditions | None = None,
        *,
        tile: int | None = None,
        overlap: int | None = None,
        ensemble: bool = False,
        luma: bool = False,
        seed: int = 0,
    ) -> None:
        conditions = conditions or Conditions()
        check_told(task, conditions)
        assert isinstance(task, Restorer)
        self._channels: int | None = getattr(getattr(task, "network", None), "channels", None)
        if self._channels not in (None, 1, 3):
            raise ConfigError(f"this run's network is for images of {self._channels} channels; photographs have 1 or 3")
        self._scale: int = getattr(task, "scale", 1)
        self._degradation = getattr(task, "degradation", None)
        if luma and conditions.mask is not None:
            raise ConfigError("luma=True does not go with a mask: the chroma of what is hidden is not known either")
        self._luma_alone = luma
        self._conditions, self._key = conditions, purpose_key(seed, "restore")
        multiple = getattr(getattr(task, "network", task), "multiple", 1)
        side = -(-_TILE // multiple) * multiple if tile is None else tile
        large = Inference(
            tile=side,
            overlap=min(_OVERLAP, side // 4) if overlap is None else overlap,
            ensemble=ensemble,
        )
        self._large = AppliedRestorer(task, large)
        # Where the caller names a tile, or none, that is for all.
        self._small = AppliedRestorer(task, dataclasses.replace(large, tile=0)) if tile is None else self._large
        # On one device, whatever the run was trained on: photographs come one at a time.
        self._state = jax.device_put(jax.device_get(for_sampling(state)), jax.local_devices()[0])

    def __call__(self, pixels: Pixels, name: str = "") -> np.ndarray:
        """The restored photograph.

        Args:
            pixels: As `jgr.jobs.photograph.Photograph` has them.
            name: Decides, with the seed, what is random; other photographs do not.

        Returns:
            Pixels of the same type and channels, `scale` times as large. Integers are clipped and rounded half up;
            floats are as the network gives them.

        Raises:
            DataError: The mask does not fit, or the result is not finite.
        """
        conditions = self._conditions.batch(*pixels.shape[:2])
        key = jax.random.fold_in(self._key, zlib.crc32(name.encode()))
        colors = num_colors(pixels)
        if "shots" in conditions and self._conditions.num_colors != colors:
            raise DataError(f"it has {colors} colours, and the other shots {self._conditions.num_colors}")
        image, alpha = as_floats(pixels[..., :colors]), as_floats(pixels[..., colors:])
        if "mask" in conditions:
            image = np.where(conditions["mask"][0] > 0, image, np.float32(_fill_of(self._degradation)))
        restored = _as_type(self._in_colors(image, conditions, key), pixels.dtype)
        if "mask" in conditions and isinstance(self._degradation, Mask) and self._scale == 1:
            restored = np.where(conditions["mask"][0] > 0, pixels[..., :colors], restored)
        return np.concatenate([restored, _as_type(self._enlarged(alpha), pixels.dtype)], axis=-1)

    def remark(self, pixels: Pixels) -> str | None:
        """What is to be said where the network's channels are not those of a photograph."""
        if self._channels in (None, num_colors(pixels)):
            return None
        if self._channels == 3:
            return (
                "The network is for colour images: gray photographs are restored as colour ones and averaged to gray."
            )
        if self._luma_alone:
            return "The network is for gray images: of colour photographs the luma is restored and the chroma is kept."
        return "The network is for gray images: red, green and blue of colour photographs are restored one by one."

    def _in_colors(self, image: Image01, conditions: dict[str, np.ndarray], key: Key[Array, ""]) -> Image01:
        """The restored image in the colours that it has, by a network that may have others."""
        if self._channels in (None, image.shape[-1]):
            return self._restored(image, conditions, key)
        if self._channels == 3:
            told = _of_shots(conditions, 1, lambda shots: shots.repeat(3, axis=-1))
            return self._restored(image.repeat(3, axis=-1), told, key).mean(axis=-1, keepdims=True)
        if not self._luma_alone:
            parts = []
            for i in range(3):
                told = _of_shots(conditions, 3, lambda shots, i=i: shots[..., i : i + 1])  # type: ignore[misc]
                parts.append(self._restored(image[..., i : i + 1], told, key))
            return np.concatenate(parts, axis=-1)
        enlarged = self._enlarged(image)
        told = _of_shots(conditions, 3, _luma)
        return enlarged + (self._restored(_luma(image), told, key) - _luma(enlarged))

    def _restored(self, image: Image01, conditions: dict[str, np.ndarray], key: Key[Array, ""]) -> Image01:
        height, width, channels = image.shape
        apply = self._large if height * width > _LARGE else self._small
        restored = np.asarray(apply(self._state, {"image": image[None], **conditions}, key[None]))[0]
        if restored.shape != (height * self._scale, width * self._scale, channels):
            raise DataError(f"the network gives {list(restored.shape)} for {list(image.shape)} at scale {self._scale}")
        if not np.isfinite(restored).all():
            bad = np.count_nonzero(~np.isfinite(restored).all(axis=-1))
            raise DataError(f"the network gives {bad} pixels that are not finite")
        return restored

    def _enlarged(self, image: Image01) -> Image01:
        """The image at the size of a restored one, by Keys' bicubic kernel, as degradations have it."""
        if self._scale == 1:
            return image
        size = (image.shape[1] * self._scale, image.shape[0] * self._scale)
        layers = [Image.fromarray(layer).resize(size, Image.Resampling.BICUBIC) for layer in np.moveaxis(image, -1, 0)]
        return np.stack([np.asarray(layer) for layer in layers], axis=-1) if layers else image.reshape(*size[::-1], 0)


def _of_shots(
    conditions: dict[str, np.ndarray], colors: int, change: Callable[[np.ndarray], np.ndarray]
) -> dict[str, np.ndarray]:
    """Conditions in which each further shot, if there is one, has other channels."""
    if "shots" not in conditions:
        return conditions
    height, width, total = conditions["shots"].shape[1:]
    changed = change(conditions["shots"].reshape(height, width, total // colors, colors))
    return conditions | {"shots": changed.reshape(1, height, width, -1)}


def _fill_of(degradation: Any) -> float:
    """What hidden pixels were filled with in training."""
    if isinstance(degradation, Pipeline):
        return max(map(_fill_of, degradation.steps), default=0.0)
    return degradation.fill if isinstance(degradation, Mask) else 0.0


def _luma(image: Float32[np.ndarray, "... 3"]) -> Float32[np.ndarray, "... 1"]:
    return image @ _LUMA


def _as_type(image: Image01, dtype: np.dtype[Any]) -> np.ndarray:
    """The inverse of `as_floats`: integers are clipped and rounded half up, as `jgr.images.to_uint8` does it."""
    if dtype == np.float32:
        return image
    largest = np.float32(np.iinfo(dtype).max)
    return np.floor(np.clip(image, 0.0, 1.0) * largest + np.float32(0.5)).astype(dtype)
