import jax.numpy as jnp
import numpy as np
import pytest

from jgr.errors import ConfigError
from jgr.layers import pixel_shuffle, pixel_unshuffle


def test_channel_order_of_equation_4():
    # one pixel, two new channels, factor 2: channel c * 4 + dy * 2 + dx
    shuffled = pixel_shuffle(jnp.arange(8.0).reshape(1, 1, 1, 8), 2)
    np.testing.assert_array_equal(shuffled[0, :, :, 0], [[0, 1], [2, 3]])
    np.testing.assert_array_equal(shuffled[0, :, :, 1], [[4, 5], [6, 7]])


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_both_equal_pytorch_and_are_inverses(factor):
    torch = pytest.importorskip("torch")
    images = np.random.default_rng(0).normal(size=(2, 6, 12, 5)).astype(np.float32)
    small = torch.nn.functional.pixel_unshuffle(torch.from_numpy(images).permute(0, 3, 1, 2), factor)
    np.testing.assert_array_equal(pixel_unshuffle(jnp.asarray(images), factor), small.permute(0, 2, 3, 1))
    np.testing.assert_array_equal(pixel_shuffle(jnp.asarray(small.permute(0, 2, 3, 1).numpy()), factor), images)


def test_impossible_sizes_are_refused():
    with pytest.raises(ConfigError, match=r"6 channels must be a multiple of factor\*\*2 = 4"):
        pixel_shuffle(jnp.zeros((1, 2, 2, 6)), 2)
    with pytest.raises(ConfigError, match="sides of 4x5 pixels must be multiples of 2"):
        pixel_unshuffle(jnp.zeros((1, 4, 5, 1)), 2)
