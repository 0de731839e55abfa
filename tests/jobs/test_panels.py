"""Pictures of restored images."""

import numpy as np
import pytest

from jgr.jobs.panels import panel, stacked


@pytest.mark.parametrize("channels", [1, 3])
def test_a_panel(channels):
    target = np.zeros((100, 120, channels), np.float32)
    target[60:90:2, 70:100] = 1.0  # all detail is here
    degraded = np.full_like(target, 0.5)
    restored = target * 0.75
    picture = panel(degraded, restored, target)
    width, line, zoom = 120, 2, 3
    caption, whole = picture[:12], picture[14 : 14 + 100]
    for place in range(4):
        words = caption[:, place * (width + line) : place * (width + line) + width]
        assert (words < 128).any()
        assert (words[:, 100:] == 255).all()
    shown = [whole[:, place * (width + line) : place * (width + line) + width] for place in range(4)]
    np.testing.assert_array_equal(shown[0], 128)
    np.testing.assert_array_equal(shown[1], np.floor(restored * 255 + 0.5))
    np.testing.assert_array_equal(shown[2], target * 255)
    np.testing.assert_array_equal(shown[3], target * 255)  # a quarter, four times as bright
    side = 33
    enlarged = picture[14 + 100 + line :, : 4 * (side * zoom + line)]
    assert enlarged.shape[0] == side * zoom + line
    truth = enlarged[: side * zoom, 2 * (side * zoom + line) :][:, : side * zoom]
    assert (truth[::zoom, ::zoom] == 255).mean() > 0.35  # the stripes fill it
    np.testing.assert_array_equal(truth, truth[::zoom, ::zoom].repeat(zoom, axis=0).repeat(zoom, axis=1))


def test_small_images_have_no_captions_and_smaller_degraded_ones_are_enlarged():
    target = np.full((16, 16, 1), 0.25, np.float32)
    degraded = np.arange(64, dtype=np.float32).reshape(8, 8, 1) / 255
    picture = panel(degraded, target, target)
    assert picture.shape == (16 + 2 + 48 + 2, 4 * (48 + 2), 1)
    np.testing.assert_array_equal(picture[:16:2, :16:2, 0], np.arange(64).reshape(8, 8))


def test_without_truth_there_is_no_error():
    degraded, restored = np.zeros((100, 120, 3), np.float32), np.full((100, 120, 3), 0.25, np.float32)
    picture = panel(degraded, restored, None)
    assert picture.shape[1] == max(2 * 122, 2 * (3 * 33 + 2))
    np.testing.assert_array_equal(picture[14 : 14 + 100, 122 : 122 + 120], 64)


def test_large_images_are_shown_by_fewer_pixels():
    target = np.zeros((30, 1300, 1), np.float32)
    assert panel(target, target, target)[:14].shape[1] == 4 * (434 + 2)


def test_stacked():
    small, large = np.zeros((2, 3, 1), np.uint8), np.ones((4, 5, 1), np.uint8)
    picture = stacked([small, large])
    assert picture.shape == (6, 5, 1)
    assert (picture[:2, 3:] == 255).all()
