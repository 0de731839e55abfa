"""Restoration of degraded images by a network that is trained on pairs of degraded and clean ones."""

import dataclasses
import zlib
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jaxtyping import Array, Float, Key

from jgr.degradations.degradation import Degradation
from jgr.errors import ConfigError
from jgr.layers.padding import pad_to_multiple
from jgr.losses.adversarial import AdversarialLoss, non_saturating
from jgr.losses.restoration import L1, Loss, Weighted
from jgr.mesh import gathered
from jgr.metrics.fidelity import decibels, mse
from jgr.optim import Optimizer
from jgr.state import TrainState, Tree
from jgr.tasks.task import Batch, Task
from jgr.tasks.update import update

# What a record's key is folded with for the network: a draw of the degradation tells nothing about the network's.
_NETWORK = zlib.crc32(b"network")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adversarial:
    """An adversarial term: a discriminator of clean and restored images, trained in turn with the network.

    pix2pix (Isola et al. 2017) is L1 with a conditional term; `configs/image_to_image` has it.

    Args:
        discriminator: Module; `(images in [0, 1], train) -> logits [batch]`, or of patches [batch, rows, columns].
        loss: An `AdversarialLoss`, by import path; its generator's part is added to the network's loss.
        weight: Of that part. 5e-3: Wang et al. 2018, ESRGAN, section 4.1.
        conditional: Whether the discriminator sees the degraded image beside each clean or restored one: the channels
            of both, in this order.
        optimizer: Owns the discriminator's parameters.
    """

    discriminator: nn.Module
    loss: AdversarialLoss = non_saturating
    weight: float = 5e-3
    conditional: bool = False
    optimizer: Optimizer = dataclasses.field(default_factory=lambda: Optimizer(rule=optax.adam, learning_rate=1e-4))

    def __post_init__(self) -> None:
        if self.weight <= 0:
            raise ConfigError(f"weight = {self.weight} must be positive; set adversarial to None for no such term")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Restoration(Task):
    """A network that learns to undo a degradation.

    Each step degrades clean images anew, each record with a key of its own, on the device.

    Args:
        network: Module; `(degraded images with condition maps [batch, height, width, channels + maps], train) ->
            [batch, scale * height, scale * width, channels]`. It may have `multiple`, of which the sides must be one
            (images are padded by reflection), `scale`, for super-resolution, and `channels`, by which `jgr restore`
            knows whether it is for gray images. One that draws something has the class attribute `draws = True` and
            takes `keys`, one a record or None for no randomness, in training and outside.
        degradation: What spoils the images; None where the records have a `target` besides their `image`.
        loss: Of restored images against clean ones.
        optimizer: Owns the network's parameters.
        inputs: What the network is told besides the image, by names of `jgr.degradations.degradation.Record`, such as
            "sigma", "mask" or "quality": each becomes a map that follows the image's channels.
        residual: Whether the network gives what is to be taken away, degraded minus clean (Zhang et al. 2017, DnCNN,
            section III.A), instead of the image itself.
        keep_known: Whether pixels that a record's `mask` calls known stay as they are, for inpainting: the network then
            learns, and gives, what is in the holes alone.
        stage_weight: Weight of the loss of every earlier stage of a recurrent network, which needs a method
            `all_stages`; 0 to train on the last alone.
        adversarial: An adversarial term; None for none.
        captions: Whether the network is told captions: it is given `tokens` as `labels`, see
            `jgr.models.captioned.Restorer` and `CodeRestorer`.
    """

    network: nn.Module
    degradation: Degradation | None = None
    loss: Loss = dataclasses.field(default_factory=L1)
    optimizer: Optimizer = dataclasses.field(default_factory=lambda: Optimizer(rule=optax.adam, learning_rate=1e-3))
    inputs: tuple[str, ...] = ()
    residual: bool = False
    keep_known: bool = False
    stage_weight: float = 0.0
    adversarial: Adversarial | None = None
    captions: bool = False

    def __post_init__(self) -> None:
        if self.stage_weight < 0:
            raise ConfigError(f"stage_weight = {self.stage_weight} must not be negative")
        if self.stage_weight and not hasattr(self.network, "all_stages"):
            raise ConfigError(
                f"stage_weight = {self.stage_weight}: {type(self.network).__qualname__} has no method all_stages"
            )
        for name in ("residual", "keep_known"):
            if getattr(self, name) and self.scale != 1:
                raise ConfigError(f"{name}=True does not go with a network that enlarges images {self.scale} times")

    @property
    def scale(self) -> int:
        """How many times larger restored images are than degraded ones."""
        return getattr(self.network, "scale", 1)

    @property
    def averaged_networks(self) -> tuple[str, ...]:
        """The network that restores."""
        return ("network",)

    @property
    def condition_name(self) -> str | None:
        """See `Task.condition_name`."""
        return "tokens" if self.captions else None

    def init(self, key: Key[Array, ""], batch: Batch) -> TrainState:
        """See `Task.init`.

        Raises:
            ConfigError: If the records have no target, the degradation does not give what the network is to be told,
                or the network's images are not of the target's size.
        """
        first = {name: value[:2] for name, value in batch.items()}
        count = len(first["image"])
        pair = jax.eval_shape(self.degrade, first, jax.eval_shape(lambda k: jax.random.split(k, count), key))
        self._check_inputs(pair)
        shape = jax.eval_shape(self._network_input, pair).shape
        keys = jax.random.split(key)
        told: dict[str, Any] = {name: jnp.zeros(value.shape, value.dtype) for name, value in self._told(pair).items()}
        made = jax.eval_shape(lambda k: self.network.init_with_output(k, jnp.zeros(shape), **told, train=True)[0], key)
        if (given := self._size_of(pair, made)) != pair["target"].shape:
            raise ConfigError(
                f"config.task.network makes images of {_size(given)} of degraded ones of {_size(pair['image'].shape)}, "
                f"but clean ones are {_size(pair['target'].shape)}: set its channels and scale, or the data's color"
            )
        networks = {"network": self.network.init(keys[0], jnp.zeros(shape), **told, train=True)}
        if self.adversarial is not None:
            seen = jnp.zeros(self._seen_shape(self.adversarial, pair))
            networks["discriminator"] = self.adversarial.discriminator.init(keys[1], seen, train=True)
        params = {name: variables.pop("params") for name, variables in networks.items()}
        optimizers = {"network": self.optimizer}
        if self.adversarial is not None:
            optimizers["discriminator"] = self.adversarial.optimizer
        return TrainState(
            step=jnp.int32(0),
            params=params,
            model_state=networks,
            opt_state={
                name: optimizer.transformation().init({name: params[name]}) for name, optimizer in optimizers.items()
            },
        )

    def step(self, state: TrainState, batch: Batch, key: Key[Array, ""]) -> tuple[TrainState, dict[str, Any]]:
        """See `Task.step`: an update of the discriminator, if there is one, then one of the network."""
        records = {name: value[0] for name, value in batch.items()}
        if self.adversarial is None:
            return update(state, "network", self.optimizer, self._loss, records, key, networks=("network",))
        discriminator_key, key = jax.random.split(key)
        loss = partial(self._discriminator_loss, gathered(state.params["network"]))
        state, judged = update(
            state,
            "discriminator",
            self.adversarial.optimizer,
            loss,
            records,
            discriminator_key,
            networks=("discriminator",),
        )
        loss = partial(self._adversarial_loss, gathered(state.params["discriminator"]))
        state, metrics = update(state, "network", self.optimizer, loss, records, key, networks=("network",))
        return state, judged | metrics

    def degrade(self, batch: Batch, keys: Key[Array, "batch"]) -> Batch:
        """The batch with degraded `image` and clean `target`, and what the degradation says of itself.

        Args:
            batch: Clean `image` in [0, 1]; or degraded `image` and `target`, for a task without degradation.
            keys: One a record.

        Raises:
            ConfigError: If there is neither a degradation nor a target.
        """
        if self.degradation is not None:
            return self.degradation(batch, keys)
        if "target" not in batch:
            raise ConfigError("config.task.degradation is None, and the records of config.data have no target")
        return batch

    def restore(
        self, state: TrainState, batch: Batch, keys: Key[Array, "batch"]
    ) -> Float[Array, "batch height width channels"]:
        """Restored images; batch norm uses its running statistics. See `jgr.tasks.task.Restorer`."""
        self._check_inputs(batch)
        variables = {"params": state.params["network"], **state.model_state["network"]}
        output: Any = self.network.apply(
            variables, self._network_input(batch), train=False, **self._told(batch), **self._draws(keys)
        )
        return self._finish(batch, output)

    def _check_inputs(self, batch: Mapping[str, Any]) -> None:
        """Raises ConfigError where the batch lacks what the network is to be told, or that makes no map."""
        if self.keep_known and "mask" not in batch:
            raise ConfigError("config.task.keep_known = True, but the degraded images do not come with a mask")
        for name in self.inputs:
            if name not in batch:
                known = [key for key in batch if key not in ("image", "target", "index", "position", "label")]
                raise ConfigError(
                    f"config.task.inputs names {name!r}, which the degraded images do not come with; they come with "
                    f"{', '.join(known) or 'nothing'}"
                )
            if len(batch[name].shape) not in (1, 4):
                raise ConfigError(f"config.task.inputs: {name!r} of shape {batch[name].shape[1:]} makes no map")
        if self.captions and "tokens" not in batch:
            raise ConfigError(
                "config.task.captions: the records are read without captions; take data.captions=dict(), and data "
                "with captions"
            )

    def _network_input(self, batch: Mapping[str, Array]) -> Float[Array, "batch height width channels_and_maps"]:
        """Degraded images with their maps, padded to the network's multiple."""
        image = batch["image"]
        maps = [
            jnp.broadcast_to(value.reshape(-1, 1, 1, 1), (*image.shape[:3], 1)) if value.ndim == 1 else value
            for value in (batch[name] for name in self.inputs)
        ]
        return pad_to_multiple(jnp.concatenate([image, *maps], axis=-1), getattr(self.network, "multiple", 1))

    def _told(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """What a network that is told captions is given besides images."""
        return {"labels": batch["tokens"]} if self.captions else {}

    def _draws(self, keys: Key[Array, "batch"]) -> dict[str, Any]:
        """What a network that draws something is given besides images."""
        if not getattr(self.network, "draws", False):
            return {}
        return {"keys": jax.vmap(lambda key: jax.random.fold_in(key, _NETWORK))(keys)}

    def _finish(
        self, pair: Mapping[str, Array], output: Array
    ) -> Float[Array, "*stages batch new_height new_width channels"]:
        """The restored images from the network's output: without the padding, the residual taken away."""
        height, width = (side * self.scale for side in pair["image"].shape[1:3])
        output = output[..., :height, :width, :]
        stages = (1,) * (output.ndim - 4)  # they lie before the batch
        degraded = pair["image"].reshape(stages + pair["image"].shape)
        if self.residual:
            output = degraded - output
        if self.keep_known:
            output = jnp.where(pair["mask"].reshape(stages + pair["mask"].shape) > 0, degraded, output)
        return output

    def _size_of(self, pair: Mapping[str, Any], output: Any) -> tuple[int, ...]:
        """Shape of the restored images."""
        return jax.eval_shape(self._finish, pair, output).shape

    def _loss(
        self, params: dict[str, Tree], model_state: dict[str, Tree], batch: Batch, keys: Key[Array, "batch"]
    ) -> tuple[Float[Array, ""], tuple[dict[str, Tree], dict[str, Float[Array, ""]]]]:
        pair = self.degrade(batch, keys)
        _, loss, state, metrics = self._restored_loss(params["network"], model_state, pair, keys)
        return loss, ({"network": state}, metrics)

    def _adversarial_loss(
        self,
        discriminator_params: Tree,
        params: dict[str, Tree],
        model_state: dict[str, Tree],
        batch: Batch,
        keys: Key[Array, "batch"],
    ) -> tuple[Float[Array, ""], tuple[dict[str, Tree], dict[str, Float[Array, ""]]]]:
        assert self.adversarial is not None
        pair = self.degrade(batch, keys)
        restored, loss, state, metrics = self._restored_loss(params["network"], model_state, pair, keys)
        collections = model_state["discriminator"]
        fake, _ = self._judge(discriminator_params, collections, pair, restored)
        real = None
        if self.adversarial.loss.pairs:
            real, _ = self._judge(discriminator_params, collections, pair, pair["target"])
        term = self.adversarial.loss.generator(fake, real)
        return loss + self.adversarial.weight * term, ({"network": state}, {**metrics, "adversarial": term})

    def _discriminator_loss(
        self,
        network_params: Tree,
        params: dict[str, Tree],
        model_state: dict[str, Tree],
        batch: Batch,
        keys: Key[Array, "batch"],
    ) -> tuple[Float[Array, ""], tuple[dict[str, Tree], dict[str, Float[Array, ""]]]]:
        assert self.adversarial is not None
        pair = self.degrade(batch, keys)
        restored, _ = self._restored(network_params, model_state["network"], pair, keys)
        real, state = self._judge(params["discriminator"], model_state["discriminator"], pair, pair["target"])
        fake, state = self._judge(params["discriminator"], state, pair, restored)
        metrics = {"real_logits": real.mean(), "fake_logits": fake.mean()}
        return self.adversarial.loss.discriminator(real, fake), ({"discriminator": state}, metrics)

    def _restored_loss(
        self, params: Tree, model_state: dict[str, Tree], pair: Batch, keys: Key[Array, "batch"]
    ) -> tuple[Array, Float[Array, ""], Tree, dict[str, Float[Array, ""]]]:
        """Restored images, their loss, the network's model state, and metrics."""
        target = pair["target"]
        if self.stage_weight:
            stages, state = self._restored(params, model_state["network"], pair, keys, method="all_stages")
            *early, restored = stages
            earlier = self.stage_weight * sum(_mean_of(self.loss(stage, target), target) for stage in early)
        else:
            restored, state = self._restored(params, model_state["network"], pair, keys)
            earlier = jnp.float32(0.0)
        error = mse(jax.lax.stop_gradient(jnp.clip(restored, 0.0, 1.0)), target).mean()
        metrics = {"psnr": decibels(error)}
        if isinstance(self.loss, Weighted):
            metrics |= {name: _mean_of(values, target) for name, values in self.loss.parts(restored, target).items()}
            loss = jnp.stack([earlier, *(metrics[name] for name in self.loss.terms)]).sum()
        else:
            loss = _mean_of(self.loss(restored, target), target) + earlier
        return restored, loss, state, metrics

    def _restored(
        self, params: Tree, collections: Tree, pair: Batch, keys: Key[Array, "batch"], method: str | None = None
    ) -> tuple[Any, Tree]:
        """Restored images, in training, and the network's model state."""
        output, changed = self.network.apply(
            {"params": params, **collections},
            self._network_input(pair),
            **self._told(pair),
            **self._draws(keys),
            train=True,
            mutable=list(collections),
            method=method,
        )
        return self._finish(pair, output), changed

    def _judge(
        self, params: Tree, collections: Tree, pair: Batch, images: Float[Array, "batch height width channels"]
    ) -> tuple[Float[Array, "batch *patches"], Tree]:
        """Logits of clean or restored images, in training, and the discriminator's model state."""
        assert self.adversarial is not None
        return self.adversarial.discriminator.apply(
            {"params": params, **collections},
            self._seen(self.adversarial, pair, images),
            train=True,
            mutable=list(collections),
        )

    def _seen(
        self, adversarial: Adversarial, pair: Batch, images: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch height width seen_channels"]:
        """What the discriminator is given with clean or restored images."""
        return jnp.concatenate([pair["image"], images], axis=-1) if adversarial.conditional else images

    def _seen_shape(self, adversarial: Adversarial, pair: Mapping[str, Any]) -> tuple[int, ...]:
        """Shape of what the discriminator is given.

        Raises:
            ConfigError: If the pair cannot be joined, or the discriminator gives no logits of each image.
        """
        image, target = pair["image"], pair["target"]
        if adversarial.conditional and image.shape[:3] != target.shape[:3]:
            raise ConfigError(
                f"config.task.adversarial.conditional joins degraded images of {_size(image.shape)} to clean ones of "
                f"{_size(target.shape)}: they must be of one size; set it to False"
            )
        seen = jax.eval_shape(partial(self._seen, adversarial), pair, target)
        judged = jax.eval_shape(
            lambda key: adversarial.discriminator.init_with_output(key, jnp.zeros(seen.shape), train=True)[0],
            jax.random.key(0),
        )
        if judged.shape[:1] != target.shape[:1]:
            raise ConfigError(
                f"config.task.adversarial.discriminator gives {list(judged.shape)} for {target.shape[0]} images; it "
                "must give logits of each, [batch] or [batch, rows, columns]"
            )
        return seen.shape


def _mean_of(values: Array, target: Array) -> Float[Array, ""]:
    """The mean over the records of a loss.

    Raises:
        ConfigError: If the loss does not give a value for each record.
    """
    if values.shape != target.shape[:1]:
        raise ConfigError(
            f"config.task.loss gives an array of shape {values.shape} for {target.shape[0]} records: it must give one "
            "value for each, of which the task takes the mean"
        )
    return values.mean()


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(str(side) for side in shape[-3:])
