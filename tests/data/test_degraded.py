import numpy as np
import pytest

from jgr.data import Photographs, Source, fingerprint
from jgr.data.degraded import Degraded
from jgr.degradations.kernels import GaussianKernel
from jgr.degradations.light import LowLight
from jgr.degradations.protocols import Deblurring, GaussianDenoising, Seeded
from jgr.errors import DataError

DARK = Seeded(degradation=LowLight(exposure=0.5, gamma=2.0))


class Levels:
    """Two images with every level, of two sizes, labelled, with a target that is not to be seen."""

    name = "levels-all"

    def __len__(self):
        return 2

    def __getitem__(self, index):
        image = np.arange(256, dtype=np.uint8).reshape((16, 16, 1) if index else (8, 32, 1))
        return {"image": image, "label": index, "target": image}


def test_images_are_degraded_and_rounded():
    source = Degraded(source=Levels(), protocol=DARK)
    assert isinstance(source, Source)
    assert len(source) == 2
    for index, record in enumerate(source[i] for i in range(2)):
        assert set(record) == {"image", "label"}
        assert record["label"] == index
        levels = Levels()[index]["image"] / 255
        assert record["image"].dtype == np.uint8
        assert np.abs(record["image"] - 255 * 0.5 * levels**2).max() <= 0.5 + 1e-3
    np.testing.assert_array_equal(source[1]["image"], source[1]["image"])


def test_it_is_known_by_source_and_protocol():
    source = Degraded(source=Levels(), protocol=DARK)
    assert source.name == "levels-all+lowlight-e0.5-g2-seed0"
    others = [
        Degraded(source=Levels(), protocol=Seeded(degradation=LowLight(exposure=0.5))),
        Degraded(source=Photographs(), protocol=DARK),
        Levels(),
    ]
    prints = {fingerprint(one) for one in (source, *others)}
    assert len(prints) == 4
    assert fingerprint(Degraded(source=Levels(), protocol=DARK)) in prints
    assert Degraded(source=Photographs(), protocol=DARK).record_name(0) == "photograph astronaut.png"


def test_what_leaves_the_range_is_clipped():
    noisy = Degraded(source=Levels(), protocol=GaussianDenoising(sigma=0.5))[0]["image"]
    assert 50 < (noisy == 0).sum() + (noisy == 255).sum() < 200


def test_an_image_that_does_not_fit_is_named():
    blurred = Degraded(source=Levels(), protocol=Deblurring(kernel=GaussianKernel(size=25, sigma=1.6)))
    with pytest.raises(DataError, match=r"record 0 of levels-all: .*8x32"):
        blurred[0]
