import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jgr.losses.adversarial import non_saturating


@pytest.mark.parametrize(
    ("real", "fake", "discriminator", "generator"),
    [
        (0.0, 0.0, 2 * math.log(2), math.log(2)),  # an undecided discriminator
        (50.0, -50.0, 0.0, 50.0),  # one that wins
        (-50.0, 50.0, 100.0, 0.0),  # one that loses
        (math.log(3), math.log(3), math.log(4 / 3) + math.log(4), math.log(4 / 3)),  # D = 3 / 4 everywhere
    ],
)
def test_closed_forms(real, fake, discriminator, generator):
    real_logits, fake_logits = jnp.full(4, real), jnp.full(4, fake)
    np.testing.assert_allclose(
        non_saturating.discriminator(real_logits, fake_logits), discriminator, rtol=1e-6, atol=1e-20
    )
    np.testing.assert_allclose(non_saturating.generator(fake_logits), generator, rtol=1e-6, atol=1e-20)


def test_losses_are_means_over_the_batch():
    real_logits, fake_logits = jnp.array([0.0, 50.0]), jnp.array([0.0, -50.0])
    np.testing.assert_allclose(non_saturating.discriminator(real_logits, fake_logits), math.log(2), rtol=1e-6)
    np.testing.assert_allclose(non_saturating.generator(fake_logits), (math.log(2) + 50) / 2, rtol=1e-6)


def test_gradients_are_those_of_the_sigmoid():
    logits = jnp.array([-50.0, -2.0, 0.0, 2.0, 50.0])
    real, fake = jax.grad(non_saturating.discriminator, argnums=(0, 1))(logits, logits)
    generator = jax.grad(non_saturating.generator)(logits)
    probability = 1 / (1 + np.exp(-np.asarray(logits, np.float64)))
    np.testing.assert_allclose(real, (probability - 1) / 5, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(fake, probability / 5, rtol=1e-5, atol=1e-8)
    # -1 / 5 where the discriminator wins: the generator's gradient does not vanish there
    np.testing.assert_allclose(generator, (probability - 1) / 5, rtol=1e-5, atol=1e-8)
