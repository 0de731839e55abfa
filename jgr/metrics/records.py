"""Metrics of what a task says about each record."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from jgr.errors import ConfigError
from jgr.metrics.bounds import active_units_of_moments, bits_per_dim
from jgr.metrics.metric import RecordMetric, Value
from jgr.metrics.moments import Moments


@dataclasses.dataclass(frozen=True, kw_only=True)
class Accuracy(RecordMetric):
    """Share of the records whose label has the largest logit."""

    higher_is_better: ClassVar[bool] = True
    method: ClassVar[str] = "classify"

    @property
    def name(self) -> str:
        """Accuracy."""
        return "accuracy"

    def values(
        self, task: Any, state: Any, batch: Mapping[str, Array], keys: Key[Array, "batch"]
    ) -> Float[Array, "batch"]:
        """1 where the classifier is right, else 0."""
        if "label" not in batch:
            raise ConfigError("metric accuracy needs records with a label, and the evaluation's data has none")
        return (task.classify(state, batch).argmax(axis=-1) == batch["label"]).astype(jnp.float32)

    def summary(self, values: Float[np.ndarray, "n"]) -> Value:
        """The share."""
        return Value(float(np.mean(values)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class LogLikelihood(RecordMetric):
    """Log-likelihood of a record in nats: the ELBO, or a tighter bound by more samples (Burda et al. 2016, equation 8).

    Args:
        num_samples: Importance samples a record; published MNIST numbers have 5,000. With 1 it is the ELBO.
    """

    num_samples: int = 1

    higher_is_better: ClassVar[bool] = True
    method: ClassVar[str] = "log_likelihood"

    def __post_init__(self) -> None:
        if self.num_samples < 1:
            raise ConfigError(f"num_samples = {self.num_samples} must be at least 1")

    @property
    def name(self) -> str:
        """elbo, or log_likelihood of more samples."""
        return "elbo" if self.num_samples == 1 else "log_likelihood"

    @property
    def variant(self) -> str:
        """The number of samples."""
        return f"iw{self.num_samples}" if self.num_samples > 1 else "1sample"

    def values(
        self, task: Any, state: Any, batch: Mapping[str, Array], keys: Key[Array, "batch"]
    ) -> Float[Array, "batch"]:
        """The bound of each record."""
        return task.log_likelihood(state, batch, keys, self.num_samples)


@dataclasses.dataclass(frozen=True, kw_only=True)
class BitsPerDimension(LogLikelihood):
    """Negative log-likelihood in bits for each pixel and channel.

    Args:
        scale: What the levels 0 to 255 were divided by before the model saw them: 1 where it gives the probability of
            levels, 255 where it gives a density over [0, 1] as jgr's batches have it, 256 where noise was added before.
    """

    scale: float = 1.0

    higher_is_better: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scale <= 0:
            raise ConfigError(f"scale = {self.scale} must be positive")

    @property
    def name(self) -> str:
        """bits_per_dim."""
        return "bits_per_dim"

    @property
    def variant(self) -> str:
        """The number of samples and the scale."""
        return f"iw{self.num_samples}_scale{self.scale:g}"

    def values(
        self, task: Any, state: Any, batch: Mapping[str, Array], keys: Key[Array, "batch"]
    ) -> Float[Array, "batch"]:
        """The bits of each record."""
        nats = -super().values(task, state, batch, keys)
        return bits_per_dim(nats, math.prod(batch["image"].shape[1:]), scale=self.scale)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ActiveUnits(RecordMetric):
    """Latents whose posterior mean varies over the data by more than a threshold (Burda et al. 2016, section 5.2).

    Args:
        threshold: Variance above which a latent is active.
    """

    threshold: float = 0.01

    higher_is_better: ClassVar[bool] = True
    method: ClassVar[str] = "posterior_mean"

    @property
    def name(self) -> str:
        """active_units."""
        return "active_units"

    @property
    def variant(self) -> str:
        """The threshold."""
        return f"{self.threshold:g}"

    def values(
        self, task: Any, state: Any, batch: Mapping[str, Array], keys: Key[Array, "batch"]
    ) -> Float[Array, "batch latents"]:
        """The posterior mean of each record."""
        return task.posterior_mean(state, batch)

    def summary(self, values: Float[np.ndarray, "n latents"]) -> Value:
        """How many are active."""
        moments = Moments()
        moments.update(values, np.ones(len(values), bool))
        return Value(float(active_units_of_moments(moments, threshold=self.threshold)))
