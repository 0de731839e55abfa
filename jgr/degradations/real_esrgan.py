"""The second-order degradation of Real-ESRGAN, as a config.

Wang et al. 2021, "Real-ESRGAN: Training real-world blind super-resolution with pure synthetic data", section 3, with
the parameters of the authors' options `train_realesrgan_x4plus.yml`. Where we differ:

- sizes and methods of resizing are drawn for each record (theirs: for a batch, mixed by a pool), with antialiasing;
- after the first round the image goes back to its own size before the second resize, so it is resized once more;
- their images are cropped from 400 to 256 pixels behind the degradation; crop before it, in `config.data`;
- sharpening of the target (USM) belongs to the loss, and is not here.
"""

import dataclasses
import math
from typing import Any

from jaxtyping import Array, Float, Key

from jgr.degradations.parameters import Distribution, Uniform, number

_HERE = "jgr.degradations"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PoissonGain(Distribution):
    """Gain of Real-ESRGAN's Poisson noise: scale² / 256, the scale being uniform.

    There the noise of 256 photons a white pixel, which is Gaussian but in the dark, is multiplied by `scale`.

    Args:
        low: Least scale.
        high: Largest scale.
    """

    low: float
    high: float

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the largest gain."""
        return self.low**2 / 256, self.high**2 / 256

    def sample(self, key: Key[Array, ""]) -> Float[Array, ""]:
        """One value."""
        return Uniform(low=self.low, high=self.high).sample(key) ** 2 / 256.0

    def label(self, scale: int | float = 1) -> str:
        """Such as "(0.05..3)^2*0.00390625"."""
        return f"({number(self.low)}..{number(self.high)})^2*{number(scale / 256)}"


def config(scale: int = 4) -> dict[str, Any]:
    """What `config.task.degradation` is given: images to images 1 / scale as large.

    Args:
        scale: Factor of the super-resolution; the images' sides are multiples of it.
    """
    first_blur = _blur(_kernel(sigma=(0.2, 3.0)))
    second_blur = _sometimes(0.8, _blur(_kernel(sigma=(0.2, 1.5))))
    first_scale, second_scale = _scales((0.15, 1.5), (0.2, 0.7, 0.1)), _scales((0.3, 1.2), (0.3, 0.4, 0.3), scale)
    first_noise, second_noise = _noise(gaussian=(1.0, 30.0), poisson=(0.05, 3.0)), _noise((1.0, 25.0), (0.05, 2.5))
    jpeg = _part("jpeg.JPEG", quality=_uniform(30.0, 95.0))
    clip = _part("values.Clip")
    sharpened = _sometimes(0.8, _blur(_sinc(_uniform(math.pi / 3, math.pi), _SIZES)))

    first = _part("rescale.AtScale", scale=first_scale, degradation=_pipeline(first_noise, clip, jpeg, second_blur))
    second = [
        _part("rescale.AtScale", scale=second_scale, degradation=_pipeline(*steps), output=1 / scale)
        for steps in ((second_noise, clip), (second_noise, clip, jpeg))
    ]
    either = _part(
        "choices.OneOf",
        degradations=(_pipeline(second[0], sharpened, clip, jpeg), _pipeline(second[1], sharpened)),
    )
    whole = _pipeline(first_blur, first, either, clip, _part("values.Quantise"))
    return _part("choices.Named", label=f"realesrgan-x{scale}", degradation=whole)


_SIZES = (7.0, 9.0, 11.0, 13.0, 15.0, 17.0, 19.0, 21.0)
_SMALL, _LARGE = _SIZES[:3], _SIZES[3:]


def _kernel(sigma: tuple[float, float]) -> dict[str, Any]:
    """One of seven families; the size is drawn, too."""
    second = {"sigma_y": _uniform(*sigma), "angle": _uniform(0.0, 180.0)}
    generalised = {"shape": "generalised", "beta": _uniform(0.5, 4.0)}
    plateau = {"shape": "plateau", "beta": _uniform(1.0, 2.0)}
    families = [
        _part("kernels.GaussianKernel", size=21, sigma=_uniform(*sigma), **shape)
        for shape in ({}, second, generalised, generalised | second, plateau, plateau | second)
    ]
    gaussians = _cropped(
        _part("kernels.MixedKernel", kernels=tuple(families), weights=(0.45, 0.25, 0.12, 0.03, 0.12, 0.03)), _SIZES
    )
    small, large = _sinc(_uniform(math.pi / 3, math.pi), _SMALL), _sinc(_uniform(math.pi / 5, math.pi), _LARGE)
    # A sinc kernel in one case of ten, of a small size in three cases of eight.
    return _part("kernels.MixedKernel", kernels=(gaussians, small, large), weights=(0.9, 0.1 * 3 / 8, 0.1 * 5 / 8))


def _sinc(cutoff: dict[str, Any], sizes: tuple[float, ...]) -> dict[str, Any]:
    return _cropped(_part("kernels.SincKernel", size=21, cutoff=cutoff), sizes)


def _cropped(kernel: dict[str, Any], sizes: tuple[float, ...]) -> dict[str, Any]:
    return _part("kernels.CroppedKernel", kernel=kernel, size=_part("parameters.Choice", values=sizes))


def _blur(kernel: dict[str, Any]) -> dict[str, Any]:
    return _part("blur.Blur", kernel=kernel)


def _scales(ends: tuple[float, float], weights: tuple[float, float, float], divisor: int = 1) -> dict[str, Any]:
    """Up, down or keep, relative to 1 / divisor."""
    up, down = _uniform(1 / divisor, ends[1] / divisor), _uniform(ends[0] / divisor, 1 / divisor)
    return _part("parameters.Mixture", parts=(up, down, 1 / divisor), weights=weights)


def _noise(gaussian: tuple[float, float], poisson: tuple[float, float]) -> dict[str, Any]:
    """Gaussian or Poisson, equally likely, gray in two cases of five."""
    sigma = _uniform(gaussian[0] / 255, gaussian[1] / 255)
    gain = _part("real_esrgan.PoissonGain", low=poisson[0], high=poisson[1])
    kinds = (
        _part("noise.GaussianNoise", sigma=sigma, gray=0.4),
        _part("noise.PoissonGaussianNoise", gain=gain, gray=0.4),
    )
    return _part("choices.OneOf", degradations=kinds)


def _sometimes(probability: float, degradation: dict[str, Any]) -> dict[str, Any]:
    return _part("choices.Sometimes", degradation=degradation, probability=probability)


def _pipeline(*steps: dict[str, Any]) -> dict[str, Any]:
    return _part("degradation.Pipeline", steps=steps)


def _uniform(low: float, high: float) -> dict[str, Any]:
    return _part("parameters.Uniform", low=low, high=high)


def _part(path: str, **arguments: Any) -> dict[str, Any]:
    return {"cls": f"{_HERE}.{path}", **arguments}
