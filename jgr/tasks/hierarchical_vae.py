"""Hierarchical VAEs: groups of latents, each given those above (Sønderby et al. 2016; Child 2021)."""

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

from jgr.errors import ConfigError
from jgr.losses.likelihoods import Bernoulli, Images, Likelihood
from jgr.losses.variational import Annealing
from jgr.metrics.bounds import chunked_importance_weighted_bound
from jgr.optim import Optimizer
from jgr.rng import folded, purpose_key, record_keys
from jgr.state import TrainState, Tree
from jgr.tasks.task import Batch, Task
from jgr.tasks.update import update

_LATENT = zlib.crc32(b"latent")  # what a record's key is folded with: its other draws tell nothing about this one

_CHUNK_VALUES = 2**24  # of the decoder's finest features at a time, where many samples are drawn: 64 MiB
_ACTIVE = 0.1  # nats of KL from which a group is active
_COLLAPSED = 0.5  # nats of all groups: less than the answer to one question of yes or no


def _adam() -> Optimizer:
    return Optimizer(rule=optax.adam, learning_rate=1e-3)


@dataclasses.dataclass(frozen=True, kw_only=True)
class HierarchicalVAE(Task):
    """A network of encoder, prior and decoder, what its outputs mean, and how much its latents may say.

    `metrics.jsonl` has the `elbo` at beta = 1, whatever is minimised, its parts `reconstruction` and `kl`, the KL of
    each group (`kl/0` is the coarsest), and how many groups have more than 0.1 nat.

    Args:
        network: Module; `(images, keys, train)` -> `jgr.models.vdvae.Pass`, with the methods `encode`, `decode` and
            `generate` of `jgr.models.vdvae.VDVAE`. It also takes `labels` where `num_classes` is given.
        likelihood: Of images given the outputs.
        optimizer: Owns all parameters.
        beta: Weight of the KL. 1 bounds the likelihood.
        annealing: How the weight rises to beta; None: it is beta from the start.
        free_bits: Nats of each group that cost nothing: the batch's mean KL of a group counts as at least so much
            (Kingma et al. 2016, appendix C.8).
        skip_norm: Updates whose gradient has a larger norm are left out, and their share so far is logged as
            `skipped`; None to leave out none. openai/vdvae has 400 times the dimensions of an image on CIFAR-10.
        num_classes: Of a conditional one; records need a `label`. None for none.
        temperature: What the priors' deviations are multiplied by where images are drawn; 1 draws from the model.
    """

    network: nn.Module
    likelihood: Likelihood = dataclasses.field(default_factory=Bernoulli)
    optimizer: Optimizer = dataclasses.field(default_factory=_adam)
    beta: float = 1.0
    annealing: Annealing | None = None
    free_bits: float = 0.0
    skip_norm: float | None = None
    num_classes: int | None = None
    temperature: float = 1.0

    def __post_init__(self) -> None:
        for name in ("beta", "free_bits", "temperature"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} = {getattr(self, name)} must not be negative")
        if self.skip_norm is not None and self.skip_norm <= 0:
            raise ConfigError(f"skip_norm = {self.skip_norm} must be positive, or None to skip no update")
        if self.num_classes is not None and self.num_classes < 2:
            raise ConfigError(f"num_classes = {self.num_classes} must be at least 2; None for an unconditional VAE")
        if getattr(self.network, "num_classes", self.num_classes) != self.num_classes:
            raise ConfigError(
                f"network.num_classes = {self.network.num_classes}, but num_classes = {self.num_classes}: set both "
                "alike"
            )

    @property
    def averaged_networks(self) -> tuple[str, ...]:
        """All there is."""
        return ("network", "likelihood")

    def check_records(self, records: Mapping[str, np.ndarray]) -> None:
        """See `Task.check_records`: images must lie in the likelihood's support."""
        self.likelihood.check(records["image"])

    def init(self, key: Key[Array, ""], batch: Batch) -> TrainState:
        """See `Task.init`.

        Raises:
            ConfigError: If the network does not fit the data or the likelihood, keeps more than parameters, or the
                records have no label.
        """
        if self.num_classes is not None and "label" not in batch:
            raise ConfigError(
                f"config.task.num_classes = {self.num_classes}: a conditional VAE needs records with a label, and "
                "config.data has none"
            )
        images, labels = batch["image"][:2], self._labels({"label": jnp.zeros(2, jnp.int32)})
        noise_keys = record_keys(key, jnp.arange(2))
        self._check_network(key, images, noise_keys, labels)
        variables = self.network.init(key, images, noise_keys, **labels, train=True)
        params = {"network": variables["params"], "likelihood": self.likelihood.init()}
        return TrainState(
            step=jnp.int32(0),
            params=params,
            model_state={name: {} for name in params},
            opt_state={"vae": self.optimizer.transformation().init(params)},
            extra={} if self.skip_norm is None else {"skipped": jnp.int32(0)},
        )

    def step(self, state: TrainState, batch: Batch, key: Key[Array, ""]) -> tuple[TrainState, dict[str, Any]]:
        """See `Task.step`."""
        records = {name: value[0] for name, value in batch.items()}
        loss = partial(self._loss, state.step)
        updated, metrics = update(state, "vae", self.optimizer, loss, records, key, networks=("network", "likelihood"))
        if self.skip_norm is None:
            return updated, metrics
        skips = metrics["vae/gradient_norm"] > self.skip_norm
        updated = jax.tree.map(lambda before, after: jnp.where(skips, before, after), state, updated)
        count = state.extra["skipped"] + skips
        share = count.astype(jnp.float32) / (state.step + 1).astype(jnp.float32)
        return updated.replace(extra={"skipped": count}), metrics | {"vae/skipped": share}

    def concern(self, metrics: Mapping[str, float]) -> str | None:
        """Posterior collapse (Bowman et al. 2016, section 3.1), or updates that are mostly left out."""
        if (share := metrics.get("vae/skipped", 0.0)) > 0.5:
            return f"{share:.0%} of all updates were left out: skip_norm = {self.skip_norm} is too low"
        active = metrics["vae/active_groups"]
        if (active == 0 or metrics["vae/kl"] < _COLLAPSED) and metrics["vae/beta"] > 0.0:
            groups = sum(name.startswith("vae/kl/") for name in metrics)
            return (
                f"posterior collapse: vae/kl is {metrics['vae/kl']:.2g} nats, and {active:.0f} of {groups} groups "
                f"carry more than {_ACTIVE} nat: the decoder does without the latents. A smaller beta, annealing or "
                "free_bits keeps them in use"
            )
        return None

    def sample(
        self,
        state: TrainState,
        keys: Key[Array, "batch"],
        condition: Mapping[str, Int[Array, "batch *length"]] | None = None,
    ) -> Images:
        """Expected images of latents from the priors, one a key.

        Raises:
            ValueError: If a condition is given and this VAE has none, or the other way round.
        """
        if (condition is None) != (self.num_classes is None):
            given = "no condition" if condition is None else f"the condition {sorted(condition)}"
            raise ValueError(f"this VAE is {'un' * (self.num_classes is None)}conditional, but was given {given}")
        outputs = self._apply(
            "generate", state.params, folded(keys, _LATENT), self.temperature, **self._labels(condition or {})
        )
        return self.likelihood.mean(state.params["likelihood"], outputs)

    def reconstruct(self, state: TrainState, batch: Batch) -> Images:
        """See `jgr.tasks.task.Reconstructor`: expected images of the posterior means, from group to group.

        Of binarised images where the likelihood is of such, drawn by the record.
        """
        keys = record_keys(purpose_key(0, "posterior"), batch["index"])
        features = self._apply("encode", state.params, self.likelihood.prepared(batch["image"], batch["index"], keys))
        made = self._apply("decode", state.params, features, keys, 0.0, **self._labels(batch))
        return self.likelihood.mean(state.params["likelihood"], made.outputs)

    def log_likelihood(
        self, state: TrainState, batch: Batch, keys: Key[Array, "batch"], num_samples: int
    ) -> Float[Array, "batch"]:
        """See `jgr.tasks.task.DensityModel`; of images that are binarised by the keys, where they are.

        With one sample log p - log q is sampled, too: an unbiased estimate of the ELBO.
        """
        images = self.likelihood.prepared(batch["image"], batch["index"], keys)
        features = self._apply("encode", state.params, images)
        labels = self._labels(batch)

        def log_weights(sample_keys: Key[Array, "chunk batch"]) -> Float[Array, "chunk batch"]:
            count = len(sample_keys)
            tiled = jax.tree.map(lambda leaf: jnp.concatenate([leaf] * count), (features, labels))
            latent_keys = folded(sample_keys, _LATENT).reshape(-1)
            made = self._apply("decode", state.params, tiled[0], latent_keys, **tiled[1])
            outputs = made.outputs.reshape(count, -1, *made.outputs.shape[1:])
            likelihood = self.likelihood.log_prob(state.params["likelihood"], outputs, images)
            return likelihood + made.log_ratio.sum(axis=0).reshape(count, -1)

        chunk = max(1, min(num_samples, _CHUNK_VALUES // max(leaf.size for leaf in features)))
        return chunked_importance_weighted_bound(log_weights, keys, num_samples=num_samples, chunk=chunk)

    def _labels(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        return {} if self.num_classes is None else {"labels": batch["label"]}

    def _apply(self, method: str, params: Mapping[str, Tree], *inputs: Any, **options: Any) -> Any:
        return self.network.apply({"params": params["network"]}, *inputs, **options, method=method)

    def _loss(
        self,
        step: Int[Array, ""],
        params: dict[str, Tree],
        model_state: dict[str, Tree],
        batch: Batch,
        keys: Key[Array, "batch"],
    ) -> tuple[Float[Array, ""], tuple[dict[str, Tree], dict[str, Float[Array, ""]]]]:
        images = self.likelihood.prepared(batch["image"], batch["index"], keys)
        made = self._apply("__call__", params, images, folded(keys, _LATENT), train=True, **self._labels(batch))
        likelihood = self.likelihood.log_prob(params["likelihood"], made.outputs, images).mean()
        divergence = made.divergence.mean(axis=1)
        beta = jnp.float32(self.beta) if self.annealing is None else self.beta * self.annealing(step)
        metrics = {
            "elbo": likelihood - divergence.sum(),
            "reconstruction": likelihood,
            "kl": divergence.sum(),
            "beta": beta,
            "active_groups": (divergence > _ACTIVE).sum().astype("float32"),
            **{f"kl/{group}": value for group, value in enumerate(divergence)},
        }
        return beta * jnp.maximum(divergence, self.free_bits).sum() - likelihood, ({}, metrics)

    def _check_network(
        self, key: Key[Array, ""], images: Images, noise_keys: Key[Array, "batch"], labels: Mapping[str, Any]
    ) -> None:
        """Raises ConfigError where the network does not fit the data or the likelihood; nothing is computed."""
        where = f"config.task.network: {type(self.network).__qualname__}"
        if labels and "labels" not in inspect.signature(type(self.network).__call__).parameters:
            raise ConfigError(f"{where} takes no labels, but num_classes = {self.num_classes}")
        for method in ("encode", "decode", "generate"):
            if not callable(getattr(self.network, method, None)):
                raise ConfigError(f"{where} has no method {method}, as jgr.models.vdvae.VDVAE has")
        apply = partial(self.network.init_with_output, train=True, **labels)
        made, variables = jax.eval_shape(apply, key, images, noise_keys)
        if others := sorted(set(variables) - {"params"}):
            raise ConfigError(
                f"{where} keeps {', '.join(others)} besides parameters, which a bound of many samples cannot have; "
                "take group or layer norm"
            )
        wanted = (*images.shape[1:3], self.likelihood.num_outputs(images.shape[-1]))
        if made.outputs.shape[1:] != wanted:
            raise ConfigError(
                f"{where} gives {'x'.join(map(str, made.outputs.shape[1:]))}, but {type(self.likelihood).__name__} of "
                f"the data's images needs {'x'.join(map(str, wanted))} (height, width, outputs); set outputs = "
                f"{wanted[-1]}"
            )
