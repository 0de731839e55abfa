"""Generative adversarial networks (Goodfellow et al. 2014), also with labels, penalties and augmentation."""

import dataclasses
import functools
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jaxtyping import Array, Float, Int, Key

from jgr.augmentations.augmentation import Augmentation
from jgr.errors import ConfigError
from jgr.losses.adversarial import AdversarialLoss, non_saturating, wasserstein
from jgr.losses.path_length import PathLength
from jgr.losses.penalties import Judge, Penalty
from jgr.mesh import gathered
from jgr.optim import Optimizer
from jgr.rng import folded
from jgr.state import TrainState, Tree
from jgr.tasks.lazy import due_at, group, rescaled, when
from jgr.tasks.matching import MatchingAware
from jgr.tasks.players import FAKE, PENALTY, REAL, WRONG, Images, Players
from jgr.tasks.task import Batch, Due, Task
from jgr.tasks.update import update

Metrics = dict[str, Any]
Lossy = tuple[Float[Array, ""], tuple[dict[str, Tree], Metrics]]
"""What a loss function of `update` gives."""


_WON = 1e-3  # of the losses that are bounded below by 0; StudioGAN's logs fall below it before collapses
_SILENT = 1e-7


def _adam() -> Optimizer:
    # 2e-4 and 0.5: Radford et al. 2016, section 4
    return Optimizer(rule=partial(optax.adam, b1=0.5, b2=0.999), learning_rate=2e-4)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Auxiliary:
    """Weights of an auxiliary classifier in the discriminator (Odena et al. 2017, AC-GAN).

    Args:
        discriminator: Of the cross-entropy of real images' classes in the discriminator's loss.
        generator: Of that of generated images' classes in the generator's.
        on_fakes: Whether the discriminator also learns the classes of generated images, as in the paper; without, the
            classifier sees real ones only (Kang et al. 2023, StudioGAN).
    """

    discriminator: float = 1.0
    generator: float = 0.1
    on_fakes: bool = False

    def __post_init__(self) -> None:
        for name in ("discriminator", "generator"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} = {getattr(self, name)} must not be negative")


@dataclasses.dataclass(frozen=True, kw_only=True)
class GAN(Task):
    """A generator and a discriminator, trained in turn.

    A step makes `num_d_steps` updates of the discriminator, each with fresh real images and fresh latents, and then one
    of the generator against the updated discriminator, with fresh latents. The discriminator sees real and generated
    images in separate passes, so that batch statistics do not mix. Each network's model state is changed by its own
    updates only. Generated images of a conditional GAN are of the labels of the batch's real ones.

    Args:
        generator: Module with an int `latent_dim`; `(latents [batch, latent_dim], train) -> images in [0, 1]`. It also
            takes `labels` where `num_classes` is given, and `keys`, one an image, if it has a true attribute `draws`.
            For `path_length` it needs methods `map` and `synthesise`, see `jgr.models.stylegan2.Generator`.
        discriminator: Module; `(images in [0, 1], train) -> logits [batch]`, or of patches [batch, rows, columns]. It
            also takes `labels` where `num_classes` is given; with `auxiliary` it gives the logits and those of the
            classes [batch, classes].
        loss: An `AdversarialLoss`, by import path.
        generator_optimizer: Owns the generator's parameters.
        discriminator_optimizer: Owns the discriminator's parameters.
        num_d_steps: Discriminator updates per step.
        num_classes: Of a conditional GAN; records need a `label`. None for none.
        captions: What a GAN that is told captions learns from wrong ones; None where it is told none. Networks are
            given `tokens` as `labels`, see `jgr.models.captioned`.
        auxiliary: An auxiliary classifier; None for none.
        penalties: On the discriminator's slope, by a name of your choice. Those with an interval above 1 are updates of
            their own, for which Adam is rescaled; see `jgr.tasks.lazy.rescaled`.
        path_length: A penalty on the generator's slope; None for none.
        augmentation: What images go through before the discriminator; None for nothing.
        generator_multiple: Images that the generator's update makes for each record of a batch.
    """

    generator: nn.Module
    discriminator: nn.Module
    loss: AdversarialLoss = non_saturating
    generator_optimizer: Optimizer = dataclasses.field(default_factory=_adam)
    discriminator_optimizer: Optimizer = dataclasses.field(default_factory=_adam)
    num_d_steps: int = 1
    num_classes: int | None = None
    captions: MatchingAware | None = None
    auxiliary: Auxiliary | None = None
    penalties: dict[str, Penalty] = dataclasses.field(default_factory=dict)
    path_length: PathLength | None = None
    augmentation: Augmentation | None = None
    generator_multiple: int = 1

    def __post_init__(self) -> None:
        for name in ("num_d_steps", "generator_multiple"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} = {getattr(self, name)} must be at least 1")
        if not isinstance(getattr(self.generator, "latent_dim", None), int):
            raise ConfigError(f"generator: {type(self.generator).__qualname__} needs an int field latent_dim")
        if self.num_classes is not None and self.num_classes < 2:
            raise ConfigError(f"num_classes = {self.num_classes} must be at least 2; None for an unconditional GAN")
        if self.auxiliary is not None and self.num_classes is None:
            raise ConfigError("auxiliary: a classifier needs num_classes")
        if self.captions is not None and self.num_classes is not None:
            raise ConfigError(f"captions: a GAN is told captions or labels; take num_classes = {self.num_classes} out")
        if self.captions is not None and self.loss.pairs:
            raise ConfigError("captions: a loss of pairs has no place for wrong ones; take another, such as hinge")
        if self.loss.pairs and self.generator_multiple > 1:
            raise ConfigError(
                f"generator_multiple = {self.generator_multiple}: this loss compares each image with a real one, so 1"
            )
        if self.path_length is not None and not hasattr(self.generator, "synthesise"):
            raise ConfigError(
                f"path_length: {type(self.generator).__qualname__} has no styles; it needs methods map and synthesise"
            )
        logits = ("real_logits", "fake_logits", "wrong_logits")
        for name in self.penalties:
            if name in ("loss", "gradient_norm", *logits, "class_loss", "augmentation"):
                raise ConfigError(f"penalties.{name}: discriminator/{name} is reported already; choose another name")
        # Here, so that an optimiser which cannot be rescaled is an error of the config.
        _ = self._rescaled_discriminator_optimizer, self._rescaled_generator_optimizer

    @property
    def condition_name(self) -> str | None:
        """See `Task.condition_name`."""
        return "tokens" if self.captions is not None else super().condition_name

    @property
    def batches_per_step(self) -> int:
        """One batch of real images for each update of the discriminator."""
        return self.num_d_steps

    @property
    def averaged_networks(self) -> tuple[str, ...]:
        """The generator: it is what samples."""
        return ("generator",)

    @property
    def intervals(self) -> tuple[int, ...]:
        """Those of the penalties above 1, then that of the path length."""
        return (*self._lazy, *self._lazy_path_length)

    def init(self, key: Key[Array, ""], batch: Batch) -> TrainState:
        """See `Task.init`.

        Raises:
            ConfigError: If the generator's images are not of the size of the data's, the discriminator's logits are not
                one an image or patch, or depend on the batch's other images where there are penalties, or the records
                have no label.
        """
        if self.num_classes is not None and "label" not in batch:
            raise ConfigError(
                f"config.task.num_classes = {self.num_classes}, but the records of config.data have no label"
            )
        if self.captions is not None and "tokens" not in batch:
            raise ConfigError(
                "config.task.captions: the records of config.data are read without captions; take "
                "data.captions=dict(), and data with captions"
            )
        params, model_state = self._players.init(key, batch)
        if self.penalties and "batch_stats" in model_state["discriminator"]:
            raise ConfigError(
                f"config.task.penalties: {', '.join(self.penalties)} needs a discriminator that judges each image by "
                "itself; take batch norm out of config.task.discriminator, such as by batch_norm=false"
            )
        self._check_classes(params, model_state, batch)
        optimizers = {
            "generator": self._rescaled_generator_optimizer,
            "discriminator": self._rescaled_discriminator_optimizer,
        }
        return TrainState(
            step=jnp.int32(0),
            params=params,
            model_state=model_state,
            opt_state={
                name: optimizer.transformation().init({name: params[name]}) for name, optimizer in optimizers.items()
            },
            extra=self._initial_extra(),
        )

    def step(
        self, state: TrainState, batch: Batch, key: Key[Array, ""], due: tuple[Due, ...] = ()
    ) -> tuple[TrainState, Metrics]:
        """See `Task.step` and, for `due`, `Task.intervals`."""
        due = due or due_at(state.step, self.intervals)
        metrics: Metrics = {}
        *discriminator_keys, generator_key = jax.random.split(key, self.num_d_steps + 1)
        # Unrolled: the gradient of a convolution inside lax.scan is 50 times slower on CPU.
        for i, discriminator_key in enumerate(discriminator_keys):
            reals = {name: value[i] for name, value in batch.items()}
            state, discriminator_metrics = update(
                state,
                "discriminator",
                self._rescaled_discriminator_optimizer,
                partial(self._discriminator_loss, gathered(state.params["generator"]), self._strength(state)),
                reals,
                discriminator_key,
                networks=("discriminator",),
            )
            metrics = _merge_finite(metrics, discriminator_metrics)
        for is_due, names in zip(due, self._lazy.values(), strict=False):
            penalise = partial(self._penalised, batch=reals, key=discriminator_key, names=names)
            state = when(is_due, penalise, state)
        metrics |= {f"discriminator/{name}": value for name, value in state.extra.get("penalties", {}).items()}
        if self.augmentation is not None:
            metrics["discriminator/augmentation"] = self._strength(state)
            adapted = self.augmentation.adapt(
                state.extra["augmentation"],
                metrics.pop("discriminator/real_sign"),
                len(reals["position"]) * self.num_d_steps,
                state.step,
            )
            state = state.replace(extra=state.extra | {"augmentation": adapted})
        state, generator_metrics = update(
            state,
            "generator",
            self._rescaled_generator_optimizer,
            partial(
                self._generator_loss,
                gathered(state.params["discriminator"]),
                self._strength(state),
                self._path_mean(state) if self._has_eager_path_length else None,
            ),
            reals,
            generator_key,
            networks=("generator",),
        )
        if self._has_eager_path_length:
            state = self._followed(state, generator_metrics["generator/path"])
        for is_due, _ in zip(due[len(self._lazy) :], self._lazy_path_length, strict=True):
            state = when(is_due, partial(self._path_penalised, batch=reals, key=generator_key), state)
        return state, metrics | generator_metrics

    def concern(self, metrics: Mapping[str, float]) -> str | None:
        """A discriminator that tells all images apart, or a generator that is told nothing: a collapse begins so."""
        if 0.0 <= metrics["discriminator/loss"] < _WON and self.loss is not wasserstein:
            return (
                f"discriminator/loss is below {_WON}: it tells all images apart, and a collapse may follow. A penalty, "
                "spectral norm or an augmentation slows it down; with a validation the best checkpoint is kept"
            )
        if metrics["generator/gradient_norm"] < _SILENT:
            return f"generator/gradient_norm is below {_SILENT}: the generator learns nothing from this discriminator"
        return None

    def sample(
        self,
        state: TrainState,
        keys: Key[Array, "batch"],
        condition: Mapping[str, Int[Array, "batch *length"]] | None = None,
    ) -> Images:
        """Images of standard normal latents, one a key; batch norm uses its running statistics.

        Raises:
            ValueError: If a condition is given and this GAN has none, or the other way round.
        """
        return self.generate(state, self.latents(keys), keys, condition)

    def latents(self, keys: Key[Array, "batch"]) -> Float[Array, "batch latent"]:
        """Standard normal latents, one a key."""
        return self._players.latents(keys)

    def generate(
        self,
        state: TrainState,
        latents: Float[Array, "batch latent"],
        keys: Key[Array, "batch"],
        condition: Mapping[str, Int[Array, "batch *length"]] | None = None,
    ) -> Images:
        """See `jgr.tasks.task.LatentSampler` and, for what it raises, `sample`."""
        told = self._players.condition(condition) | self._players.draws(keys)
        images: Images = self._players.sampled(state, latents, **told, train=False)
        return images

    @property
    def has_styles(self) -> bool:
        """Whether the generator maps latents to styles first."""
        return self._players.has_styles

    def styles(
        self,
        state: TrainState,
        latents: Float[Array, "batch latent"],
        condition: Mapping[str, Int[Array, "batch *length"]] | None = None,
    ) -> Float[Array, "batch layers style"]:
        """See `jgr.tasks.task.StyleSampler` and, for what it raises, `sample`."""
        told = self._players.condition(condition)
        styles: Float[Array, "batch layers style"] = self._players.sampled(state, latents, **told, method="map")
        return styles

    def mean_style(self, state: TrainState) -> Float[Array, "style"]:
        """See `jgr.tasks.task.StyleSampler`."""
        mean: Float[Array, "style"] = self._players.sampled(state, method="mean_style")
        return mean

    def synthesise(
        self, state: TrainState, styles: Float[Array, "batch layers style"], keys: Key[Array, "batch"]
    ) -> Images:
        """See `jgr.tasks.task.StyleSampler`."""
        images: Images = self._players.sampled(state, styles, **self._players.draws(keys), method="synthesise")
        return images

    @functools.cached_property
    def _players(self) -> Players:
        return Players(self.generator, self.discriminator, self.condition_name, self.augmentation)

    def _check_classes(self, params: dict[str, Tree], model_state: dict[str, Tree], batch: Batch) -> None:
        """Raises ConfigError where an auxiliary classifier is wanted or given, but not both."""
        two = {name: value[:2] for name, value in batch.items()}
        judge = lambda p: self._players.judge(p, model_state, two["image"], two).classes  # noqa: E731
        classes = jax.eval_shape(judge, params["discriminator"])
        if self.auxiliary is not None and (classes is None or classes.shape != (2, self.num_classes)):
            raise ConfigError(
                "config.task.auxiliary: the discriminator must give logits and those of the classes, "
                f"[2, {self.num_classes}]; take head=dict(cls='jgr.layers.heads.Auxiliary')"
            )
        if self.auxiliary is None and classes is not None:
            raise ConfigError("config.task.discriminator gives logits of classes; say their weight by auxiliary=dict()")

    # What a step keeps besides the networks.

    def _initial_extra(self) -> dict[str, Tree]:
        extra: dict[str, Tree] = {}
        if self._lazy:
            extra["penalties"] = {name: jnp.float32(0.0) for names in self._lazy.values() for name in names}
        if self.path_length is not None:
            extra["path_length"] = jnp.float32(0.0)
        if self.augmentation is not None:
            extra["augmentation"] = self.augmentation.init()
        return extra

    def _strength(self, state: TrainState) -> Float[Array, ""]:
        if self.augmentation is None:
            return jnp.float32(0.0)
        return self.augmentation.strength(state.extra["augmentation"])

    def _path_mean(self, state: TrainState) -> Float[Array, ""]:
        return state.extra["path_length"]

    def _followed(self, state: TrainState, mean: Float[Array, ""]) -> TrainState:
        return state.replace(extra=state.extra | {"path_length": mean})

    # Lazy regularisation.

    @functools.cached_property
    def _lazy(self) -> dict[int, tuple[str, ...]]:
        return group({name: penalty.interval for name, penalty in self.penalties.items()})

    @property
    def _lazy_path_length(self) -> tuple[int, ...]:
        return (self.path_length.interval,) if self.path_length is not None and self.path_length.interval > 1 else ()

    @property
    def _has_eager_path_length(self) -> bool:
        return self.path_length is not None and self.path_length.interval == 1

    @functools.cached_property
    def _rescaled_discriminator_optimizer(self) -> Optimizer:
        return rescaled(self.discriminator_optimizer, self.num_d_steps, self._lazy, "discriminator_optimizer")

    @functools.cached_property
    def _rescaled_generator_optimizer(self) -> Optimizer:
        return rescaled(self.generator_optimizer, 1, self._lazy_path_length, "generator_optimizer")

    def _penalised(self, state: TrainState, batch: Batch, key: Key[Array, ""], names: tuple[str, ...]) -> TrainState:
        """The state after an update of the discriminator by some penalties alone."""

        def loss(params: dict[str, Tree], model_state: dict[str, Tree], batch: Batch, keys: Any) -> Lossy:
            fakes, _ = self._players.generate(gathered(state.params["generator"]), model_state, keys, batch)
            values = self._penalties(
                names, params["discriminator"], model_state, batch, jax.lax.stop_gradient(fakes), keys, strength
            )
            total = sum(self.penalties[name].interval * value for name, value in values.items())
            return jnp.float32(0.0) + total, ({}, values)

        strength = self._strength(state)
        optimizer = self._rescaled_discriminator_optimizer
        state, metrics = update(
            state, "discriminator", optimizer, loss, batch, jax.random.fold_in(key, PENALTY), ("discriminator",)
        )
        values = {name: metrics[f"discriminator/{name}"] for name in names}
        return state.replace(extra=state.extra | {"penalties": state.extra["penalties"] | values})

    def _path_penalised(self, state: TrainState, batch: Batch, key: Key[Array, ""]) -> TrainState:
        """The state after an update of the generator by the path length alone."""

        def loss(params: dict[str, Tree], model_state: dict[str, Tree], batch: Batch, keys: Any) -> Lossy:
            assert self.path_length is not None
            value, mean = self._path_loss(params["generator"], model_state, batch, keys, self._path_mean(state))
            return self.path_length.interval * value, ({}, {"path": mean})

        optimizer = self._rescaled_generator_optimizer
        state, metrics = update(
            state, "generator", optimizer, loss, batch, jax.random.fold_in(key, PENALTY), ("generator",)
        )
        return self._followed(state, metrics["generator/path"])

    # Losses, as `update` wants them.

    def _discriminator_loss(
        self,
        generator_params: Tree,
        strength: Float[Array, ""],
        params: dict[str, Tree],
        model_state: dict[str, Tree],
        batch: Batch,
        keys: Key[Array, "batch"],
    ) -> Lossy:
        fakes, _ = self._players.generate(generator_params, model_state, keys, batch)
        own = params["discriminator"]
        reals = self._players.augmented(batch["image"], keys, REAL, strength)
        shown = self._players.augmented(fakes, keys, FAKE, strength)
        if self.captions is not None and self.captions.weight:
            told, there = self.captions.wrong(batch, folded(keys, WRONG))
            real, wrong = self._players.judge_both(own, model_state, reals, batch, told)
            fake = self._players.judge(own, wrong.model_state, shown, batch)
            loss = self.captions.loss(self.loss, real.logits, fake.logits, wrong.logits, there)
            metrics = {"wrong_logits": wrong.logits.mean()}
        else:
            real = self._players.judge(own, model_state, reals, batch)
            fake = self._players.judge(own, real.model_state, shown, batch)
            loss, metrics = self.loss.discriminator(real.logits, fake.logits), {}
        metrics |= {"real_logits": real.logits.mean(), "fake_logits": fake.logits.mean()}
        if self.augmentation is not None:
            # Where the loss is of differences of logits alone, a logit's own sign says nothing.
            logits = real.logits - fake.logits if self.loss.pairs else real.logits
            metrics["real_sign"] = jnp.sign(logits).mean()
        if self.auxiliary is not None:
            metrics["class_loss"] = _cross_entropy(real.classes, batch["label"])
            if self.auxiliary.on_fakes:
                metrics["class_loss"] += _cross_entropy(fake.classes, batch["label"])
            loss += self.auxiliary.discriminator * metrics["class_loss"]
        eager = tuple(name for name, penalty in self.penalties.items() if penalty.interval == 1)
        values = self._penalties(eager, own, model_state, batch, fakes, keys, strength)
        return sum(values.values(), loss), ({"discriminator": fake.model_state["discriminator"]}, metrics | values)

    def _generator_loss(
        self,
        discriminator_params: Tree,
        strength: Float[Array, ""],
        path_mean: Float[Array, ""] | None,
        params: dict[str, Tree],
        model_state: dict[str, Tree],
        batch: Batch,
        keys: Key[Array, "batch"],
    ) -> Lossy:
        if self.generator_multiple > 1:
            keys = jax.vmap(lambda key: jax.random.split(key, self.generator_multiple))(keys).reshape(-1)
            batch = {name: jnp.repeat(value, self.generator_multiple, axis=0) for name, value in batch.items()}
        fakes, generated_state = self._players.generate(params["generator"], model_state, keys, batch)
        shown = self._players.augmented(fakes, keys, FAKE, strength)
        fake = self._players.judge(discriminator_params, model_state, shown, batch)
        real_logits = None
        if self.loss.pairs:
            reals = self._players.augmented(batch["image"], keys, REAL, strength)
            real_logits = self._players.judge(discriminator_params, model_state, reals, batch).logits
        loss, metrics = self.loss.generator(fake.logits, real_logits), {}
        if self.auxiliary is not None:
            metrics["class_loss"] = _cross_entropy(fake.classes, batch["label"])
            loss += self.auxiliary.generator * metrics["class_loss"]
        if self.captions is not None and getattr(self.generator, "draws_text", False):
            variables = self._players.variables(params["generator"], model_state)
            divergence: Any = self.generator.apply(variables, batch["tokens"], method="divergence")
            metrics["text_divergence"] = divergence.mean()
            loss += self.captions.divergence_weight * metrics["text_divergence"]
        if path_mean is not None:
            value, metrics["path"] = self._path_loss(params["generator"], model_state, batch, keys, path_mean)
            loss += value
        return loss, ({"generator": generated_state["generator"]}, metrics)

    def _penalties(
        self,
        names: tuple[str, ...],
        params: Tree,
        model_state: dict[str, Tree],
        batch: Batch,
        fakes: Images,
        keys: Key[Array, "batch"],
        strength: Float[Array, ""],
    ) -> dict[str, Float[Array, ""]]:
        """Means of penalties over the batch; the slope is that before the augmentation."""

        def judge(purpose: int) -> Judge:
            def logits(images: Images) -> Float[Array, "batch *patches"]:
                shown = self._players.augmented(images, keys, purpose, strength)
                return self._players.judge(params, model_state, shown, batch).logits

            return logits

        keys_of_penalty = folded(keys, PENALTY)
        return {
            name: self.penalties[name](
                judge(REAL), batch["image"], jax.lax.stop_gradient(fakes), keys_of_penalty
            ).mean()
            for name in names
        }

    def _path_loss(
        self,
        params: Tree,
        model_state: dict[str, Tree],
        batch: Batch,
        keys: Key[Array, "batch"],
        mean: Float[Array, ""],
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """The path length's penalty, and its running mean after it."""
        assert self.path_length is not None
        kept = max(len(keys) // self.path_length.shrink, 1)
        keys, batch = keys[:kept], {name: value[:kept] for name, value in batch.items()}
        variables = self._players.variables(params, model_state)
        styles: Any = self.generator.apply(variables, self.latents(keys), **self._players.labels(batch), method="map")
        synthesise: Any = partial(
            self.generator.apply, variables, **self._players.draws(keys), train=True, method="synthesise"
        )
        lengths = self.path_length.lengths(synthesise, styles, folded(keys, PENALTY))
        mean = self.path_length.followed(mean, lengths)
        return self.path_length.penalty(lengths, mean).mean(), mean


def _cross_entropy(logits: Float[Array, "batch classes"] | None, labels: Int[Array, "batch"]) -> Float[Array, ""]:
    assert logits is not None
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def _merge_finite(earlier: Metrics, later: Metrics) -> Metrics:
    """Metrics of the latest update; a check for finite values holds only if it held in all."""
    return later | {
        name: earlier[name] & value for name, value in later.items() if value.dtype == bool and name in earlier
    }
