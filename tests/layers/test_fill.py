"""The first guess of missing pixels."""

import jax
import numpy as np
import pytest

from jgr.layers.fill import fill_holes

RNG = np.random.default_rng(0)
fill = jax.jit(fill_holes)


@pytest.mark.parametrize("size", [(8, 8), (7, 13), (1, 5)])
def test_known_pixels_stay_and_a_flat_image_is_restored(size):
    images = np.full((2, *size, 3), 0.3, np.float32)
    mask = (RNG.random((2, *size, 1)) < 0.4).astype(np.float32)
    mask[:, 0, 0] = 1.0
    noisy = np.where(mask > 0, images, 7.0)  # what the holes hold does not matter
    np.testing.assert_allclose(fill(noisy, mask), images, rtol=1e-6)
    busy = RNG.random((2, *size, 3)).astype(np.float32)
    known = np.broadcast_to(mask > 0, busy.shape)
    np.testing.assert_array_equal(np.asarray(fill(busy, mask))[known], busy[known])


def test_a_hole_is_the_weighted_mean_of_its_neighbours():
    image = RNG.random((1, 9, 9, 1)).astype(np.float32)
    mask = np.ones_like(image)
    mask[0, 4, 4] = 0.0
    weights = np.outer([1, 2, 1], [1, 2, 1]).astype(float)
    weights[1, 1] = 0.0
    mean = (weights * image[0, 3:6, 3:6, 0]).sum() / weights.sum()
    near = np.abs(np.asarray(fill(image, mask))[0, 4, 4, 0] - mean)
    assert near < 0.02 * np.ptp(image)  # a coarser guess has a small part in it


def test_a_large_hole_is_smooth_and_between_its_borders():
    rows = np.linspace(0.0, 1.0, 32, dtype=np.float32)
    image = np.broadcast_to(rows[:, None, None], (32, 32, 1))[None]
    mask = np.ones_like(image)
    mask[0, 8:24, 8:24] = 0.0
    filled = np.asarray(fill(image, mask))[0, 8:24, 8:24, 0]
    assert rows[6] <= filled.min() < filled.max() <= rows[25]  # averages see a row or two beyond the border
    assert np.abs(np.diff(filled, axis=0)).max() < 0.25
    assert np.corrcoef(filled.ravel(), image[0, 8:24, 8:24, 0].ravel())[0, 1] > 0.9


def test_an_image_without_known_pixels_is_black():
    assert not np.asarray(fill(np.ones((1, 6, 6, 1), np.float32), np.zeros((1, 6, 6, 1), np.float32))).any()
