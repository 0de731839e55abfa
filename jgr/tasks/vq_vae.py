"""The VQ-VAE, an autoencoder of discrete latents, and their prior (van den Oord et al. 2017, arXiv:1711.00937)."""

import dataclasses
import inspect
import zlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from jaxtyping import Array, Float, Int, Key

from jgr.errors import ConfigError
from jgr.losses.likelihoods import Bernoulli, Images, Likelihood
from jgr.mesh import gathered
from jgr.models.vq_vae import Codebook, Features, Moving
from jgr.optim import Optimizer
from jgr.rng import folded, purpose_key, record_keys
from jgr.state import TrainState, Tree
from jgr.tasks.task import Batch, Task
from jgr.tasks.update import update

Codes = Int[Array, "batch rows columns"]

# What a record's key is folded with: a draw for one purpose tells nothing about another's.
_CODES, _REVIVAL = zlib.crc32(b"codes"), zlib.crc32(b"revival")

_COLLAPSED = 1.5  # codes: with 2 in equal use an image still tells something at each place


def _adam() -> Optimizer:
    return Optimizer(rule=optax.adam, learning_rate=1e-3)


@dataclasses.dataclass(frozen=True, kw_only=True)
class VQVAE(Task):
    """An encoder, a codebook, a decoder, what the decoder's outputs mean, and a prior of the codes.

    Each feature of the encoder is replaced by the nearest vector of the codebook. The decoder's gradient passes to the
    encoder as if nothing were replaced, and a commitment keeps features near their codes (equation 3). The codebook
    follows the features by moving averages, over the whole batch whatever the optimiser's micro-batches. The prior is
    trained beside it on the batch's codes, and the autoencoder learns nothing from it.

    A code is a function of the image, so that log p(x | codes) + log p(codes) is a lower bound of log p(x), see
    `log_likelihood`: the `elbo` of `metrics.jsonl`, of the parameters before the step. There are also its parts
    `reconstruction` and `prior/loss`, both in nats an image, the `commitment`, the `perplexity` of the batch's codes
    and how many of them are in use.

    Args:
        encoder: Module; `(images, train) -> features [batch, rows, columns, dims]`.
        decoder: Module; `(features [batch, rows, columns, dims], train) -> [batch, height, width, outputs]`, with as
            many outputs as the likelihood needs.
        prior: Module; `(codes [batch, rows, columns], train) -> logits [batch, rows, columns, codes]`, each given the
            codes before it, with a method `sample(params, keys) -> codes`, see `jgr.models.pixelcnn.PixelCNN`. Both
            also take `labels` where `num_classes` is given.
        codebook: The vectors, and how they are learned.
        likelihood: Of images given the decoder's outputs.
        commitment: Weight of the squared distances of features to their codes, summed over an image as the
            likelihood's nats are. 0.25: section 3.2, where the results hardly depend on it.
        optimizer: Owns the parameters of the autoencoder.
        prior_optimizer: Owns those of the prior.
        num_classes: Of a conditional prior; records need a `label`. None for none.
    """

    encoder: nn.Module
    decoder: nn.Module
    prior: nn.Module
    codebook: Codebook = dataclasses.field(default_factory=Codebook)
    likelihood: Likelihood = dataclasses.field(default_factory=Bernoulli)
    commitment: float = 0.25
    optimizer: Optimizer = dataclasses.field(default_factory=_adam)
    prior_optimizer: Optimizer = dataclasses.field(default_factory=_adam)
    num_classes: int | None = None

    def __post_init__(self) -> None:
        if self.commitment < 0.0:
            raise ConfigError(f"commitment = {self.commitment} must not be negative")
        if self.num_classes is not None and self.num_classes < 2:
            raise ConfigError(f"num_classes = {self.num_classes} must be at least 2; None for an unconditional prior")
        if not hasattr(self.prior, "sample"):
            raise ConfigError(f"prior: {type(self.prior).__qualname__} needs a method sample(params, keys)")

    @property
    def averaged_networks(self) -> tuple[str, ...]:
        """All of them; the codebook is a moving average already."""
        return ("encoder", "decoder", "likelihood", "prior")

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
                f"config.task.num_classes = {self.num_classes}: a conditional prior needs records with a label, and "
                "config.data has none"
            )
        keys, images = jax.random.split(key, 4), batch["image"][:2]
        features, encoder = self._initial("encoder", keys[0], images)
        if features.ndim != 4 or features.shape[-1] != self.codebook.embedding_dim:
            raise ConfigError(
                f"config.task.encoder gives {_sizes(features)}, but config.task.codebook.embedding_dim = "
                f"{self.codebook.embedding_dim} needs features of (rows, columns, {self.codebook.embedding_dim})"
            )
        outputs, decoder = self._initial("decoder", keys[1], jnp.zeros(features.shape))
        wanted = (*images.shape[1:3], self.likelihood.num_outputs(images.shape[-1]))
        if outputs.shape[1:] != wanted:
            raise ConfigError(
                f"config.task.decoder gives {_sizes(outputs)}, but {type(self.likelihood).__name__} of the data's "
                f"images needs {'x'.join(map(str, wanted))} (height, width, outputs)"
            )
        logits, prior = self._initial("prior", keys[2], jnp.zeros(features.shape[:3], jnp.int32))
        if logits.shape[1:] != (*features.shape[1:3], self.codebook.num_codes):
            raise ConfigError(
                f"config.task.prior gives {_sizes(logits)}, but the encoder's codes are {_sizes(features[..., 0])} and "
                f"config.task.codebook.num_codes = {self.codebook.num_codes}"
            )
        params = {"encoder": encoder, "decoder": decoder, "likelihood": self.likelihood.init(), "prior": prior}
        trained = {name: params[name] for name in ("encoder", "decoder", "likelihood")}
        return TrainState(
            step=jnp.int32(0),
            params=params,
            model_state={name: {} for name in params} | {"codebook": {"moving": self.codebook.init(keys[3])}},
            opt_state={
                "vae": self.optimizer.transformation().init(trained),
                "prior": self.prior_optimizer.transformation().init({"prior": prior}),
            },
        )

    def step(self, state: TrainState, batch: Batch, key: Key[Array, ""]) -> tuple[TrainState, dict[str, Any]]:
        """See `Task.step`: an update of the autoencoder, one of the prior on the same codes, then the codebook's."""
        records = {name: value[0] for name, value in batch.items()}
        keys = record_keys(key, records["position"])
        moving = self._moving(state)
        images = self.likelihood.prepared(records["image"], records["index"], keys)
        features = self._encode(gathered(state.params["encoder"]), images)
        codes = self.codebook.nearest(moving["embedding"], features)
        records |= {"image": images, "codes": codes}
        networks = ("encoder", "decoder", "likelihood")
        after, metrics = update(state, "vae", self.optimizer, self._loss, records, key, networks)
        after, of_prior = update(after, "prior", self.prior_optimizer, self._prior_loss, records, key, ("prior",))
        moving = self.codebook.updated(moving, features, codes, folded(keys, _REVIVAL))
        after = after.replace(model_state=after.model_state | {"codebook": {"moving": moving}})
        usage = jnp.bincount(codes.reshape(-1), length=self.codebook.num_codes) / codes.size
        metrics |= of_prior | {
            "vae/elbo": metrics["vae/reconstruction"] - of_prior["prior/loss"],
            "vae/perplexity": jnp.exp(-jax.scipy.special.xlogy(usage, usage).sum()),
            "vae/codes_in_use": (usage > 0).sum().astype("float32"),
        }
        return after, metrics

    def concern(self, metrics: Mapping[str, float]) -> str | None:
        """Codebook collapse: all features are replaced by about the same code."""
        if self.codebook.num_codes > 1 and metrics["vae/perplexity"] < _COLLAPSED:
            return (
                f"codebook collapse: vae/perplexity is {metrics['vae/perplexity']:.3g}, "
                f"{metrics['vae/codes_in_use']:.0f} of {self.codebook.num_codes} codes are in use: the decoder sees "
                "about the same of every image. A smaller learning rate or commitment, or a larger "
                "codebook.revive_below, keeps them in use"
            )
        return None

    def sample(
        self,
        state: TrainState,
        keys: Key[Array, "batch"],
        condition: Mapping[str, Int[Array, "batch *length"]] | None = None,
    ) -> Images:
        """Expected images of codes that the prior draws, one a key.

        Raises:
            ValueError: If a condition is given and the prior has none, or the other way round.
        """
        if (condition is None) != (self.num_classes is None):
            given = "no condition" if condition is None else f"the condition {sorted(condition)}"
            raise ValueError(f"this VQ-VAE is {'un' * (self.num_classes is None)}conditional, but was given {given}")
        prior: Any = self.prior
        codes = prior.sample(state.params["prior"], folded(keys, _CODES), **self._labels(condition or {}))
        return self.decode(state, codes)

    def encode(self, state: TrainState, batch: Batch) -> Codes:
        """The codes of each record; of binarised images where the likelihood is of such, drawn by the record."""
        keys = record_keys(purpose_key(0, "posterior"), batch["index"])
        images = self.likelihood.prepared(batch["image"], batch["index"], keys)
        return self._codes(state, images)

    def decode(self, state: TrainState, codes: Codes) -> Images:
        """Expected images of codes, in [0, 1]."""
        return self.likelihood.mean(state.params["likelihood"], self._decoded(state, codes))

    def reconstruct(self, state: TrainState, batch: Batch) -> Images:
        """See `jgr.tasks.task.Reconstructor`: expected images of the codes."""
        return self.decode(state, self.encode(state, batch))

    def log_likelihood(
        self, state: TrainState, batch: Batch, keys: Key[Array, "batch"], num_samples: int
    ) -> Float[Array, "batch"]:
        """See `jgr.tasks.task.DensityModel`; of images that are binarised by the keys, where they are.

        log p(x) is the logarithm of a sum over all grids of codes, p(x | codes) p(codes), of which this is the one term
        that the encoder names: a lower bound, since no term is negative. It is also the ELBO, of a posterior that is a
        single point and has no entropy (section 3.1). Such a posterior gives the same sample every time, so that more
        samples make the bound no tighter: `num_samples` changes nothing.
        """
        images = self.likelihood.prepared(batch["image"], batch["index"], keys)
        codes = self._codes(state, images)
        values = self.likelihood.log_prob(state.params["likelihood"], self._decoded(state, codes), images)
        return values + self._code_log_prob(state.params["prior"], codes, batch)

    def _labels(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        return {} if self.num_classes is None else {"labels": batch["label"]}

    def _moving(self, state: TrainState) -> Moving:
        moving: Moving = gathered(state.model_state["codebook"]["moving"])
        return moving

    def _encode(self, params: Tree, images: Images) -> Features:
        features: Any = self.encoder.apply({"params": params}, images, train=True)
        return features

    def _codes(self, state: TrainState, images: Images) -> Codes:
        features = self._encode(state.params["encoder"], images)
        return self.codebook.nearest(self._moving(state)["embedding"], features)

    def _decode(self, params: Tree, features: Features) -> Float[Array, "batch height width outputs"]:
        outputs: Any = self.decoder.apply({"params": params}, features, train=True)
        return outputs.astype("float32")

    def _decoded(self, state: TrainState, codes: Codes) -> Float[Array, "batch height width outputs"]:
        return self._decode(state.params["decoder"], self._moving(state)["embedding"][codes])

    def _code_log_prob(self, params: Tree, codes: Codes, batch: Mapping[str, Any]) -> Float[Array, "batch"]:
        logits: Any = self.prior.apply({"params": params}, codes, **self._labels(batch), train=True)
        return -optax.softmax_cross_entropy_with_integer_labels(logits, codes).sum(axis=(1, 2))

    # Losses, as `update` wants them, of records with prepared images and their codes.

    def _loss(
        self, params: dict[str, Tree], model_state: dict[str, Tree], batch: Batch, keys: Key[Array, "batch"]
    ) -> tuple[Float[Array, ""], tuple[dict[str, Tree], dict[str, Float[Array, ""]]]]:
        features = self._encode(params["encoder"], batch["image"])
        quantised = gathered(model_state["codebook"]["moving"]["embedding"])[batch["codes"]]
        commitment = jnp.square(features - quantised).sum(axis=(1, 2, 3)).mean()
        outputs = self._decode(params["decoder"], straight_through(features, quantised))
        reconstruction = self.likelihood.log_prob(params["likelihood"], outputs, batch["image"]).mean()
        loss = self.commitment * commitment - reconstruction
        return loss, ({}, {"reconstruction": reconstruction, "commitment": commitment})

    def _prior_loss(
        self, params: dict[str, Tree], model_state: dict[str, Tree], batch: Batch, keys: Key[Array, "batch"]
    ) -> tuple[Float[Array, ""], tuple[dict[str, Tree], dict[str, Float[Array, ""]]]]:
        return -self._code_log_prob(params["prior"], batch["codes"], batch).mean(), ({}, {})

    def _initial(self, name: str, key: Key[Array, ""], inputs: Array) -> tuple[Array, Tree]:
        """A network's outputs for inputs, which are looked at for their shape only, and its first parameters.

        Raises:
            ConfigError: If it keeps more than parameters, or takes no labels where the prior should.
        """
        module: nn.Module = getattr(self, name)
        where = f"config.task.{name}: {type(module).__qualname__}"
        labels = self._labels({"label": jnp.zeros(len(inputs), jnp.int32)}) if name == "prior" else {}
        if labels and "labels" not in inspect.signature(type(module).__call__).parameters:
            raise ConfigError(f"{where} takes no labels, but num_classes = {self.num_classes}")
        outputs, variables = module.init_with_output(key, inputs, **labels, train=True)
        if others := sorted(set(variables) - {"params"}):
            raise ConfigError(
                f"{where} keeps {', '.join(others)} besides parameters, which a likelihood cannot have; take group or "
                "layer norm"
            )
        return outputs, variables["params"]


def straight_through(features: Float[Array, "*shape"], quantised: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The quantised features, whose gradient passes to the features as it is (section 3.2)."""
    return features + jax.lax.stop_gradient(quantised - features)


def _sizes(array: Array) -> str:
    return "x".join(map(str, array.shape[1:]))
