import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jgr.images import from_signed, grid, to_float, to_signed, to_uint8

ALL = np.arange(256, dtype=np.uint8)


def test_to_uint8_inverts_to_float():
    np.testing.assert_allclose(to_float(ALL), np.arange(256) / 255, rtol=1e-7)
    assert to_float(ALL).dtype == jnp.float32
    for backward in (to_uint8, jax.jit(to_uint8)):
        np.testing.assert_array_equal(backward(to_float(ALL)), ALL)


def test_the_signed_range_and_back():
    np.testing.assert_allclose(to_signed(jnp.array([0.0, 0.25, 0.5, 1.0])), [-1, -0.5, 0, 1])
    np.testing.assert_array_equal(from_signed(jnp.array([-1.0, -0.5, 0.0, 1.0])), [0, 0.25, 0.5, 1])
    np.testing.assert_array_equal(to_uint8(from_signed(to_signed(to_float(ALL)))), ALL)


def test_halves_round_up_and_what_is_outside_is_clipped():
    levels = jnp.array(
        [0.0, 0.499, 0.5, 1.499, 1.5, 2.5, 253.5, 254.499, 254.5, 255.0]
    )  # k + 0.5 is exact, / 255 * 255 is too
    np.testing.assert_array_equal(to_uint8(levels / 255), [0, 0, 1, 1, 2, 3, 254, 254, 255, 255])
    outside = jnp.array([-jnp.inf, -3.0, -1e-9, 1.0 + 1e-6, 7.0, jnp.inf])
    np.testing.assert_array_equal(to_uint8(outside), [0, 0, 0, 255, 255, 255])


def plain(values, height, width, channels=1):
    """Images of one value each."""
    return np.stack([np.full((height, width, channels), value, np.uint8) for value in values])


def test_a_grid_goes_row_by_row_with_white_lines_of_two():
    canvas = grid(plain([10, 20, 30, 40, 50], 5, 3), columns=3, min_side=1)
    assert canvas.shape == (2 * 5 + 3 * 2, 3 * 3 + 4 * 2, 1)
    expected = np.full((16, 17), 255, np.uint8)
    for value, top, left in ((10, 2, 2), (20, 2, 7), (30, 2, 12), (40, 9, 2), (50, 9, 7)):
        expected[top : top + 5, left : left + 3] = value
    np.testing.assert_array_equal(canvas[..., 0], expected)


def test_a_grid_keeps_colours_and_orientation():
    images = np.random.RandomState(0).randint(0, 256, (2, 4, 6, 3), np.uint8)
    canvas = grid(images, columns=2, min_side=1)
    np.testing.assert_array_equal(canvas[2:6, 2:8], images[0])
    np.testing.assert_array_equal(canvas[2:6, 10:16], images[1])


@pytest.mark.parametrize(
    ("side", "min_side", "scale"), [(8, 64, 8), (28, 64, 3), (64, 64, 1), (100, 64, 1), (9, 10, 2)]
)
def test_small_images_are_enlarged_by_a_whole_factor(side, min_side, scale):
    image = np.random.RandomState(0).randint(0, 256, (1, side, side, 1), np.uint8)
    canvas = grid(image, min_side=min_side)
    inner = canvas[2:-2, 2:-2]
    assert inner.shape == (side * scale, side * scale, 1)
    np.testing.assert_array_equal(inner, np.kron(image[0], np.ones((scale, scale, 1), np.uint8)))


@pytest.mark.parametrize(("count", "columns", "rows"), [(1, 1, 1), (2, 2, 1), (4, 2, 2), (5, 3, 2), (64, 8, 8)])
def test_a_grid_is_square_unless_told(count, columns, rows):
    assert grid(plain(range(count), 4, 4), min_side=1).shape == (rows * 6 + 2, columns * 6 + 2, 1)
