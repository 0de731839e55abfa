import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from scipy.spatial.transform import Rotation

from jgr.augmentations.ada import ADA, RisingAugmentation, StochasticAugmentation, recolored, warped
from jgr.errors import ConfigError

KEYS = jax.random.split(jax.random.key(0), 1600)
IMAGE = np.random.default_rng(0).random((8, 8, 3), np.float32)
NONE = dict(flip=0.0, quarter_turn=0.0, shift=0.0, geometry=0.0, color=0.0)
MOVED = NONE | dict(flip=1.0, quarter_turn=1.0)
ALL = dict(probability=1.0, cutout=1.0)


@functools.cache
def compiled(**factors):
    return jax.jit(StochasticAugmentation(**factors).__call__)


def augmented(images=IMAGE, keys=KEYS, strength=1.0, **factors):
    images = jnp.broadcast_to(jnp.asarray(images), (len(keys), *np.shape(images)[-3:]))
    return np.asarray(compiled(**factors)(images, keys, jnp.float32(strength)))


def share_equal(result, image):
    return (result == image).all((1, 2, 3)).mean()


def within_four_errors(share, expected):
    assert abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / len(KEYS))


def test_without_probability_images_stay_bit_for_bit():
    images = np.random.default_rng(1).random((6, 8, 8, 3), np.float32)
    np.testing.assert_array_equal(augmented(images, KEYS[:6], 0.0, **ALL), images)
    gray = images[..., :1]
    np.testing.assert_array_equal(augmented(gray, KEYS[:6], 0.0, **ALL), gray)


def test_with_probability_one_images_change_and_gradients_are_finite():
    images = jnp.asarray(np.random.default_rng(1).random((6, 8, 8, 3), np.float32))
    augment = functools.partial(compiled(**ALL), keys=KEYS[:6], strength=jnp.float32(1.0))
    value, gradient = jax.value_and_grad(lambda x: jnp.square(augment(x)).sum())(images)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max((1, 2, 3)).min() > 1e-3
    assert np.abs(augment(images) - images).max((1, 2, 3)).min() > 1e-2


def test_flips_and_quarter_turns_lay_an_image_down_in_eight_ways():
    ways = [np.rot90(image, number) for image in (IMAGE, IMAGE[:, ::-1]) for number in range(4)]
    shares = [share_equal(augmented(**MOVED), way) for way in ways]
    assert sum(shares) == pytest.approx(1.0)
    for share in shares:
        within_four_errors(share, 1 / 8)
    shares = [share_equal(augmented(strength=0.4, **MOVED), way) for way in ways]
    assert sum(shares) == pytest.approx(1.0)
    within_four_errors(shares[0], 0.8 * 0.7)  # half of the flips and a quarter of the turns change nothing
    within_four_errors(shares[4], 0.2 * 0.7)
    within_four_errors(shares[2], 0.8 * 0.1)


def test_shifts_are_of_whole_pixels_and_reflect():
    image = np.random.default_rng(1).random((16, 8, 1), np.float32)
    result = augmented(image, **NONE | dict(shift=1.0))
    framed = np.pad(image, ((2, 2), (1, 1), (0, 0)), "reflect")
    moves = [(down, right) for down in range(-2, 3) for right in (-1, 0, 1)]  # an eighth of each side
    shares = {
        (down, right): share_equal(result, framed[2 - down : 18 - down, 1 - right : 9 - right]) for down, right in moves
    }
    assert sum(shares.values()) == pytest.approx(1.0)
    within_four_errors(shares[0, 0], 1 / 4 * 1 / 2)  # the outermost are half as likely as the others
    within_four_errors(shares[-2, 1], 1 / 8 * 1 / 4)


def test_gradient_of_a_permutation_is_its_inverse():
    weights = jnp.asarray(np.random.default_rng(2).random((len(KEYS), 8, 8, 3), np.float32))
    augment = functools.partial(compiled(**MOVED), keys=KEYS, strength=jnp.float32(1.0))
    _, pull = jax.vjp(augment, jnp.zeros_like(weights))
    np.testing.assert_array_equal(augment(pull(weights)[0]), weights)


def test_every_operation_has_the_probability():
    # Scale, rotation, stretch and move; a rotation is drawn twice, and either happens with the probability.
    unchanged = share_equal(augmented(strength=0.3, **NONE | dict(geometry=1.0)), IMAGE)
    within_four_errors(unchanged, 0.7**4)
    # Brightness, contrast, hue, saturation; half of the reflections change nothing. Here a factor halves all of them.
    result = augmented(strength=0.6, **NONE | dict(color=0.5))
    unchanged = (np.abs(result - IMAGE).max((1, 2, 3)) < 1e-5).mean()
    within_four_errors(unchanged, 0.7**4 * 0.85)


def test_warps_are_interpolated_as_by_scipy():
    smooth = scipy.ndimage.gaussian_filter(np.random.default_rng(0).random((20, 27, 2)), (1, 1, 0)).astype(np.float32)
    # Anywhere from an image's height above to its height below, and likewise along.
    places = np.random.default_rng(1).uniform(-30, 30, (2, 20, 27)).astype(np.float32)
    expected = np.stack(
        [
            scipy.ndimage.map_coordinates(channel, [places[0] + 9.5, places[1] + 13], order=5, mode="mirror")
            for channel in np.moveaxis(smooth.astype(np.float64), -1, 0)
        ],
        axis=-1,
    )
    errors = jax.jit(warped)(jnp.asarray(smooth), *jnp.asarray(places)) - expected
    # From splines of degree 5, with which plain bilinear interpolation differs by .009.
    assert np.sqrt(np.square(errors).mean()) < 0.0045


def homogeneous(linear, move=0.0):
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = linear, move
    return matrix


def test_colors_are_those_of_the_papers_matrices():
    brightness, contrast, hue, saturation = 0.13, 0.7, 2.1, 1.6
    axis = np.ones(3) / np.sqrt(3)
    luma = np.outer(axis, axis)
    matrix = (
        homogeneous(luma + saturation * (np.eye(3) - luma))
        @ homogeneous(Rotation.from_rotvec(hue * axis).as_matrix())
        @ homogeneous(np.eye(3) - 2 * luma)
        @ homogeneous(contrast * np.eye(3))
        @ homogeneous(np.eye(3), 2 * brightness)  # of images in [-1, 1]
    )
    expected = ((2 * IMAGE - 1) @ matrix[:3, :3].T + matrix[:3, 3] + 1) / 2
    amounts = dict(brightness=brightness, contrast=contrast, luma=-1.0, hue=hue, saturation=saturation)
    amounts = {name: jnp.float32(amount) for name, amount in amounts.items()}
    np.testing.assert_allclose(recolored(jnp.asarray(IMAGE), **amounts), expected, atol=2e-6)
    gray = jnp.asarray(IMAGE[..., :1])
    as_color = recolored(jnp.repeat(gray, 3, axis=2), **amounts)
    np.testing.assert_allclose(recolored(gray, **amounts), as_color[..., :1], atol=1e-6)


def test_red_turns_to_green():
    third = jnp.float32(2 * np.pi / 3)
    keep = dict(
        brightness=jnp.float32(0.0), contrast=jnp.float32(1.0), luma=jnp.float32(1.0), saturation=jnp.float32(1.0)
    )
    result = recolored(jnp.array([[[1.0, 0.0, 0.0]]]), hue=third, **keep)
    np.testing.assert_allclose(result, [[[0.0, 1.0, 0.0]]], atol=1e-6)


def test_cutout_is_gray_and_of_half_the_sides():
    hidden = augmented(np.ones((16, 16, 1), np.float32), **NONE | dict(cutout=1.0))[..., 0] == 0.5
    rows, columns = hidden.any(2).sum(1), hidden.any(1).sum(1)
    np.testing.assert_array_equal(hidden.sum((1, 2)), rows * columns)
    assert hidden.sum((1, 2)).max() == 8 * 8
    # A centre nearer than a quarter to the border, with probability 1/2, loses an eighth on average.
    assert np.concatenate([rows, columns]).mean() == pytest.approx(16 * (0.5 - 0.5 * 0.125), rel=0.02)


def test_each_image_by_its_own_key():
    images = np.random.default_rng(1).random((6, 8, 8, 3), np.float32)
    whole = augmented(images, KEYS[:6], **ALL)
    np.testing.assert_allclose(augmented(images[::-1], KEYS[:6][::-1], **ALL), whole[::-1], atol=1e-6)


def test_program_does_not_grow_with_the_images():
    def lines(batch, side):
        shape = jax.ShapeDtypeStruct((batch, side, side, 3), jnp.float32)
        return len(compiled(**ALL).lower(shape, KEYS[:batch], jnp.float32(1.0)).as_text().splitlines())

    assert lines(4, 8) == lines(32, 64) < 2000


def adapted(augmentation, signs, batch, first=0, state=None):
    state = augmentation.init() if state is None else state
    for step, sign in enumerate(signs, start=first):
        state = augmentation.adapt(state, jnp.float32(sign), batch, jnp.int32(step))
    return state


def test_ada_moves_towards_the_target():
    ada = ADA(target=0.6, adjustment_images=1000, interval=4)
    state = adapted(ada, [0.8] * 3, 10)
    assert ada.strength(state) == 0.0  # not due yet
    state = adapted(ada, [0.8], 10, 3, state)
    assert ada.strength(state) == pytest.approx(40 / 1000)  # too sure: four batches of a thousand images up
    state = adapted(ada, [0.8, 0.8, 0.8, 0.2], 10, 4, state)
    assert ada.strength(state) == pytest.approx(80 / 1000)  # .65 on average
    state = adapted(ada, [0.8, 0.8, 0.2, 0.2], 10, 8, state)
    assert ada.strength(state) == pytest.approx(40 / 1000)  # .5 on average
    state = adapted(ada, [-1.0] * 8, 10, 12, state)
    assert ada.strength(state) == 0.0
    assert ada.strength(adapted(ada, [1.0] * 12, 500)) == 1.0


def test_ada_from_zero_to_one_in_the_papers_number_of_images():
    ada = ADA()
    assert (ada.target, ada.interval, ada.adjustment_images) == (0.6, 4, 500_000)
    step = jax.jit(lambda state, number: ada.adapt(state, jnp.float32(0.7), 5000, number))
    state, strengths = ada.init(), []
    for number in range(104):
        state = step(state, jnp.int32(number))
        strengths.append(float(ada.strength(state)))
    assert strengths[98] < 1.0
    assert strengths[99] == pytest.approx(1.0)
    assert strengths[103] == 1.0


def test_fixed_and_rising_probabilities():
    fixed = StochasticAugmentation(probability=0.3)
    assert fixed.strength(adapted(fixed, [1.0] * 5, 10)) == pytest.approx(0.3)
    assert ADA(probability=0.3).strength(ADA(probability=0.3).init()) == pytest.approx(0.3)
    rising = RisingAugmentation(probability=0.55, images=100)
    assert rising.strength(rising.init()) == 0.0
    strengths = [float(rising.strength(adapted(rising, [0.0], 10, step))) for step in (1, 4, 9, 20)]
    # the cosine passes half its way after half of the images
    np.testing.assert_allclose(strengths, [0.275 * (1 - np.cos(0.2 * np.pi)), 0.275, 0.55, 0.55], rtol=1e-6)


@pytest.mark.parametrize(
    ("cls", "fields", "message"),
    [
        (StochasticAugmentation, dict(flip=2.0), "flip = 2.0 must be from 0 to 1"),
        (ADA, dict(probability=-0.1), "probability = -0.1 must be from 0 to 1"),
        (ADA, dict(target=1.0), "target = 1.0 must be between -1 and 1"),
        (ADA, dict(interval=0), "interval = 0 must be at least 1"),
        (RisingAugmentation, dict(images=0), "images = 0 must be at least 1"),
    ],
)
def test_impossible_values_are_refused(cls, fields, message):
    with pytest.raises(ConfigError, match=message):
        cls(**fields)


def test_colors_of_two_channels_are_refused():
    with pytest.raises(ConfigError, match=r"color = 1\.0 must be 0 for images of 2 channels"):
        StochasticAugmentation()(jnp.zeros((1, 4, 4, 2)), KEYS[:1], jnp.float32(0.0))
