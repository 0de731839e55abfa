"""What `experiments/metric_fidelity.py` measures: photographs, real images, seeded noise and features."""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import skimage.data

from jgr.data.decode import decode_image
from jgr.data.tfds import TFDS
from jgr.metrics.classifiers import TrainedClassifier

Pair = tuple[np.ndarray, np.ndarray]
LOGITS = "random logits, 1,003 x 10"


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


def ms_ssim_pairs(inputs: Inputs) -> Iterator[tuple[str, str, tuple[str, Pair]]]:
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


def to_resize(inputs: Inputs) -> dict[str, np.ndarray]:
    """Small images to enlarge and a large one to shrink, uint8."""
    images = {f"{len(inputs.thumbnails)} thumbnails, 48x40": inputs.thumbnails}
    if not inputs.smoke:
        images["astronaut, 512x512"] = inputs.photographs["astronaut"][None]
    return images


def lpips_pair(inputs: Inputs) -> Pair:
    """Float32 thumbnails with noise of 20 levels, and without."""
    pairs = [noisy(image, 20, seed) for seed, image in enumerate(inputs.thumbnails)]
    images, targets = (np.concatenate(part).astype(np.float32) for part in zip(*pairs, strict=True))
    return images, targets


def random_logits() -> np.ndarray:
    """What `LOGITS` names."""
    return np.random.RandomState(2).randn(1003, 10) * 2


def tensors(*arrays: np.ndarray) -> Any:
    """Torch tensors [batch, channels, height, width] of images; one alone, or a list."""
    import torch

    made = [torch.from_numpy(np.ascontiguousarray(array.transpose(0, 3, 1, 2))) for array in arrays]
    return made[0] if len(made) == 1 else made
