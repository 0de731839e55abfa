"""Resizes of the published protocols for features: they disagree by up to several FID, so a number names its resize.

All take uint8 images and return float32 in [0, 255], not rounded. What is static, the indices and weights, is computed
on the host.
"""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, UInt8

from jgr.errors import ConfigError

Images = UInt8[Array, "batch height width channels"]
Resized = Float[Array, "batch new_height new_width channels"]


def tf1_bilinear(images: Images, size: tuple[int, int]) -> Resized:
    """`ResizeBilinear` of TensorFlow 1 with its defaults: no half-pixel centres, no antialiasing.

    The resize inside the Inception graph that FID is defined on. Equal bit by bit to TensorFlow's kernel on CPU
    (`resize_bilinear_op.cc`: position = index * (old / new) in float32; along rows first, then down columns).

    Args:
        images: uint8 in [0, 255].
        size: New height and width.

    Returns:
        float32 in [0, 255].
    """

    def positions(old: int, new: int) -> Float[np.ndarray, "new"]:
        return np.arange(new, dtype=np.float32) * (np.float32(old) / np.float32(new))

    return _bilinear(images, size, positions)


def legacy_pytorch(images: Images, size: tuple[int, int]) -> Resized:
    """Bilinear about half-pixel centres, without antialiasing: `torch.nn.functional.interpolate(mode="bilinear")`.

    What pytorch-fid does.

    Args:
        images: uint8 in [0, 255].
        size: New height and width.

    Returns:
        float32 in [0, 255], equal to rounding.
    """

    def positions(old: int, new: int) -> Float[np.ndarray, "new"]:
        scale = np.float32(old) / np.float32(new)
        return np.maximum((np.arange(new, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5), np.float32(0))

    return _bilinear(images, size, positions)


def clean(images: Images, size: tuple[int, int]) -> Resized:
    """Bicubic with antialiasing as Pillow does it on float channels (mode "F"), clipped to [0, 255].

    What clean-fid does (Parmar et al. 2022, arXiv:2104.11222).

    Args:
        images: uint8 in [0, 255].
        size: New height and width.

    Returns:
        float32 in [0, 255], equal to rounding.
    """
    rows, columns = (_bicubic_weights(old, new) for old, new in zip(images.shape[1:3], size, strict=True))
    floats = images.astype(jnp.float32)
    wide = jnp.einsum("bhwc,vw->bhvc", floats, columns, precision=lax.Precision.HIGHEST)
    resized = jnp.einsum("bhvc,uh->buvc", wide, rows, precision=lax.Precision.HIGHEST)
    return jnp.clip(resized, 0.0, 255.0)


RESIZES: dict[str, Callable[[Images, tuple[int, int]], Resized]] = {
    "tf1_bilinear": tf1_bilinear,
    "legacy_pytorch": legacy_pytorch,
    "clean": clean,
}


def inception_input(images: Images, resize: str) -> Float[Array, "batch 299 299 3"]:
    """What `jgr.models.inception.InceptionV3` is fed under a protocol: resized to 299x299, about -1 to 1.

    After `tf1_bilinear` and `clean` comes (x - 128) / 128 as in the Inception graph, after `legacy_pytorch`
    x / 127.5 - 1 as in pytorch-fid.

    Args:
        images: uint8 in [0, 255], RGB, or gray, which counts as three equal channels.
        resize: A key of `RESIZES`.

    Raises:
        ConfigError: There is no such resize, or the images have another number of channels.
    """
    if resize not in RESIZES:
        raise ConfigError(f"resize = {resize!r} must be one of {', '.join(RESIZES)}")
    if images.shape[3] not in (1, 3):
        raise ConfigError(f"Inception takes images of 1 or 3 channels, not {images.shape[3]}")
    resized = jnp.broadcast_to(RESIZES[resize](images, (299, 299)), (len(images), 299, 299, 3))
    return resized / 127.5 - 1.0 if resize == "legacy_pytorch" else (resized - 128.0) / 128.0


def _bilinear(images: Images, size: tuple[int, int], positions: Callable[[int, int], np.ndarray]) -> Resized:
    resized = images.astype(jnp.float32)
    for axis, new in ((2, size[1]), (1, size[0])):
        low, high, weight = _neighbours(positions(images.shape[axis], new), images.shape[axis])
        first, second = jnp.take(resized, low, axis=axis), jnp.take(resized, high, axis=axis)
        step = (second - first) * jnp.expand_dims(weight, [other for other in range(4) if other != axis])
        # The clip changes no value. Without it the compiler contracts the product and the sum into one fused operation
        # that rounds once, where TensorFlow rounds twice; `lax.optimization_barrier` does not prevent that.
        resized = first + jnp.clip(step, -255.0, 255.0)
    return resized


def _neighbours(
    positions: Float[np.ndarray, "new"], old: int
) -> tuple[Int[np.ndarray, "new"], Int[np.ndarray, "new"], Float[np.ndarray, "new"]]:
    """The pixels before and after each position, and the weight of the second."""
    floor = np.floor(positions)
    low = floor.astype(np.int32)
    return low, np.minimum(low + 1, old - 1), positions - floor


def _bicubic_weights(old: int, new: int) -> Float[np.ndarray, "new old"]:
    """Keys' cubic with a = -1/2 (1981, equation 4), stretched when shrinking, cut at the border and normalised."""
    scale = old / new
    stretch = max(scale, 1.0)
    centres = (np.arange(new) + 0.5) * scale
    first = np.maximum((centres - 2 * stretch + 0.5).astype(int), 0)
    last = np.minimum((centres + 2 * stretch + 0.5).astype(int), old)
    pixels = np.arange(old)
    inside = (pixels >= first[:, None]) & (pixels < last[:, None])
    distance = np.abs((pixels + 0.5 - centres[:, None]) / stretch)
    near = 1.5 * distance**3 - 2.5 * distance**2 + 1
    far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
    weights = np.where(inside, np.where(distance < 1, near, np.where(distance < 2, far, 0.0)), 0.0)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
