"""CycleGAN: from one kind of image to another and back, learnt from two sets that are not paired (Zhu et al. 2017)."""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jaxtyping import Array, Float, Key

from jgr.errors import ConfigError
from jgr.images import to_signed
from jgr.layers.padding import pad_to_multiple
from jgr.losses.adversarial import AdversarialLoss, least_squares
from jgr.mesh import gathered
from jgr.optim import Optimizer
from jgr.rng import record_keys
from jgr.state import TrainState, Tree
from jgr.tasks.image_pool import ImagePool
from jgr.tasks.task import Batch, Due, Task
from jgr.tasks.update import update

Images = Float[Array, "batch height width channels"]
States = dict[str, Tree]
Lossy = tuple[Float[Array, ""], tuple[States, dict[str, Float[Array, ""]]]]
"""What a loss function of `update` gives."""

GENERATORS = ("forward", "backward")
DISCRIMINATORS = ("image_discriminator", "target_discriminator")


def _adam() -> Optimizer:
    # 2e-4 and batches of one: section 4; 0.5: the authors' code
    return Optimizer(rule=partial(optax.adam, b1=0.5, b2=0.999), learning_rate=2e-4)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CycleGAN(Task):
    """Two generators, from images to targets and back, and a discriminator of each kind.

    The records' `image` and `target` do not belong together. A step updates both generators by one optimiser, against
    the discriminators as they are, and then both discriminators by another, on what the generators made before their
    update, exchanged for what an `ImagePool` gives: the order of the authors' code. Differences of images are in the
    units of [-1, 1] there, and so they are here. `restore` goes from images to targets.

    Args:
        forward: Module; `(images in [0, 1], train) -> targets in [0, 1]` of the same size. It may have `multiple`, of
            which the sides must be one (images are padded by reflection).
        backward: The like, from targets to images.
        image_discriminator: Module; `(images in [0, 1], train) -> logits`, one an image or for patches
            [batch, rows, columns].
        target_discriminator: The like, of targets.
        loss: An `AdversarialLoss`, by import path.
        adversarial_weight: Of its generator's part. With 2, `least_squares`, which has a half there, is the paper's.
        cycle_weight: Of the L1 distance of an image, and of a target, to itself after both generators (lambda of
            equation 3).
        identity_weight: Share of `cycle_weight` that the L1 distance of an image of a generator's own kind to what it
            makes of it has (section 5.2); it keeps colours. 0 for none, as it must be where images and targets have
            different channels.
        generator_optimizer: Owns the parameters of both generators.
        discriminator_optimizer: Owns those of both discriminators.
        pool_size: Generated images of each kind that are kept (section 4); 0 for none.
    """

    forward: nn.Module
    backward: nn.Module
    image_discriminator: nn.Module
    target_discriminator: nn.Module
    loss: AdversarialLoss = least_squares
    adversarial_weight: float = 2.0
    cycle_weight: float = 10.0
    identity_weight: float = 0.5
    generator_optimizer: Optimizer = dataclasses.field(default_factory=_adam)
    discriminator_optimizer: Optimizer = dataclasses.field(default_factory=_adam)
    pool_size: int = 50

    def __post_init__(self) -> None:
        if not self.adversarial_weight > 0:
            raise ConfigError(f"adversarial_weight = {self.adversarial_weight} must be positive")
        for name in ("cycle_weight", "identity_weight", "pool_size"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} = {getattr(self, name)} must not be negative")

    @property
    def averaged_networks(self) -> tuple[str, ...]:
        """The generators: they are what translates."""
        return GENERATORS

    @property
    def network(self) -> nn.Module:
        """The generator that `restore` applies."""
        return self.forward

    def init(self, key: Key[Array, ""], batch: Batch) -> TrainState:
        """See `Task.init`.

        Raises:
            ConfigError: If the records have no target, a generator's images are not of the size of those it is to look
                like, a discriminator's logits are not those of single images, or the identity's term is impossible.
        """
        if "target" not in batch:
            raise ConfigError(
                "config.data: its records have no target; CycleGAN learns from two sets, see "
                "jgr.data.pairs.UnpairedFolders"
            )
        image, target = batch["image"][:2], batch["target"][:2]
        if self.identity_weight and image.shape[-1] != target.shape[-1]:
            raise ConfigError(
                f"config.task.identity_weight = {self.identity_weight} must be 0: images have {image.shape[-1]} "
                f"channels and targets {target.shape[-1]}"
            )
        inputs = {"forward": image, "backward": target, "image_discriminator": image, "target_discriminator": target}
        keys = dict(zip(inputs, jax.random.split(key, len(inputs)), strict=True))
        fake_target = self._check_generator("forward", image, target, keys["forward"])
        fake_image = self._check_generator("backward", target, image, keys["backward"])
        for name in DISCRIMINATORS:
            self._check_discriminator(name, inputs[name], keys[name])
        networks = {name: dict(self._initialised(name, inputs[name], keys[name])[1]) for name in inputs}
        params = {name: variables.pop("params") for name, variables in networks.items()}
        generator, discriminator = (
            optimizer.transformation().init({name: params[name] for name in names})
            for optimizer, names in (
                (self.generator_optimizer, GENERATORS),
                (self.discriminator_optimizer, DISCRIMINATORS),
            )
        )
        return TrainState(
            step=jnp.int32(0),
            params=params,
            model_state=networks,
            opt_state={"generator": generator, "discriminator": discriminator},
            extra={
                "image_pool": ImagePool.empty(self.pool_size, fake_image[1:]),
                "target_pool": ImagePool.empty(self.pool_size, fake_target[1:]),
            },
        )

    def step(
        self, state: TrainState, batch: Batch, key: Key[Array, ""], due: tuple[Due, ...] = ()
    ) -> tuple[TrainState, dict[str, Any]]:
        """See `Task.step`."""
        records = {name: value[0] for name, value in batch.items()}
        generator_key, discriminator_key, image_key, target_key = jax.random.split(key, 4)
        # The update makes the same images again; XLA computes them once (see `jgr.layers.instance_norm`).
        generators = gathered({name: state.params[name] for name in GENERATORS})
        fake_target, _ = self._apply("forward", generators, state.model_state, records["image"])
        fake_image, _ = self._apply("backward", generators, state.model_state, records["target"])
        judges = gathered({name: state.params[name] for name in DISCRIMINATORS})
        state, metrics = update(
            state,
            "generator",
            self.generator_optimizer,
            partial(self._generator_loss, judges),
            records,
            generator_key,
            networks=GENERATORS,
        )
        pools, shown = dict(state.extra), dict(records)
        for name, fakes, pool_key in (("image", fake_image, image_key), ("target", fake_target, target_key)):
            # One after another, whatever device they lie on.
            pool, fakes = gathered((state.extra[f"{name}_pool"], fakes))
            pool_keys = record_keys(pool_key, gathered(records["position"]))
            pools[f"{name}_pool"], shown[f"fake_{name}"] = pool.exchange(fakes, pool_keys)
        state, judged = update(
            state.replace(extra=pools),
            "discriminator",
            self.discriminator_optimizer,
            self._discriminator_loss,
            shown,
            discriminator_key,
            networks=DISCRIMINATORS,
        )
        return state, metrics | judged

    def restore(self, state: TrainState, batch: Batch, keys: Key[Array, "batch"]) -> Images:
        """What `forward` makes of images, one by one; see `jgr.tasks.task.Restorer`."""
        image = batch["image"]
        variables = {"params": state.params["forward"], **state.model_state["forward"]}
        made: Any = self.forward.apply(variables, self._padded("forward", image), train=False)
        return made[:, : image.shape[1], : image.shape[2]]

    def _generator_loss(
        self, judges: States, params: States, model_state: States, batch: Batch, keys: Key[Array, "batch"]
    ) -> Lossy:
        image, target = batch["image"], batch["target"]
        fake_target, model_state = self._apply("forward", params, model_state, image)
        fake_image, model_state = self._apply("backward", params, model_state, target)
        cycled_image, model_state = self._apply("backward", params, model_state, fake_target)
        cycled_target, model_state = self._apply("forward", params, model_state, fake_image)
        adversarial = {
            "adversarial_image": self._deception("image_discriminator", judges, model_state, fake_image, image),
            "adversarial_target": self._deception("target_discriminator", judges, model_state, fake_target, target),
        }
        cycle = {"cycle_image": _distance(cycled_image, image), "cycle_target": _distance(cycled_target, target)}
        identity = {}
        if self.identity_weight:
            same_image, model_state = self._apply("backward", params, model_state, image)
            same_target, model_state = self._apply("forward", params, model_state, target)
            identity = {
                "identity_image": _distance(same_image, image),
                "identity_target": _distance(same_target, target),
            }
        loss = self.adversarial_weight * sum(adversarial.values()) + self.cycle_weight * (
            sum(cycle.values()) + self.identity_weight * sum(identity.values())
        )
        kept = {name: model_state[name] for name in GENERATORS}
        return loss, (kept, adversarial | cycle | identity)  # type: ignore[return-value]

    def _deception(
        self, name: str, judges: States, model_state: States, fakes: Images, reals: Images
    ) -> Float[Array, ""]:
        """The generator's part of the adversarial loss."""
        fake_logits, _ = self._apply(name, judges, model_state, fakes)
        real_logits = self._apply(name, judges, model_state, reals)[0] if self.loss.pairs else None
        return self.loss.generator(fake_logits, real_logits)

    def _discriminator_loss(
        self, params: States, model_state: States, batch: Batch, keys: Key[Array, "batch"]
    ) -> Lossy:
        loss, metrics = jnp.float32(0.0), dict[str, Float[Array, ""]]()
        for kind, name in zip(("image", "target"), DISCRIMINATORS, strict=True):
            real_logits, model_state = self._apply(name, params, model_state, batch[kind])
            fake_logits, model_state = self._apply(name, params, model_state, batch[f"fake_{kind}"])
            loss += self.loss.discriminator(real_logits, fake_logits)
            metrics |= {f"{kind}_real_logits": real_logits.mean(), f"{kind}_fake_logits": fake_logits.mean()}
        return loss, ({name: model_state[name] for name in DISCRIMINATORS}, metrics)

    def _apply(self, name: str, params: States, model_state: States, images: Images) -> tuple[Any, States]:
        """What a network makes of images in training, of their size if it is a generator, and all model states."""
        collections = model_state[name]
        outputs, changed = self._module(name).apply(
            {"params": params[name], **collections},
            self._padded(name, images),
            train=True,
            mutable=list(collections),
        )
        if name in GENERATORS:
            outputs = outputs[:, : images.shape[1], : images.shape[2]]
        return outputs, model_state | {name: changed}

    def _module(self, name: str) -> nn.Module:
        module: nn.Module = getattr(self, name)
        return module

    def _padded(self, name: str, images: Images) -> Float[Array, "batch new_height new_width channels"]:
        return pad_to_multiple(images, getattr(self._module(name), "multiple", 1))

    def _initialised(self, name: str, images: Any, key: Key[Array, ""]) -> tuple[Any, Any]:
        """A network's output for images, of which only the shape matters, and its variables."""
        blank = self._padded(name, jnp.zeros(images.shape))
        return self._module(name).init_with_output(key, blank, train=True)

    def _check_generator(self, name: str, images: Any, wanted: Any, key: Key[Array, ""]) -> tuple[int, ...]:
        """The shape of what a generator makes.

        Raises:
            ConfigError: If that is not the size of what it is given, in the channels that are wanted.
        """
        given = self._padded(name, jnp.zeros(images.shape)).shape
        made = jax.eval_shape(lambda k: self._initialised(name, images, k)[0], key).shape
        if made != (*given[:3], wanted.shape[-1]):
            raise ConfigError(
                f"config.task.{name} makes images of {_size(made)} of {_size(given)}; it must keep height and width, "
                f"and give {wanted.shape[-1]} channels"
            )
        return (*images.shape[:3], wanted.shape[-1])

    def _check_discriminator(self, name: str, images: Any, key: Key[Array, ""]) -> None:
        """Raises ConfigError where a discriminator does not give logits of each image by itself."""
        judged = jax.eval_shape(lambda k: self._initialised(name, images, k)[0], key)
        shape = getattr(judged, "shape", None)
        if shape is None or len(shape) not in (1, 3) or shape[0] != len(images):
            raise ConfigError(
                f"config.task.{name} gives {shape and list(shape)} for {len(images)} images; it must give one logit "
                "each, [batch], or one a patch, [batch, rows, columns]"
            )


def _distance(one: Images, other: Images) -> Float[Array, ""]:
    """The mean absolute difference in the units of [-1, 1]."""
    return jnp.abs(to_signed(one) - to_signed(other)).mean()


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(str(side) for side in shape[-3:])
