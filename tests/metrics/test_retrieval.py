import numpy as np
import pytest

from jgr.data.captioned_mnist import CaptionedMNIST
from jgr.data.captions import captions
from jgr.data.digits import Digits
from jgr.data.loader import Data
from jgr.errors import ConfigError
from jgr.metrics.retrieval import Retrieval

SOURCE = CaptionedMNIST(digits=Digits(split="test"))
METRIC = Retrieval(gallery=Data(source=SOURCE), side=4)


@pytest.fixture(scope="module")
def real():
    return np.stack([record["image"] for record in SOURCE.__getitems__(range(len(SOURCE)))]), list(captions(SOURCE))


def test_a_noisy_image_finds_its_own_and_a_wrong_caption_is_luck(real):
    images, said = real
    noise = np.random.default_rng(0).normal(0, 10, images.shape)
    noisy = np.clip(images + noise, 0, 255).astype(np.uint8)
    assert METRIC.values(noisy, said).mean() > 0.95
    following = said[1:] + said[:1]
    assert METRIC.values(noisy, following).mean() < 0.05
    assert METRIC.values(noisy[:5], [caption.upper() for caption in said[:5]]).mean() == 1.0


def test_the_nearest_are_those_of_plain_euclidean_distances(real):
    images, said = real
    drawn = np.random.default_rng(1).integers(0, 256, (30, *images.shape[1:]), dtype=np.uint8)
    halved = [np.asarray(array, np.float64) for array in (drawn, images)]
    blocks = [array.reshape(len(array), 4, 2, 4, 2, 3).mean(axis=(2, 4)).reshape(len(array), -1) for array in halved]
    order = np.argsort(((blocks[0][:, None] - blocks[1][None]) ** 2).sum(axis=-1), axis=1)
    for top in (1, 7):
        metric = Retrieval(gallery=Data(source=SOURCE), side=4, top=top)
        for rank in (0, 3, 6, 7):
            wanted = [said[row[rank]] for row in order]
            expected = [any(said[place] == own for place in row[:top]) for row, own in zip(order, wanted, strict=True)]
            np.testing.assert_array_equal(metric.values(drawn, wanted), expected)


def test_names_and_what_cannot_be_compared(real):
    images, said = real
    assert METRIC.protocol(10, 20).startswith("retrieval_top1_u8_captioned-digits-test@")
    assert METRIC.protocol(10, 20).endswith("-side4_n10")
    swapped = Retrieval(gallery=Data(source=SOURCE), judged="swapped").protocol(10, 20)
    assert swapped.startswith("retrieval_top1_swapped_u8_captioned-digits-test@")
    with pytest.raises(ValueError, match=r"the gallery has images of 8x8x3, not of 4x4x3: set gallery.resize"):
        METRIC.values(images[:2, :4, :4], said[:2])
    with pytest.raises(ValueError, match="top = 500, but the gallery has 360 images"):
        Retrieval(gallery=Data(source=SOURCE), top=500).values(images[:2], said[:2])
    with pytest.raises(ConfigError, match="top = 0 must be at least 1"):
        Retrieval(gallery=Data(source=SOURCE), top=0)
