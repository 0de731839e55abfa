"""Measures of strokes that were drawn with known ones."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageDraw

from jgr.data.strokes import coloured, measured

SIDE, FINE = 28, 8


def drawn(*lines, thickness=3.0, shift=0.0):
    """Ink of lines, given by ends in pixels from the middle, drawn finely and made small."""
    image = Image.new("L", (SIDE * FINE, SIDE * FINE))
    draw = ImageDraw.Draw(image)
    place = lambda x, y: ((x + shift + SIDE / 2) * FINE, (y + SIDE / 2) * FINE)  # noqa: E731
    for (x, y), (to_x, to_y) in lines:
        # A polygon, for lines of Pillow's have ends of other lengths in other directions.
        along = np.array([to_x - x, to_y - y]) / np.hypot(to_x - x, to_y - y)
        side = np.array([-along[1], along[0]]) * thickness / 2
        draw.polygon(
            [place(*(np.array(end) + sign * side)) for end, sign in
             (((x, y), 1), ((to_x, to_y), 1), ((to_x, to_y), -1), ((x, y), -1))],
            fill=255,
        )  # fmt: skip
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX), np.float64) / 255


def line(degrees, length=18.0):
    """A line through the middle that leans to the right by an angle."""
    x, y = np.sin(np.radians(degrees)) * length / 2, np.cos(np.radians(degrees)) * length / 2
    return ((-x, y), (x, -y))


@pytest.mark.parametrize("degrees", [0, 25, 45, 70, 90])
@pytest.mark.parametrize("thickness", [2.0, 3.0, 4.0])
def test_thickness_is_that_of_the_line_in_any_direction(thickness, degrees):
    found = measured(drawn(line(degrees), thickness=thickness)[None]).thickness[0]
    assert found == pytest.approx(thickness / (1 + thickness / 18.0), rel=0.15)


def test_thickness_orders_rings_and_does_not_depend_on_contrast_or_blur():
    angles = np.linspace(0, 2 * np.pi, 60)
    ends = list(zip(7 * np.cos(angles), 8 * np.sin(angles), strict=True))
    found = [
        measured(drawn(*itertools.pairwise(ends), thickness=thickness)[None]).thickness[0]
        for thickness in (2.0, 3.0, 4.0)
    ]
    assert found == pytest.approx([2.0, 3.0, 4.0], rel=0.1)
    image = drawn(line(10), thickness=3.0)
    blurred = (np.roll(image, 1, 1) + 2 * image + np.roll(image, -1, 1)) / 4
    wanted = measured(image[None]).thickness[0]
    assert measured((image / 2)[None]).thickness[0] == pytest.approx(wanted, rel=1e-6)
    assert measured(blurred[None]).thickness[0] == pytest.approx(wanted, rel=0.1)


@pytest.mark.parametrize("degrees", [-35, -10, 0, 10, 35])
def test_slant_is_the_angle_to_the_right_of_upright(degrees):
    assert measured(drawn(line(degrees), thickness=2.0)[None]).slant[0] == pytest.approx(degrees, abs=1.5)


def test_width_is_of_the_upright_sign():
    block = measured(drawn(((-5, 0), (5, 0)), thickness=16.0)[None])
    assert block.width[0] == pytest.approx(10.0, rel=0.02)
    leaning = [measured(drawn(line(degrees), thickness=2.0)[None]).width[0] for degrees in (0, 20, 40)]
    # Made upright by a shear, a bar is as wide as its cut by a row of pixels.
    wanted = [2.0 / np.cos(np.radians(degrees)) for degrees in (0, 20, 40)]
    assert leaning == pytest.approx(wanted, rel=0.1)


@pytest.mark.parametrize("shift", [-6.0, 0.0, 3.5])
def test_shift_is_that_of_the_centre_and_changes_nothing_else(shift):
    found, centred = (measured(drawn(line(15), shift=by)[None]) for by in (shift, 0.0))
    assert found.shift[0] == pytest.approx(shift, abs=0.05)
    assert found.slant[0] == pytest.approx(centred.slant[0], abs=0.5)
    assert found.thickness[0] == pytest.approx(centred.thickness[0], rel=0.05)


def test_images_are_measured_one_by_one_and_empty_ones_are_0():
    one, other = drawn(line(15)), drawn(line(-20), thickness=2.0)
    together = measured(np.stack([one, np.zeros_like(one), other]))
    for place, image in ((0, one), (2, other)):
        alone = measured(image[None])
        for name in ("thickness", "slant", "width", "shift"):
            assert getattr(together, name)[place] == pytest.approx(getattr(alone, name)[0], rel=1e-12)
    assert [getattr(together, name)[1] for name in ("thickness", "slant", "width", "shift")] == [0, 0, 0, 0]


def test_colours_and_coverage_are_those_that_were_mixed():
    ink, background = np.array([230.0, 40.0, 40.0]), np.array([20.0, 30.0, 120.0])
    alpha = drawn(line(15))[..., None]
    image = np.round(alpha * ink + (1 - alpha) * background).astype(np.uint8)
    found = coloured(np.stack([image, np.full_like(image, 7)]))
    np.testing.assert_allclose(found.ink[0], ink, atol=20)  # its soft edges are counted in part
    np.testing.assert_allclose(found.background, [background, [7, 7, 7]], atol=0.5)
    np.testing.assert_allclose(found.coverage[0], alpha[..., 0], atol=0.1)
    assert not found.coverage[1].any()


def test_jax_measures_what_numpy_measures():
    ink = np.stack([drawn(line(15)), drawn(line(-20), thickness=2.0), np.zeros((SIDE, SIDE))])
    in_jax = jax.jit(lambda images: dataclasses.astuple(measured(images, xp=jnp)))
    for one, other in zip(dataclasses.astuple(measured(ink)), in_jax(jnp.asarray(ink, jnp.float32)), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-3, atol=1e-3)
    images = np.round(ink[..., None] * [230.0, 40.0, 40.0] + (1 - ink[..., None]) * 20).astype(np.uint8)
    in_jax = jax.jit(lambda images: dataclasses.astuple(coloured(images, xp=jnp)))
    for one, other in zip(dataclasses.astuple(coloured(images)), in_jax(images), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-4)
