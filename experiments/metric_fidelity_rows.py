"""A row of `experiments/metric_fidelity.py`, how it is judged, and what explains the deviations."""

import dataclasses
from typing import Any

import numpy as np


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


_PADDED = (
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
    "ssim/torchmetrics": Explanation(_PADDED),
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
