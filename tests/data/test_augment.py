import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jgr.data.augment import Augment
from jgr.errors import ConfigError
from jgr.rng import record_keys

IMAGES = jnp.asarray(np.random.default_rng(0).random((64, 6, 7, 3), np.float32))
KEYS = record_keys(jax.random.key(0), jnp.arange(64, dtype=jnp.uint32))


def test_default_changes_nothing():
    np.testing.assert_array_equal(Augment()(IMAGES, KEYS), IMAGES)


def test_flip_mirrors_about_half_of_the_images():
    flipped = np.asarray(Augment(flip=True)(IMAGES, KEYS))
    mirrored = (flipped == IMAGES[:, :, ::-1]).all(axis=(1, 2, 3))
    kept = (flipped == IMAGES).all(axis=(1, 2, 3))
    assert (mirrored ^ kept).all()
    assert 18 < mirrored.sum() < 46  # four standard deviations


@pytest.mark.parametrize(("crop", "pad"), [(4, 0), (5, 2), (None, 2)])
def test_crops_are_cuts_of_the_padded_image_and_all_occur(crop, pad):
    augment = Augment(crop=crop, pad=pad)
    out = np.asarray(augment(IMAGES, KEYS))
    height, width = augment.output_size(6, 7)
    assert out.shape == (64, height, width, 3)
    padded = np.pad(np.asarray(IMAGES), ((0, 0), (pad, pad), (pad, pad), (0, 0)), mode="reflect")
    rows, columns = padded.shape[1] - height + 1, padded.shape[2] - width + 1
    found = set()
    for image, cut in zip(padded, out, strict=True):
        places = [
            (top, left)
            for top in range(rows)
            for left in range(columns)
            if (image[top : top + height, left : left + width] == cut).all()
        ]
        assert len(places) == 1
        found.update(places)
    assert {top for top, _ in found} == set(range(rows))
    assert {left for _, left in found} == set(range(columns))


def test_result_does_not_depend_on_the_batch():
    augment = Augment(flip=True, crop=4, pad=1)
    whole = augment(IMAGES, KEYS)
    order = np.random.default_rng(1).permutation(64)
    np.testing.assert_array_equal(augment(IMAGES[order], KEYS[order]), np.asarray(whole)[order])
    np.testing.assert_array_equal(jax.jit(augment)(IMAGES[3:4], KEYS[3:4]), np.asarray(whole)[3:4])


def test_flip_and_crop_are_independent():
    positions = jnp.arange(4000, dtype=jnp.uint32)
    images = jnp.broadcast_to(jnp.arange(4.0).reshape(1, 1, 4, 1), (4000, 1, 4, 1))
    keys = record_keys(jax.random.key(1), positions)
    first = np.asarray(Augment(flip=True, crop=1)(images, keys))[:, 0, 0, 0]
    np.testing.assert_allclose(np.bincount(first.astype(int)) / 4000, 0.25, atol=4 * np.sqrt(0.25 * 0.75 / 4000))


def test_impossible_values():
    with pytest.raises(ConfigError, match=r"crop = 0 must be at least 1"):
        Augment(crop=0)
    with pytest.raises(ConfigError, match=r"pad = -1 must be at least 0"):
        Augment(pad=-1)
    with pytest.raises(ConfigError, match=r"augment.crop = 9 must fit the images' 6x7"):
        Augment(crop=9, pad=1).output_size(6, 7)
    with pytest.raises(ConfigError, match=r"augment.pad = 6: reflection needs less"):
        Augment(pad=6).output_size(6, 7)
