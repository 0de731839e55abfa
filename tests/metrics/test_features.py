import numpy as np
import pytest

from jgr.metrics.features import KINDS, FeatureSet, subset

RNG = np.random.default_rng(0)
FEATURES, LOGITS = RNG.normal(size=(30, 5)).astype(np.float32), RNG.normal(size=(30, 4)).astype(np.float32)
LABELS = RNG.integers(0, 3, 30)


def gathered(splits, limit=None, needs=KINDS):
    """The set of all, from parts with a filling behind each, which does not count."""
    kept = FeatureSet(needs, subset(30, limit))
    for part in np.split(np.arange(30), splits):
        padded, mask = np.append(part, [0, 0]), np.arange(len(part) + 2) < len(part)
        batch = {"features": FEATURES[padded], "logits": LOGITS[padded], "labels": LABELS[padded]}
        kept.update(batch, mask)
    return kept


@pytest.mark.parametrize("splits", [[], [1], [7, 8, 20], range(1, 30)])
def test_batches_do_not_matter(splits):
    kept = gathered(splits)
    assert kept.n == 30
    np.testing.assert_array_equal(kept.features, FEATURES)
    np.testing.assert_array_equal(kept.logits, LOGITS)
    np.testing.assert_array_equal(kept.labels, LABELS)
    np.testing.assert_allclose(kept.moments.covariance, np.cov(FEATURES.T), rtol=1e-6)
    for label, moments in kept.class_moments.items():
        np.testing.assert_allclose(moments.mean, FEATURES[label == LABELS].mean(0), rtol=1e-5)


def part(indices, chosen=None):
    kept = FeatureSet(KINDS, None if chosen is None else chosen[indices])
    batch = {"features": FEATURES[indices], "logits": LOGITS[indices], "labels": LABELS[indices]}
    kept.update(batch, np.ones(len(indices), bool))
    return kept


def test_sets_merge():
    whole = part(np.arange(12))
    whole.merge(part(np.arange(12, 30)))
    np.testing.assert_array_equal(whole.features, FEATURES)
    np.testing.assert_array_equal(whole.labels, LABELS)
    np.testing.assert_allclose(whole.moments.covariance, np.cov(FEATURES.T), rtol=1e-6)
    assert whole.n == 30


def test_only_so_many_features_are_kept_but_all_count_for_the_moments():
    chosen = subset(30, 10)
    assert chosen.sum() == 10
    assert not chosen[:10].all()  # data sets may come by class
    for kept in (gathered([4, 9], limit=10), gathered([], limit=10)):
        np.testing.assert_array_equal(kept.features, FEATURES[chosen])
        np.testing.assert_array_equal(kept.labels, LABELS)
        assert kept.moments.n == kept.n == 30
    merged = part(np.arange(6), chosen)
    merged.merge(part(np.arange(6, 30), chosen))
    np.testing.assert_array_equal(merged.features, FEATURES[chosen])
    assert subset(30, 30) is subset(30, None) is None


def test_arrays_make_the_same_set_again():
    kept = gathered([11], limit=20)
    again = FeatureSet.from_arrays(kept.to_arrays())
    assert again.to_arrays().keys() == kept.to_arrays().keys()
    for name, array in kept.to_arrays().items():
        np.testing.assert_array_equal(again.to_arrays()[name], array)
    np.testing.assert_array_equal(again.moments.covariance, kept.moments.covariance)
    again.merge(kept)
    assert again.n == 60


def test_what_cannot_be_taken_in():
    features = FEATURES.copy()
    features[3, 1] = np.nan
    kept = gathered([])
    with pytest.raises(ValueError, match="features of image 33 are not finite"):
        kept.update({"features": features, "logits": LOGITS, "labels": LABELS}, np.ones(30, bool))
    with pytest.raises(ValueError, match="image 30 gives 2 features and those before 5"):
        kept.update({"features": FEATURES[:, :2], "logits": LOGITS, "labels": LABELS}, np.ones(30, bool))
    with pytest.raises(ValueError, match="gives no logits"):
        FeatureSet(frozenset({"logits"})).update({"features": FEATURES}, np.ones(30, bool))
    with pytest.raises(ValueError, match="no labels"):
        FeatureSet(frozenset({"class_moments"})).update({"features": FEATURES}, np.ones(30, bool))
    with pytest.raises(ValueError, match="no features were kept"):
        _ = FeatureSet().features
    with pytest.raises(ValueError, match=r"\['pixels'\] are unknown"):
        FeatureSet(frozenset({"pixels"}))
