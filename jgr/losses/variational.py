"""Objectives of variational autoencoders with one layer of latents, in nats.

Name one in a config: `config.task.objective = dict(cls="jgr.losses.variational.ELBO", beta=4.0)`. One of your own is a
subclass of `Objective`.
"""

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jgr.config import Duration
from jgr.errors import ConfigError
from jgr.losses.gaussian import DiagonalGaussian
from jgr.metrics.bounds import importance_weighted_bound

Tree = Any
Metrics = dict[str, Float[Array, ""]]


class Bound(NamedTuple):
    """What an objective sees of a batch.

    Args:
        posterior: q(z | x) of each record.
        noise: Standard normal, of which latents are made: [samples, batch, latents].
        params: What decodes; the gradient is taken in them and in the posterior.
        log_likelihood: `(params, latents [samples, batch, latents]) -> log p(x | z) [samples, batch]`.
        prior: `params -> p(z)` of each record; None for N(0, 1).
    """

    posterior: DiagonalGaussian
    noise: Float[Array, "samples batch latents"]
    params: Tree
    log_likelihood: Callable[[Tree, Float[Array, "samples batch latents"]], Float[Array, "samples batch"]]
    prior: Callable[[Tree], DiagonalGaussian] | None = None

    def divergence(self) -> Float[Array, "batch latents"]:
        """KL(q(z | x) || p(z)) of each latent."""
        return self.posterior.divergence(None if self.prior is None else self.prior(self.params))

    def log_weights(
        self, params: Tree, latents: Float[Array, "samples batch latents"], posterior: DiagonalGaussian
    ) -> Float[Array, "samples batch"]:
        """Log p(x | z) + log p(z) - log q(z | x) of latents."""
        prior = DiagonalGaussian.standard(latents) if self.prior is None else self.prior(params)
        return self.log_likelihood(params, latents) + prior.log_prob(latents) - posterior.log_prob(latents)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Annealing:
    """How the weight of the KL rises, or falls, over the training, as a share of beta.

    Args:
        kind: "linear": once from 0 to 1 (Bowman et al. 2016, section 3.1). "cyclical": again and again, with a
            rest at 1 after each rise (Fu et al. 2019, section 3).
        steps: Of the rise, or of all cycles together.
        cycles: Of the cyclical one.
        rise: Share of a cycle in which it rises.
        start: The share that it begins with. From one above 1 it falls: meant for decoders that are told labels or
            captions, which do little of that where latents tell them all from the beginning.
    """

    kind: Literal["linear", "cyclical"] = "linear"
    steps: Duration = "50%"  # type: ignore[assignment]  # steps, once built from a config
    cycles: int = 4
    rise: float = 0.5
    start: float = 0.0

    def __post_init__(self) -> None:
        if self.start < 0.0:
            raise ConfigError(f"start = {self.start} must be at least 0")
        if isinstance(self.steps, str):
            raise ConfigError(f"steps = {self.steps!r}: outside a config, give the steps themselves")
        if self.cycles < 1:
            raise ConfigError(f"cycles = {self.cycles} must be at least 1")
        if not 0.0 < self.rise <= 1.0:
            raise ConfigError(f"rise = {self.rise} must be a share above 0 and at most 1")

    def __call__(self, step: Int[Array, ""] | int) -> Float[Array, ""]:
        """The share at a step, from `start` to 1; 1 after the last."""
        done = jnp.asarray(step, jnp.float32) / max(self.steps, 1)
        if self.kind == "linear":
            way = jnp.clip(done, 0.0, 1.0)
        else:
            within = (done * self.cycles) % 1.0
            way = jnp.where(done >= 1.0, 1.0, jnp.clip(within / self.rise, 0.0, 1.0))
        return self.start + (1.0 - self.start) * way


@dataclasses.dataclass(frozen=True, kw_only=True)
class Objective(abc.ABC):
    """What is minimised.

    Args:
        num_samples: Latents drawn for each record.
    """

    num_samples: int = 1

    def __post_init__(self) -> None:
        if self.num_samples < 1:
            raise ConfigError(f"num_samples = {self.num_samples} must be at least 1")

    @abc.abstractmethod
    def __call__(self, bound: Bound, step: Int[Array, ""]) -> tuple[Float[Array, ""], Metrics]:
        """The loss, a mean over records, and metrics: always the "elbo" at beta = 1, and what else is to be logged.

        Args:
            bound: See `Bound`.
            step: Steps done.
        """


@dataclasses.dataclass(frozen=True, kw_only=True)
class ELBO(Objective):
    """-log p(x | z) + beta KL(q(z | x) || p(z)) (Kingma & Welling 2014, equation 7; beta: Higgins et al. 2017).

    Args:
        beta: Weight of the KL. 1 bounds the likelihood.
        annealing: How the weight rises to beta; None: it is beta from the start.
        free_bits: Nats of each latent that cost nothing: the batch's mean KL of a latent counts as at least so much
            (Kingma et al. 2016, appendix C.8).
    """

    beta: float = 1.0
    annealing: Annealing | None = None
    free_bits: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("beta", "free_bits"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} = {getattr(self, name)} must not be negative")

    def __call__(self, bound: Bound, step: Int[Array, ""]) -> tuple[Float[Array, ""], Metrics]:
        """See `Objective.__call__`."""
        likelihood = bound.log_likelihood(bound.params, bound.posterior.at(bound.noise)).mean()
        divergence = bound.divergence().mean(axis=0)
        beta = jnp.float32(self.beta) if self.annealing is None else self.beta * self.annealing(step)
        cost = jnp.maximum(divergence, self.free_bits).sum()
        return beta * cost - likelihood, {"elbo": likelihood - divergence.sum(), "beta": beta}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImportanceWeighted(Objective):
    """Minus the importance-weighted bound of `num_samples` latents (Burda et al. 2016, equation 8).

    Args:
        num_samples: k; 1 is the ELBO with a sampled KL.
        doubly_reparameterized: Whether the posterior's gradient is the doubly reparameterised one (Tucker et al. 2019,
            equation 8), of the same expectation and less variance.
    """

    num_samples: int = 50
    doubly_reparameterized: bool = False

    def __call__(self, bound: Bound, step: Int[Array, ""]) -> tuple[Float[Array, ""], Metrics]:
        """See `Objective.__call__`."""
        latents = bound.posterior.at(bound.noise)
        if self.doubly_reparameterized:
            return self._doubly_reparameterized(bound, latents)
        log_weights = bound.log_weights(bound.params, latents, bound.posterior)
        return -importance_weighted_bound(log_weights, 0).mean(), {"elbo": log_weights.mean()}

    def _doubly_reparameterized(
        self, bound: Bound, latents: Float[Array, "samples batch latents"]
    ) -> tuple[Float[Array, ""], Metrics]:
        """The loss, whose gradient in a latent is once more weighted by the latent's normalised weight.

        The log-weights are differentiated here, in what decodes and in the latents, with the posterior held fixed; what
        is returned has the loss's value and a gradient that is linear in both.
        """
        held = jax.lax.stop_gradient((bound.params, latents, bound.posterior))
        log_weights, pull = jax.vjp(lambda params, z: bound.log_weights(params, z, held[2]), *held[:2])
        shares = jax.nn.softmax(log_weights, axis=0)
        slopes, latent_slopes = pull(-shares / log_weights.shape[1])
        surrogate = jnp.vdot(shares[..., None] * latent_slopes, latents)
        pairs = zip(jax.tree.leaves(slopes), jax.tree.leaves(bound.params), strict=True)
        surrogate += sum(jnp.vdot(slope, leaf) for slope, leaf in pairs)
        value = -importance_weighted_bound(log_weights, 0).mean()
        return value + surrogate - jax.lax.stop_gradient(surrogate), {"elbo": log_weights.mean()}
