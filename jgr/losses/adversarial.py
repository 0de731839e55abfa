"""Adversarial losses on discriminator logits, in nats.

A loss is a pair of pure functions, because the two networks are updated in turn. Name one in a config by its path:
`config.task.loss = "jgr.losses.adversarial.non_saturating"`.
"""

import dataclasses
from collections.abc import Callable

import jax
from jaxtyping import Array, Float

Logits = Float[Array, "batch"]
Scalar = Float[Array, ""]


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdversarialLoss:
    """What the discriminator and the generator each minimise; both are means over the batch.

    Args:
        discriminator: `(real_logits [batch], fake_logits [batch]) -> loss`.
        generator: `fake_logits [batch] -> loss`.
    """

    discriminator: Callable[[Logits, Logits], Scalar]
    generator: Callable[[Logits], Scalar]


def _non_saturating_discriminator(real_logits: Logits, fake_logits: Logits) -> Scalar:
    return jax.nn.softplus(-real_logits).mean() + jax.nn.softplus(fake_logits).mean()


def _non_saturating_generator(fake_logits: Logits) -> Scalar:
    return jax.nn.softplus(-fake_logits).mean()


non_saturating = AdversarialLoss(discriminator=_non_saturating_discriminator, generator=_non_saturating_generator)
"""Goodfellow et al. 2014, section 3.

The generator maximises log D(G(z)) instead of minimising log(1 - D(G(z))): same fixed point, gradients that do not
vanish while the discriminator wins.
"""
