import numpy as np
import pytest

from jgr.data import Digits, Photographs
from jgr.data.show import sample_images, summary
from jgr.errors import ConfigError


def test_summary_of_digits():
    described = summary(Digits())
    assert {k: described[k] for k in ("name", "num_records", "height", "width", "channels")} == {
        "name": "digits-all",
        "num_records": 1797,
        "height": 8,
        "width": 8,
        "channels": 1,
    }
    # Counts as scikit-learn documents them: about 180 a class, 1,797 in all.
    assert list(described["labels"]) == list(range(10))
    assert sum(described["labels"].values()) == 1797
    assert described["labels"][0] == 178
    assert len(described["fingerprint"]) == 16


def test_summary_of_images_that_differ():
    described = summary(Photographs())
    assert described["height"] == [300, 1411]
    assert described["channels"] == 3
    assert "labels" not in described


def test_samples_have_one_size():
    images = sample_images(Photographs(), 3)
    assert len(images) == 3
    assert len({image.shape for image in images}) == 1
    assert images[0].shape[0] == images[0].shape[1]
    source = Photographs()
    chosen = [source[i]["image"] for i in (0, 2, 5)]
    side = min(min(image.shape[:2]) for image in chosen)
    top, left = (chosen[1].shape[0] - side) // 2, (chosen[1].shape[1] - side) // 2
    np.testing.assert_array_equal(images[1], chosen[1][top : top + side, left : left + side])


def test_samples_of_one_size_are_whole():
    digits = Digits(split="test")
    images = sample_images(digits, 4)
    np.testing.assert_array_equal(images[3], digits[270]["image"])
    assert len(sample_images(digits, 1000)) == 360
    with pytest.raises(ConfigError, match="num=0"):
        sample_images(digits, 0)
