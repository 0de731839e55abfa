"""The evaluation protocols of the field, frozen: what papers did to their test sets, to the bit where they say it.

Noise and masks come from NumPy's legacy generator, re-seeded for every image, as in the published evaluation code: an
image's own do not depend on the others, and NumPy keeps that stream for good. Degradations that have no such tradition
become protocols by `Seeded`.
"""

import dataclasses
import functools
import io
import zlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.ndimage
from jaxtyping import Array, Float, Float32, Float64, Key, UInt8
from PIL import Image

from jgr.degradations.blur import Boundary
from jgr.degradations.degradation import Degradation, Record
from jgr.degradations.jpeg import Subsampling
from jgr.degradations.kernels import Kernel
from jgr.degradations.noise import SIGMA_HINT
from jgr.degradations.parameters import check_bounds, number
from jgr.degradations.protocol import Protocol
from jgr.degradations.resize import imresize_numpy, modcrop
from jgr.errors import ConfigError, DataError

Levels = UInt8[np.ndarray, "height width channels"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class GaussianDenoising(Protocol):
    """White Gaussian noise on gray or RGB images, in [0, 1], drawn in float64; neither clipped nor rounded.

    As in the test code of KAIR (DnCNN, FFDNet, DRUNet), SwinIR and Restormer; SwinIR's colour images are BGR, which
    gives each channel another one's noise. The record has `sigma`.

    Args:
        sigma: Standard deviation, in units of the range [0, 1]: 25/255.
        seed: Of each image's noise; 0 in the published code.
        clip: Whether to clip to [0, 1], as a file would. It makes sigma 50 easier to store and 0.6 dB harder.
    """

    sigma: float
    seed: int = 0
    clip: bool = False

    def __post_init__(self) -> None:
        _check_sigma(self.sigma)
        _check_seed(self.seed)

    @property
    def name(self) -> str:
        """Such as "awgn-s25-seed0-unclipped", sigma in levels."""
        return f"awgn-s{number(255 * self.sigma)}-seed{self.seed}-{'clipped' if self.clip else 'unclipped'}"

    def __call__(self, image: Levels) -> dict[str, Any]:
        """See `Protocol`."""
        _check_size(image, 1)
        target = _to_float(image)
        noisy = _noisy(target, self.sigma, self.seed)
        degraded = np.clip(noisy, np.float32(0), np.float32(1)) if self.clip else noisy
        return {"image": degraded, "target": target, "sigma": np.float32(self.sigma)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class SuperResolution(Protocol):
    """Images shrunk by MATLAB's bicubic `imresize`, in uint8; targets are cropped to multiples of the scale before.

    With `luma` it is the protocol of networks that see luma alone (SRCNN, VDSR, DnCNN-3) and of the rows "bicubic" in
    their tables: BT.601 luma in studio swing, rounded to uint8, is the target; shrunk, it is not rounded again.

    Args:
        scale: At least 2.
        luma: Whether colour images become one channel of luma.
    """

    scale: int
    luma: bool = False

    def __post_init__(self) -> None:
        if self.scale < 2:
            raise ConfigError(f"scale = {self.scale} must be at least 2")

    @property
    def name(self) -> str:
        """Such as "bicubic-x4" or "bicubic-x4-luma"."""
        return f"bicubic-x{self.scale}{'-luma' if self.luma else ''}"

    def __call__(self, image: Levels) -> dict[str, Any]:
        """See `Protocol`."""
        _check_size(image, self.scale)
        target = modcrop(image, self.scale)
        height, width = target.shape[0] // self.scale, target.shape[1] // self.scale
        if self.luma:
            target = _luma(target)
            return {"image": np.float32(imresize_numpy(target, height, width) / 255.0), "target": target}
        small = imresize_numpy(target, height, width)
        return {"image": np.clip(np.floor(small + 0.5), 0.0, 255.0).astype(np.uint8), "target": target}


def _luma(image: Levels) -> UInt8[np.ndarray, "height width 1"]:
    """BT.601 luma of RGB as MATLAB's `rgb2ycbcr` gives it for uint8: 16 to 235, rounded. A gray image stays."""
    if image.shape[-1] == 1:
        return image
    thousandths = image.astype(np.int64) @ np.array([65_481, 128_553, 24_966])  # exact, so that halves go up
    return ((thousandths + 16_500 * 255) // 255_000)[..., None].astype(np.uint8)


@dataclasses.dataclass(frozen=True, kw_only=True)
class JPEGArtifacts(Protocol):
    """Images written as JPEG by libjpeg and read again. The record has `quality`, as a share of 100.

    The published numbers are of gray images, or of luma that was encoded as a gray image.

    Args:
        quality: From 1 to 100; MATLAB's `imwrite` has the same scale.
        subsampling: Of colour images, which are refused without one. Gray ones have no chroma.
    """

    quality: int
    subsampling: Subsampling | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.quality <= 100:
            raise ConfigError(f"quality = {self.quality} must be from 1 to 100")

    @property
    def name(self) -> str:
        """Such as "jpeg-q10"; "jpeg-q10-color420" where the protocol is for colour images."""
        color = "" if self.subsampling is None else f"-color{self.subsampling.replace(':', '')}"
        return f"jpeg-q{self.quality}{color}"

    def __call__(self, image: Levels) -> dict[str, Any]:
        """See `Protocol`."""
        _check_size(image, 1)
        if image.shape[-1] not in (1, 3):
            raise DataError(f"an image of {image.shape[-1]} channels: a JPEG holds gray or RGB")
        if image.shape[-1] == 3 and self.subsampling is None:
            raise DataError("a colour image: set the protocol's subsampling, '4:2:0' unless you know better")
        file = io.BytesIO()
        pixels = Image.fromarray(np.squeeze(image, axis=-1) if image.shape[-1] == 1 else image)
        options = {} if self.subsampling is None else {"subsampling": self.subsampling}
        pixels.save(file, "JPEG", quality=self.quality, **options)
        with Image.open(file) as decoded:
            degraded = np.asarray(decoded).reshape(image.shape)
        return {"image": degraded, "target": image, "quality": np.float32(self.quality / 100)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inpainting(Protocol):
    """Single pixels are hidden, black, as in IRCNN's demonstration; the record has `mask`, 1 where a pixel is known.

    Args:
        keep: Probability that a pixel is known, above 0 and below 1.
        seed: Of each image's mask.
    """

    keep: float
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.keep < 1:
            raise ConfigError(f"keep = {self.keep} must be above 0, which hides every pixel, and below 1")
        _check_seed(self.seed)

    @property
    def name(self) -> str:
        """Such as "pixels-keep50-seed0", in percent."""
        return f"pixels-keep{number(100 * self.keep)}-seed{self.seed}"

    def __call__(self, image: Levels) -> dict[str, Any]:
        """See `Protocol`."""
        _check_size(image, 1)
        known = np.random.RandomState(self.seed).rand(*image.shape[:2], 1) < self.keep
        if not known.any():
            height, width, _ = image.shape
            raise DataError(f"the mask hides all pixels of an image of {height}x{width}: raise keep = {self.keep}")
        return {"image": image * known, "target": image, "mask": known.astype(np.float32)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Deblurring(Protocol):
    """Images blurred by one kernel, the same for all, in float64, then noise as in `GaussianDenoising`.

    As in the test code of IRCNN and DPIR, whose border wraps around. The record has `kernel` and `sigma`.

    Args:
        kernel: What gives the kernel; a random one is drawn once, from `seed`.
        sigma: Standard deviation of the noise, in units of the range [0, 1]: 2.55/255.
        seed: Of each image's noise.
        boundary: What lies beyond the border; see `jgr.degradations.blur.Blur`.
    """

    kernel: Kernel
    sigma: float = 0.0
    seed: int = 0
    boundary: Boundary = "wrap"

    def __post_init__(self) -> None:
        _check_sigma(self.sigma)
        _check_seed(self.seed)

    @property
    def name(self) -> str:
        """Such as "blur-gaussian25-s1.6-wrap-awgn-s2.55-seed0", sigma of the noise in levels."""
        return f"blur-{self.kernel.name}-{self.boundary}-awgn-s{number(255 * self.sigma)}-seed{self.seed}"

    def __call__(self, image: Levels) -> dict[str, Any]:
        """See `Protocol`."""
        kernel, target = self._drawn_kernel, _to_float(image)
        _check_size(image, len(kernel))
        blurred = scipy.ndimage.convolve(
            target.astype(np.float64), kernel.astype(np.float64)[..., None], mode=_SCIPY_MODES[self.boundary]
        )
        return {
            "image": _noisy(blurred, self.sigma, self.seed),
            "target": target,
            "kernel": kernel,
            "sigma": np.float32(self.sigma),
        }

    @functools.cached_property
    def _drawn_kernel(self) -> Float32[np.ndarray, "size size"]:
        kernel = np.asarray(self.kernel(jax.random.key(self.seed)))
        total = kernel.sum(dtype=np.float64)
        if not abs(total - 1.0) < 1e-3:
            raise DataError(f"kernel {self.kernel.name} sums to {total:.6g}, not to 1: it would change brightness")
        return kernel


@dataclasses.dataclass(frozen=True, kw_only=True)
class Seeded(Protocol):
    """Any degradation as a protocol: its key follows from the seed and the image's pixels.

    So it depends neither on the order of the images nor on their names or batches. Each size is compiled once.

    Args:
        degradation: What is done; what it draws is drawn for each image.
        seed: From 0 to 2**32 - 1.
    """

    degradation: Degradation
    seed: int = 0

    def __post_init__(self) -> None:
        _check_seed(self.seed)

    @property
    def name(self) -> str:
        """The degradation's name and the seed: "lowlight-e0.2-g2-seed0"."""
        return f"{self.degradation.name}-seed{self.seed}"

    def __call__(self, image: Levels) -> dict[str, Any]:
        """See `Protocol`."""
        _check_size(image, 1)
        target = _to_float(image)
        key = jax.random.fold_in(jax.random.key(self.seed), zlib.crc32(image.tobytes()))
        try:
            degraded = _apply(self.degradation, jnp.asarray(target), key)
        except ConfigError as error:  # found while it is compiled for this size
            raise DataError(str(error)) from error
        record = {name: np.asarray(value) for name, value in degraded.items()}
        if not np.isfinite(record["image"]).all():
            raise DataError(f"{self.degradation.name} gives values that are not finite")
        return {**record, "target": target}


_SCIPY_MODES = {"wrap": "wrap", "reflect": "mirror", "symmetric": "reflect", "replicate": "nearest", "zero": "constant"}


@functools.partial(jax.jit, static_argnums=0)
def _apply(degradation: Degradation, image: Float[Array, "height width channels"], key: Key[Array, ""]) -> Record:
    return dict(degradation.apply({"image": image}, key))


def _noisy(
    image: Float[np.ndarray, "height width channels"], sigma: float, seed: int
) -> Float32[np.ndarray, "height width channels"]:
    noise: Float64[np.ndarray, "..."] = np.random.RandomState(seed).normal(0.0, sigma, image.shape)
    return (image + noise).astype(np.float32)


def _to_float(image: Levels) -> Float32[np.ndarray, "height width channels"]:
    return (image / 255.0).astype(np.float32)


def _check_size(image: Levels, least: int) -> None:
    height, width, _ = image.shape
    if min(height, width) < least:
        raise DataError(f"an image of {height}x{width} is too small: the protocol needs {least} pixels a side")


def _check_sigma(sigma: float) -> None:
    check_bounds("sigma", sigma, 0.0, 1.0, hint=SIGMA_HINT)


def _check_seed(seed: int) -> None:
    if not 0 <= seed < 2**32:
        raise ConfigError(f"seed = {seed} must be from 0 to 2**32 - 1")
