import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jgr.data.digits import Digits
from jgr.data.loader import Data, evaluation_batches
from jgr.errors import ConfigError
from jgr.metrics.class_kept import ClassKept
from jgr.metrics.classifiers import TrainedClassifier
from jgr.metrics.extractor import FeatureExtractor

METRIC = ClassKept(color="gray", extractor=TrainedClassifier(weights="cnn-digits"))


@pytest.fixture(scope="module")
def digits():
    (batch,) = evaluation_batches(Data(source=Digits(split="test"), resize=16), 360)
    return jnp.asarray(batch["image"]) / 255.0, batch["label"]


def test_digits_of_one_class_are_kept_and_others_not(digits):
    images, labels = digits
    order = np.random.default_rng(0).permutation(len(labels))
    values = jax.jit(METRIC.values)(METRIC.load(), images[order], images)
    assert set(np.unique(values)) == {0.0, 1.0}
    # A classifier that is right of 97.5 % agrees with the labels of a pair but for twice the rest.
    assert np.mean(values == (labels[order] == labels)) >= 0.95
    np.testing.assert_array_equal(METRIC.values(METRIC.load(), images[:20], images[:20]), 1.0)
    assert METRIC.protocol("noise") == f"{METRIC.name}_gray_u8/noise"
    assert METRIC.name.startswith("class_kept_cnn-digits@")
    assert METRIC.better == "higher"


def test_heavy_noise_loses_classes_and_nan_is_no_class(digits):
    images, _ = digits
    noise = jax.random.normal(jax.random.key(0), images.shape)
    weights = METRIC.load()
    kept = [float(METRIC.values(weights, images + sigma * noise, images).mean()) for sigma in (0.02, 0.3, 1.0)]
    assert kept[0] > 0.95 > kept[1] > kept[2]
    assert np.isnan(METRIC.values(weights, images[:2].at[0, 0, 0].set(jnp.nan), images[:2])).tolist() == [True, False]


def test_an_extractor_without_classes_is_refused(digits):
    class Pixels(FeatureExtractor):
        name = "pixels"

        def __call__(self, weights, images):
            return {"features": images.reshape(len(images), -1).astype(jnp.float32)}

    images, _ = digits
    metric = dataclasses.replace(METRIC, extractor=Pixels())
    with pytest.raises(ConfigError, match="needs a classifier, and pixels gives no logits"):
        metric.values(None, images[:2], images[:2])
