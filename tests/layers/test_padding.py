import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jgr.errors import ConfigError
from jgr.layers.padding import pad_to, pad_to_multiple


def _images(height, width, channels=2):
    return np.random.RandomState(0).random_sample((2, height, width, channels)).astype(np.float32)


def _mirrored(side, wanted):
    """Positions of a walk between the first and the last of `side` places."""
    period = max(2 * (side - 1), 1)
    return [min(i % period, period - i % period) if side > 1 else 0 for i in range(max(side, wanted))]


@pytest.mark.parametrize("convert", [np.asarray, jnp.asarray])
@pytest.mark.parametrize(("height", "width"), [(8, 16), (9, 15), (5, 3), (1, 7), (2, 1), (1, 1)])
def test_sides_become_multiples_by_mirroring(height, width, convert):
    images = _images(height, width)
    padded = pad_to_multiple(convert(images), 8)
    rows, columns = _mirrored(height, -(-height // 8) * 8), _mirrored(width, -(-width // 8) * 8)
    assert type(padded) is type(convert(images))
    np.testing.assert_array_equal(padded, images[:, rows][:, :, columns])
    np.testing.assert_array_equal(padded[:, :height, :width], images)


def test_an_image_is_continued_back_and_forth():
    row = jnp.asarray([1.0, 2.0, 3.0])[None, None, :, None]
    assert np.ravel(pad_to(row, 1, 10)).tolist() == [1, 2, 3, 2, 1, 2, 3, 2, 1, 2]


def test_sides_that_suffice_stay():
    images = _images(6, 4)
    assert pad_to_multiple(images, 2) is images
    assert pad_to(images, 3, 9).shape == (2, 6, 9, 2)


def test_works_under_jit_and_gradient():
    """A pixel's gradient counts how often it appears."""
    images = jnp.asarray(_images(3, 4, 1))
    gradient = jax.jit(jax.grad(lambda x: pad_to_multiple(x, 8).sum()))(images)
    counts = [np.bincount(_mirrored(side, 8)) for side in (3, 4)]
    np.testing.assert_allclose(gradient[0, :, :, 0], np.outer(*counts))


def test_impossible_multiples_are_refused():
    with pytest.raises(ConfigError, match="multiple = 0 must be at least 1"):
        pad_to_multiple(_images(2, 2), 0)
