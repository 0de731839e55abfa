"""Diagonal Gaussians: the posteriors and priors of variational autoencoders, in nats."""

import math
from typing import Any

import flax.struct
import jax.numpy as jnp
from jaxtyping import Array, Float

BOUND = 10.0
"""Largest magnitude of a log-variance: standard deviations lie between 0.0067 and 148."""


class DiagonalGaussian(flax.struct.PyTreeNode):
    """Normal distributions with independent values along the last axis.

    Args:
        mean: Means [..., dims].
        log_variance: Logarithms of the variances, of the same shape.
    """

    # Shapes may stand for arrays, where it is only traced: so neither is annotated more closely.
    mean: Any
    log_variance: Any

    @classmethod
    def bounded(
        cls, mean: Float[Array, "*shape dims"], log_variance: Float[Array, "*shape dims"]
    ) -> "DiagonalGaussian":
        """Of a network's outputs: the log-variance x becomes 10 tanh(x / 10), near 0 itself, so nothing overflows."""
        return cls(mean=mean, log_variance=BOUND * jnp.tanh(log_variance / BOUND))

    @classmethod
    def standard(cls, like: Float[Array, "*shape dims"]) -> "DiagonalGaussian":
        """Of mean 0 and variance 1, shaped as an array."""
        return cls(mean=jnp.zeros_like(like), log_variance=jnp.zeros_like(like))

    def at(self, noise: Float[Array, "*samples dims"]) -> Float[Array, "*samples dims"]:
        """Samples mean + standard deviation * noise (Kingma & Welling 2014, section 2.4), differentiable in both.

        Args:
            noise: Standard normal; more axes may lie before those of the mean.
        """
        mean, log_variance = _aligned(self.mean, noise), _aligned(self.log_variance, noise)
        return mean + jnp.exp(0.5 * log_variance) * noise

    def log_prob(self, values: Float[Array, "*samples dims"]) -> Float[Array, "*samples"]:
        """Log-density of vectors, summed over the last axis, with the constant of 2 pi."""
        mean, log_variance = _aligned(self.mean, values), _aligned(self.log_variance, values)
        squared = jnp.square(values - mean) * jnp.exp(-log_variance)
        return -0.5 * (squared + log_variance + math.log(2.0 * math.pi)).sum(axis=-1)

    def divergence(self, prior: "DiagonalGaussian | None" = None) -> Float[Array, "*shape dims"]:
        """KL(self || prior) of each value, at least 0 (Kingma & Welling 2014, appendix B).

        Args:
            prior: Another one of this shape; None for mean 0 and variance 1.
        """
        if prior is None:
            return 0.5 * (jnp.square(self.mean) + jnp.exp(self.log_variance) - 1.0 - self.log_variance)
        ratio = self.log_variance - prior.log_variance
        distance = jnp.square(self.mean - prior.mean) * jnp.exp(-prior.log_variance)
        return 0.5 * (distance + jnp.exp(ratio) - 1.0 - ratio)


def _aligned(values: Array, samples: Array) -> Array:
    """The values with axes of length 1 before theirs, as many as the samples have more."""
    return values.reshape((1,) * (samples.ndim - values.ndim) + values.shape)
