"""SSIM, MS-SSIM and the Fréchet distance written out in float64 with SciPy, for `experiments/metric_fidelity.py`."""

import numpy as np
import scipy.linalg
import scipy.ndimage

from jgr.metrics.similarity import LEVEL_WEIGHTS

_GAUSSIAN = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
_GAUSSIAN /= _GAUSSIAN.sum()


def ssim_maps(
    x: np.ndarray, y: np.ndarray, taps: np.ndarray | None = None, scale: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """SSIM and its contrast term at every pixel of two planes continued by reflection (Wang et al. 2004), float64.

    Args:
        x: In [0, 1].
        y: In [0, 1].
        taps: The window along each side; the paper's Gaussian when None.
        scale: Of variances, n / (n - 1) for the sample's.
    """

    def blurred(z: np.ndarray) -> np.ndarray:
        for axis in (0, 1):
            z = scipy.ndimage.correlate1d(z, _GAUSSIAN if taps is None else taps, axis=axis, mode="mirror")
        return z

    x_mean, y_mean = blurred(x), blurred(y)
    variances = scale * (blurred(x * x) - x_mean**2 + blurred(y * y) - y_mean**2)
    contrast = (2 * scale * (blurred(x * y) - x_mean * y_mean) + 0.03**2) / (variances + 0.03**2)
    return (2 * x_mean * y_mean + 0.01**2) / (x_mean**2 + y_mean**2 + 0.01**2) * contrast, contrast


def ssim_in_float64(
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


def mean_and_covariance(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of a sample, in float64."""
    features = features.astype(np.float64)
    return features.mean(axis=0), np.cov(features, rowvar=False)


def frechet_by_matrix_root(mean_a: np.ndarray, a: np.ndarray, mean_b: np.ndarray, b: np.ndarray) -> float:
    """The formula of pytorch-fid (and TTUR): a Schur root of the covariances' product, its real part."""
    root = scipy.linalg.sqrtm(a @ b)
    if not np.isfinite(root).all():
        root = scipy.linalg.sqrtm((a + 1e-6 * np.eye(len(a))) @ (b + 1e-6 * np.eye(len(a))))
    return float((mean_a - mean_b) @ (mean_a - mean_b) + np.trace(a) + np.trace(b) - 2 * np.trace(root).real)
