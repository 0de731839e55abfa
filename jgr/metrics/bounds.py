"""Numbers of likelihood models: importance-weighted bounds, bits per dimension, active units."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Int, Key

from jgr.metrics.moments import Moments
from jgr.rng import record_keys


def importance_weighted_bound(log_weights: Float[Array, "..."], axis: int) -> Float[Array, "..."]:
    """Bound on log p(x) in nats from k samples, logsumexp of their log-weights less log k (Burda et al. 2016, eq. 8).

    With one sample it is the ELBO; in expectation it rises with k towards log p(x).

    Args:
        log_weights: log p(x, z) - log q(z | x), in nats. -inf is a sample of weight 0; NaN gives NaN.
        axis: Axis of the samples.
    """
    return jax.nn.logsumexp(log_weights, axis=axis) - math.log(log_weights.shape[axis])


class RunningBound(struct.PyTreeNode):
    """The bound over samples that come in chunks: memory for one chunk, whatever k is.

    Weights are summed relative to the largest so far, so nothing overflows and a long stream rounds like a short one.

        running = RunningBound.empty(batch)
        for log_weights in chunks:  # [chunk, batch] each
            running = running.update(log_weights)
        bound = running.value  # [batch]
    """

    largest: Float[Array, "batch"]
    total: Float[Array, "batch"]  # of exp(log-weight - largest)
    count: Int[Array, ""]

    @classmethod
    def empty(cls, batch: int) -> "RunningBound":
        """No sample yet of any of `batch` records."""
        return cls(largest=jnp.full(batch, -jnp.inf), total=jnp.zeros(batch), count=jnp.zeros((), jnp.int32))

    def update(
        self, log_weights: Float[Array, "chunk batch"], mask: Bool[Array, "chunk"] | None = None
    ) -> "RunningBound":
        """The state with these samples added: all, or those where `mask` is true."""
        mask = jnp.ones(len(log_weights), bool) if mask is None else mask
        log_weights = jnp.where(mask[:, None], log_weights, -jnp.inf)
        largest = jnp.maximum(self.largest, jax.lax.stop_gradient(log_weights).max(axis=0))
        offset = _offset(largest)
        total = self.total * jnp.exp(self.largest - offset) + jnp.exp(log_weights - offset[None]).sum(axis=0)
        return RunningBound(largest=largest, total=total, count=self.count + mask.sum())

    @property
    def value(self) -> Float[Array, "batch"]:
        """The bound in nats; NaN without any sample."""
        return _offset(self.largest) + jnp.log(self.total) - jnp.log(self.count)


def _offset(largest: Float[Array, "batch"]) -> Float[Array, "batch"]:
    return jnp.where(jnp.isfinite(largest), largest, 0.0)  # inf - inf is NaN


def chunked_importance_weighted_bound(
    log_weight_fn: Callable[[Key[Array, "chunk batch"]], Float[Array, "chunk batch"]],
    keys: Key[Array, "batch"],
    *,
    num_samples: int,
    chunk: int,
) -> Float[Array, "batch"]:
    """Importance-weighted bound of each record in nats, from samples drawn `chunk` at a time.

    Sample i of a record is drawn with `fold_in(key, i)`: neither the chunk nor the batch changes the result beyond
    rounding, and the samples of a smaller k are the first ones of a larger k.

    One chunk is compiled, however many there are. It is for numbers, not for their gradients: those of convolutions
    are slow inside a loop on CPU (`jgr.scan`); convolutions themselves are not.

    Args:
        log_weight_fn: Log-weights log p(x, z) - log q(z | x) of one sample a key; a column of keys for each record.
        keys: One key a record.
        num_samples: k, at least 1.
        chunk: Samples of a record computed at once; need not divide k: samples past k are drawn and not counted.

    Raises:
        ValueError: If `num_samples` or `chunk` is below 1, or the log-weights have another shape than their keys.
    """
    if num_samples < 1 or chunk < 1:
        raise ValueError(f"num_samples={num_samples} and chunk={chunk} must be at least 1")

    def add(running: RunningBound, samples: Int[Array, "chunk"]) -> tuple[RunningBound, None]:
        sample_keys = jax.vmap(record_keys, in_axes=(0, None), out_axes=1)(keys, samples)
        log_weights = log_weight_fn(sample_keys)
        if log_weights.shape != sample_keys.shape:
            raise ValueError(f"log_weight_fn gave shape {log_weights.shape} for keys of shape {sample_keys.shape}")
        return running.update(log_weights, samples < num_samples), None

    chunks = -(-num_samples // chunk)
    samples = jnp.arange(chunks * chunk).reshape(chunks, chunk)
    return jax.lax.scan(add, RunningBound.empty(len(keys)), samples)[0].value


def bits_per_dim(nats: Float[Array, "*shape"], num_dims: int, *, scale: float) -> Float[Array, "*shape"]:
    """Bits per dimension of uint8 data from a negative log-likelihood: nats / (dims ln 2) + log2(scale).

    Args:
        nats: Negative log-likelihood, or its bound, in nats for the whole record.
        num_dims: height * width * channels.
        scale: What the levels 0 to 255 were divided by before the model saw them. 1 for a probability of levels or a
            density over dequantised levels; 255 for a density over `jgr.images.to_float`'s [0, 1]; 256 for one over
            (level + noise) / 256. Dividing the data multiplies its density by `scale` in each dimension.
    """
    return nats / (num_dims * math.log(2.0)) + math.log2(scale)


def active_units(posterior_means: Float[Array, "n latents"], *, threshold: float = 0.01) -> Float[Array, ""]:
    """Number of latents whose posterior mean varies over the data by more than the threshold (Burda et al. 2016, 5.2).

    NaN where a mean is not finite. The variance is the unbiased one, as in `active_units_of_moments`.

    Args:
        posterior_means: Mean of q(z | x) of each record, at least 2.
        threshold: Variance above which a unit is active; the paper's is 0.01.

    Raises:
        ValueError: With fewer than 2 records.
    """
    if len(posterior_means) < 2:
        raise ValueError(f"a variance needs at least 2 records, not {len(posterior_means)}")
    variances = posterior_means.var(axis=0, ddof=1)
    return jnp.where(jnp.isfinite(variances).all(), (variances > threshold).sum(), jnp.nan)


def active_units_of_moments(moments: Moments, *, threshold: float = 0.01) -> int:
    """`active_units` on the host, of posterior means that were streamed through `Moments`.

    Raises:
        ValueError: With fewer than 2 records. (`Moments` refuses means that are not finite.)
    """
    return int((np.diag(moments.covariance) > threshold).sum())
