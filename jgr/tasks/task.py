"""What a task is: the one extension point with logic."""

import abc
import dataclasses
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from jgr.state import TrainState

Batch = Mapping[str, Array]
Due = bool | Bool[Array, ""]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task(abc.ABC):
    """What is learned, as pure functions of a state and a batch. It holds modules and hyper-parameters, never arrays.

    A task of your own is a subclass in your own file, named in a config by its import path. What it can do besides
    learning it says by having the methods of `Sampler` and its siblings.
    """

    @property
    def batches_per_step(self) -> int:
        """How many fresh batches a step consumes."""
        return 1

    @property
    def averaged_networks(self) -> tuple[str, ...]:
        """The networks whose exponential moving average is evaluated; none by default."""
        return ()

    @property
    def num_classes(self) -> int | None:
        """Classes whose label `sample` takes as `condition["label"]`; None where it takes none."""
        return None

    @property
    def condition_name(self) -> str | None:
        """What of a batch `sample` or `restore` is told besides: "label", or "tokens" of captions; None for nothing."""
        return None if self.num_classes is None else "label"

    def concern(self, metrics: Mapping[str, float]) -> str | None:
        """What looks wrong in the metrics of a log line, in a sentence; None where nothing does.

        The job tells it where it holds in several lines one after another.

        Args:
            metrics: What a step reported.
        """
        return None

    def check_records(self, records: Mapping[str, np.ndarray]) -> None:  # noqa: B027
        """Looks at the first records, before anything is compiled; accepts all by default.

        Args:
            records: A few, as they are read, images as float32 in [0, 1].

        Raises:
            DataError: If the task cannot learn from such values; the message says which, and what is allowed.
        """

    @abc.abstractmethod
    def init(self, key: Key[Array, ""], batch: Batch) -> TrainState:
        """The state before the first step; must work under `jax.eval_shape`.

        Args:
            key: Randomness of the initial weights.
            batch: One batch, `[batch, …]` without the axis of several batches; only shapes may matter.
        """

    @property
    def intervals(self) -> tuple[int, ...]:
        """Steps between what is not done in every one; none by default.

        A task that has some takes a fourth argument in `step`, `due: tuple[Due, ...] = ()`: for each of them whether
        the steps done before are a multiple of it; empty to see from `state.step`. Mostly it is True or False, and a
        program of its own is compiled for every combination that occurs: a branch inside a program slows convolutions
        on CPU 40 times. It is traced where steps are scanned. `jgr.tasks.lazy.when` takes either.
        """
        return ()

    @abc.abstractmethod
    def step(
        self, state: TrainState, batch: Batch, key: Key[Array, ""]
    ) -> tuple[TrainState, dict[str, Float[Array, ""]]]:
        """One optimiser step of everything the task trains: pure, under `jax.jit`.

        The caller advances `state.step` and the average.

        Args:
            state: Is donated: its buffers are gone afterwards.
            batch: `[batches_per_step, batch, …]`.
            key: Fresh for every step.

        Returns:
            The new state, and scalars to log. `jgr.tasks.update.update` adds the checks for finite values.
        """


@runtime_checkable
class Sampler(Protocol):
    """A task that generates images."""

    def sample(
        self,
        state: TrainState,
        keys: Key[Array, "batch"],
        condition: Mapping[str, Int[Array, "batch *length"]] | None = None,
    ) -> Float[Array, "batch height width channels"]:
        """Images in [0, 1], one a key: which images come does not depend on how many are drawn together."""
        ...


@runtime_checkable
class LatentSampler(Protocol):
    """A `Sampler` whose images are made of standard normal latents, so that one can choose, mix and search them.

    `sample(state, keys, condition)` is `generate(state, latents(keys), keys, condition)`, bit for bit.
    """

    def latents(self, keys: Key[Array, "batch"]) -> Float[Array, "batch latent"]:
        """Standard normal latents, one a key."""
        ...

    def generate(
        self,
        state: TrainState,
        latents: Float[Array, "batch latent"],
        keys: Key[Array, "batch"],
        condition: Mapping[str, Int[Array, "batch *length"]] | None = None,
    ) -> Float[Array, "batch height width channels"]:
        """Images in [0, 1] of given latents, differentiable in them; the keys decide only what is random besides."""
        ...


@runtime_checkable
class StyleSampler(Protocol):
    """A `LatentSampler` whose generator may first map latents to styles, one for every layer (Karras et al. 2019).

    Where `has_styles`, `generate(state, latents, keys, condition)` is
    `synthesise(state, styles(state, latents, condition), keys)`; where not, the other methods are never called.
    """

    @property
    def has_styles(self) -> bool:
        """Whether this task's generator has styles."""
        ...

    def styles(
        self,
        state: TrainState,
        latents: Float[Array, "batch latent"],
        condition: Mapping[str, Int[Array, "batch *length"]] | None = None,
    ) -> Float[Array, "batch layers style"]:
        """The styles of latents, from the coarsest layer to the finest; not truncated."""
        ...

    def mean_style(self, state: TrainState) -> Float[Array, "style"]:
        """The running mean of the styles seen in training: what truncation pulls towards."""
        ...

    def synthesise(
        self, state: TrainState, styles: Float[Array, "batch layers style"], keys: Key[Array, "batch"]
    ) -> Float[Array, "batch height width channels"]:
        """Images in [0, 1] of given styles, differentiable in them; the keys decide only what is random besides."""
        ...


@runtime_checkable
class Restorer(Protocol):
    """A task that makes a degraded image good again.

    It may also have `scale`, how many times larger it makes images, and `on_host`, True where `restore` is plain Python
    on NumPy arrays; and `degrade(batch, keys) -> batch`, what it was trained to undo, for evaluations that do not say
    how images are degraded.
    """

    def restore(
        self, state: TrainState, batch: Batch, keys: Key[Array, "batch"]
    ) -> Float[Array, "batch height width channels"]:
        """Restored images, of the size of the batch's `target`. They are compared after clipping to [0, 1].

        Args:
            state: The state.
            batch: Degraded `image`, in units of [0, 1], and whatever else the degradation tells: `sigma`, `mask`,
                `kernel`, `quality`, see `jgr.degradations.degradation.Record`.
            keys: One a record, for restorers that draw something.
        """
        ...


@runtime_checkable
class Classifier(Protocol):
    """A task that tells classes of images apart."""

    def classify(self, state: TrainState, batch: Batch) -> Float[Array, "batch classes"]:
        """Logits of the classes of `image` in [0, 1]."""
        ...


@runtime_checkable
class DensityModel(Protocol):
    """A task that gives images a likelihood, or a lower bound of it."""

    def log_likelihood(
        self, state: TrainState, batch: Batch, keys: Key[Array, "batch"], num_samples: int
    ) -> Float[Array, "batch"]:
        """Log-likelihood of each image in nats.

        Of a latent-variable model it is the lower bound by `num_samples` importance samples (Burda et al. 2016,
        equation 8), with 1 the ELBO; `jgr.metrics.chunked_importance_weighted_bound` keeps the memory of
        many samples in bounds.
        """
        ...


@runtime_checkable
class LatentModel(Protocol):
    """A task that maps images to a posterior over latents."""

    def posterior_mean(self, state: TrainState, batch: Batch) -> Float[Array, "batch latents"]:
        """Mean of each image's approximate posterior."""
        ...


@runtime_checkable
class LatentDivergence(Protocol):
    """A task that can say how much each latent tells about an image."""

    def posterior_divergence(self, state: TrainState, batch: Batch) -> Float[Array, "batch latents"]:
        """KL divergence of each latent's posterior from its prior, in nats: about 0 where the posterior collapsed."""
        ...


@runtime_checkable
class LatentDecoder(Protocol):
    """A `LatentModel` with the prior N(0, 1) whose latents can be moved and made images again.

    `reconstruct(state, batch)` of `Reconstructor`, if any, is `decode(state, posterior_mean(state, batch), batch)`.
    """

    def posterior_mean(self, state: TrainState, batch: Batch) -> Float[Array, "batch latents"]:
        """See `LatentModel`."""
        ...

    def decode(
        self, state: TrainState, latents: Float[Array, "batch latents"], condition: Mapping[str, Array]
    ) -> Float[Array, "batch height width channels"]:
        """Images in [0, 1] of latents; the condition has a `label` where the task has `num_classes`."""
        ...


@runtime_checkable
class PixelModel(Protocol):
    """A `LatentSampler` that says how probable each pixel is given its latents, so that some may be left out."""

    def pixel_log_probs(
        self,
        state: TrainState,
        latents: Float[Array, "batch latents"],
        keys: Key[Array, "batch"],
        images: Float[Array, "batch height width channels"],
        condition: Mapping[str, Int[Array, "batch *length"]] | None = None,
    ) -> Float[Array, "batch height width"]:
        """Log-probability in nats, up to a constant, of each pixel of images in [0, 1]; differentiable in the latents.

        Args:
            state: The state.
            latents: Those that `generate` makes images of.
            keys: Those that `generate` is given.
            images: As they come, not binarised or with noise.
            condition: As of `generate`.
        """
        ...


@runtime_checkable
class Reconstructor(Protocol):
    """A task that maps images to a code and back."""

    def reconstruct(self, state: TrainState, batch: Batch) -> Float[Array, "batch height width channels"]:
        """What of each record's `image` in [0, 1] remains, in [0, 1]."""
        ...
