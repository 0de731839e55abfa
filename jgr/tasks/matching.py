"""What a discriminator learns from captions that do not belong to their images (Reed et al. 2016, GAN-CLS)."""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from jgr.data.vocabulary import EOS
from jgr.errors import ConfigError
from jgr.losses.adversarial import AdversarialLoss, Logits


@dataclasses.dataclass(frozen=True, kw_only=True)
class MatchingAware:
    """A real image with a wrong caption is to be told from one with its own (Reed et al. 2016, algorithm 1).

    A wrong caption is that of another record of the batch, drawn anew each time: of another label where records have
    one, for a caption that says less is right of many images, and of other tokens where they have none. An empty one is
    never wrong. Where no other record differs, all that is to be refused is the generated image.

    Args:
        weight: Share of wrong captions in what the discriminator is to refuse; the rest are generated images with
            right ones. The paper has 1/2; 0 leaves wrong captions out.
        divergence_weight: In the generator's loss, of the KL divergence from N(0, 1), the mean over its values, of a
            text's vector that is drawn (`jgr.models.text_encoders.Augmented`). The code of StackGAN's authors has 2
            (github.com/hanzhanggit/StackGAN-Pytorch, `code/cfg`).

    Raises:
        ConfigError: The weight is not in [0, 1), or the other is negative.
    """

    weight: float = 0.5
    divergence_weight: float = 2.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.weight < 1.0:
            raise ConfigError(f"weight = {self.weight} must be at least 0 and below 1")
        if self.divergence_weight < 0:
            raise ConfigError(f"divergence_weight = {self.divergence_weight} must not be negative")

    def wrong(
        self, batch: Mapping[str, Array], keys: Key[Array, "batch"]
    ) -> tuple[Int[Array, "batch length"], Bool[Array, "batch"]]:
        """For each record the tokens of a wrong caption, and whether there is one; else they are its own.

        Args:
            batch: Has `tokens` and, where records have labels, `label`.
            keys: One a record.
        """
        tokens = batch["tokens"]
        says = tokens[:, 1] != EOS
        if "label" in batch:
            differ = batch["label"][:, None] != batch["label"][None]
        else:
            differ = (tokens[:, None] != tokens[None]).any(axis=-1)
        differ = differ & says[None]
        lots = jax.vmap(lambda key: jax.random.uniform(key, (len(tokens),)))(keys)
        there = differ.any(axis=1)
        chosen = jnp.where(there, jnp.where(differ, lots, -1.0).argmax(axis=1), jnp.arange(len(tokens)))
        return tokens[chosen], there

    def loss(
        self, loss: AdversarialLoss, real: Logits, fake: Logits, wrong: Logits, there: Bool[Array, "batch"]
    ) -> Float[Array, ""]:
        """The discriminator's: of real images with their captions against generated ones and wrong captions."""
        wrong = jnp.where(there.reshape(-1, *(1 for _ in wrong.shape[1:])), wrong, fake)
        return (1.0 - self.weight) * loss.discriminator(real, fake) + self.weight * loss.discriminator(real, wrong)
