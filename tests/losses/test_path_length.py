import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jgr.errors import ConfigError
from jgr.losses.path_length import PathLength

KEYS = jax.random.split(jax.random.key(0), 4000)
STYLES = jnp.ones((4000, 2, 3))


def test_lengths_of_a_linear_generator():
    """Every pixel, in units of [-1, 1], is 4 * a style of layer 0, so J^T y there is 4 * a standard normal number."""

    def synthesise(styles):
        return 0.5 * 4.0 * jnp.broadcast_to(styles[:, 0, None, None, :1], (len(styles), 8, 8, 1))

    lengths = PathLength().lengths(synthesise, STYLES, KEYS)
    assert lengths.shape == (4000,)
    # |4 * normal| over the root of two layers, of which one has no gradient; the mean of |normal| is sqrt(2 / pi)
    np.testing.assert_allclose(lengths.mean(), 4 * np.sqrt(2 / np.pi) / np.sqrt(2), rtol=0.03)


def test_the_mean_follows_and_the_penalty_is_of_deviations():
    rule = PathLength(weight=2.0, decay=0.25)
    lengths = jnp.array([1.0, 3.0])
    mean = rule.followed(jnp.float32(10.0), lengths)
    assert float(mean) == 8.0
    np.testing.assert_allclose(rule.penalty(lengths, mean), [2 * 49, 2 * 25])


def test_the_gradient_is_finite_where_images_do_not_depend_on_styles():
    rule = PathLength()

    def still(scale):
        def synthesise(styles):
            return scale * jnp.broadcast_to(styles[:, :1, :1, None], (len(styles), 4, 4, 1))

        return rule.lengths(synthesise, STYLES[:4], KEYS[:4]).sum()

    assert np.isfinite(jax.grad(still)(0.0))


def test_impossible_settings():
    for fields, message in (
        ({"weight": 0.0}, "weight = 0.0 must be positive"),
        ({"decay": 0.0}, "decay = 0.0 must be above 0"),
        ({"shrink": 0}, "shrink = 0 must be at least 1"),
        ({"interval": 0}, "interval = 0 must be at least 1"),
    ):
        with pytest.raises(ConfigError, match=message):
            PathLength(**fields)
