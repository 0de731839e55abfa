"""Structural similarity: SSIM and MS-SSIM.

Pure, jit-able and differentiable, in float32 at highest precision. Variances do not change when a constant is taken
off an image, so its mean is; and the terms are written as 1 less what differs. Then values agree with float64 to
1e-6 on photographs with noise or blur, and to about 2e-6 where an image is set beside its negative or a flat one.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jgr.metrics.fidelity import DataRange, Images, Targets, check_data_range, float_pair

Planes = Float[Array, "channels height width"]

LEVEL_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang, Simoncelli & Bovik 2003, section 3.2
TILE = 32  # outputs of one banded matrix product; 16 and 64 are slower on CPU


def ssim(
    images: Images,
    targets: Targets,
    *,
    data_range: DataRange = 1.0,
    window_size: int = 11,
    sigma: float = 1.5,
    k1: float = 0.01,
    k2: float = 0.03,
) -> Float[Array, "batch"]:
    """Structural similarity of each image (Wang et al. 2004, equation 13), in [-1, 1].

    As the paper: Gaussian window, population covariance, only windows that lie inside the image. Of several channels
    it is the mean of the channels' values. Equal to scikit-image's `structural_similarity(gaussian_weights=True,
    sigma=1.5, use_sample_covariance=False)`. The authors' MATLAB program first shrinks images whose smaller side is
    384 or more; this does not.

    Args:
        images: Floats of any range; integers are refused.
        targets: Floats of the same shape and range.
        data_range: Range of the values: 1 for images in [0, 1]. A wrong one changes the number without a sign.
        window_size: Width of the window.
        sigma: Standard deviation of the window, in pixels.
        k1: Constant of the luminance term, times the range.
        k2: Constant of the contrast term, times the range.

    Raises:
        TypeError: If either holds integers.
        ValueError: If the shapes differ, the window does not fit, or the range is not positive.
    """
    images, targets = float_pair(images, targets)
    check_data_range(data_range)
    _check_side(images, window_size, f"SSIM with a window of {window_size}")
    return _ssim(images, targets, (k1 * data_range) ** 2, (k2 * data_range) ** 2, window_size=window_size, sigma=sigma)


def ms_ssim(
    images: Images,
    targets: Targets,
    *,
    data_range: DataRange = 1.0,
    window_size: int = 11,
    sigma: float = 1.5,
    k1: float = 0.01,
    k2: float = 0.03,
) -> Float[Array, "batch"]:
    """Multi-scale structural similarity of each image (Wang, Simoncelli & Bovik 2003, equation 7), in [0, 1].

    Five levels, each the 2x2 mean of the one before. An odd side is continued by its last row or column, as in the
    authors' program and TensorFlow; other libraries drop that row or pad with zeros, which moves the value by up
    to 2e-3 at 181x177. A level whose mean contrast term is negative counts as 0, and with it the product. Of
    several channels it is the mean of the channels' products.

    Args:
        images: Floats; see `ssim`, also for the other arguments and errors.
        targets: Floats of the same shape and range.
        data_range: Range of the values.
        window_size: Width of the window, at every level.
        sigma: Standard deviation of the window, in pixels.
        k1: Constant of the luminance term, times the range.
        k2: Constant of the contrast term, times the range.

    Raises:
        ValueError: If a side is too short for the window at the fifth level: below 161 for a window of 11. Fewer levels
            or other weights would be another measure.
    """
    images, targets = float_pair(images, targets)
    check_data_range(data_range)
    _check_side(images, (window_size - 1) * 2 ** (len(LEVEL_WEIGHTS) - 1) + 1, "MS-SSIM")
    return _ms_ssim(
        images, targets, (k1 * data_range) ** 2, (k2 * data_range) ** 2, window_size=window_size, sigma=sigma
    )


def _check_side(images: Float[Array, "batch height width channels"], least: int, what: str) -> None:
    height, width = images.shape[1:3]
    if min(height, width) < least:
        raise ValueError(f"{what} needs images of at least {least}x{least}, not {height}x{width}")


@functools.partial(jax.jit, static_argnames=("window_size", "sigma"))
def _ssim(
    images: Float[Array, "batch height width channels"],
    targets: Float[Array, "batch height width channels"],
    c1: float | Float[Array, ""],
    c2: float | Float[Array, ""],
    *,
    window_size: int,
    sigma: float,
) -> Float[Array, "batch"]:
    window = _window(window_size, sigma)

    def of_pair(x: Planes, y: Planes) -> Float[Array, ""]:
        return _terms(x, y, c1, c2, window)[0].mean()

    return _of_each_pair(of_pair, images, targets)


@functools.partial(jax.jit, static_argnames=("window_size", "sigma"))
def _ms_ssim(
    images: Float[Array, "batch height width channels"],
    targets: Float[Array, "batch height width channels"],
    c1: float | Float[Array, ""],
    c2: float | Float[Array, ""],
    *,
    window_size: int,
    sigma: float,
) -> Float[Array, "batch"]:
    window = _window(window_size, sigma)

    def of_pair(x: Planes, y: Planes) -> Float[Array, ""]:
        product = jnp.ones(x.shape[0])
        for weight in LEVEL_WEIGHTS[:-1]:
            product *= _power(_terms(x, y, c1, c2, window)[1], weight)
            x, y = _halved(x), _halved(y)
        return (product * _power(_terms(x, y, c1, c2, window)[0], LEVEL_WEIGHTS[-1])).mean()

    return _of_each_pair(of_pair, images, targets)


def _of_each_pair(
    function: Callable[[Planes, Planes], Float[Array, ""]],
    images: Float[Array, "batch height width channels"],
    targets: Float[Array, "batch height width channels"],
) -> Float[Array, "batch"]:
    x, y = jnp.moveaxis(images, -1, 1), jnp.moveaxis(targets, -1, 1)
    if jax.default_backend() == "cpu":  # one pair at a time stays in the cache: 2 to 3 times as fast
        return jax.lax.map(lambda pair: function(*pair), (x, y))
    return jax.vmap(function)(x, y)


def _terms(
    x: Planes, y: Planes, c1: float | Float[Array, ""], c2: float | Float[Array, ""], window: Float[np.ndarray, "taps"]
) -> tuple[Float[Array, "channels"], Float[Array, "channels"]]:
    """Means over each plane of SSIM and of its contrast-structure term."""
    x_offset, y_offset = (jax.lax.stop_gradient(z.mean(axis=(1, 2), keepdims=True)) for z in (x, y))
    x, y = x - x_offset, y - y_offset
    moments = jnp.concatenate([x, x - y, x * x + y * y, jnp.square(x - y)])
    x_mean, difference, squares, square = jnp.split(_blurred(moments, window), 4)
    y_mean = x_mean - difference
    variances = jnp.maximum(squares - x_mean * x_mean - y_mean * y_mean, 0.0)  # var x + var y
    # var x + var y - 2 cov = var (x - y): small, and so precise, where the images are alike
    error = jnp.clip(square - difference * difference, 0.0, 2.0 * variances)
    contrast_loss = error / (variances + c2)
    x_mean, y_mean, difference = x_mean + x_offset, y_mean + y_offset, difference + (x_offset - y_offset)
    luminance_loss = difference * difference / (x_mean * x_mean + y_mean * y_mean + c1)
    # 1 - (1 - luminance_loss) (1 - contrast_loss): exactly 0 for identical images
    loss = luminance_loss + contrast_loss - luminance_loss * contrast_loss
    # row by row, then over the rows: one float32 sum over a whole map loses digits
    return 1.0 - loss.mean(axis=2).mean(axis=1), 1.0 - contrast_loss.mean(axis=2).mean(axis=1)


def _blurred(
    planes: Float[Array, "planes height width"], window: Float[np.ndarray, "taps"]
) -> Float[Array, "planes rows columns"]:
    """The planes filtered with the window along both sides, where it lies inside.

    Depthwise convolutions are slow on CPU. Down the columns this is a sum of shifts; along the rows, where shifts are
    not aligned in memory, products with a banded matrix, tile by tile. Both sum differences from a value near by, to
    which the weights, whose sum is 1, add nothing: float32 then rounds at the size of the differences, and flat parts
    far from the image's mean get no variance of the rounding.
    """
    taps = len(window)
    height, width = planes.shape[1] - taps + 1, planes.shape[2] - taps + 1
    middle = planes[:, taps // 2 : taps // 2 + height]
    shifted = [
        float(weight) * (planes[:, i : i + height] - middle) for i, weight in enumerate(window) if i != taps // 2
    ]
    planes = functools.reduce(jnp.add, shifted, middle)
    tiles = []
    for start in range(0, width, TILE):
        size = min(TILE, width - start)
        band = np.zeros((size + taps - 1, size), np.float32)
        for i in range(size):
            band[i : i + taps, i] = window
        tile = planes[:, :, start : start + size + taps - 1]
        middle = tile[:, :, size // 2 + taps // 2][:, :, None]
        tiles.append(middle + jnp.matmul(tile - middle, band, precision=jax.lax.Precision.HIGHEST))
    return jnp.concatenate(tiles, axis=2)


def _window(size: int, sigma: float) -> Float[np.ndarray, "taps"]:
    weights = np.exp(-0.5 * ((np.arange(size) - (size - 1) / 2) / sigma) ** 2)
    # to float32's step at the largest weight, with a sum of exactly 1: else flat parts have a variance, of the rounding
    weights = np.round(weights / weights.sum() * 2.0**25) / 2.0**25
    weights[size // 2] += 1.0 - weights.sum()
    return weights


def _halved(planes: Planes) -> Float[Array, "channels rows columns"]:
    """2x2 means; an odd side is first continued by its last row or column."""
    channels, height, width = planes.shape
    planes = jnp.pad(planes, ((0, 0), (0, height % 2), (0, width % 2)), mode="edge")
    return planes.reshape(channels, (height + 1) // 2, 2, (width + 1) // 2, 2).mean(axis=(2, 4))


def _power(base: Float[Array, "channels"], exponent: float) -> Float[Array, "channels"]:
    """base^exponent, 0 where the base is negative, with a gradient of 0 there."""
    negative = base <= 0.0
    return jnp.where(negative, 0.0, jnp.where(negative, 1.0, base) ** exponent)
