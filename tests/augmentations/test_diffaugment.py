import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jgr.augmentations.diffaugment import DiffAugment
from jgr.errors import ConfigError

KEYS = jax.random.split(jax.random.key(0), 1000)
IMAGE = np.random.default_rng(0).random((16, 16, 3), np.float32)


def augmented(policy, images, keys=KEYS):
    images = jnp.broadcast_to(jnp.asarray(images), (len(keys), *np.shape(images)[-3:]))
    return np.asarray(jax.jit(DiffAugment(policy=policy).__call__)(images, keys, jnp.float32(1.0)))


def within_four_errors(values, mean, variance):
    """The mean of independent values is where it should be, and so is their spread."""
    assert abs(np.mean(values) - mean) < 4 * np.sqrt(variance / len(values))
    assert np.var(values) == pytest.approx(variance, rel=0.25)


def test_brightness_moves_all_pixels_alike():
    moved = augmented(("color",), np.full((16, 16, 3), 0.3)) - 0.3  # such an image has no contrast and no colour
    np.testing.assert_allclose(moved, np.broadcast_to(moved[:, :1, :1, :1], moved.shape), atol=1e-6)
    within_four_errors(moved[:, 0, 0, 0], 0.0, 0.5**2 / 12)
    assert np.abs(moved).max() <= 0.25


def test_contrast_and_saturation_stretch_about_the_means():
    result = augmented(("color",), IMAGE)
    gray, mean = IMAGE.mean(2), result.mean((1, 2, 3), keepdims=True)
    contrast = ((result - mean).mean(3) * (gray - gray.mean())).sum((1, 2)) / np.square(gray - gray.mean()).sum()
    within_four_errors(contrast, 1.0, 1 / 12)
    color, own = IMAGE - gray[..., None], result - result.mean(3, keepdims=True)
    both = (own * color).sum((1, 2, 3)) / np.square(color).sum()
    within_four_errors(both / contrast, 1.0, 2**2 / 12)
    expected = mean + contrast[:, None, None, None] * (gray - gray.mean())[..., None]
    np.testing.assert_allclose(result, expected + both[:, None, None, None] * color, atol=1e-5)


def shifted(image, down, right):
    """By the definition, gray where nothing comes from."""
    result = np.full_like(image, 0.5)
    for row, column in itertools.product(range(image.shape[0]), range(image.shape[1])):
        if 0 <= row - down < image.shape[0] and 0 <= column - right < image.shape[1]:
            result[row, column] = image[row - down, column - right]
    return result


def test_translation_moves_by_whole_pixels():
    result = augmented(("translation",), IMAGE)
    moves = list(itertools.product(range(-2, 3), repeat=2))  # an eighth of 16
    counts = [np.count_nonzero((result == shifted(IMAGE, *move)).all((1, 2, 3))) for move in moves]
    assert sum(counts) == len(KEYS)
    assert sum((count - 40) ** 2 / 40 for count in counts) < 52  # chi squared of 24 degrees, p = .001


@pytest.mark.parametrize("side", [16, 15])
def test_cutout_hides_a_square_of_half_the_sides(side):
    hidden = augmented(("cutout",), np.ones((side, side, 1)))[..., 0] == 0.5
    sizes = []
    for lines in (hidden.any(1), hidden.any(2)):
        assert (np.abs(np.diff(lines.astype(int), axis=1)).sum(1) <= 2).all()  # one piece
        sizes.append(lines.sum(1))
    np.testing.assert_array_equal(hidden.sum((1, 2)), sizes[0] * sizes[1])
    assert hidden.sum((1, 2)).max() == 8 * 8
    # around any of the 17 pixels 0..16 of 16, or 0..14 of 15, as far as it is inside
    sides = [min(c + 8 - 4, side) - max(c - 4, 0) for c in range(17 if side == 16 else 15)]
    within_four_errors(np.concatenate(sizes), np.mean(sides), np.var(sides))


def test_gradient_of_a_move_is_the_move_back():
    images, weights = (jnp.asarray(np.random.default_rng(s).random((5, 16, 16, 3), np.float32)) for s in (1, 2))
    augment = jax.jit(lambda x: DiffAugment(policy=("translation",))(x, KEYS[:5], jnp.float32(1.0)))
    result, pull = jax.vjp(augment, images)
    for image, weight, after, got in zip(images, weights, result, pull(weights)[0], strict=True):
        (move,) = [
            m for m in itertools.product(range(-2, 3), repeat=2) if (np.asarray(after) == shifted(image, *m)).all()
        ]
        back = shifted(np.asarray(weight) + 0.5, -move[0], -move[1]) - 0.5  # zeros where it went out of sight
        np.testing.assert_allclose(got, back, atol=1e-6)


def test_each_image_by_its_own_key():
    policy = ("color", "translation", "cutout")
    images = np.random.default_rng(1).random((4, 16, 16, 3), np.float32)
    whole = augmented(policy, images, KEYS[:4])
    np.testing.assert_allclose(augmented(policy, images[2:], KEYS[2:4]), whole[2:], atol=1e-6)
    same = augmented(policy, images[:1], KEYS[:4])
    assert min(np.abs(a - b).max() for a, b in itertools.combinations(same, 2)) > 1e-2


def test_unknown_changes_are_refused():
    with pytest.raises(ConfigError, match=r"policy = \('cut',\) must name some of color, translation, cutout"):
        DiffAugment(policy=("cut",))
    with pytest.raises(ConfigError, match="policy"):
        DiffAugment(policy=())
