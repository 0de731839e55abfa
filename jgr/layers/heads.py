"""Heads of discriminators: from an image's features to what the discriminator says of it.

A head of your own is a Linen module that is called alike: `head(features [batch, features], labels=…, train=…)`, labels
being None where the GAN is unconditional. Name one in a config:

    config.task.discriminator.head = dict(cls="jgr.layers.heads.Projection", num_classes=10, spectral_norm=True)

A head of captions that has a true attribute `judges_several` is asked about an image's right and wrong caption in one
call, with labels [batch, 2, length], and gives logits [batch, 2].
"""

import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype
from jaxtyping import Array, Float, Int

from jgr.errors import ConfigError
from jgr.layers.spectral import normalised

Features = Float[Array, "batch features"]
Labels = Int[Array, "batch *length"] | None
"""Or, in their place, the tokens of a caption, [batch, length], or of several, [batch, captions, length]."""
Judgement = Float[Array, "batch *captions"] | tuple[Float[Array, "batch"], Float[Array, "batch classes"]]
"""Logits, positive for real; from `Auxiliary` with those of the classes."""


class Linear(nn.Module):
    """One matrix to the logit, for discriminators that do not see labels.

    Args:
        spectral_norm: Whether the matrix is divided by its largest singular value.
        dtype: Of the computation; promoted from features and parameters, to float32, when None.

    Raises:
        ConfigError: If it is given labels.
    """

    spectral_norm: bool = False
    dtype: Dtype | None = None

    @nn.compact
    def __call__(self, features: Features, *, labels: Labels, train: bool) -> Float[Array, "batch"]:
        """Float32 logits; `train` matters to spectral normalisation only."""
        refuse(labels)
        return _matrix(self, 1, "linear", features, train)[:, 0]


class Projection(nn.Module):
    """w . f + b + <E(y), f> of features f and a label y (Miyato & Koyama 2018, arXiv:1802.05637, equation 3).

    Args:
        num_classes: Labels are 0 to `num_classes - 1`.
        spectral_norm: Whether the matrix and the table E are divided by their largest singular values.
        dtype: Of the computation; promoted from features and parameters, to float32, when None.

    Raises:
        ConfigError: If there is no class, or it is given no labels.
    """

    num_classes: int
    spectral_norm: bool = False
    dtype: Dtype | None = None

    def __post_init__(self) -> None:
        _require_classes(self.num_classes)
        super().__post_init__()

    @nn.compact
    def __call__(self, features: Features, *, labels: Labels, train: bool) -> Float[Array, "batch"]:
        """Float32 logits; `train` matters to spectral normalisation only."""
        if labels is None:
            raise ConfigError("discriminator: head Projection needs labels; set config.task.num_classes")
        table = nn.Embed(
            self.num_classes,
            features.shape[-1],
            dtype=self.dtype,
            embedding_init=nn.initializers.glorot_uniform(),
            name="embedding",
        )
        embedded = normalised(table, self.spectral_norm, train)(labels)
        projected = (embedded * features.astype(embedded.dtype)).sum(-1, dtype=jnp.float32)
        return _matrix(self, 1, "linear", features, train)[:, 0] + projected


class Auxiliary(nn.Module):
    """A logit and, by another matrix, those of the classes (Odena et al. 2017, AC-GAN, arXiv:1610.09585).

    Args:
        num_classes: Classes.
        spectral_norm: Whether both matrices are divided by their largest singular values.
        dtype: Of the computation; promoted from features and parameters, to float32, when None.

    Raises:
        ConfigError: If there is no class.
    """

    num_classes: int
    spectral_norm: bool = False
    dtype: Dtype | None = None

    def __post_init__(self) -> None:
        _require_classes(self.num_classes)
        super().__post_init__()

    @nn.compact
    def __call__(
        self, features: Features, *, labels: Labels, train: bool
    ) -> tuple[Float[Array, "batch"], Float[Array, "batch classes"]]:
        """Float32 logits, and those of the classes; labels are for the loss and do not matter here."""
        logits = _matrix(self, 1, "linear", features, train)[:, 0]
        return logits, _matrix(self, self.num_classes, "classes", features, train)


def refuse(labels: Labels) -> None:
    """For discriminators without a place for labels.

    Raises:
        ConfigError: If there are any.
    """
    if labels is not None:
        raise ConfigError(
            "discriminator: it would not see the labels; take head=dict(cls='jgr.layers.heads.Projection', …), or put "
            "it into jgr.models.labelled.Discriminator; for captions, head=dict(cls='jgr.models.captioned.Head', …)"
        )


def require_alike(spectral_norm: bool, head: nn.Module) -> None:
    """For discriminators with spectral normalisation: the head is part of what it bounds.

    Raises:
        ConfigError: If the head has a field `spectral_norm` of another value.
    """
    of_head = getattr(head, "spectral_norm", spectral_norm)
    if of_head != spectral_norm:
        raise ConfigError(f"spectral_norm = {spectral_norm}, but head.spectral_norm = {of_head}: set both alike")


def _matrix(
    head: Linear | Projection | Auxiliary, outputs: int, name: str, features: Features, train: bool
) -> Float[Array, "batch outputs"]:
    layer = nn.Dense(outputs, kernel_init=nn.initializers.glorot_uniform(), dtype=head.dtype, name=name)
    made: Array = normalised(layer, head.spectral_norm, train)(features)
    return made.astype("float32")


def _require_classes(num_classes: int) -> None:
    if num_classes < 1:
        raise ConfigError(f"num_classes = {num_classes} must be at least 1")
