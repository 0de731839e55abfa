"""Variational autoencoders with one layer of latents (Kingma & Welling 2014), also with labels and tighter bounds."""

import dataclasses
import inspect
import zlib
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from jaxtyping import Array, Float, Int, Key

from jgr.data.vocabulary import BOS, EOS, PAD
from jgr.errors import ConfigError
from jgr.losses.gaussian import DiagonalGaussian
from jgr.losses.likelihoods import Bernoulli, Images, Likelihood
from jgr.losses.variational import ELBO, Bound, Objective
from jgr.mesh import gathered
from jgr.metrics.bounds import active_units, chunked_importance_weighted_bound
from jgr.models.latent_priors import LatentPrior
from jgr.optim import Optimizer
from jgr.rng import folded, purpose_key, record_keys
from jgr.state import TrainState, Tree
from jgr.tasks.task import Batch, Task
from jgr.tasks.update import update

# What a record's key is folded with: a draw for one purpose tells nothing about another's.
_LATENT, _PRIOR = zlib.crc32(b"latent"), zlib.crc32(b"prior")

_CHUNK_VALUES = 2**22  # of decoded images at a time, where many samples are drawn: 16 MiB
_COLLAPSED = 0.5  # nats of KL: the latents tell the decoder less than the answer to one question of yes or no


def _adam() -> Optimizer:
    return Optimizer(rule=optax.adam, learning_rate=1e-3)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Aggregate:
    """A second model, of the latents that the encoder finds: what samples are drawn from instead of N(0, 1).

    It is trained beside the autoencoder, which never learns from it: likelihoods and bounds remain those of N(0, 1).

    Args:
        prior: See `jgr.models.latent_priors`.
        optimizer: Owns its parameters.
    """

    prior: LatentPrior
    optimizer: Optimizer = dataclasses.field(default_factory=_adam)


@dataclasses.dataclass(frozen=True, kw_only=True)
class VAE(Task):
    """An encoder, a decoder, what the decoder's outputs mean, and what is minimised.

    `metrics.jsonl` has the `elbo` at beta = 1, whatever is minimised, its parts `reconstruction` and `kl`, the largest
    KL of a latent and the batch's active units.

    Args:
        encoder: Module with an int `latent_dim`; `(images, train) -> DiagonalGaussian` of [batch, latent_dim]. It also
            takes `labels` where `num_classes` is given, as does the decoder.
        decoder: Module; `(latents [batch, latent_dim], train) -> [batch, height, width, outputs]`, with as many outputs
            as the likelihood needs.
        likelihood: Of images given the decoder's outputs.
        objective: What is minimised.
        optimizer: Owns all parameters of the autoencoder.
        num_classes: Of a conditional VAE (Sohn et al. 2015); records need a `label`. None for none.
        captions: Whether it is told captions instead: networks are given `tokens` as `labels`, see
            `jgr.models.captioned`.
        prior: Module with an int `latent_dim`; `(labels, train) -> DiagonalGaussian` of [batch, latent_dim]: p(z) given
            what the VAE is told (Sohn et al. 2015, section 4.1), such as `jgr.models.captioned.Prior`. It is trained
            with the others. None for N(0, 1).
        aggregate: What samples are drawn from; None for the prior.
        guidance: Of samples by captions: what the decoder gives untold, and so many times the way from there to what it
            gives told (Ho & Salimans 2022, equation 6, with 1 + w). 1 changes nothing; others need a training with
            `data.captions.dropout`.
    """

    encoder: nn.Module
    decoder: nn.Module
    likelihood: Likelihood = dataclasses.field(default_factory=Bernoulli)
    objective: Objective = dataclasses.field(default_factory=ELBO)
    optimizer: Optimizer = dataclasses.field(default_factory=_adam)
    num_classes: int | None = None
    captions: bool = False
    prior: nn.Module | None = None
    aggregate: Aggregate | None = None
    guidance: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(getattr(self.encoder, "latent_dim", None), int):
            raise ConfigError(f"encoder: {type(self.encoder).__qualname__} needs an int field latent_dim")
        if self.num_classes is not None and self.num_classes < 2:
            raise ConfigError(f"num_classes = {self.num_classes} must be at least 2; None for an unconditional VAE")
        if getattr(self.decoder, "latent_dim", self._latent_dim) != self._latent_dim:
            raise ConfigError(
                f"decoder.latent_dim = {self.decoder.latent_dim}, but encoder.latent_dim = {self._latent_dim}: set "
                "both alike"
            )
        for name, network in (("encoder", self.encoder), ("decoder", self.decoder)):
            if getattr(network, "num_classes", self.num_classes) != self.num_classes:
                raise ConfigError(
                    f"{name}.num_classes = {network.num_classes}, but num_classes = {self.num_classes}: set both alike"
                )
        if self.captions and self.num_classes is not None:
            raise ConfigError(f"captions: a VAE is told captions or labels; take num_classes = {self.num_classes} out")
        if self.guidance != 1.0 and not self.captions:
            raise ConfigError(f"guidance = {self.guidance} is of captions; set captions, or guidance to 1")
        if self.prior is not None and self.condition_name is None:
            raise ConfigError("prior: p(z) is given what a VAE is told; set captions or num_classes, or prior to None")
        if self.prior is not None and getattr(self.prior, "latent_dim", None) != self._latent_dim:
            raise ConfigError(
                f"prior.latent_dim = {getattr(self.prior, 'latent_dim', None)} must be that of the encoder, "
                f"{self._latent_dim}"
            )
        if self.aggregate is not None and self.condition_name is not None:
            raise ConfigError(
                "aggregate: a model of the latents of all classes would mix them up; take num_classes=None, and no "
                "captions"
            )
        if self.aggregate is not None and self.aggregate.prior.latent_dim != self._latent_dim:
            raise ConfigError(
                f"aggregate.prior.latent_dim = {self.aggregate.prior.latent_dim} must be that of the encoder, "
                f"{self._latent_dim}"
            )

    @property
    def condition_name(self) -> str | None:
        """See `Task.condition_name`."""
        return "tokens" if self.captions else super().condition_name

    @property
    def averaged_networks(self) -> tuple[str, ...]:
        """All of them."""
        return (*self._trained, *(("aggregate",) if self.aggregate is not None else ()))

    @property
    def _trained(self) -> tuple[str, ...]:
        """What the objective trains."""
        return ("encoder", "decoder", "likelihood", *(("prior",) if self.prior is not None else ()))

    def check_records(self, records: Mapping[str, np.ndarray]) -> None:
        """See `Task.check_records`: images must lie in the likelihood's support."""
        self.likelihood.check(records["image"])

    def init(self, key: Key[Array, ""], batch: Batch) -> TrainState:
        """See `Task.init`.

        Raises:
            ConfigError: If the networks do not fit the data or each other, keep more than parameters, or the records
                have no label.
        """
        if self.num_classes is not None and "label" not in batch:
            raise ConfigError(
                f"config.task.num_classes = {self.num_classes}: a conditional VAE needs records with a label, and "
                "config.data has none"
            )
        if self.captions and "tokens" not in batch:
            raise ConfigError(
                "config.task.captions: the records of config.data are read without captions; take "
                "data.captions=dict(), and data with captions"
            )
        images = batch["image"][:2]
        labels: dict[str, Any] = {
            name: jnp.zeros((2, *value.shape[1:]), jnp.int32) for name, value in self._labels(batch).items()
        }
        keys = jax.random.split(key, 3)
        self._check_networks(keys[0], images, labels)
        latents = jnp.zeros((2, self._latent_dim))
        variables = {
            "encoder": self.encoder.init(keys[0], images, **labels, train=True),
            "decoder": self.decoder.init(keys[1], latents, **labels, train=True),
            "likelihood": {"params": self.likelihood.init()},
        }
        if self.prior is not None:
            variables["prior"] = self.prior.init(keys[2], **labels, train=True)
        if self.aggregate is not None:
            variables["aggregate"] = self.aggregate.prior.init(keys[2], latents, record_keys(key, jnp.arange(2)))
        params = {name: own["params"] for name, own in variables.items()}
        trained = {name: params[name] for name in self._trained}
        opt_state = {"vae": self.optimizer.transformation().init(trained)}
        if self.aggregate is not None:
            of_aggregate = self.aggregate.optimizer.transformation()
            opt_state["aggregate"] = of_aggregate.init({"aggregate": params["aggregate"]})
        return TrainState(
            step=jnp.int32(0), params=params, model_state={name: {} for name in params}, opt_state=opt_state
        )

    def step(self, state: TrainState, batch: Batch, key: Key[Array, ""]) -> tuple[TrainState, dict[str, Any]]:
        """See `Task.step`: an update of the autoencoder, then one of the aggregate posterior's model, if any."""
        records = {name: value[0] for name, value in batch.items()}
        loss = partial(self._loss, state.step)
        state, metrics = update(state, "vae", self.optimizer, loss, records, key, networks=self._trained)
        if self.aggregate is not None:
            loss = partial(self._aggregate_loss, gathered(state.params["encoder"]))
            state, fitted = update(
                state, "aggregate", self.aggregate.optimizer, loss, records, key, networks=("aggregate",)
            )
            metrics |= fitted
        return state, metrics

    def concern(self, metrics: Mapping[str, float]) -> str | None:
        """Posterior collapse: the decoder does without the latents (Bowman et al. 2016, section 3.1)."""
        beta, last = metrics.get("vae/beta", 1.0), getattr(self.objective, "beta", 1.0)
        if metrics["vae/kl"] < _COLLAPSED and 0.0 < beta < 1.001 * last:  # above it an annealing makes latents dear
            return (
                f"posterior collapse: vae/kl is {metrics['vae/kl']:.2g} nats, that of no latent above "
                f"{metrics['vae/largest_kl']:.2g}, and {metrics['vae/active_units']:.0f} of {self._latent_dim} latents "
                "are active: the decoder does without them. A smaller beta, annealing or free_bits keeps them in use"
            )
        return None

    def sample(
        self,
        state: TrainState,
        keys: Key[Array, "batch"],
        condition: Mapping[str, Int[Array, "batch *length"]] | None = None,
    ) -> Images:
        """Expected images of latents from the prior, or from the aggregate posterior's model, one a key.

        Raises:
            ValueError: If a condition is given and this VAE has none, or the other way round.
        """
        return self.generate(state, self.latents(keys), keys, condition)

    def latents(self, keys: Key[Array, "batch"]) -> Float[Array, "batch latent"]:
        """Standard normal values, one vector a key."""
        return _normal(keys, self._latent_dim)

    def generate(
        self,
        state: TrainState,
        latents: Float[Array, "batch latent"],
        keys: Key[Array, "batch"],
        condition: Mapping[str, Int[Array, "batch *length"]] | None = None,
    ) -> Images:
        """See `jgr.tasks.task.LatentSampler` and, for what it raises, `sample`."""
        if (condition is None) != (self.condition_name is None):
            given = "no condition" if condition is None else f"the condition {sorted(condition)}"
            raise ValueError(f"this VAE is {'un' * (self.condition_name is None)}conditional, but was given {given}")
        drawn = self._drawn(state, latents, keys, condition or {})
        if self.guidance == 1.0:
            return self.decode(state, drawn, condition or {})
        told = self._labels(condition or {})
        untold = {name: _nothing_said(tokens) for name, tokens in told.items()}
        outputs, plain = (self._decode(state.params, drawn[None], each)[0] for each in (told, untold))
        return self.likelihood.mean(state.params["likelihood"], plain + self.guidance * (outputs - plain))

    def pixel_log_probs(
        self,
        state: TrainState,
        latents: Float[Array, "batch latent"],
        keys: Key[Array, "batch"],
        images: Images,
        condition: Mapping[str, Int[Array, "batch *length"]] | None = None,
    ) -> Float[Array, "batch height width"]:
        """See `jgr.tasks.task.PixelModel`; in expectation over the binarisation or noise of images, where there is."""
        drawn = self._drawn(state, latents, keys, condition or {})
        decoded = self._decode(state.params, drawn[None], self._labels(condition or {}))
        return self.likelihood.of_pixels(state.params["likelihood"], decoded[0], images)

    def encode(self, state: TrainState, batch: Batch) -> DiagonalGaussian:
        """The posterior of each record; of binarised images where the likelihood is of such, drawn by the record."""
        keys = record_keys(purpose_key(0, "posterior"), batch["index"])
        images = self.likelihood.prepared(batch["image"], batch["index"], keys)
        return self._encode(state.params["encoder"], images, batch)

    def decode(self, state: TrainState, latents: Float[Array, "batch latent"], condition: Mapping[str, Any]) -> Images:
        """Expected images of latents as the decoder sees them, in [0, 1]."""
        outputs = self._decode(state.params, latents[None], self._labels(condition))
        return self.likelihood.mean(state.params["likelihood"], outputs[0])

    def posterior_mean(self, state: TrainState, batch: Batch) -> Float[Array, "batch latents"]:
        """See `jgr.tasks.task.LatentModel`."""
        return self.encode(state, batch).mean

    def posterior_divergence(self, state: TrainState, batch: Batch) -> Float[Array, "batch latents"]:
        """See `jgr.tasks.task.LatentDivergence`."""
        return self.encode(state, batch).divergence(self._prior(state.params, self._labels(batch)))

    def reconstruct(self, state: TrainState, batch: Batch) -> Images:
        """See `jgr.tasks.task.Reconstructor`: expected images of the posterior means."""
        return self.decode(state, self.posterior_mean(state, batch), batch)

    def log_likelihood(
        self, state: TrainState, batch: Batch, keys: Key[Array, "batch"], num_samples: int
    ) -> Float[Array, "batch"]:
        """See `jgr.tasks.task.DensityModel`; of images that are binarised by the keys, where they are."""
        images = self.likelihood.prepared(batch["image"], batch["index"], keys)
        bound = self._bound(state.params, images, batch, jnp.zeros((0, len(images), self._latent_dim)))

        def log_weights(sample_keys: Key[Array, "chunk batch"]) -> Float[Array, "chunk batch"]:
            noise = jax.vmap(lambda of: _normal(of, self._latent_dim))(folded(sample_keys, _LATENT))
            return bound.log_weights(state.params, bound.posterior.at(noise), bound.posterior)

        chunk = max(1, min(num_samples, _CHUNK_VALUES // images.size))
        return chunked_importance_weighted_bound(log_weights, keys, num_samples=num_samples, chunk=chunk)

    @property
    def _latent_dim(self) -> int:
        return self.encoder.latent_dim

    def _drawn(
        self,
        state: TrainState,
        latents: Float[Array, "batch latent"],
        keys: Key[Array, "batch"],
        condition: Mapping[str, Any],
    ) -> Float[Array, "batch latent"]:
        """What samples are decoded from: what the prior, or the aggregate posterior's model, makes of the latents."""
        if self.aggregate is None:
            prior = self._prior(state.params, self._labels(condition))
            return latents if prior is None else prior.at(latents)
        variables = {"params": state.params["aggregate"]}
        drawn: Any = self.aggregate.prior.apply(variables, latents, folded(keys, _PRIOR), method="transform")
        return drawn

    def _labels(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        return {} if self.condition_name is None else {"labels": batch[self.condition_name]}

    def _prior(self, params: dict[str, Tree], labels: Mapping[str, Any]) -> DiagonalGaussian | None:
        """p(z) of each record; None for N(0, 1)."""
        if self.prior is None:
            return None
        prior: Any = self.prior.apply({"params": params["prior"]}, **labels, train=True)
        return prior

    def _encode(self, params: Tree, images: Images, batch: Mapping[str, Array]) -> DiagonalGaussian:
        posterior: Any = self.encoder.apply({"params": params}, images, **self._labels(batch), train=True)
        return posterior

    def _decode(
        self, params: dict[str, Tree], latents: Float[Array, "samples batch latent"], labels: Mapping[str, Array]
    ) -> Float[Array, "samples batch height width outputs"]:
        count, size = latents.shape[:2]
        told: dict[str, Any] = {
            name: jnp.tile(value, (count, *(1 for _ in value.shape[1:]))) for name, value in labels.items()
        }
        variables = {"params": params["decoder"]}
        outputs: Any = self.decoder.apply(variables, latents.reshape(count * size, -1), **told, train=True)
        made: Array = outputs.reshape(count, size, *outputs.shape[1:]).astype("float32")
        return made

    def _bound(
        self, params: dict[str, Tree], images: Images, batch: Batch, noise: Float[Array, "samples batch latent"]
    ) -> Bound:
        def log_likelihood(params: Tree, latents: Float[Array, "samples batch latent"]) -> Array:
            outputs = self._decode(params, latents, self._labels(batch))
            return self.likelihood.log_prob(params["likelihood"], outputs, images)

        def prior(params: Tree) -> DiagonalGaussian:
            found = self._prior(params, self._labels(batch))
            assert found is not None
            return found

        decoding = {name: params[name] for name in self._trained if name != "encoder"}
        posterior = self._encode(params["encoder"], images, batch)
        return Bound(posterior, noise, decoding, log_likelihood, None if self.prior is None else prior)

    def _loss(
        self,
        step: Int[Array, ""],
        params: dict[str, Tree],
        model_state: dict[str, Tree],
        batch: Batch,
        keys: Key[Array, "batch"],
    ) -> tuple[Float[Array, ""], tuple[dict[str, Tree], dict[str, Float[Array, ""]]]]:
        images = self.likelihood.prepared(batch["image"], batch["index"], keys)
        noise = jax.vmap(
            lambda key: jax.random.normal(key, (self.objective.num_samples, self._latent_dim)), out_axes=1
        )(folded(keys, _LATENT))
        bound = self._bound(params, images, batch, noise)
        loss, metrics = self.objective(bound, step)
        divergence = bound.divergence().mean(axis=0)
        metrics |= {
            "kl": divergence.sum(),
            "reconstruction": metrics["elbo"] + divergence.sum(),
            "largest_kl": divergence.max(),
            "active_units": active_units(bound.posterior.mean),
        }
        return loss, ({}, metrics)

    def _aggregate_loss(
        self,
        encoder_params: Tree,
        params: dict[str, Tree],
        model_state: dict[str, Tree],
        batch: Batch,
        keys: Key[Array, "batch"],
    ) -> tuple[Float[Array, ""], tuple[dict[str, Tree], dict[str, Float[Array, ""]]]]:
        assert self.aggregate is not None
        images = self.likelihood.prepared(batch["image"], batch["index"], keys)
        posterior = self._encode(encoder_params, images, batch)
        latents = posterior.at(_normal(folded(keys, _LATENT), self._latent_dim))
        variables = {"params": params["aggregate"]}
        losses: Any = self.aggregate.prior.apply(variables, latents, folded(keys, _PRIOR))
        return losses.mean(), ({}, {})

    def _check_networks(self, key: Key[Array, ""], images: Images, labels: dict[str, Any]) -> None:
        """Raises ConfigError where the networks do not fit the data or each other; nothing is computed."""
        networks = {"encoder": (self.encoder, images), "decoder": (self.decoder, jnp.zeros((2, self._latent_dim)))}
        made = {}
        for name, (module, inputs) in networks.items():
            where = f"config.task.{name}: {type(module).__qualname__}"
            if labels and "labels" not in inspect.signature(type(module).__call__).parameters:
                raise ConfigError(f"{where} takes no labels, but this VAE is told the {self.condition_name} of records")
            apply = partial(module.init_with_output, train=True, **labels)
            made[name], variables = jax.eval_shape(lambda k, f=apply, x=inputs: f(k, x), key)
            if others := sorted(set(variables) - {"params"}):
                raise ConfigError(
                    f"{where} keeps {', '.join(others)} besides parameters, which a bound of many samples cannot have; "
                    "take group or layer norm"
                )
        mean = getattr(made["encoder"], "mean", None)
        if mean is None or mean.shape != (2, self._latent_dim):
            raise ConfigError(
                f"config.task.encoder: {type(self.encoder).__qualname__} must give a DiagonalGaussian of "
                f"[batch, {self._latent_dim}]"
            )
        wanted = (*images.shape[1:3], self.likelihood.num_outputs(images.shape[-1]))
        if made["decoder"].shape[1:] != wanted:
            raise ConfigError(
                f"config.task.decoder gives {'x'.join(map(str, made['decoder'].shape[1:]))}, but "
                f"{type(self.likelihood).__name__} of the data's images needs {'x'.join(map(str, wanted))} (height, "
                "width, outputs)"
            )


def _nothing_said(tokens: Int[Array, "batch length"]) -> Int[Array, "batch length"]:
    """Empty captions in the place of others."""
    return jnp.full_like(tokens, PAD).at[:, 0].set(BOS).at[:, 1].set(EOS)


def _normal(keys: Key[Array, "batch"], dims: int) -> Float[Array, "batch dims"]:
    return jax.vmap(lambda key: jax.random.normal(key, (dims,)))(keys)
