import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jgr.losses.adversarial import hinge, least_squares, non_saturating, relativistic, saturating, wasserstein

LOG2 = math.log(2)


@pytest.mark.parametrize(
    ("loss", "real", "fake", "discriminator", "generator"),
    [
        (non_saturating, 0.0, 0.0, 2 * LOG2, LOG2),  # an undecided discriminator
        (non_saturating, 50.0, -50.0, 0.0, 50.0),  # one that wins
        (non_saturating, -50.0, 50.0, 100.0, 0.0),  # one that loses
        (non_saturating, math.log(3), math.log(3), math.log(4 / 3) + math.log(4), math.log(4 / 3)),  # D = 3 / 4
        (saturating, 0.0, 0.0, 2 * LOG2, -LOG2),
        (saturating, 50.0, -50.0, 0.0, 0.0),
        (saturating, math.log(3), math.log(3), math.log(4 / 3) + math.log(4), math.log(1 / 4)),  # log(1 - D)
        (least_squares, 0.0, 0.0, 0.5, 0.5),
        (least_squares, 1.0, 0.0, 0.0, 0.5),
        (least_squares, -50.0, 50.0, 0.5 * 51**2 + 0.5 * 50**2, 0.5 * 49**2),
        (hinge, 0.0, 0.0, 2.0, 0.0),
        (hinge, 50.0, -50.0, 0.0, 50.0),  # the generator's part is linear
        (hinge, 0.25, 0.5, 0.75 + 1.5, -0.5),
        (wasserstein, 3.0, -2.0, -5.0, 2.0),
        (relativistic, 0.0, 0.0, LOG2, LOG2),
        (relativistic, 7.0, 7.0, LOG2, LOG2),  # only differences count
        (relativistic, 50.0, -50.0, 0.0, 100.0),
        (relativistic, 0.0, math.log(3), math.log(4), math.log(4 / 3)),
    ],
)
@pytest.mark.parametrize("shape", [(4,), (2, 3, 5)])
def test_closed_forms(loss, real, fake, discriminator, generator, shape):
    """Of whole images, and of their patches."""
    real_logits, fake_logits = jnp.full(shape, real), jnp.full(shape, fake)
    np.testing.assert_allclose(loss.discriminator(real_logits, fake_logits), discriminator, rtol=1e-6, atol=1e-20)
    given = real_logits if loss.pairs else None
    np.testing.assert_allclose(loss.generator(fake_logits, given), generator, rtol=1e-6, atol=1e-20)


@pytest.mark.parametrize("loss", [non_saturating, saturating, least_squares, hinge, wasserstein, relativistic])
@pytest.mark.parametrize("real", [-50.0, 0.0, 50.0])
@pytest.mark.parametrize("fake", [-50.0, 0.0, 50.0])
def test_values_and_gradients_are_finite_at_extreme_logits(loss, real, fake):
    real_logits, fake_logits = jnp.full(3, real), jnp.full(3, fake)
    given = real_logits if loss.pairs else None
    for value, slope in (
        jax.value_and_grad(loss.discriminator, argnums=(0, 1))(real_logits, fake_logits),
        jax.value_and_grad(loss.generator)(fake_logits, given),
    ):
        assert np.isfinite(value)
        assert all(np.isfinite(part).all() for part in jax.tree.leaves(slope))


def test_losses_are_means_over_the_batch():
    real_logits, fake_logits = jnp.array([0.0, 50.0]), jnp.array([0.0, -50.0])
    np.testing.assert_allclose(non_saturating.discriminator(real_logits, fake_logits), LOG2, rtol=1e-6)
    np.testing.assert_allclose(non_saturating.generator(fake_logits, None), (LOG2 + 50) / 2, rtol=1e-6)


def test_pairs_are_of_equal_places():
    real_logits, fake_logits = jnp.array([0.0, 30.0]), jnp.array([30.0, 0.0])
    np.testing.assert_allclose(relativistic.discriminator(real_logits, fake_logits), 15.0, rtol=1e-6)
    np.testing.assert_allclose(relativistic.generator(fake_logits, real_logits), 15.0, rtol=1e-6)


def test_gradients_are_those_of_the_sigmoid():
    logits = jnp.array([-50.0, -2.0, 0.0, 2.0, 50.0])
    real, fake = jax.grad(non_saturating.discriminator, argnums=(0, 1))(logits, logits)
    generator = jax.grad(non_saturating.generator)(logits, None)
    probability = 1 / (1 + np.exp(-np.asarray(logits, np.float64)))
    np.testing.assert_allclose(real, (probability - 1) / 5, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(fake, probability / 5, rtol=1e-5, atol=1e-8)
    # -1 / 5 where the discriminator wins: the generator's gradient does not vanish there
    np.testing.assert_allclose(generator, (probability - 1) / 5, rtol=1e-5, atol=1e-8)
    # and that of the minimax game does
    np.testing.assert_allclose(jax.grad(saturating.generator)(logits, None), -probability / 5, rtol=1e-5, atol=1e-8)
