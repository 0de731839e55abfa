"""Closed forms for critics whose slopes are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jgr.errors import ConfigError
from jgr.losses.penalties import R1, R2, GradientPenalty

KEYS = jax.random.split(jax.random.key(0), 3)
REALS, FAKES = (jax.random.uniform(jax.random.key(seed), (3, 4, 5, 2)) for seed in (1, 2))
WEIGHTS = jax.random.normal(jax.random.key(3), (4, 5, 2))
NORM = float(jnp.linalg.norm(WEIGHTS.reshape(-1))) / 2  # of images in [-1, 1], which are twice as far apart


def linear(images):
    return (images * WEIGHTS[None]).sum(axis=(1, 2, 3))


def quadratic(images):
    return 0.5 * jnp.square(images).sum(axis=(1, 2, 3))


def test_of_a_linear_critic():
    np.testing.assert_allclose(GradientPenalty()(linear, REALS, FAKES, KEYS), 10 * (NORM - 1) ** 2, rtol=1e-5)
    wanted = 3 * (NORM - 0.5) ** 2
    np.testing.assert_allclose(GradientPenalty(weight=3.0, target=0.5)(linear, REALS, FAKES, KEYS), wanted, rtol=1e-5)
    for penalty in (R1(gamma=4.0), R2(gamma=4.0)):
        np.testing.assert_allclose(penalty(linear, REALS, FAKES, KEYS), 2 * NORM**2, rtol=1e-5)


def test_where_the_slope_is_taken():
    """That of |x|^2 / 2 is x, so it tells the place."""
    squares = {name: np.square(np.asarray(images)).sum(axis=(1, 2, 3)) for name, images in (("r", REALS), ("f", FAKES))}
    np.testing.assert_allclose(R1(gamma=2.0)(quadratic, REALS, FAKES, KEYS), squares["r"] / 4, rtol=1e-5)
    np.testing.assert_allclose(R2(gamma=2.0)(quadratic, REALS, FAKES, KEYS), squares["f"] / 4, rtol=1e-5)
    at_zero = GradientPenalty(weight=1.0, target=0.0)(quadratic, 0 * REALS, FAKES, KEYS)
    shares = np.sqrt(np.asarray(at_zero) / (squares["f"] / 4))  # of the way from the real to the generated image
    assert (shares > 0).all()
    assert (shares < 1).all()
    assert len({round(float(share), 4) for share in shares}) == 3  # each record its own


def test_patches_count_by_their_mean():
    def patches(images):
        return jnp.stack([linear(images), 3 * linear(images)], axis=1).reshape(-1, 1, 2)

    np.testing.assert_allclose(R1(gamma=2.0)(patches, REALS, FAKES, KEYS), (2 * NORM) ** 2, rtol=1e-5)


@pytest.mark.parametrize("penalty", [GradientPenalty(), R1(gamma=1.0), R2(gamma=1.0)], ids=lambda p: type(p).__name__)
def test_gradients_reach_the_critic_and_never_the_generated_images(penalty):
    def total(scale, fakes):
        return penalty(lambda images: scale * linear(images), REALS, fakes, KEYS).sum()

    by_scale, by_fakes = jax.grad(total, argnums=(0, 1))(0.0, FAKES)
    assert np.isfinite(by_scale)  # where the slope is 0, too
    np.testing.assert_array_equal(by_fakes, 0)
    assert float(jax.grad(total)(2.0, FAKES)) != 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GradientPenalty(weight=0.0), "weight = 0.0 must be positive"),
        (lambda: R1(gamma=-1.0), r"gamma = -1.0 must be positive; for no penalty leave it out"),
        (lambda: R2(gamma=1.0, interval=0), "interval = 0 must be at least 1"),
    ],
)
def test_impossible_settings(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
