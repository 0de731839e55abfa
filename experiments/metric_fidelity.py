"""Sets jgr's metrics beside other implementations on the same inputs: `python experiments/metric_fidelity.py`.

    python experiments/metric_fidelity.py --out=results/metric_fidelity
    python experiments/metric_fidelity.py --smoke --out=/tmp/metric_fidelity

Inputs need no download: scikit-image's photographs with seeded noise, seeded random features, networks with seeded
random weights that both sides share. Where `$JGR_TEST_DATA` names a folder with real data (`sr/set5`,
`denoising/bsd68`, `tfds/mnist`), rows of it are added. Libraries that are not installed leave their rows out, and the
table says so; `pip install '.[reference]' pytorch-msssim torch-fidelity prdc` brings all.

Every row states the bound up to which a difference is rounding. One beyond it must be explained in `EXPLANATIONS`:
either our number under the other side's choice is then within the bound, or the difference is below the size that the
explanation allows. Otherwise the command exits with 1. It writes table.md, rows.jsonl and manifest.json.
"""

import argparse
import contextlib
import dataclasses
import functools
import importlib.metadata
import importlib.util
import io
import json
import math
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
import scipy.ndimage
import skimage.data
from tabulate import tabulate

import jgr.metrics
from jgr.data.decode import decode_image
from jgr.data.tfds import TFDS
from jgr.files import write_json, write_text
from jgr.metrics import kernel, perceptual, resize
from jgr.metrics.classifiers import TrainedClassifier
from jgr.metrics.similarity import LEVEL_WEIGHTS
from jgr.models import inception
from jgr.run.manifest import environment, git_state


@dataclasses.dataclass(frozen=True)
class Explanation:
    """Why a number differs from ours beyond rounding.

    Attributes:
        text: The cause.
        limit: Largest difference that the cause accounts for, in the unit of the row; None where the row has our number
            under the choice of the other side, which must then agree.
    """

    text: str
    limit: float | None = None


@dataclasses.dataclass(frozen=True)
class Row:
    """One number, or several of one kind, computed twice.

    Attributes:
        case: What `EXPLANATIONS` calls it: a name of its own, and behind a slash the other distribution.
        metric: The number, with its settings.
        inputs: What it was computed of.
        ours: By jgr.
        theirs: By the library.
        bound: Largest difference that is rounding.
        relative: Whether differences are shares of the largest of theirs.
        adjusted: Ours if computed as the explanation says that they do.
    """

    case: str
    metric: str
    inputs: str
    ours: Any
    theirs: Any
    bound: float
    relative: bool = False
    adjusted: Any = None

    @property
    def library(self) -> str:
        """The other distribution."""
        return self.case.split("/")[1]

    @property
    def difference(self) -> float:
        """Between ours and theirs."""
        return self._between(self.ours)

    @property
    def rest(self) -> float | None:
        """What is left of the difference once ours is computed their way."""
        return None if self.adjusted is None else self._between(self.adjusted)

    @property
    def verdict(self) -> str:
        """`equal` to rounding, `explained`, or what is wrong."""
        if self.difference <= self.bound:
            return "equal"
        if self.case not in EXPLANATIONS:
            return "not explained"
        limit = EXPLANATIONS[self.case].limit
        if limit is None:
            return "explained" if self.rest is not None and self.rest <= self.bound else "not what explains it"
        return "explained" if self.difference <= limit else "more than what explains it"

    def _between(self, ours: Any) -> float:
        a, b = np.atleast_1d(np.asarray(ours, np.float64)), np.atleast_1d(np.asarray(self.theirs, np.float64))
        if a.shape != b.shape:
            raise ValueError(f"{self.case}: ours has shape {a.shape}, theirs {b.shape}")
        with np.errstate(invalid="ignore"):
            apart = np.where(a == b, 0.0, np.abs(a - b))  # two infinities are equal
        return float(apart.max() / (np.abs(b).max() if self.relative else 1.0))


PADDED = (
    "They average SSIM over the whole image, continued by reflection at the border; we over windows that lie inside, "
    "as Wang et al. 2004 and scikit-image. With their border ours agrees."
)

EXPLANATIONS = {
    "psnr-default/torchmetrics": Explanation(
        "They pool the squared error over the images before they take the logarithm; papers on restoration average "
        "decibels. `jgr.metrics.pooled_psnr` is theirs."
    ),
    "gray/Pillow": Explanation(
        "They round the weights to multiples of 2^-16, which moves some values over the half between two levels. With "
        "their weights ours agrees."
    ),
    "gray/scikit-image": Explanation(
        "They weight RGB by BT.709 (.2125, .7154, .0721), we by BT.601 (.299, .587, .114) as MATLAB, Pillow and the "
        "papers. With their weights ours agrees."
    ),
    "ssim-default/scikit-image": Explanation(
        "Their defaults are a uniform 7x7 window and the sample covariance; the paper's are a Gaussian 11x11 and the "
        "population's, which they compute on request (rows above). With their defaults ours agrees."
    ),
    "ssim/pytorch-msssim": Explanation(
        "They compute the Gaussian window in float32, so that its sum is not 1 and flat parts have a variance. With "
        "their window ours agrees."
    ),
    "ms-ssim/pytorch-msssim": Explanation("Their window in float32, as for SSIM. With it ours agrees."),
    "ssim/torchmetrics": Explanation(PADDED),
    "ssim-float32/torchmetrics": Explanation(
        "Border as above. With it, what is left is their float32: they subtract squares of means as large as the "
        "second moments; in float64 (rows above) nothing is left."
    ),
    "ms-ssim/torchmetrics": Explanation(
        "They take SSIM of the coarsest level over the border too, and average over channels at each level before the "
        "product; we stay inside and average the channels' products, as TensorFlow and pytorch-msssim. With their "
        "choices ours agrees."
    ),
    "ms-ssim-odd/torchmetrics": Explanation(
        "As for even sides; and they drop the last row or column of an odd side, we repeat it as the authors' program "
        "and TensorFlow. With their choices ours agrees."
    ),
    "ms-ssim-odd/pytorch-msssim": Explanation(
        "They put a row or column of zeros before an odd side, we repeat the last one as the authors' program and "
        "TensorFlow; and their window is in float32. With their choices ours agrees."
    ),
    "frechet-default/torch-fidelity": Explanation(
        "They average float32 features in float32. Of float64 features they agree (row above).", limit=1e-6
    ),
    "frechet-singular/pytorch-fid": Explanation(
        "With fewer images than features the product of covariances is singular: roots of eigenvalues that should be 0 "
        "amplify rounding, 1e-16 to 1e-8. We take singular values of the features' product instead.",
        limit=1e-6,
    ),
    "frechet-singular/scipy": Explanation("Singular product, as pytorch-fid's.", limit=1e-6),
    "frechet-singular/torch-fidelity": Explanation("Singular product, as pytorch-fid's.", limit=1e-6),
    "frechet-singular/torchmetrics": Explanation("Singular product, as pytorch-fid's.", limit=1e-6),
    "fid/torch-fidelity": Explanation(
        "Singular product, as pytorch-fid's, of features whose distance is small beside their variances. Of their "
        "features, ours agrees with that of our own (row above).",
        limit=2e-4,
    ),
    "kid-float32/torch-fidelity": Explanation(
        "They compute the kernel in float32, of which a difference of means keeps few digits. Of float64 features they "
        "agree (row above).",
        limit=1e-4,
    ),
    "kid-subsets/torchmetrics": Explanation(
        "They draw subsets from PyTorch's global generator, we from RandomState(2020) as torch-fidelity. On their "
        "subsets ours agrees."
    ),
    "is-splits/torchmetrics": Explanation(
        "They permute by PyTorch's global generator, make splits of ceil(n / 10) and a shorter last one, and report "
        "the deviation with ddof 1; we follow Salimans et al.'s code. On their splits ours agrees."
    ),
    "neighbours-ties/prdc": Explanation(
        "Their balls are open (<), ours by default closed (<=; Kynkäänniemi et al. 2019), which matters where features "
        "repeat. With strict=True ours agrees."
    ),
    "neighbours-default/prdc": Explanation(
        "They take one k and open balls for all four numbers; precision and recall were published with k=3 and closed "
        "ones, our default. With k=5 and strict=True ours agrees."
    ),
}

_DISTRIBUTIONS = {
    "PIL": "Pillow",
    "pytorch_fid": "pytorch-fid",
    "pytorch_msssim": "pytorch-msssim",
    "skimage": "scikit-image",
    "torch_fidelity": "torch-fidelity",
}
_ALWAYS = {"PIL", "scipy", "skimage"}  # what jgr itself needs
_GROUPS: list[tuple[tuple[str, ...], Callable[..., Iterator[Row]]]] = []

Pair = tuple[np.ndarray, np.ndarray]
SUBSETS = 20  # of KID
GAUSSIAN = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
GAUSSIAN /= GAUSSIAN.sum()
LOGITS = "random logits, 1,003 x 10"


def compares(*modules: str) -> Callable[[Callable[..., Iterator[Row]]], Callable[..., Iterator[Row]]]:
    """Registers a function that yields rows and imports these modules."""

    def register(function: Callable[..., Iterator[Row]]) -> Callable[..., Iterator[Row]]:
        _GROUPS.append((modules, function))
        return function

    return register


class Inputs:
    """What is measured. Images are float64 [1, height, width, channels] in [0, 1]."""

    def __init__(self, smoke: bool, data: Path | None) -> None:
        self.smoke = smoke
        self.data = data

    @functools.cached_property
    def photographs(self) -> dict[str, np.ndarray]:
        """scikit-image's, uint8."""
        names = ("astronaut",) if self.smoke else ("camera", "astronaut", "chelsea", "coffee")
        images = {name: getattr(skimage.data, name)() for name in names}
        images = {name: image.reshape(*image.shape[:2], -1) for name, image in images.items()}
        return {name: image[100:164, 180:244] for name, image in images.items()} if self.smoke else images

    @functools.cached_property
    def pairs(self) -> dict[str, Pair]:
        """Photographs with noise of 20 levels, as uint8 levels, and blurred."""
        pairs = {}
        for name, image in self.photographs.items():
            pairs[f"{name}, noise 20"] = noisy(image, 20, seed=5)
            clean = image[None] / 255.0
            blurred = (clean + np.roll(clean, 1, 1) + np.roll(clean, 1, 2)) / 3
            pairs[f"{name}, blurred"] = blurred, clean
        return pairs

    @functools.cached_property
    def sets(self) -> dict[str, list[Pair]]:
        """Sets of pairs to average over: crops of a photograph, noisier one by one, and real test sets."""
        image = self.photographs["astronaut"]
        crops = [image[i : i + 32, i : i + 32] for i in range(0, min(image.shape[:2]) - 31, 32)]
        sets = {
            f"{len(crops)} crops, noise 2 to {2 * len(crops)}": [noisy(c, 2 * i + 2, i) for i, c in enumerate(crops)]
        }
        for name, folder, color in (("Set5", "sr/set5", "rgb"), ("BSD68", "denoising/bsd68", "gray")):
            if self.data is not None and (self.data / folder).is_dir():
                files = sorted(path for path in (self.data / folder).iterdir() if path.suffix in (".png", ".bmp"))
                images = [decode_image(path, color, name=str(path), orient=True) for path in files]
                sets[f"{name}, noise 25"] = [noisy(image, 25, seed) for seed, image in enumerate(images)]
        return sets

    @functools.cached_property
    def features(self) -> dict[str, Pair]:
        """Real and generated features, float32, more of them than their dimensions."""
        n, d = (60, 8) if self.smoke else (3000, 64)
        random = np.random.RandomState(0)
        mixing = random.randn(d, d) / np.sqrt(d)
        real = np.maximum(random.randn(n, d) @ mixing + 0.2, 0)
        fake = np.maximum(random.randn(n - n // 5, d) @ mixing * 1.1 + 0.3, 0)
        pairs = {f"random {n:,} and {len(fake):,} x {d}": (real.astype(np.float32), fake.astype(np.float32))}
        if self.data is not None and (self.data / "tfds" / "mnist").is_dir():
            network = TrainedClassifier(weights="cnn-mnist")
            weights, function = network.load(), jax.jit(network.__call__)
            both = []
            for split in ("test[:2000]", "train[:2000]"):
                source = TFDS(dataset="mnist", split=split, data_dir=str(self.data / "tfds"))
                images = np.stack([record["image"] for record in source.__getitems__(range(2000))])
                parts = [function(weights, jnp.asarray(part))["features"] for part in np.split(images, 4)]
                both.append(np.concatenate(parts))
            pairs[f"{network.tag}: MNIST test and train, 2,000 each, x {both[0].shape[1]}"] = both[0], both[1]
        return pairs

    @property
    def repeated_features(self) -> dict[str, Pair]:
        """Features that repeat, at distances that are exact in float64."""
        random = np.random.RandomState(3)
        return {
            "random bits, 200 and 150 x 8": tuple(random.randint(0, 2, (n, 8)).astype(np.float32) for n in (200, 150))
        }

    @functools.cached_property
    def few_features(self) -> dict[str, Pair]:
        """Fewer images than features: singular covariances."""
        n, d = (20, 40) if self.smoke else (300, 512)
        random = np.random.RandomState(1)
        scales = np.arange(1, d + 1) ** -0.5
        return {f"random {n} x {d}": (random.randn(n, d) * scales, random.randn(n, d) * scales * 1.1 + 0.01)}

    @functools.cached_property
    def thumbnails(self) -> np.ndarray:
        """Small RGB images, uint8 [batch, 48, 40, 3]."""
        images = [self.photographs[name] for name in self.photographs if name != "camera"]
        starts = range(0, 17, 8) if self.smoke else range(0, 240, 60)
        return np.stack([image[i : i + 48, i : i + 40] for image in images for i in starts])


def noisy(image: np.ndarray, level: float, seed: int) -> Pair:
    """The image with Gaussian noise, clipped and rounded to levels, and without."""
    noise = level * np.random.RandomState(seed).randn(*image.shape)
    return np.clip(np.rint(image + noise), 0, 255)[None] / 255.0, image[None] / 255.0


def tensors(*arrays: np.ndarray) -> Any:
    """Torch tensors [batch, channels, height, width] of images; one alone, or a list."""
    import torch

    made = [torch.from_numpy(np.ascontiguousarray(array.transpose(0, 3, 1, 2))) for array in arrays]
    return made[0] if len(made) == 1 else made


@compares("skimage")
def by_scikit_image(inputs: Inputs) -> Iterator[Row]:
    """PSNR, SSIM and colours."""
    from skimage.color import rgb2gray, rgb2ycbcr
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    for name, (image, target) in inputs.pairs.items():
        both = image[0], target[0]
        theirs = peak_signal_noise_ratio(*both[::-1], data_range=1.0)
        yield Row("psnr/scikit-image", "PSNR, dB", name, jgr.metrics.psnr(image, target)[0], theirs, 1e-4)
        if image.shape[3] == 3:
            y = [jgr.metrics.crop_border(jgr.metrics.luma(jnp.asarray(x, jnp.float32)), 4) for x in (image, target)]
            reference = [rgb2ycbcr(x)[4:-4, 4:-4, 0] for x in both]
            yield Row(
                "psnr-y/scikit-image",
                "PSNR of luma, border 4, dB",
                name,
                jgr.metrics.psnr(*y)[0],
                peak_signal_noise_ratio(*reference[::-1], data_range=255),
                1e-3,
            )
        ours = jgr.metrics.ssim(image, target)[0]
        settings: dict[str, Any] = dict(data_range=1.0, channel_axis=-1)
        yield Row(
            "ssim/scikit-image",
            "SSIM",
            name,
            ours,
            structural_similarity(*both, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, **settings),
            1e-6,
        )
        yield Row(
            "ssim-default/scikit-image",
            "SSIM, their defaults",
            name,
            ours,
            structural_similarity(*both, **settings),
            1e-6,
            adjusted=_ssim_in_float64(*both, taps=np.full(7, 1 / 7), scale=49 / 48, border=3),
        )
    identical = inputs.photographs["astronaut"][None] / 255.0
    with np.errstate(divide="ignore"):
        infinite = peak_signal_noise_ratio(identical, identical, data_range=1.0)
    yield Row(
        "psnr/scikit-image",
        "PSNR, dB",
        "astronaut and itself",
        jgr.metrics.psnr(identical, identical)[0],
        infinite,
        0.0,
    )
    rgb = jnp.asarray(identical, jnp.float32)
    yield Row(
        "luma/scikit-image",
        "luma Y, of 255",
        "astronaut",
        255 * np.asarray(jgr.metrics.luma(rgb)[0, ..., 0], np.float64),
        rgb2ycbcr(identical[0])[..., 0],
        1e-4,
    )
    yield Row(
        "gray/scikit-image",
        "gray, of 1",
        "astronaut",
        jgr.metrics.gray(rgb)[0, ..., 0],
        rgb2gray(identical[0]),
        1e-6,
        adjusted=identical[0] @ [0.2125, 0.7154, 0.0721],
    )
    for name, pairs in inputs.sets.items():
        if len({image.shape for image, _ in pairs}) == 1:
            stacked = [np.concatenate(part) for part in zip(*pairs, strict=True)]
            yield Row(
                "pooled-psnr/scikit-image",
                "PSNR pooled, dB",
                name,
                jgr.metrics.pooled_psnr(*stacked),
                peak_signal_noise_ratio(*stacked[::-1], data_range=1.0),
                1e-4,
            )
        yield Row(
            "psnr/scikit-image",
            "PSNR of each image, dB",
            name,
            [jgr.metrics.psnr(*pair)[0] for pair in pairs],
            [peak_signal_noise_ratio(target, image, data_range=1.0) for image, target in pairs],
            1e-4,
        )
        yield Row(
            "ssim/scikit-image",
            "SSIM of each image",
            name,
            [jgr.metrics.ssim(*pair)[0] for pair in pairs],
            [
                structural_similarity(
                    image[0],
                    target[0],
                    gaussian_weights=True,
                    sigma=1.5,
                    use_sample_covariance=False,
                    data_range=1.0,
                    channel_axis=-1,
                )
                for image, target in pairs
            ],
            1e-6,
        )


@compares("PIL")
def by_pillow(inputs: Inputs) -> Iterator[Row]:
    """Gray levels and the resize of clean-fid."""
    from PIL import Image

    image = inputs.photographs["astronaut"]
    yield Row(
        "gray/Pillow",
        "gray, levels",
        "astronaut",
        255 * jgr.metrics.quantised(jgr.metrics.gray(jnp.asarray(image[None] / 255.0, jnp.float32)))[0, ..., 0],
        np.asarray(Image.fromarray(image).convert("L"), np.float64),
        1e-4,
        adjusted=(image @ np.array([19595, 38470, 7471]) + 2**15) >> 16,
    )
    for inputs_name, images in _to_resize(inputs).items():
        theirs = [
            np.stack(
                [
                    Image.fromarray(image[..., c].astype(np.float32)).resize((299, 299), Image.Resampling.BICUBIC)
                    for c in range(3)
                ],
                axis=-1,
            )
            for image in images
        ]
        yield Row(
            "clean/Pillow",
            "resize `clean`, of 255",
            inputs_name,
            _resized("clean", images),
            np.clip(theirs, 0, 255),
            2e-3,
        )


@compares("scipy")
def by_the_definition(inputs: Inputs) -> Iterator[Row]:
    """MS-SSIM and Fréchet distance written out in float64 with SciPy."""
    for case, metric, (name, (image, target)) in _ms_ssim_pairs(inputs):
        yield Row(
            f"{case}/scipy",
            metric,
            name,
            jgr.metrics.ms_ssim(image, target)[0],
            ms_ssim_in_float64(image[0], target[0]),
            2e-6,
        )
    for case, pairs in (("frechet", inputs.features), ("frechet-singular", inputs.few_features)):
        for name, (real, fake) in pairs.items():
            statistics = [statistic for x in (real, fake) for statistic in _statistics(x)]
            yield Row(
                f"{case}/scipy",
                "Fréchet distance, pytorch-fid's formula",
                name,
                jgr.metrics.frechet_distance(_moments(real), _moments(fake)),
                _by_matrix_root(*statistics),
                1e-9,
                relative=True,
            )


@compares("torch", "torchmetrics")
def images_by_torchmetrics(inputs: Inputs) -> Iterator[Row]:
    """PSNR, SSIM and MS-SSIM."""
    import torch
    from torchmetrics.functional.image import (
        multiscale_structural_similarity_index_measure,
        peak_signal_noise_ratio,
        structural_similarity_index_measure,
    )

    for name, pairs in inputs.sets.items():
        if len({image.shape for image, _ in pairs}) > 1:
            continue
        images, targets = (np.concatenate(part) for part in zip(*pairs, strict=True))
        both = tensors(images, targets)
        yield Row(
            "psnr/torchmetrics",
            "PSNR, mean of the images, dB",
            name,
            jgr.metrics.psnr(images, targets).mean(),
            peak_signal_noise_ratio(*both, data_range=1.0, dim=(1, 2, 3), reduction="elementwise_mean"),
            1e-4,
        )
        yield Row(
            "psnr-default/torchmetrics",
            "PSNR, their defaults, dB",
            name,
            jgr.metrics.psnr(images, targets).mean(),
            peak_signal_noise_ratio(*both, data_range=1.0),
            1e-4,
            adjusted=jgr.metrics.pooled_psnr(images, targets),
        )
    for name, (image, target) in inputs.pairs.items():
        both = tensors(image, target)
        ours = jgr.metrics.ssim(image, target)[0]
        padded = _ssim_in_float64(image[0], target[0])
        _, whole = structural_similarity_index_measure(*both, data_range=1.0, return_full_image=True)
        common: dict[str, Any] = dict(inputs=name, ours=ours)
        yield Row(
            case="ssim-inside/torchmetrics",
            metric="SSIM, their map without 5 pixels of border",
            theirs=whole[..., 5:-5, 5:-5].mean(),
            bound=1e-6,
            **common,
        )
        yield Row(
            case="ssim/torchmetrics",
            metric="SSIM",
            theirs=structural_similarity_index_measure(*both, data_range=1.0),
            adjusted=padded,
            bound=1e-6,
            **common,
        )
        yield Row(
            case="ssim-float32/torchmetrics",
            metric="SSIM of float32 images",
            theirs=structural_similarity_index_measure(*(x.to(torch.float32) for x in both), data_range=1.0),
            adjusted=padded,
            bound=2e-5,
            **common,
        )
    for case, metric, (name, (image, target)) in _ms_ssim_pairs(inputs):
        if min(image.shape[1:3]) < 176:
            continue  # they refuse below that
        yield Row(
            f"{case}/torchmetrics",
            metric,
            name,
            jgr.metrics.ms_ssim(image, target)[0],
            multiscale_structural_similarity_index_measure(*tensors(image, target), data_range=1.0),
            2e-6,
            adjusted=ms_ssim_in_float64(image[0], target[0], odd="drop", as_torchmetrics=True),
        )


@compares("torch", "pytorch_msssim")
def by_pytorch_msssim(inputs: Inputs) -> Iterator[Row]:
    """SSIM and MS-SSIM."""
    from pytorch_msssim import ms_ssim, ssim
    from pytorch_msssim.ssim import _fspecial_gauss_1d

    taps = _fspecial_gauss_1d(11, 1.5).ravel().double().numpy()
    for name, (image, target) in inputs.pairs.items():
        yield Row(
            "ssim/pytorch-msssim",
            "SSIM",
            name,
            jgr.metrics.ssim(image, target)[0],
            ssim(*tensors(image, target), data_range=1.0),
            1e-6,
            adjusted=_ssim_in_float64(image[0], target[0], taps=taps, border=5),
        )
    for case, metric, (name, (image, target)) in _ms_ssim_pairs(inputs):
        yield Row(
            f"{case}/pytorch-msssim",
            metric,
            name,
            jgr.metrics.ms_ssim(image, target)[0],
            ms_ssim(*tensors(image, target), data_range=1.0),
            2e-6,
            adjusted=ms_ssim_in_float64(image[0], target[0], odd="zeros", taps=taps),
        )


@compares("torch", "torchvision", "lpips")
def by_lpips(inputs: Inputs) -> Iterator[Row]:
    """LPIPS, its trunks with random weights that both share."""
    import lpips
    import torch

    images, targets = _lpips_pair(inputs)
    for net in ("alex", "vgg", "squeeze"):
        reference = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
        params = _share_trunk(net, reference)
        with torch.no_grad():
            theirs = reference(*(2 * x - 1 for x in tensors(images, targets))).ravel()
        yield Row(
            "lpips/lpips",
            f"LPIPS v0.1, {net}",
            f"{len(images)} thumbnails, noise 20; random trunk",
            jgr.metrics.lpips(jnp.asarray(images), jnp.asarray(targets), params, net),
            theirs,
            1e-5,
            relative=True,
        )


@compares("torch", "torchvision", "torchmetrics")
def lpips_by_torchmetrics(inputs: Inputs) -> Iterator[Row]:
    """LPIPS once more: their port of the package."""
    import torch
    from torchmetrics.functional.image.lpips import _LPIPS

    images, targets = _lpips_pair(inputs)
    for net in ("alex", "vgg", "squeeze"):
        reference = _LPIPS(net=net, pnet_rand=True)
        params = _share_trunk(net, reference)
        with torch.no_grad():
            theirs = reference(*(2 * x - 1 for x in tensors(images, targets))).ravel()
        yield Row(
            "lpips/torchmetrics",
            f"LPIPS v0.1, {net}",
            f"{len(images)} thumbnails, noise 20; random trunk",
            jgr.metrics.lpips(jnp.asarray(images), jnp.asarray(targets), params, net),
            theirs,
            1e-5,
            relative=True,
        )


@compares("torch")
def by_torch(inputs: Inputs) -> Iterator[Row]:
    """The resize of pytorch-fid."""
    import torch

    for name, images in _to_resize(inputs).items():
        resized = torch.nn.functional.interpolate(
            tensors(images).float(), size=(299, 299), mode="bilinear", align_corners=False
        )
        yield Row(
            "legacy_pytorch/torch",
            "resize `legacy_pytorch`, of 255",
            name,
            _resized("legacy_pytorch", images),
            resized.permute(0, 2, 3, 1),
            1e-3,
        )


@compares("torch", "torchvision", "pytorch_fid")
def by_pytorch_fid(inputs: Inputs) -> Iterator[Row]:
    """Its network with random weights that both share, and its Fréchet distance."""
    import pytorch_fid.inception
    import torch
    from pytorch_fid.fid_score import calculate_frechet_distance

    weights = _inception_weights()
    original = pytorch_fid.inception.load_state_dict_from_url
    pytorch_fid.inception.load_state_dict_from_url = lambda *_, **__: _as_tensors(weights)
    try:
        network = pytorch_fid.inception.InceptionV3().eval()
    finally:
        pytorch_fid.inception.load_state_dict_from_url = original
    images = inputs.thumbnails
    with torch.no_grad():
        (theirs,) = network(tensors(images).float() / 255)
    features, _ = _inception(images, "legacy_pytorch", weights)
    yield Row(
        "inception/pytorch-fid",
        "Inception features, `legacy_pytorch`",
        f"{len(images)} thumbnails; random weights",
        features,
        theirs[:, :, 0, 0],
        1e-5,
        relative=True,
    )
    for case, pairs in (("frechet", inputs.features), ("frechet-singular", inputs.few_features)):
        for name, (real, fake) in pairs.items():
            statistics = [statistic for x in (real, fake) for statistic in _statistics(x)]
            try:
                distance = calculate_frechet_distance(*statistics)
            except TypeError:  # SciPy 1.18 has no `disp`, which they pass: their formula is in `by_the_definition`
                continue
            yield Row(
                f"{case}/pytorch-fid",
                "Fréchet distance",
                name,
                jgr.metrics.frechet_distance(_moments(real), _moments(fake)),
                distance,
                1e-9,
                relative=True,
            )


@compares("torch", "torch_fidelity", "torchvision")
def by_torch_fidelity(inputs: Inputs) -> Iterator[Row]:
    """Everything of generated images."""
    import torch
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
    from torch_fidelity.metric_isc import isc_features_to_metric
    from torch_fidelity.metric_kid import kid_features_to_metric
    from torch_fidelity.metric_prc import prc_features_to_metric

    def distance(real: np.ndarray, fake: np.ndarray) -> float:
        statistics = [fid_features_to_statistics(torch.from_numpy(x)) for x in (real, fake)]
        return float(fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"])

    for name, images in _to_resize(inputs).items():
        theirs = interpolate_bilinear_2d_like_tensorflow1x(
            tensors(images).float(), size=(299, 299), align_corners=False
        )
        yield Row(
            "tf1_bilinear/torch-fidelity",
            "resize `tf1_bilinear`, of 255",
            name,
            _resized("tf1_bilinear", images),
            theirs.permute(0, 2, 3, 1),
            0.0,
        )

    weights = _inception_weights()
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/weights.pth"
        torch.save(_as_tensors(weights), path)
        network = FeatureExtractorInceptionV3(
            "random", ["2048", "logits_unbiased"], feature_extractor_weights_path=path
        )
    images = inputs.thumbnails
    ours = _inception(images, "tf1_bilinear", weights)
    theirs = network(tensors(images))
    for what, mine, other in zip(("features", "logits"), ours, theirs, strict=True):
        yield Row(
            "inception/torch-fidelity",
            f"Inception {what}, `tf1_bilinear`",
            f"{len(images)} thumbnails; random weights",
            mine,
            other,
            1e-5,
            relative=True,
        )
    turned = images[:, ::-1]
    fid = jgr.metrics.frechet_distance(_moments(ours[0]), _moments(_inception(turned, "tf1_bilinear", weights)[0]))
    pair = theirs[0].double().numpy(), network(tensors(turned))[0].double().numpy()
    what = f"{len(images)} thumbnails, and upside down; random weights"
    own = jgr.metrics.frechet_distance(*map(_moments, pair))
    yield Row(
        "fid-features/torch-fidelity", "FID from images, their features, our distance", what, fid, own, 1e-5, True
    )
    yield Row("fid/torch-fidelity", "FID from images", what, fid, distance(*pair), 1e-5, True)
    for name, (real, fake) in inputs.features.items():
        common: dict[str, Any] = dict(inputs=name, relative=True)
        frechet = jgr.metrics.frechet_distance(_moments(real), _moments(fake))
        doubles = real.astype(np.float64), fake.astype(np.float64)
        for case, metric, pair in (
            ("frechet/torch-fidelity", "Fréchet distance", doubles),
            ("frechet-default/torch-fidelity", "Fréchet distance of float32 features", (real, fake)),
        ):
            yield Row(case=case, metric=metric, ours=frechet, theirs=distance(*pair), bound=1e-7, **common)
        size = min(500, len(fake) // 2)
        for case, metric, dtype in (
            ("kid/torch-fidelity", "KID, mean and deviation", np.float64),
            ("kid-float32/torch-fidelity", "KID of float32 features", np.float32),
        ):
            theirs_kid = kid_features_to_metric(
                *(torch.from_numpy(x.astype(dtype)) for x in (fake, real)),
                kid_subsets=SUBSETS,
                kid_subset_size=size,
                verbose=False,
            )
            yield Row(
                case=case,
                metric=f"{metric}, {SUBSETS} x {size}",
                ours=jgr.metrics.kernel_distance_subsets(fake, real, num_subsets=SUBSETS, subset_size=size),
                theirs=list(theirs_kid.values()),
                bound=1e-9,
                **common,
            )
        for dtype in (np.float64, np.float32):
            theirs_prc = prc_features_to_metric(
                *(torch.from_numpy(x.astype(dtype)) for x in (fake, real)), verbose=False
            )
            yield Row(
                "neighbours/torch-fidelity",
                f"precision and recall, k=3, {np.dtype(dtype).name}",
                name,
                jgr.metrics.precision_recall(real, fake, k=3),
                [theirs_prc["precision"], theirs_prc["recall"]],
                1e-7,
            )
    for name, (real, fake) in inputs.few_features.items():
        yield Row(
            "frechet-singular/torch-fidelity",
            "Fréchet distance",
            name,
            jgr.metrics.frechet_distance(_moments(real), _moments(fake)),
            distance(real, fake),
            1e-9,
            relative=True,
        )
    logits = _logits()
    yield Row(
        "is/torch-fidelity",
        "IS, mean and deviation, 10 splits",
        LOGITS,
        jgr.metrics.inception_score(logits, shuffle_seed=2020),
        list(isc_features_to_metric(torch.from_numpy(logits)).values()),
        1e-12,
        relative=True,
    )


@compares("torch", "torchmetrics", "torch_fidelity")
def features_by_torchmetrics(inputs: Inputs) -> Iterator[Row]:
    """Fréchet distance, KID and IS."""
    import torch
    from torchmetrics.image.fid import FrechetInceptionDistance
    from torchmetrics.image.inception import InceptionScore
    from torchmetrics.image.kid import KernelInceptionDistance

    class Identity(torch.nn.Module):
        """Takes features for images."""

        def __init__(self, num_features: int) -> None:
            super().__init__()
            self.num_features = num_features

        def forward(self, features: Any) -> Any:
            return features

    def computed(metric: Any, real: np.ndarray, fake: np.ndarray) -> Any:
        metric.update(torch.from_numpy(real), real=True)
        metric.update(torch.from_numpy(fake), real=False)
        torch.manual_seed(0)
        return metric.compute()

    for case, pairs in (("frechet", inputs.features), ("frechet-singular", inputs.few_features)):
        for name, (real, fake) in pairs.items():
            doubles = real.astype(np.float64), fake.astype(np.float64)
            metric = FrechetInceptionDistance(Identity(real.shape[1])).set_dtype(torch.float64)
            yield Row(
                f"{case}/torchmetrics",
                "Fréchet distance",
                name,
                jgr.metrics.frechet_distance(_moments(real), _moments(fake)),
                computed(metric, *doubles),
                1e-9,
                relative=True,
            )
    for name, (real, fake) in inputs.features.items():
        n = min(len(real), len(fake))
        x, y = real[:n].astype(np.float64), fake[:n].astype(np.float64)
        identity = Identity(real.shape[1])
        yield Row(
            "kid-full/torchmetrics",
            "KID, one subset of all",
            name,
            jgr.metrics.kernel_distance(x, y),
            computed(KernelInceptionDistance(identity, subsets=1, subset_size=n), x, y)[0],
            1e-9,
            relative=True,
        )
        size = min(500, n // 2)
        theirs = computed(KernelInceptionDistance(identity, subsets=SUBSETS, subset_size=size), x, y)
        torch.manual_seed(0)
        values = [
            kernel.kernel_distance(x[torch.randperm(n)[:size].numpy()], y[torch.randperm(n)[:size].numpy()])
            for _ in range(SUBSETS)
        ]
        yield Row(
            "kid-subsets/torchmetrics",
            f"KID, mean and deviation, {SUBSETS} x {size}",
            name,
            jgr.metrics.kernel_distance_subsets(x, y, num_subsets=SUBSETS, subset_size=size),
            [float(value) for value in theirs],
            1e-9,
            adjusted=[np.mean(values), np.std(values)],
            relative=True,
        )
    logits = _logits()
    for case, splits in (("is-whole", 1), ("is-splits", 10)):
        metric = InceptionScore(torch.nn.Identity(), splits=splits)
        metric.update(torch.from_numpy(logits))
        torch.manual_seed(0)
        mean, deviation = (float(value) for value in metric.compute())
        torch.manual_seed(0)
        chunks = torch.from_numpy(logits)[torch.randperm(len(logits))].chunk(splits)
        scores = [jgr.metrics.inception_score(chunk.numpy(), num_splits=1)[0] for chunk in chunks]
        whole = splits == 1  # which has no deviation
        ours = jgr.metrics.inception_score(logits, num_splits=splits)
        yield Row(
            f"{case}/torchmetrics",
            "IS, 1 split" if whole else f"IS, mean and deviation, {splits} splits",
            LOGITS,
            ours[:1] if whole else ours,
            [mean] if whole else [mean, deviation],
            1e-12,
            adjusted=scores if whole else [np.mean(scores), np.std(scores, ddof=1)],
            relative=True,
        )


@compares("prdc")
def by_prdc(inputs: Inputs) -> Iterator[Row]:
    """Precision, recall, density and coverage with open balls."""
    from prdc import compute_prdc

    what = "precision, recall, density, coverage"
    for name, (real, fake) in (inputs.features | inputs.repeated_features).items():
        with contextlib.redirect_stdout(io.StringIO()):
            theirs = list(compute_prdc(real.astype(np.float64), fake.astype(np.float64), nearest_k=5).values())
        strict = _neighbours(real, fake, 5, 5, strict=True)
        for case, metric, ours in (
            ("neighbours/prdc", f"{what}, k=5, strict", strict),
            ("neighbours-ties/prdc", f"{what}, k=5, ours not strict", _neighbours(real, fake, 5, 5, strict=False)),
            ("neighbours-default/prdc", f"{what}, defaults of both", _neighbours(real, fake, 3, 5, strict=False)),
        ):
            yield Row(case, metric, name, ours, theirs, 1e-12, adjusted=strict)


def ssim_maps(x: np.ndarray, y: np.ndarray, taps: np.ndarray | None = None, scale: float = 1.0) -> Pair:
    """SSIM and its contrast term at every pixel of two planes continued by reflection (Wang et al. 2004), float64.

    Args:
        x: In [0, 1].
        y: In [0, 1].
        taps: The window along each side; the paper's Gaussian when None.
        scale: Of variances, n / (n - 1) for the sample's.
    """

    def blurred(z: np.ndarray) -> np.ndarray:
        for axis in (0, 1):
            z = scipy.ndimage.correlate1d(z, GAUSSIAN if taps is None else taps, axis=axis, mode="mirror")
        return z

    x_mean, y_mean = blurred(x), blurred(y)
    variances = scale * (blurred(x * x) - x_mean**2 + blurred(y * y) - y_mean**2)
    contrast = (2 * scale * (blurred(x * y) - x_mean * y_mean) + 0.03**2) / (variances + 0.03**2)
    return (2 * x_mean * y_mean + 0.01**2) / (x_mean**2 + y_mean**2 + 0.01**2) * contrast, contrast


def _ssim_in_float64(
    x: np.ndarray, y: np.ndarray, taps: np.ndarray | None = None, scale: float = 1.0, border: int = 0
) -> float:
    """Mean of the map of two images [height, width, channels], without a border of that many pixels."""
    maps = [ssim_maps(x[..., c], y[..., c], taps, scale)[0] for c in range(x.shape[2])]
    return float(np.mean([each[border : len(each) - border, border : each.shape[1] - border] for each in maps]))


def ms_ssim_in_float64(
    x: np.ndarray, y: np.ndarray, odd: str = "edge", as_torchmetrics: bool = False, taps: np.ndarray | None = None
) -> float:
    """MS-SSIM of two images [height, width, channels] (Wang, Simoncelli & Bovik 2003, equation 7).

    Args:
        x: In [0, 1].
        y: In [0, 1].
        odd: What an odd side gets before it is halved: its last row or column again ("edge"), zeros before its first
            ("zeros"), or nothing, so that its last is lost ("drop").
        as_torchmetrics: SSIM of the last level up to the border, and channels averaged at each level.
        taps: As of `ssim_maps`.
    """
    levels = []
    for level in range(len(LEVEL_WEIGHTS)):
        maps = [ssim_maps(x[..., c], y[..., c], taps) for c in range(x.shape[2])]
        if level < len(LEVEL_WEIGHTS) - 1:
            levels.append([contrast[5:-5, 5:-5].mean() for _, contrast in maps])
        else:
            levels.append([(whole if as_torchmetrics else whole[5:-5, 5:-5]).mean() for whole, _ in maps])
        x, y = _halved(x, odd), _halved(y, odd)
    values = np.maximum(levels, 0)
    if as_torchmetrics:
        values = values.mean(axis=1, keepdims=True)
    return float(np.prod(values ** np.array(LEVEL_WEIGHTS)[:, None], axis=0).mean())


def _halved(image: np.ndarray, odd: str) -> np.ndarray:
    rest = [side % 2 for side in image.shape[:2]]
    if odd == "drop":
        image = image[: image.shape[0] - rest[0], : image.shape[1] - rest[1]]
    elif odd == "zeros":
        image = np.pad(image, ((rest[0], 0), (rest[1], 0), (0, 0)))
    else:
        image = np.pad(image, ((0, rest[0]), (0, rest[1]), (0, 0)), mode="edge")
    height, width, channels = image.shape
    return image.reshape(height // 2, 2, width // 2, 2, channels).mean(axis=(1, 3))


def _ms_ssim_pairs(inputs: Inputs) -> Iterator[tuple[str, str, tuple[str, Pair]]]:
    """Case, metric, and a named pair, of even and of odd sides."""
    names = ("astronaut",) if inputs.smoke else ("astronaut", "camera")
    for name in names:
        photograph = getattr(skimage.data, name)()
        photograph = photograph.reshape(*photograph.shape[:2], -1)
        for case, metric, height, width in (
            ("ms-ssim", "MS-SSIM, even sides", 192, 176),
            ("ms-ssim-odd", "MS-SSIM, odd sides", 181, 177),
        ):
            pair = noisy(photograph[:height, :width], 20, seed=6)
            yield case, metric, (f"{name} {height}x{width}, noise 20", pair)


def _to_resize(inputs: Inputs) -> dict[str, np.ndarray]:
    """Small images to enlarge and a large one to shrink, uint8."""
    images = {f"{len(inputs.thumbnails)} thumbnails, 48x40": inputs.thumbnails}
    if not inputs.smoke:
        images["astronaut, 512x512"] = inputs.photographs["astronaut"][None]
    return images


def _resized(name: str, images: np.ndarray) -> Any:
    return jax.jit(resize.RESIZES[name], static_argnums=1)(jnp.asarray(images), (299, 299))


def _lpips_pair(inputs: Inputs) -> Pair:
    pairs = [noisy(image, 20, seed) for seed, image in enumerate(inputs.thumbnails)]
    images, targets = (np.concatenate(part).astype(np.float32) for part in zip(*pairs, strict=True))
    return images, targets


def _share_trunk(net: str, reference: Any) -> Any:
    """Gives the other network's trunk seeded random weights; returns jgr's parameters of the same."""
    import torch

    random, weights = np.random.RandomState(0), {}
    with torch.no_grad():
        for name, parameter in reference.net.named_parameters():  # slice1.0.weight, or slices.0.0.weight
            value = _random_weight(random, name, tuple(parameter.shape))
            parameter.copy_(torch.from_numpy(value))
            weights[re.sub(r"^(slice\d|slices\.\d)\.", "features.", name)] = value
    return perceptual.from_torch(net, weights)


@functools.cache
def _inception_weights() -> dict[str, np.ndarray]:
    """A state dict of seeded random numbers with the names and shapes of the published one."""
    import torchvision

    network = torchvision.models.inception_v3(num_classes=1008, aux_logits=False, weights=None, init_weights=False)
    random = np.random.RandomState(0)
    return {name: _random_weight(random, name, tuple(value.shape)) for name, value in network.state_dict().items()}


def _random_weight(random: np.random.RandomState, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Under which signals neither fade nor grow."""
    if name.endswith("num_batches_tracked"):
        return np.array(0)
    if len(shape) > 1:
        bound = math.sqrt(6 / math.prod(shape[1:]))
        return random.uniform(-bound, bound, shape).astype(np.float32)
    low, high = (0.5, 1.5) if name.endswith(("bn.weight", "running_var")) else (-0.3, 0.3)
    return random.uniform(low, high, shape).astype(np.float32)


def _as_tensors(weights: dict[str, np.ndarray]) -> dict[str, Any]:
    import torch

    return {name: torch.from_numpy(value.copy()) for name, value in weights.items()}


@functools.cache
def _inception_function(resized: str) -> Callable[..., Any]:
    def function(params: Any, images: Any) -> Any:
        return inception.InceptionV3().apply({"params": params}, resize.inception_input(images, resized))

    return jax.jit(function)


def _inception(images: np.ndarray, resized: str, weights: dict[str, np.ndarray]) -> Pair:
    """Features and logits of jgr's network."""
    features, logits = _inception_function(resized)(inception.from_torch(weights), jnp.asarray(images))
    return np.asarray(features), np.asarray(logits)


def _moments(features: np.ndarray) -> jgr.metrics.Moments:
    moments = jgr.metrics.Moments()
    moments.update(features)
    return moments


def _statistics(features: np.ndarray) -> Pair:
    features = features.astype(np.float64)
    return features.mean(axis=0), np.cov(features, rowvar=False)


def _by_matrix_root(mean_a: np.ndarray, a: np.ndarray, mean_b: np.ndarray, b: np.ndarray) -> float:
    """The formula of pytorch-fid (and TTUR): a Schur root of the covariances' product, its real part."""
    root = scipy.linalg.sqrtm(a @ b)
    if not np.isfinite(root).all():
        root = scipy.linalg.sqrtm((a + 1e-6 * np.eye(len(a))) @ (b + 1e-6 * np.eye(len(a))))
    return float((mean_a - mean_b) @ (mean_a - mean_b) + np.trace(a) + np.trace(b) - 2 * np.trace(root).real)


def _logits() -> np.ndarray:
    return np.random.RandomState(2).randn(1003, 10) * 2


def _neighbours(real: np.ndarray, fake: np.ndarray, near: int, k: int, strict: bool) -> list[float]:
    """Precision and recall with the first k, density and coverage with the second."""
    return [
        *jgr.metrics.precision_recall(real, fake, near, strict),
        *jgr.metrics.density_coverage(real, fake, k, strict),
    ]


def collected(inputs: Inputs) -> tuple[list[Row], list[str]]:
    """All rows that can be computed here, and the modules that are missing for others."""
    rows: list[Row] = []
    missing: set[str] = set()
    for modules, function in _GROUPS:
        if inputs.smoke and not set(modules) <= _ALWAYS:
            continue
        absent = {module for module in modules if importlib.util.find_spec(module) is None}
        missing |= absent
        if not absent:
            print(f"{function.__name__} …", file=sys.stderr, flush=True)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the other libraries: deprecations, memory, singular products
                rows.extend(function(inputs))
    return rows, sorted(_distribution(module) for module in missing)


def _distribution(module: str) -> str:
    return _DISTRIBUTIONS.get(module, module)


def line(row: Row) -> dict[str, Any]:
    """A row of rows.jsonl."""
    explanation = EXPLANATIONS[row.case].text if row.verdict != "equal" and row.case in EXPLANATIONS else None
    return {
        "case": row.case,
        "metric": row.metric,
        "inputs": row.inputs,
        "library": row.library,
        "version": importlib.metadata.version(row.library),
        "values": np.asarray(row.theirs).size,
        "ours": _number(row.ours),
        "theirs": _number(row.theirs),
        "difference": row.difference,
        "unit": "relative" if row.relative else "absolute",
        "bound": row.bound,
        "verdict": row.verdict,
        "rest": row.rest if row.verdict != "equal" else None,
        "explanation": explanation,
    }


def _number(value: Any) -> float | list[float] | str:
    """A number, up to four of them, or the mean of more."""
    array = np.atleast_1d(np.asarray(value, np.float64))
    if np.isinf(array).any():
        return "inf"
    numbers: list[float] = array.tolist() if array.ndim == 1 and len(array) <= 4 else [float(array.mean())]
    return numbers[0] if len(numbers) == 1 else numbers


def table(lines: Sequence[dict[str, Any]], notes: Iterable[str]) -> str:
    """The rows, and under them what explains the deviations."""
    texts: dict[str, int] = {}
    body = []
    for row in lines:
        verdict = row["verdict"]
        if row["explanation"]:
            number = texts.setdefault(row["explanation"], len(texts) + 1)
            verdict = f"{verdict} [{number}]"
        if row["rest"] is not None:
            verdict += f", then {row['rest']:.1e}"
        cells = [row["metric"], row["inputs"], _shown(row["ours"]), _shown(row["theirs"]), row["library"]]
        share = " of it" if row["unit"] == "relative" else ""
        body.append([*cells, f"{row['difference']:.1e}{share}", f"{row['bound']:g}", verdict])
    headers = ["metric", "inputs", "jgr", "other", "library", "difference", "rounding", ""]
    shown = tabulate(body, headers, tablefmt="github", disable_numparse=True)
    footnotes = "\n".join(f"{number}. {text}" for text, number in texts.items())
    return "\n\n".join([*notes, shown, footnotes]).rstrip() + "\n"


def _shown(value: float | list[float] | str) -> str:
    if isinstance(value, list):
        return ", ".join(f"{number:.6g}" for number in value)
    return value if isinstance(value, str) else f"{value:.8g}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Compares, prints and writes the table; exits with 1 if a deviation is not explained."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results/metric_fidelity"))
    parser.add_argument("--smoke", action="store_true", help="tiny inputs, and only libraries that jgr itself needs")
    options = parser.parse_args(arguments)
    data = None if options.smoke or not os.environ.get("JGR_TEST_DATA") else Path(os.environ["JGR_TEST_DATA"])
    rows, missing = collected(Inputs(options.smoke, data))
    lines = [line(row) for row in rows]
    given = [*(sys.argv[1:] if arguments is None else arguments)]
    command = ["python", "experiments/metric_fidelity.py", *given]
    versions = {name: importlib.metadata.version(name) for name in sorted({row.library for row in rows} | _torch())}
    notes = [
        f"Made by `{' '.join(command)}`{' with `JGR_TEST_DATA`' if data else ''}, on CPU, with JAX {jax.__version__}, "
        f"NumPy {np.__version__}, {', '.join(f'{name} {version}' for name, version in versions.items())}.",
        "Of several numbers the table shows all, or the mean of more than four; the difference is the largest of any. "
        "Rounding is the bound up to which a row counts as equal, in the difference's unit. Where a deviation is "
        "explained by a choice that we can make as well, `then` says what is left of the difference if we make it.",
    ]
    if data is None:
        notes.append("Without real data (`JGR_TEST_DATA`): rows of Set5, BSD68 and MNIST are left out.")
    if missing:
        notes.append(f"Not installed, and so left out: {', '.join(missing)}.")
    text = table(lines, notes)
    print(text)
    folder: Path = options.out
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "table.md", text)
    write_text(folder / "rows.jsonl", "".join(json.dumps(row) + "\n" for row in lines))
    repositories = git_state([Path(__file__).parent])
    manifest = {
        "command": command,
        "environment": environment(),
        "libraries": versions,
        "missing": missing,
        "git": [{key: value for key, value in state.items() if key not in ("root", "diff")} for state in repositories],
    }
    write_json(folder / "manifest.json", manifest)
    wrong = [row for row in lines if row["verdict"] not in ("equal", "explained")]
    if wrong:
        for row in wrong:
            print(
                f"{row['case']}, {row['inputs']}: differs by {row['difference']:.3g}, {row['verdict']}", file=sys.stderr
            )
        sys.exit(1)


def _torch() -> set[str]:
    return {name for name in ("torch", "torchvision") if importlib.util.find_spec(name)}


if __name__ == "__main__":
    main()
