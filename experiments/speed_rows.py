"""What `experiments/speed.py` measures: one small entry a row, and what it costs. Imports neither JAX nor PyTorch.

To add a row, append a `Row` and write its two sides: functions of `Settings` that return a `Program`.
"""

import dataclasses
import importlib
import itertools
from collections.abc import Callable, Sequence
from typing import Any

Program = Callable[[int], int]
"""Does at least that many training steps, returns when the device has finished them, and says how many it did."""

MATMUL = "matmul"  # the row that tells the machine's peak


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """What both sides of a row are built from.

    Args:
        batch: Images in a step.
        dtype: "float32" or "bfloat16", of the computation; parameters are float32.
        device: "cpu" or "gpu".
        smoke: Whether networks are tiny, for tests.
        images: A .npy file with uint8 images [n, height, width, channels], for rows that have `Row.images`.
        compile: Whether PyTorch's side uses `torch.compile`.
    """

    batch: int
    dtype: str = "float32"
    device: str = "cpu"
    smoke: bool = False
    images: str = ""
    compile: bool = False

    def width(self, full: int) -> int:
        """A network's width, a sixteenth of it in a smoke test."""
        return max(full // 16, 1) if self.smoke else full


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One thing that is timed on both sides.

    Args:
        name: Of the row.
        about: What a step is, for the table's notes.
        batch: Images in a step, unless the command line says otherwise.
        jgr: "module:function" of `Settings`, which makes jgr's `Program`.
        torch: The same for PyTorch.
        flops: Floating-point operations of a step an image: two for every multiply-add of the matrix products and the
            convolutions that the step needs, forwards and backwards.
        sized: Whether the batch of the command line replaces `batch`.
        images: "data set height width channels" that both sides are trained on, or nothing where they need no data set.
    """

    name: str
    about: str
    batch: int
    jgr: str
    torch: str
    flops: float
    sized: bool = True
    images: str = ""


def program(path: str, settings: Settings) -> Program:
    """The program that "module:function" makes."""
    module, _, function = path.partition(":")
    make: Any = getattr(importlib.import_module(module), function)
    return make(settings)


def dense(*widths: int) -> list[float]:
    """Operations of each layer of a fully connected network, forwards, an image."""
    return [2.0 * a * b for a, b in itertools.pairwise(widths)]


def conv(side: int, kernel: int, channels: int, features: int, groups: int = 1) -> float:
    """Operations of a convolution with `side` x `side` results (of a transposed one: inputs), forwards, an image."""
    return 2.0 * side**2 * kernel**2 * channels * features / groups


def training(layers: Sequence[float]) -> float:
    """Forwards, gradients of the parameters, and of every layer's input but the first's."""
    return 3 * sum(layers) - layers[0]


def gan_training(generator: Sequence[float], discriminator: Sequence[float]) -> float:
    """The discriminator's update on real and on generated images, then the generator's.

    In the discriminator's update the generator runs forwards only; in the generator's, the discriminator runs forwards
    and gives the gradient of its input, not of its parameters.
    """
    return sum(generator) + 2 * training(discriminator) + training(generator) + 2 * sum(discriminator)


def _dcgan(side: int, channels: int, levels: Sequence[int]) -> float:
    sides = [side >> level for level in range(len(levels) + 1)]  # of the image and of every level
    coarsest = sides[-1] ** 2 * levels[-1]
    widths = [channels, *levels]
    convolutions = [conv(sides[i + 1], 4, widths[i], widths[i + 1]) for i in range(len(levels))]
    return gan_training(dense(100, coarsest) + convolutions[::-1], convolutions + dense(coarsest, 1))


def _unet() -> float:
    widths, sides = (32, 64, 128, 256), (64, 32, 16, 8)
    down, up = [conv(64, 3, 3, 32), conv(64, 3, 32, 32)], [conv(64, 3, 32, 3)]
    for level in range(1, 4):
        low, high, small, large = widths[level - 1], widths[level], sides[level], sides[level - 1]
        down += [conv(small, 2, low, high), 2 * conv(small, 3, high, high)]
        up += [conv(small, 2, high, low), conv(large, 3, 2 * low, low), conv(large, 3, low, low)]
    return training(down + up)


_DEPTHWISE, _GROUPED = conv(64, 3, 64, 64, 64), conv(64, 3, 64, 64, 16)
_LOOP = "the whole loop: order of the records, gather, conversion, both updates with Adam, average of the generator"

ROWS = [
    Row(
        name=MATMUL,
        about="product of two matrices of side 2048: the peak that shares are of",
        batch=1,
        jgr="speed_jgr:matmul",
        torch="speed_torch:matmul",
        flops=2.0 * 2048**3,
        sized=False,
    ),
    Row(
        name="mlp_gan_mnist",
        about=f"configs/gan/mlp_gan_mnist.py, {_LOOP}",
        batch=128,
        jgr="speed_jgr:mlp_gan_mnist",
        torch="speed_torch:mlp_gan_mnist",
        flops=gan_training(dense(100, 256, 512, 1024, 784), dense(784, 1024, 512, 256, 1)),
        images="mnist 28 28 1",
    ),
    Row(
        name="dcgan_mnist",
        about=f"configs/gan/dcgan_mnist.py, {_LOOP}",
        batch=64,
        jgr="speed_jgr:dcgan_mnist",
        torch="speed_torch:dcgan_mnist",
        flops=_dcgan(28, 1, (64, 128)),
        images="mnist 28 28 1",
    ),
    Row(
        name="dcgan_cifar10",
        about=f"configs/gan/dcgan_cifar10.py, {_LOOP}, flips",
        batch=64,
        jgr="speed_jgr:dcgan_cifar10",
        torch="speed_torch:dcgan_cifar10",
        flops=_dcgan(32, 3, (64, 128, 256)),
        images="cifar10 32 32 3",
    ),
    Row(
        name="mlp_vae",
        about="784-400-20-400-784, Bernoulli likelihood, Adam, data included",
        batch=128,
        jgr="speed_jgr:mlp_vae",
        torch="speed_torch:mlp_vae",
        flops=training(dense(784, 400, 40) + dense(20, 400, 784)),
        images="mnist 28 28 1",
    ),
    Row(
        name="dncnn",
        about="17 convolutions 3x3 of 64 channels, batch norm and ReLU, noise drawn in the step, Adam; 40x40x1 patches",
        batch=32,
        jgr="speed_jgr:dncnn",
        torch="speed_torch:dncnn",
        flops=training([conv(40, 3, 1, 64), 15 * conv(40, 3, 64, 64), conv(40, 3, 64, 1)]),
    ),
    Row(
        name="unet",
        about="4 levels of 32 to 256 channels, two 3x3 convolutions each way, skips concatenated, L1, Adam; 64x64x3",
        batch=8,
        jgr="speed_jgr:unet",
        torch="speed_torch:unet",
        flops=_unet(),
    ),
    Row(
        name="depthwise",
        about="3x3 depthwise convolution of 64x64x64, forwards",
        batch=8,
        jgr="speed_jgr:depthwise",
        torch="speed_torch:depthwise",
        flops=_DEPTHWISE,
    ),
    Row(
        name="depthwise_grads",
        about="the same with the gradients of images and kernel",
        batch=8,
        jgr="speed_jgr:depthwise_grads",
        torch="speed_torch:depthwise_grads",
        flops=3 * _DEPTHWISE,
    ),
    Row(
        name="grouped",
        about="3x3 convolution of 64x64x64 in 16 groups, forwards",
        batch=8,
        jgr="speed_jgr:grouped",
        torch="speed_torch:grouped",
        flops=_GROUPED,
    ),
    Row(
        name="grouped_grads",
        about="the same with the gradients of images and kernel",
        batch=8,
        jgr="speed_jgr:grouped_grads",
        torch="speed_torch:grouped_grads",
        flops=3 * _GROUPED,
    ),
]
