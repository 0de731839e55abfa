"""Classification of images, for the networks that judge generated ones."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jaxtyping import Array, Float, Key

from jgr.errors import ConfigError
from jgr.optim import Optimizer
from jgr.state import TrainState, Tree
from jgr.tasks.task import Batch, Task
from jgr.tasks.update import update


@dataclasses.dataclass(frozen=True, kw_only=True)
class Classification(Task):
    """A network that learns the labels of images by cross-entropy.

    Args:
        network: Module; `(images in [0, 1], train) -> logits [batch, classes]`.
        optimizer: Owns the network's parameters.
        label_smoothing: Share of the target's probability that is spread over all classes (Szegedy et al. 2016,
            section 7).
    """

    network: nn.Module
    optimizer: Optimizer = dataclasses.field(default_factory=lambda: Optimizer(rule=optax.adam, learning_rate=1e-3))
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.label_smoothing < 1.0:
            raise ConfigError(f"label_smoothing = {self.label_smoothing} must be at least 0 and below 1")

    @property
    def averaged_networks(self) -> tuple[str, ...]:
        """The network."""
        return ("network",)

    def init(self, key: Key[Array, ""], batch: Batch) -> TrainState:
        """See `Task.init`.

        Raises:
            ConfigError: If the data has no labels, or the network does not give one row of logits an image.
        """
        if "label" not in batch:
            raise ConfigError("config.task: a classification needs records with a label, and config.data has none")
        images = batch["image"][:2]
        logits = jax.eval_shape(lambda k: self.network.init_with_output(k, images, train=True)[0], key)
        if len(logits.shape) != 2 or logits.shape[0] != 2:
            raise ConfigError(f"config.task.network gives {list(logits.shape)} for 2 images; it must give [2, classes]")
        variables = self.network.init(key, images, train=True)
        params = {"network": variables.pop("params")}
        return TrainState(
            step=jnp.int32(0),
            params=params,
            model_state={"network": variables},
            opt_state={"network": self.optimizer.transformation().init(params)},
        )

    def step(self, state: TrainState, batch: Batch, key: Key[Array, ""]) -> tuple[TrainState, dict[str, Any]]:
        """See `Task.step`."""
        records = {name: value[0] for name, value in batch.items()}
        return update(state, "network", self.optimizer, self._loss, records, key, networks=("network",))

    def classify(self, state: TrainState, batch: Batch) -> Float[Array, "batch classes"]:
        """Logits of images; batch norm uses its running statistics."""
        variables = {"params": state.params["network"], **state.model_state["network"]}
        return self.network.apply(variables, batch["image"], train=False)  # type: ignore[return-value]

    def _loss(
        self, params: dict[str, Tree], model_state: dict[str, Tree], batch: Batch, keys: Key[Array, "batch"]
    ) -> tuple[Float[Array, ""], tuple[dict[str, Tree], dict[str, Float[Array, ""]]]]:
        collections = model_state["network"]
        logits, changed = self.network.apply(
            {"params": params["network"], **collections}, batch["image"], train=True, mutable=list(collections)
        )
        targets = optax.smooth_labels(jax.nn.one_hot(batch["label"], logits.shape[-1]), self.label_smoothing)
        loss = optax.softmax_cross_entropy(logits, targets).mean()
        accuracy = (logits.argmax(axis=-1) == batch["label"]).mean()
        return loss, ({"network": changed}, {"accuracy": accuracy})
