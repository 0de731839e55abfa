"""Pixel errors between images and their targets: MSE, MAE and PSNR.

Pure and jit-able, in float32. Ranges are arguments, never guesses; to measure luma, a crop or uint8 levels, transform
both images first (`jgr.metrics.color`). A NaN in an image makes its own number NaN and no other.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

Images = Num[Array, "batch height width channels"] | Num[np.ndarray, "batch height width channels"]
Targets = Num[Array, "..."] | Num[np.ndarray, "..."]  # of the images' shape: checked here, to name both in the error
DataRange = float | int | Float[Array, ""]


def mse(images: Images, targets: Targets) -> Float[Array, "batch"]:
    """Mean squared error of each image.

    Args:
        images: Floats of any range. Integers are refused: uint8 differences wrap, and their range would be a guess.
        targets: Floats of the same shape and range.

    Raises:
        TypeError: If either holds integers.
        ValueError: If the shapes differ.
    """
    images, targets = float_pair(images, targets)
    return _mean(jnp.square(images - targets))


def mae(images: Images, targets: Targets) -> Float[Array, "batch"]:
    """Mean absolute error of each image; arguments and errors as for `mse`."""
    images, targets = float_pair(images, targets)
    return _mean(jnp.abs(images - targets))


def psnr(images: Images, targets: Targets, *, data_range: DataRange = 1.0) -> Float[Array, "batch"]:
    """Peak signal-to-noise ratio of each image in dB, 10 log10(data_range^2 / MSE).

    What papers on restoration average over their test set. Infinite for identical images, with no constant added to
    the error; the gradient there is not finite, so train on `mse`.

    Args:
        images: Floats; see `mse`, also for errors.
        targets: Floats of the same shape and range.
        data_range: Largest possible difference of two values: 1 for images in [0, 1], 255 for levels as floats.
    """
    return decibels(mse(images, targets), data_range=data_range)


def pooled_psnr(images: Images, targets: Targets, *, data_range: DataRange = 1.0) -> Float[Array, ""]:
    """PSNR in dB of the squared error pooled over the set; arguments as for `psnr`.

    What torchmetrics reports by default. It is never above the mean of `psnr` over the images, and half a dB below
    where they differ much. Of a set that comes in parts, or in several sizes, it is `decibels` of the mean of `mse`,
    weighted with the number of pixels.
    """
    return decibels(mse(images, targets).mean(), data_range=data_range)


def decibels(mse: Float[Array, "*shape"], *, data_range: DataRange = 1.0) -> Float[Array, "*shape"]:
    """PSNR of a mean squared error: 10 log10(data_range^2 / mse), infinite at 0.

    Raises:
        ValueError: If `data_range` is not positive.
    """
    check_data_range(data_range)
    return 20.0 * jnp.log10(data_range) - 10.0 * jnp.log10(mse)


def float_pair(
    images: Images, targets: Targets
) -> tuple[Float[Array, "batch height width channels"], Float[Array, "batch height width channels"]]:
    """Both as float32, once they are known to be a pair; errors as for `mse`."""
    if images.shape != targets.shape or images.ndim != 4:
        raise ValueError(
            f"images of shape {images.shape} and targets of shape {targets.shape}: both must be the same "
            "[batch, height, width, channels]"
        )
    for name, array in (("images", images), ("targets", targets)):
        if not jnp.issubdtype(array.dtype, jnp.floating):
            raise TypeError(
                f"{name} are {array.dtype}: convert them with jgr.images.to_float, or to floats of data_range 255"
            )
    return jnp.asarray(images, jnp.float32), jnp.asarray(targets, jnp.float32)


def check_data_range(data_range: DataRange) -> None:
    """Raises ValueError for a data range that is known and not positive."""
    if isinstance(data_range, int | float) and not data_range > 0:
        raise ValueError(f"data_range={data_range} must be positive: 1 for images in [0, 1]")


def _mean(errors: Float[Array, "batch height width channels"]) -> Float[Array, "batch"]:
    # row by row, then over the rows: one float32 sum over a whole image loses digits
    return errors.mean(axis=(2, 3)).mean(axis=1)
