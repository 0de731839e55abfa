"""Whether a difference holds, against SciPy and by simulation."""

import numpy as np
import pytest
from scipy import stats

from jgr.jobs.differences import Scores, difference, leader

BETTER = "higher"


def of_records(values):
    return Scores((float(np.mean(values)),), {str(place): float(value) for place, value in enumerate(values)})


def test_seeds_are_compared_by_welchs_t() -> None:
    first, second = (3.0, 4.0, 4.5, 4.25), (1.0, 2.5, 1.5)
    gap = difference(Scores(first), Scores(second))
    theirs = stats.ttest_ind(first, second, equal_var=False)
    interval = theirs.confidence_interval(0.95)
    assert (gap.interval.low, gap.interval.high) == pytest.approx((interval.low, interval.high), rel=1e-12)
    assert gap.holds == (theirs.pvalue < 0.05)
    assert gap.basis == "4 and 3 seeds"


@pytest.mark.parametrize(
    ("first", "second", "basis"),
    [((1.0,), (2.0,), "one seed"), ((1.0, 1.1, 1.2), (9.0, 9.1), "3 and 2 seeds, 3 each are needed")],
)
def test_too_few_seeds_tell_nothing_apart(first: tuple[float, ...], second: tuple[float, ...], basis: str) -> None:
    gap = difference(Scores(first), Scores(second))
    assert (gap.interval, gap.holds, gap.basis) == (None, False, basis)


def test_records_in_pairs_tell_apart_what_their_spread_hides() -> None:
    rng = np.random.default_rng(0)
    images = rng.normal(30.0, 5.0, 40)
    better = images + 0.1 + rng.normal(0.0, 0.05, 40)
    gap = difference(of_records(better), of_records(images))
    theirs = stats.bootstrap(
        (better - images,), np.mean, method="BCa", rng=np.random.default_rng(1)
    ).confidence_interval
    assert gap.holds
    assert (gap.interval.low, gap.interval.high) == pytest.approx((theirs.low, theirs.high), abs=0.004)
    assert not stats.ttest_ind(better, images).pvalue < 0.5


@pytest.mark.slow
def test_intervals_of_pairs_cover_the_difference() -> None:
    rng = np.random.default_rng(2)
    gaps = rng.gamma(4.0, size=(1000, 30)) - 4.0
    images = rng.normal(30.0, 5.0, 30)
    missed = [difference(of_records(images + gap), of_records(images)).interval.excludes(0.0) for gap in gaps]
    assert 0.93 <= 1 - np.mean(missed) <= 0.97


def test_of_equal_models_few_are_called_best() -> None:
    scores = np.random.default_rng(3).normal(size=(1000, 2, 3))
    called = [
        bool(leader({0: Scores(tuple(one)), 1: Scores(tuple(other))}, ["a", "b"], BETTER)[0])
        for one, other in scores.tolist()
    ]
    assert 0.015 <= np.mean(called) <= 0.07
