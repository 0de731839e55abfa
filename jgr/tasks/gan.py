"""Generative adversarial networks (Goodfellow et al. 2014)."""

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jaxtyping import Array, Float, Int, Key

from jgr.errors import ConfigError
from jgr.losses.adversarial import AdversarialLoss, non_saturating
from jgr.mesh import gathered
from jgr.optim import Optimizer
from jgr.state import TrainState, Tree
from jgr.tasks.task import Batch, Task
from jgr.tasks.update import update


def _adam() -> Optimizer:
    # 2e-4 and 0.5: Radford et al. 2016, section 4
    return Optimizer(rule=partial(optax.adam, b1=0.5, b2=0.999), learning_rate=2e-4)


@dataclasses.dataclass(frozen=True, kw_only=True)
class GAN(Task):
    """A generator and a discriminator, trained in turn.

    A step makes `num_d_steps` updates of the discriminator, each with fresh real images and fresh latents, and then one
    of the generator against the updated discriminator, with fresh latents. The discriminator sees real and generated
    images in separate passes, so that batch statistics do not mix. Each network's model state is changed by its own
    updates only.

    Args:
        generator: Module with a field `latent_dim`; `(latents [batch, latent_dim], train) -> images in [0, 1]`.
        discriminator: Module; `(images in [0, 1], train) -> logits [batch]`.
        loss: An `AdversarialLoss`, by import path.
        generator_optimizer: Owns the generator's parameters.
        discriminator_optimizer: Owns the discriminator's parameters.
        num_d_steps: Discriminator updates per step.
    """

    generator: nn.Module
    discriminator: nn.Module
    loss: AdversarialLoss = non_saturating
    generator_optimizer: Optimizer = dataclasses.field(default_factory=_adam)
    discriminator_optimizer: Optimizer = dataclasses.field(default_factory=_adam)
    num_d_steps: int = 1

    def __post_init__(self) -> None:
        if self.num_d_steps < 1:
            raise ConfigError(f"num_d_steps = {self.num_d_steps} must be at least 1")
        if not isinstance(getattr(self.generator, "latent_dim", None), int):
            raise ConfigError(f"generator: {type(self.generator).__qualname__} needs an int field latent_dim")

    @property
    def batches_per_step(self) -> int:
        """One batch of real images for each update of the discriminator."""
        return self.num_d_steps

    @property
    def averaged_networks(self) -> tuple[str, ...]:
        """The generator: it is what samples."""
        return ("generator",)

    def init(self, key: Key[Array, ""], batch: Batch) -> TrainState:
        """See `Task.init`.

        Raises:
            ConfigError: If the generator's images are not of the size of the data's, or the discriminator's logits are
                not one an image.
        """
        generator_key, discriminator_key = jax.random.split(key)
        images = batch["image"][:2]
        latents = jnp.zeros((2, self._latent_dim))
        # The shapes are compared before any network runs on them: a module's own error would not name the config.
        made = jax.eval_shape(lambda k: self.generator.init_with_output(k, latents, train=True)[0], generator_key)
        if made.shape[1:] != images.shape[1:]:
            raise ConfigError(
                f"config.task.generator makes images of {_size(made.shape)} but the data has {_size(images.shape)}: "
                "set image_size and channels of both networks, or config.data.resize, so that they agree"
            )
        judged = jax.eval_shape(
            lambda k: self.discriminator.init_with_output(k, images, train=True)[0], discriminator_key
        )
        if judged.shape != (2,):
            raise ConfigError(
                f"config.task.discriminator gives {list(judged.shape)} for 2 images; it must give one logit each, [2]"
            )
        generator = self.generator.init(generator_key, latents, train=True)
        discriminator = self.discriminator.init(discriminator_key, images, train=True)
        params = {"generator": generator.pop("params"), "discriminator": discriminator.pop("params")}
        return TrainState(
            step=jnp.int32(0),
            params=params,
            model_state={"generator": generator, "discriminator": discriminator},
            opt_state={
                "generator": self.generator_optimizer.transformation().init({"generator": params["generator"]}),
                "discriminator": self.discriminator_optimizer.transformation().init(
                    {"discriminator": params["discriminator"]}
                ),
            },
        )

    def step(self, state: TrainState, batch: Batch, key: Key[Array, ""]) -> tuple[TrainState, dict[str, Any]]:
        """See `Task.step`."""
        metrics: dict[str, Any] = {}
        *discriminator_keys, generator_key = jax.random.split(key, self.num_d_steps + 1)
        # Unrolled: the gradient of a convolution inside lax.scan is 50 times slower on CPU.
        for i, discriminator_key in enumerate(discriminator_keys):
            reals = {name: value[i] for name, value in batch.items()}
            state, discriminator_metrics = update(
                state,
                "discriminator",
                self.discriminator_optimizer,
                partial(self._discriminator_loss, gathered(state.params["generator"])),
                reals,
                discriminator_key,
                networks=("discriminator",),
            )
            metrics = _merge_finite(metrics, discriminator_metrics)
        state, generator_metrics = update(
            state,
            "generator",
            self.generator_optimizer,
            partial(self._generator_loss, gathered(state.params["discriminator"])),
            reals,
            generator_key,
            networks=("generator",),
        )
        return state, metrics | generator_metrics

    def sample(
        self, state: TrainState, keys: Key[Array, "batch"], condition: Mapping[str, Int[Array, "batch"]] | None = None
    ) -> Float[Array, "batch height width channels"]:
        """Images of standard normal latents, one a key; batch norm uses its running statistics.

        Raises:
            ValueError: If a condition is given: this GAN has none.
        """
        if condition is not None:
            raise ValueError(f"this GAN is unconditional, but was given the condition {sorted(condition)}")
        variables = {"params": state.params["generator"], **state.model_state["generator"]}
        return self.generator.apply(variables, self._latents(keys), train=False)  # type: ignore[return-value]

    @property
    def _latent_dim(self) -> int:
        return self.generator.latent_dim

    def _discriminator_loss(
        self,
        generator_params: Tree,
        params: dict[str, Tree],
        model_state: dict[str, Tree],
        batch: Batch,
        keys: Key[Array, "batch"],
    ) -> tuple[Float[Array, ""], tuple[dict[str, Tree], dict[str, Float[Array, ""]]]]:
        fakes, _ = self._generate(generator_params, model_state, keys)
        real_logits, model_state = self._discriminate(params["discriminator"], model_state, batch["image"])
        fake_logits, model_state = self._discriminate(params["discriminator"], model_state, fakes)
        metrics = {"real_logits": real_logits.mean(), "fake_logits": fake_logits.mean()}
        loss = self.loss.discriminator(real_logits, fake_logits)
        return loss, ({"discriminator": model_state["discriminator"]}, metrics)

    def _generator_loss(
        self,
        discriminator_params: Tree,
        params: dict[str, Tree],
        model_state: dict[str, Tree],
        batch: Batch,
        keys: Key[Array, "batch"],
    ) -> tuple[Float[Array, ""], tuple[dict[str, Tree], dict[str, Float[Array, ""]]]]:
        fakes, generated_state = self._generate(params["generator"], model_state, keys)
        fake_logits, _ = self._discriminate(discriminator_params, model_state, fakes)
        return self.loss.generator(fake_logits), ({"generator": generated_state["generator"]}, {})

    def _generate(
        self, params: Tree, model_state: dict[str, Tree], keys: Key[Array, "batch"]
    ) -> tuple[Float[Array, "batch height width channels"], dict[str, Tree]]:
        return self._apply("generator", self.generator, params, model_state, self._latents(keys))

    def _latents(self, keys: Key[Array, "batch"]) -> Float[Array, "batch latent"]:
        return jax.vmap(lambda key: jax.random.normal(key, (self._latent_dim,)))(keys)

    def _discriminate(
        self, params: Tree, model_state: dict[str, Tree], images: Float[Array, "batch height width channels"]
    ) -> tuple[Float[Array, "batch"], dict[str, Tree]]:
        return self._apply("discriminator", self.discriminator, params, model_state, images)

    def _apply(
        self, name: str, module: nn.Module, params: Tree, model_state: dict[str, Tree], inputs: Array
    ) -> tuple[Any, dict[str, Tree]]:
        collections = model_state[name]
        outputs, changed = module.apply(
            {"params": params, **collections}, inputs, train=True, mutable=list(collections)
        )
        return outputs, model_state | {name: changed}


def _merge_finite(earlier: dict[str, Any], later: dict[str, Any]) -> dict[str, Any]:
    """Metrics of the latest update; a check for finite values holds only if it held in all."""
    return later | {
        name: earlier[name] & value for name, value in later.items() if value.dtype == bool and name in earlier
    }


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(str(side) for side in shape[-3:])
