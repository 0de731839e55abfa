"""Whether images show what captions say: of digits that were drawn so, and of wrong ones."""

import os

import jax
import numpy as np
import pytest

from jgr.data.captioned_mnist import CaptionedMNIST
from jgr.data.tfds import TFDS
from jgr.errors import ConfigError
from jgr.metrics.captions import AttributeAgreement, DigitClassifier
from jgr.metrics.classifiers import TrainedClassifier

RED = np.zeros((28, 28, 3), np.uint8)
RED[4:24, 17:19] = (230, 40, 40)  # upright, thin and at the right on black


def test_the_share_is_of_what_the_caption_names():
    captions = ["a thin red one on black", "a thick red one on black", "a red one on navy, on the left", "a one", ""]
    found = AttributeAgreement().values(np.stack([RED] * 5), captions)
    np.testing.assert_allclose(found[:3], [1, 2 / 3, 1 / 3])
    assert np.isnan(found[3:]).all()
    inks = AttributeAgreement(attribute="ink")
    np.testing.assert_array_equal(inks.values(np.stack([RED] * 3), ["a red 1", "a cyan 1", "1"]), [1, 0, np.nan])
    assert inks.summary(np.array([1, 0, np.nan, 1.0])).value == pytest.approx(2 / 3)
    assert np.isnan(inks.summary(np.array([np.nan])).value)


def test_names_and_protocols_tell_what_is_judged():
    assert AttributeAgreement(attribute="slant").protocol(100, 50) == "agreement_slant_u8_n100"
    assert AttributeAgreement(judged="swapped").protocol(100, 50) == "agreement_all_swapped_u8_n100"
    assert AttributeAgreement(judged="real").protocol(100, 50) == "agreement_all_real_u8_n50"
    with pytest.raises(ConfigError, match="attribute = 'digit' must be all or one of thickness, slant, width"):
        AttributeAgreement(attribute="digit")
    with pytest.raises(ValueError, match="in images of 3 channels, not 1"):
        AttributeAgreement().values(RED[None, ..., :1], ["a red 1"])


def test_digits_in_colours_are_told_as_well_as_gray_ones(test_data):
    digits = TFDS(dataset="mnist", split="test[:500]", data_dir=os.fspath(test_data / "tfds"))
    gray = digits.__getitems__(range(500))
    colour = CaptionedMNIST(digits=digits).__getitems__(range(500))
    labels = np.array([record["label"] for record in gray])
    right = []
    for classifier, records in ((TrainedClassifier(), gray), (DigitClassifier(), colour)):
        images = np.stack([record["image"] for record in records])
        logits = jax.jit(classifier.__call__)(classifier.load(), images)["logits"]
        right.append(np.asarray(logits).argmax(axis=1) == labels)
    assert right[0].mean() > 0.98
    assert right[1].mean() > right[0].mean() - 0.01
    assert DigitClassifier().name == "ink-cnn-mnist"
