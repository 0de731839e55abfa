"""Models of latent vectors, fitted to those that an encoder finds: what samples of an autoencoder are drawn from."""

import abc
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype
from jaxtyping import Array, Float, Key

from jgr.losses.gaussian import DiagonalGaussian
from jgr.models.vae_inputs import require_positive

_SMALLEST = -7.0  # of log-scales: where latents lie on a thinner sheet, its likelihood would grow without bound


class LatentPrior(nn.Module, abc.ABC):
    """A model of latent vectors with an int field `latent_dim`."""

    latent_dim: int

    @abc.abstractmethod
    def __call__(self, latents: Float[Array, "batch latent"], keys: Key[Array, "batch"]) -> Float[Array, "batch"]:
        """The loss of each vector in nats."""

    @abc.abstractmethod
    def transform(self, noise: Float[Array, "batch latent"], keys: Key[Array, "batch"]) -> Float[Array, "batch latent"]:
        """Samples made of standard normal vectors; the keys decide what is random besides."""


class GaussianMixture(LatentPrior):
    """Normal distributions with independent values, and their shares (Ghosh et al. 2020, section 4, ex-post density).

    Args:
        latent_dim: Length of a latent vector.
        num_components: How many there are.
    """

    num_components: int = 50

    def __post_init__(self) -> None:
        require_positive(self, "latent_dim", "num_components")
        super().__post_init__()

    def setup(self) -> None:
        """The components."""
        shape = (self.num_components, self.latent_dim)
        self.means = self.param("means", nn.initializers.normal(1.0), shape)
        self.log_scales = self.param("log_scales", nn.initializers.zeros, shape)
        self.logits = self.param("logits", nn.initializers.zeros, (self.num_components,))

    def __call__(self, latents: Float[Array, "batch latent"], keys: Key[Array, "batch"]) -> Float[Array, "batch"]:
        """Minus the log-density of each vector."""
        each = jnp.broadcast_to(latents[:, None, :], (len(latents), self.num_components, self.latent_dim))
        of_each = self._components().log_prob(each)
        return -jax.nn.logsumexp(of_each + jax.nn.log_softmax(self.logits)[None], axis=1)

    def transform(self, noise: Float[Array, "batch latent"], keys: Key[Array, "batch"]) -> Float[Array, "batch latent"]:
        """A component for each key, at the noise."""
        chosen = jax.vmap(lambda key: jax.random.categorical(key, self.logits))(keys)
        components = self._components()
        return components.mean[0, chosen] + jnp.exp(0.5 * components.log_variance[0, chosen]) * noise

    def _components(self) -> DiagonalGaussian:
        log_scales = jnp.maximum(self.log_scales, _SMALLEST)
        return DiagonalGaussian(mean=self.means[None], log_variance=2.0 * log_scales[None])


class SecondStage(LatentPrior):
    """A VAE of latents, with as many latents of its own and a learned scale (Dai & Wipf 2019, section 4).

    The first stage finds the sheet on which images lie, the second how they are spread over it.

    Args:
        latent_dim: Length of a latent vector, and of its own latents.
        widths: Units of the hidden layers of its encoder and its decoder; what goes in joins the last of them, as in
            daib13/TwoStageVAE.
        dtype: Of the computation; promoted from inputs and parameters when None.
    """

    widths: tuple[int, ...] = (1024, 1024, 1024)
    dtype: Dtype | None = None

    def __post_init__(self) -> None:
        require_positive(self, "latent_dim", "widths")
        super().__post_init__()

    def setup(self) -> None:
        """The layers."""
        self.encoding = [nn.Dense(width, dtype=self.dtype) for width in self.widths]
        self.posterior = nn.Dense(2 * self.latent_dim, dtype=self.dtype)
        self.decoding = [nn.Dense(width, dtype=self.dtype) for width in self.widths]
        self.means = nn.Dense(self.latent_dim, dtype=self.dtype)
        self.log_scale = self.param("log_scale", nn.initializers.zeros, ())

    def __call__(self, latents: Float[Array, "batch latent"], keys: Key[Array, "batch"]) -> Float[Array, "batch"]:
        """Minus the ELBO of each vector."""
        hidden = self._through(self.encoding, latents)
        mean, log_variance = jnp.split(self.posterior(hidden).astype("float32"), 2, axis=-1)
        posterior = DiagonalGaussian.bounded(mean, log_variance)
        noise = jax.vmap(lambda key: jax.random.normal(key, (self.latent_dim,)))(keys)
        made = DiagonalGaussian(mean=self._decoded(posterior.at(noise)), log_variance=self._log_variance(latents))
        return posterior.divergence().sum(axis=-1) - made.log_prob(latents)

    def transform(self, noise: Float[Array, "batch latent"], keys: Key[Array, "batch"]) -> Float[Array, "batch latent"]:
        """Decoded noise, with noise of the learned scale from the keys."""
        means = self._decoded(noise)
        own = jax.vmap(lambda key: jax.random.normal(key, (self.latent_dim,)))(keys)
        return means + jnp.exp(0.5 * self._log_variance(means)) * own

    def _decoded(self, latents: Float[Array, "batch latent"]) -> Float[Array, "batch latent"]:
        return self.means(self._through(self.decoding, latents)).astype("float32")

    def _log_variance(self, like: Array) -> Array:
        return jnp.full_like(like, 2.0 * jnp.maximum(self.log_scale, _SMALLEST))

    def _through(self, layers: Any, values: Float[Array, "batch latent"]) -> Float[Array, "batch features"]:
        hidden = values
        for layer in layers:
            hidden = nn.relu(layer(hidden))
        return jnp.concatenate([hidden, values], axis=-1)
