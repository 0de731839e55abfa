import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jgr.errors import ConfigError
from jgr.layers.minibatch_std import minibatch_std


def test_by_hand():
    # Two groups of two, images 0 and 2, 1 and 3. One pixel, two channels; the deviation of two numbers is half of their
    # difference: (2 + 0) / 2 and (1 + 3) / 2.
    images = jnp.asarray([[1.0, 5.0], [0.0, 0.0], [5.0, 5.0], [2.0, 6.0]]).reshape(4, 1, 1, 2)
    got = minibatch_std(images, 2)
    np.testing.assert_array_equal(got[..., :2], images)
    np.testing.assert_allclose(got[..., 2].ravel(), [1.0, 2.0, 1.0, 2.0], atol=1e-4)


@pytest.mark.parametrize(("group_size", "groups"), [(3, [[0, 2, 4], [1, 3, 5]]), (32, [range(6)])])
def test_one_number_a_group(group_size, groups):
    images = np.random.default_rng(0).standard_normal((6, 3, 2, 5)).astype(np.float32)
    planes = minibatch_std(jnp.asarray(images), group_size)[..., 5]
    for group in groups:
        np.testing.assert_allclose(planes[np.asarray(group)], images[np.asarray(group)].std(0).mean(), rtol=1e-5)


def test_gradient_of_equal_images_is_finite():
    gradient = jax.grad(lambda x: minibatch_std(x, 4).sum())(jnp.ones((4, 2, 2, 3)))
    assert bool(jnp.isfinite(gradient).all())


def test_groups_that_do_not_fill_the_batch_are_refused():
    with pytest.raises(ConfigError, match=r"group_size = 4 .* batch of 6"):
        minibatch_std(jnp.ones((6, 2, 2, 3)), 4)
