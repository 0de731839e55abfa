"""Adversarial losses on discriminator logits, in nats.

A loss is a pair of pure functions, because the two networks are updated in turn. Name one in a config by its path:
`config.task.loss = "jgr.losses.adversarial.hinge"`. Logits may be of whole images or of patches; all count alike.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Logits = Float[Array, "batch *patches"]
Scalar = Float[Array, ""]


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdversarialLoss:
    """What the discriminator and the generator each minimise; both are means over the batch.

    Args:
        discriminator: `(real_logits, fake_logits) -> loss`.
        generator: `(fake_logits, real_logits) -> loss`; the second is None unless `pairs`.
        pairs: Whether the generator's loss is of pairs of generated and real images, too.
    """

    discriminator: Callable[[Logits, Logits], Scalar]
    generator: Callable[[Logits, Logits | None], Scalar]
    pairs: bool = False


def _non_saturating_discriminator(real_logits: Logits, fake_logits: Logits) -> Scalar:
    return jax.nn.softplus(-real_logits).mean() + jax.nn.softplus(fake_logits).mean()


def _non_saturating_generator(fake_logits: Logits, real_logits: Logits | None) -> Scalar:
    return jax.nn.softplus(-fake_logits).mean()


def _saturating_generator(fake_logits: Logits, real_logits: Logits | None) -> Scalar:
    return -jax.nn.softplus(fake_logits).mean()


def _least_squares_discriminator(real_logits: Logits, fake_logits: Logits) -> Scalar:
    return 0.5 * jnp.square(real_logits - 1.0).mean() + 0.5 * jnp.square(fake_logits).mean()


def _least_squares_generator(fake_logits: Logits, real_logits: Logits | None) -> Scalar:
    return 0.5 * jnp.square(fake_logits - 1.0).mean()


def _hinge_discriminator(real_logits: Logits, fake_logits: Logits) -> Scalar:
    return jax.nn.relu(1.0 - real_logits).mean() + jax.nn.relu(1.0 + fake_logits).mean()


def _wasserstein_discriminator(real_logits: Logits, fake_logits: Logits) -> Scalar:
    return fake_logits.mean() - real_logits.mean()


def _wasserstein_generator(fake_logits: Logits, real_logits: Logits | None) -> Scalar:
    return -fake_logits.mean()


def _relativistic_discriminator(real_logits: Logits, fake_logits: Logits) -> Scalar:
    return jax.nn.softplus(fake_logits - real_logits).mean()


def _relativistic_generator(fake_logits: Logits, real_logits: Logits | None) -> Scalar:
    assert real_logits is not None
    return jax.nn.softplus(real_logits - fake_logits).mean()


non_saturating = AdversarialLoss(discriminator=_non_saturating_discriminator, generator=_non_saturating_generator)
"""Goodfellow et al. 2014, section 3.

The generator maximises log D(G(z)) instead of minimising log(1 - D(G(z))): same fixed point, gradients that do not
vanish while the discriminator wins.
"""

saturating = AdversarialLoss(discriminator=_non_saturating_discriminator, generator=_saturating_generator)
"""The minimax game itself (Goodfellow et al. 2014, equation 1); its generator learns little from a discriminator that
wins."""

least_squares = AdversarialLoss(discriminator=_least_squares_discriminator, generator=_least_squares_generator)
"""LSGAN (Mao et al. 2017, equation 9): half the squared distance of logits to 1 for real, 0 for generated images."""

hinge = AdversarialLoss(discriminator=_hinge_discriminator, generator=_wasserstein_generator)
"""Lim & Ye 2017; Miyato et al. 2018, equations 16 and 17. The generator's part has no hinge."""

wasserstein = AdversarialLoss(discriminator=_wasserstein_discriminator, generator=_wasserstein_generator)
"""The critic of Arjovsky et al. 2017, which needs a bound of its slope: a penalty or spectral norm."""

relativistic = AdversarialLoss(discriminator=_relativistic_discriminator, generator=_relativistic_generator, pairs=True)
"""Relativistic pairing (Jolicoeur-Martineau 2019; Huang et al. 2024, R3GAN, equation 2): each generated image against
a real one."""
