"""What `experiments/speed.py` measures: one small entry a row, and what it costs. Imports neither JAX nor PyTorch.

To add a row, append a `Row` and write its two sides: functions of `Settings` that return a `Program`. Networks for
restoration are entries of `speed_restoration.py`, the larger GANs of `speed_gan.py`.
"""

import dataclasses
import importlib
from collections.abc import Callable
from typing import Any

from speed_flops import conv, dcgan, dense, gan_training, training
from speed_gan import GAMES
from speed_restoration import NETWORKS

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
        row: Name of the row, for functions that make the programs of several.
        images: A .npy file with uint8 images [n, height, width, channels], for rows that have `Row.images`.
        compile: Whether PyTorch's side uses `torch.compile`.
    """

    batch: int
    dtype: str = "float32"
    device: str = "cpu"
    smoke: bool = False
    row: str = ""
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
        flops=dcgan(28, 1, (64, 128)),
        images="mnist 28 28 1",
    ),
    Row(
        name="dcgan_cifar10",
        about=f"configs/gan/dcgan_cifar10.py with the networks and the updates of dcgan_mnist, {_LOOP}, flips",
        batch=64,
        jgr="speed_jgr:dcgan_cifar10",
        torch="speed_torch:dcgan_cifar10",
        flops=dcgan(32, 3, (64, 128, 256)),
        images="cifar10 32 32 3",
    ),
    *(
        Row(
            name=game.name,
            about=f"configs/{game.config}, on noise: {game.about}",
            batch=game.batch,
            jgr="speed_gan_jgr:gan",
            torch="speed_gan_torch:gan",
            flops=game.flops(),
        )
        for game in GAMES.values()
    ),
    Row(
        name="mlp_vae",
        about="configs/vae/vae_mnist.py with 784-400-20-400-784 and ReLU: every pixel drawn anew, Adam, data included",
        batch=128,
        jgr="speed_jgr:mlp_vae",
        torch="speed_torch:mlp_vae",
        flops=training(dense(784, 400, 40) + dense(20, 400, 784)),
        images="mnist 28 28 1",
    ),
    *(
        Row(
            name=network.name,
            about=f"{network.about}; {'' if network.enlarges else 'noise drawn in the step, '}Adam",
            batch=network.batch,
            jgr="speed_restoration_jgr:restoration",
            torch="speed_restoration_torch:restoration",
            flops=network.flops(),
        )
        for network in NETWORKS.values()
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
