"""LPIPS, the learned perceptual distance of Zhang et al. 2018 (arXiv:1801.03924), version 0.1.

The trunks are torchvision's networks, whose weights `jgr weights` gets. The linear layers come with jgr: the files of
`lpips/weights/v0.1` in the wheel of lpips 0.1.4, as `data/lpips_v0.1.npz`, with their BSD licence beside them.
"""

import functools
import importlib.resources
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Float

from jgr.errors import DataError
from jgr.images import to_signed

Features = Float[Array, "batch height width channels"]
Reduced = Float[Array, "batch new_height new_width features"]
Params = Mapping[str, Mapping[str, Any]]

_SHIFT = np.array([-0.030, -0.088, -0.188], np.float32)  # ImageNet's mean and deviation, for images in [-1, 1]
_SCALE = np.array([0.458, 0.448, 0.450], np.float32)
_MIN_SIDE = {"alex": 31, "vgg": 16, "squeeze": 17}  # below it a trunk runs out of pixels

# The layers of torchvision's `features` that are used: [out, in, height, width] of their kernels.
_LAYERS: dict[str, dict[str, tuple[int, int, int, int]]] = {
    "alex": {
        "0": (64, 3, 11, 11),
        "3": (192, 64, 5, 5),
        "6": (384, 192, 3, 3),
        "8": (256, 384, 3, 3),
        "10": (256, 256, 3, 3),
    },
    "vgg": {
        name: (features, channels, 3, 3)
        for name, features, channels in (
            *(("0", 64, 3), ("2", 64, 64), ("5", 128, 64), ("7", 128, 128)),
            *(("10", 256, 128), ("12", 256, 256), ("14", 256, 256)),
            *(("17", 512, 256), ("19", 512, 512), ("21", 512, 512)),
            *(("24", 512, 512), ("26", 512, 512), ("28", 512, 512)),
        )
    },
    "squeeze": {"0": (64, 3, 3, 3)}
    | {
        f"{number}.{name}": shape
        for number, channels, squeezed, expanded in (
            *((3, 64, 16, 64), (4, 128, 16, 64), (6, 128, 32, 128), (7, 256, 32, 128)),
            *((9, 256, 48, 192), (10, 384, 48, 192), (11, 384, 64, 256), (12, 512, 64, 256)),
        )
        for name, shape in (
            ("squeeze", (squeezed, channels, 1, 1)),
            ("expand1x1", (expanded, squeezed, 1, 1)),
            ("expand3x3", (expanded, squeezed, 3, 3)),
        )
    },
}


def lpips(
    images: Float[Array, "batch height width 3"],
    targets: Float[Array, "batch height width 3"],
    params: Params,
    net: str = "alex",
) -> Float[Array, "batch"]:
    """Perceptual distance of each pair; 0 for equal images, and symmetric.

    Zhang et al. 2018, equation 1, with the layers' distances summed. Equal to `lpips.LPIPS(net=net)` of the authors'
    package, which takes images in [-1, 1].

    Args:
        images: RGB in [0, 1].
        targets: RGB in [0, 1].
        params: The trunk's weights: `jgr.metrics.pretrained.load("lpips_alex")`, or from `from_torch`.
        net: alex, vgg or squeeze.

    Raises:
        ValueError: There is no such network, the images are of different shapes, not float, not RGB or too small.
    """
    if net not in _LAYERS:
        raise ValueError(f"lpips: net = {net!r} must be one of {', '.join(_LAYERS)}")
    if images.shape != targets.shape:
        raise ValueError(f"lpips: images of shape {images.shape}, but targets of {targets.shape}")
    if images.shape[3] != 3 or not all(jnp.issubdtype(array.dtype, jnp.floating) for array in (images, targets)):
        raise ValueError(f"lpips takes RGB images in [0, 1], not {images.dtype} of {images.shape[3]} channels")
    if min(images.shape[1:3]) < _MIN_SIDE[net]:
        raise ValueError(f"lpips: images of {images.shape[1:3]}, but {net} needs at least {_MIN_SIDE[net]} a side")
    pairs = jnp.concatenate([images, targets]).astype(jnp.float32)
    taps = trunk_features(pairs, params, net)
    total = jnp.zeros(len(images))
    for features, weights in zip(taps, linear_weights(net), strict=True):
        ours, theirs = jnp.split(_unit(features), 2)
        distance = ((ours - theirs) ** 2 * _channels(weights)).sum(axis=3)
        total += distance.mean(axis=(1, 2))
    return total


def trunk_features(
    images: Float[Array, "batch height width 3"], params: Params, net: str
) -> list[Float[Array, "batch ..."]]:
    """What the layers of a trunk make of RGB images in [0, 1], in order, after ReLU: see `lpips`."""
    return _TRUNKS[net](params, (to_signed(images) - _channels(_SHIFT)) / _channels(_SCALE))


@functools.cache
def linear_weights(net: str) -> tuple[Float[np.ndarray, "features"], ...]:
    """The calibrated, non-negative weights of every layer's channels, version 0.1."""
    path = importlib.resources.files("jgr.metrics") / "data" / "lpips_v0.1.npz"
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return tuple(arrays[name] for name in sorted(arrays) if name.startswith(f"{net}/"))


def from_torch(net: str, weights: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """The trunk's weights from torchvision's state dict of alexnet, vgg16 or squeezenet1_1, without its classifier.

    Raises:
        DataError: A key is missing, unknown or of another shape.
    """
    left = {name: np.asarray(value) for name, value in weights.items() if not name.startswith("classifier.")}
    params = {}
    for name, shape in _LAYERS[net].items():
        kernel = _taken(left, net, f"features.{name}.weight", shape)
        bias = _taken(left, net, f"features.{name}.bias", shape[:1])
        params[name] = {"kernel": np.ascontiguousarray(kernel.transpose(2, 3, 1, 0), np.float32), "bias": bias}
    if left:
        raise DataError(f"the weights of {net} hold what the trunk has not: {', '.join(sorted(left)[:5])}")
    return params


def _taken(weights: dict[str, np.ndarray], net: str, name: str, shape: tuple[int, ...]) -> np.ndarray:
    if name not in weights:
        raise DataError(f"the weights of {net} lack {name}")
    value = weights.pop(name)
    if value.shape != shape:
        raise DataError(f"the weights of {net}: {name} has shape {value.shape}, but the trunk's is {shape}")
    return value.astype(np.float32)


def _alex(params: Params, x: Features) -> list[Array]:
    """AlexNet of Krizhevsky 2014 (arXiv:1404.5997): after each of its five convolutions."""
    taps = [_conv(params["0"], x, stride=4, padding=2)]
    taps.append(_conv(params["3"], nn.max_pool(taps[-1], (3, 3), (2, 2))))
    taps.append(_conv(params["6"], nn.max_pool(taps[-1], (3, 3), (2, 2))))
    taps.append(_conv(params["8"], taps[-1]))
    taps.append(_conv(params["10"], taps[-1]))
    return taps


def _vgg(params: Params, x: Features) -> list[Array]:
    """VGG-16 (Simonyan & Zisserman 2015): after the last convolution of each of its five levels."""
    taps: list[Array] = []
    for level in (("0", "2"), ("5", "7"), ("10", "12", "14"), ("17", "19", "21"), ("24", "26", "28")):
        x = nn.max_pool(taps[-1], (2, 2), (2, 2)) if taps else x
        for name in level:
            x = _conv(params[name], x)
        taps.append(x)
    return taps


def _squeeze(params: Params, x: Features) -> list[Array]:
    """SqueezeNet 1.1 (Iandola et al. 2016): before each pool, and after the last four fire modules."""

    def fire(number: int, x: Features) -> Reduced:
        x = _conv(params[f"{number}.squeeze"], x)
        return jnp.concatenate(
            [_conv(params[f"{number}.expand1x1"], x), _conv(params[f"{number}.expand3x3"], x)], axis=3
        )

    taps = [_conv(params["0"], x, stride=2, padding=0)]
    taps.append(fire(4, fire(3, _ceil_pool(taps[-1]))))
    taps.append(fire(7, fire(6, _ceil_pool(taps[-1]))))
    taps.append(fire(9, _ceil_pool(taps[-1])))
    for number in (10, 11, 12):
        taps.append(fire(number, taps[-1]))
    return taps


_TRUNKS: dict[str, Callable[[Params, Array], list[Array]]] = {"alex": _alex, "vgg": _vgg, "squeeze": _squeeze}


def _conv(layer: Mapping[str, Any], x: Features, stride: int = 1, padding: int | None = None) -> Reduced:
    """A convolution and ReLU; padded to the same size unless `padding` says otherwise."""
    kernel = jnp.asarray(layer["kernel"])
    pads = [(side // 2 if padding is None else padding,) * 2 for side in kernel.shape[:2]]
    x = lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        pads,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=lax.Precision.HIGHEST,
    )
    return jax.nn.relu(x + _channels(layer["bias"]))


def _ceil_pool(x: Features) -> Reduced:
    """Maximum of 3x3, every second; a last window may hang over the edge (`ceil_mode` of PyTorch)."""
    pads = tuple((0, (side - 3) % 2) for side in x.shape[1:3])
    return nn.max_pool(x, (3, 3), (2, 2), padding=pads)


def _unit(features: Features) -> Features:
    """Of length 1 along the channels, or 0 where all are; its gradient is finite there as well."""
    square = (features**2).sum(axis=3, keepdims=True)
    length = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)
    # The clip changes no value. Without it the compiler may contract this division and the difference that follows into
    # one fused operation, for one image of a pair only: equal images would have a distance of 1e-16.
    return jnp.clip(features / (length + 1e-10), -2.0, 2.0)


def _channels(values: Float[Array, "channels"] | Float[np.ndarray, "channels"]) -> Float[Array, "1 1 1 channels"]:
    return jnp.asarray(values)[None, None, None]
