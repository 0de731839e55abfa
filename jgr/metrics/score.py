"""Inception score: how sure a classifier is of each image, and how evenly the images fall on its classes."""

import numpy as np
import scipy.special
from jaxtyping import Float, Num

from jgr.metrics.moments import finite_rows


def inception_score(
    logits: Num[np.ndarray, "n classes"], num_splits: int = 10, shuffle_seed: int | None = None
) -> tuple[float, float]:
    """exp(mean KL(p(y|x) || p(y))) over splits of the images (Salimans et al. 2016, section 4).

    Split i holds images i N // s to (i + 1) N // s, as in the reference code: none is left out if s does not divide N.

    Args:
        logits: One row an image. The published score has 1008 of the 2015 Inception network, without bias.
        num_splits: How many splits; the published score has 10.
        shuffle_seed: Permutes the images first by `np.random.RandomState(shuffle_seed)`; torch-fidelity does with 2020.
            None keeps their order, as the reference code.

    Returns:
        Mean and standard deviation (ddof 0) over splits.

    Raises:
        ValueError: If logits are not finite, or are fewer than the splits.
    """
    logits = finite_rows(logits, "logits")
    n = len(logits)
    if not 1 <= num_splits <= n:
        raise ValueError(f"{num_splits} splits need at least as many images and 1 split; there are {n}")
    if shuffle_seed is not None:
        logits = logits[np.random.RandomState(shuffle_seed).permutation(n)]
    scores = [
        _score(logits[i * n // num_splits : (i + 1) * n // num_splits].astype(np.float64)) for i in range(num_splits)
    ]
    return float(np.mean(scores)), float(np.std(scores))


def _score(logits: Float[np.ndarray, "n classes"]) -> float:
    log_p = scipy.special.log_softmax(logits, axis=1)
    log_marginal = scipy.special.logsumexp(log_p, axis=0) - np.log(len(log_p))
    return np.exp((np.exp(log_p) * (log_p - log_marginal)).sum(axis=1).mean())
