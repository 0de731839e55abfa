import numpy as np
import pytest

from jgr.metrics.score import inception_score

LOGITS = np.random.RandomState(2).randn(1003, 10) * 2


def test_one_split():
    assert inception_score(LOGITS, num_splits=1) == (pytest.approx(2.627695430938568, rel=1e-12), 0.0)


def test_ten_splits_leave_no_image_out():
    mean, std = inception_score(LOGITS)
    assert mean == pytest.approx(2.585309600457534, rel=1e-12)
    assert std == pytest.approx(0.1413131612617078, rel=1e-12)


def test_shuffles_as_torch_fidelity():
    # metric_isc.py: feature[RandomState(2020).permutation(N)]
    shuffled = LOGITS[np.random.RandomState(2020).permutation(1003)]
    assert inception_score(LOGITS, shuffle_seed=2020) == inception_score(shuffled)
    assert inception_score(LOGITS, shuffle_seed=2020) != inception_score(LOGITS)


@pytest.mark.parametrize("scale", [50.0, 1000.0])
def test_sure_and_even_scores_the_number_of_classes(scale):
    # exp of 1000 overflows, and the other probabilities are 0 beyond rounding
    assert inception_score(np.tile(np.eye(7), (20, 1)) * scale)[0] == pytest.approx(7.0, rel=1e-12)


def test_equal_images_score_one():
    assert inception_score(np.tile(LOGITS[:1], (50, 1)))[0] == pytest.approx(1.0, abs=1e-12)


def test_a_constant_added_to_an_images_logits_changes_nothing():
    shifted = LOGITS + np.linspace(-300, 300, 1003)[:, None]
    np.testing.assert_allclose(inception_score(shifted), inception_score(LOGITS), rtol=1e-10)


def test_what_cannot_be_scored():
    with pytest.raises(ValueError, match=r"10 splits .* there are 9"):
        inception_score(LOGITS[:9])
    with pytest.raises(ValueError, match="0 splits"):
        inception_score(LOGITS, num_splits=0)
    with pytest.raises(ValueError, match="logits of 1 of 10 images are not finite"):
        inception_score(np.where(np.arange(10)[:, None] == 3, np.nan, LOGITS[:10]))
