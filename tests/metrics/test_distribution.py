import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import TypeCheckError

from jgr.errors import ConfigError
from jgr.metrics.captions import AttributeAgreement
from jgr.metrics.classifiers import TrainedClassifier
from jgr.metrics.distribution import (
    ClassifierAgreement,
    Coverage,
    Density,
    FrechetDistance,
    InceptionScore,
    KernelDistance,
    PerClassFrechetDistance,
    Precision,
    Recall,
)
from jgr.metrics.extractor import FeatureExtractor, Pixels
from jgr.metrics.features import FeatureSet
from jgr.metrics.inception import Inception

# references: torch-fidelity, prdc and SciPy on the same arrays
REAL = np.random.RandomState(0).randn(500, 16).astype(np.float32)
FAKE = (np.random.RandomState(1).randn(400, 16) * 1.1 + 0.2).astype(np.float32)


class Mine(FeatureExtractor):
    name = "mine"

    def __call__(self, weights, images):
        return {"features": images.reshape(len(images), -1).astype(jnp.float32)}


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (FrechetDistance(), 1.430038328296149),
        (KernelDistance(num_subsets=0), 0.19400225522248427),
        (Precision(), 0.61),
        (Recall(), 0.902),
        (Density(k=3), 0.6008333),
        (Coverage(k=3), 0.658),
    ],
)
def test_values_of_other_implementations(metric, expected):
    result = metric.compute(FeatureSet.of(REAL), FeatureSet.of(FAKE))
    value = result if isinstance(result, float) else result.value
    assert value == pytest.approx(expected, rel=1e-5)


def test_names_are_fid_and_its_like_for_inception_only():
    kinds = (FrechetDistance, KernelDistance, InceptionScore, Precision, PerClassFrechetDistance)
    assert [kind(extractor=Inception()).name for kind in kinds] == [
        "fid",
        "kid",
        "inception_score",
        "precision",
        "intra_fid",
    ]
    assert [kind().name for kind in kinds] == [
        "fd_pixels",
        "kd_pixels",
        "classifier_score_pixels",
        "precision_pixels",
        "intra_fd_pixels",
    ]
    assert FrechetDistance(extractor=Mine()).name.startswith("fd_mine@")


def test_protocols():
    inception = Inception()
    assert FrechetDistance(extractor=inception).protocol(50_000, 50_000, "train") == (
        "fid_inception2015_tf1bilinear_u8_n50000_train"
    )
    assert FrechetDistance(extractor=Inception(resize="clean")).protocol(10, 10, "test") == (
        "fid_inception2015_clean_u8_n10_test"
    )
    assert FrechetDistance().protocol(1000, 10, "test") == "fd_pixels_u8_n1000_test"
    assert KernelDistance().protocol(60_000, 9, "test") == "kd_pixels_u8_100x1000-seed2020_n50000_test"
    assert KernelDistance(num_subsets=0).protocol(9, 50_001, "test") == "kd_pixels_u8_full_n9_ref50000_test"
    assert Recall(max_images=20).protocol(60, 60, "test") == "recall_pixels_u8_k3_n20_ref20_test"
    agreement = ClassifierAgreement(judged="real")
    assert (agreement.count(5, 70), agreement.protocol(5, 70, "test")) == (70, "agreement_pixels_real_u8_n70_test")
    assert Precision().protocol(10, 10, "test") != Precision(k=5).protocol(10, 10, "test")


def test_pixels_are_scaled_to_one():
    features = Pixels()(None, jnp.array([[[[0], [255]]]], jnp.uint8))["features"]
    np.testing.assert_array_equal(features, [[0.0, 1.0]])


def test_distance_within_each_class():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 50)
    real, fake = rng.normal(size=(100, 3)), rng.normal(size=(100, 3))
    value = PerClassFrechetDistance().compute(FeatureSet.of(real, labels=labels), FeatureSet.of(fake, labels=labels))
    each = [
        FrechetDistance().compute(FeatureSet.of(real[labels == c]), FeatureSet.of(fake[labels == c])) for c in (0, 1)
    ]
    assert value.value == pytest.approx(np.mean(each))
    with pytest.raises(ValueError, match=r"real images have the classes \[0, 1\], the generated ones \[0\]"):
        PerClassFrechetDistance().compute(
            FeatureSet.of(real, labels=labels), FeatureSet.of(fake[:50], labels=labels[:50])
        )


def test_images_that_no_metric_judges():
    for make in (ClassifierAgreement, AttributeAgreement):
        with pytest.raises((ConfigError, TypeCheckError), match="judged"):
            make(judged="none")


def test_agreement_is_the_share_of_labels_that_the_classifier_sees():
    logits = np.eye(4, dtype=np.float32)[[0, 1, 2, 2]]
    made = FeatureSet.of(np.zeros((4, 2)), logits=logits, labels=np.array([0, 1, 2, 3]))
    real = FeatureSet.of(np.zeros((4, 2)), logits=logits, labels=np.array([0, 1, 2, 2]))
    assert ClassifierAgreement().compute(real, made) == 0.75
    assert ClassifierAgreement(judged="real").compute(real, made) == 1.0
    behind = FeatureSet.of(np.zeros((4, 2)), logits=logits, labels=np.array([3, 0, 1, 2]))
    assert ClassifierAgreement().compute(real, behind) == 0.25
    assert ClassifierAgreement(judged="swapped").compute(real, behind) == 0.75


@pytest.mark.parametrize(
    ("metric", "few", "message"),
    [
        (FrechetDistance(), 1, "at least 2"),
        (KernelDistance(), 400, "400"),
        (Recall(), 3, "3"),
        (InceptionScore(), 500, "no logits"),
    ],
)
def test_too_few_images(metric, few, message):
    with pytest.raises(ValueError, match=message):
        metric.compute(FeatureSet.of(REAL), FeatureSet.of(REAL[:few]))


class Tweaked(TrainedClassifier):
    """Someone's own: shipped weights, other features."""


class Impostor(Inception):
    """Someone's own: FID's name, another network."""


def test_a_class_derived_from_jgrs_is_told_apart():
    assert Tweaked(weights="cnn-digits").tag != TrainedClassifier(weights="cnn-digits").tag
    assert FrechetDistance(extractor=Impostor()).name.startswith("fd_inception2015@")


@pytest.mark.parametrize("fields", [{"num_subsets": -1}, {"subset_size": 1}])
def test_impossible_subsets(fields):
    with pytest.raises(ConfigError, match="must be at least"):
        KernelDistance(**fields)


def test_a_users_extractor_is_known_by_its_code_and_settings():
    assert len(Mine().digest) == 6
    assert Mine().tag == f"mine@{Mine().digest}"
    assert Pixels().tag == "pixels"
