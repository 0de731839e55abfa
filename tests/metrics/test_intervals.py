"""Intervals against SciPy and by simulation."""

import numpy as np
import pytest
from scipy import stats

from jgr.jobs.differences import FEWEST_SEEDS
from jgr.metrics.intervals import Interval, bootstrap_interval, mean_interval, welch_interval


def test_student_and_welch_equal_scipys() -> None:
    rng = np.random.default_rng(0)
    few, others = rng.normal(2.0, 1.0, 3), rng.normal(1.0, 3.0, 5)
    ours, theirs = mean_interval(few), stats.ttest_1samp(few, 0.0).confidence_interval(0.95)
    np.testing.assert_allclose([ours.low, ours.high], [theirs.low, theirs.high], rtol=1e-12)
    ours = welch_interval(few, others, level=0.9)
    theirs = stats.ttest_ind(few, others, equal_var=False).confidence_interval(0.9)
    np.testing.assert_allclose([ours.low, ours.high], [theirs.low, theirs.high], rtol=1e-12)


def test_bootstrap_of_many_values_agrees_with_scipys() -> None:
    values = np.random.default_rng(1).gamma(4.0, size=400)
    ours = bootstrap_interval(values)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=4999, method="BCa", rng=np.random.default_rng(2))
    width = theirs.confidence_interval.high - theirs.confidence_interval.low
    np.testing.assert_allclose(
        [ours.low, ours.high], [theirs.confidence_interval.low, theirs.confidence_interval.high], atol=0.06 * width
    )


def test_bootstrap_of_skewed_values_reaches_further_to_the_long_side() -> None:
    values = np.random.default_rng(3).exponential(size=12)
    interval = bootstrap_interval(values)
    assert interval.high - values.mean() > 1.2 * (values.mean() - interval.low)


@pytest.mark.parametrize(("count", "draw", "mean"), [(12, "gamma", 4.0), (68, "gamma", 4.0), (24, "normal", 0.0)])
def test_bootstrap_covers_the_mean(count: int, draw: str, mean: float) -> None:
    rng = np.random.default_rng(4)
    samples = rng.gamma(4.0, size=(1000, count)) if draw == "gamma" else rng.normal(size=(1000, count))
    missed = [bootstrap_interval(sample, resamples=499, seed=n).excludes(mean) for n, sample in enumerate(samples)]
    assert 0.93 <= 1 - np.mean(missed) <= 0.97


@pytest.mark.parametrize("scale", [1.0, 2.0, 4.0])
@pytest.mark.parametrize("counts", [(FEWEST_SEEDS, FEWEST_SEEDS), (3, 5), (5, 5)])
def test_welch_covers_the_difference_of_few_seeds(counts: tuple[int, int], scale: float) -> None:
    rng = np.random.default_rng(5)
    first, second = rng.normal(1.0, 1.0, (3000, counts[0])), rng.normal(0.0, scale, (3000, counts[1]))
    missed = [welch_interval(a, b).excludes(1.0) for a, b in zip(first, second, strict=True)]
    assert 0.93 <= 1 - np.mean(missed) <= 0.97


def test_students_t_covers_the_mean_of_three() -> None:
    samples = np.random.default_rng(6).normal(size=(1500, 3))
    missed = [mean_interval(sample).excludes(0.0) for sample in samples]
    assert 0.93 <= 1 - np.mean(missed) <= 0.97


def test_bootstrap_hardly_depends_on_its_draws_and_repeats_itself() -> None:
    values = np.random.default_rng(7).normal(size=68)
    first, again, other = (bootstrap_interval(values, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert abs(first.low - other.low) < 0.05 * (first.high - first.low)


def test_equal_values_have_an_interval_of_no_width() -> None:
    assert bootstrap_interval([2.0] * 6) == Interval(2.0, 2.0)
    assert mean_interval([2.0, 2.0]) == Interval(2.0, 2.0)
    assert welch_interval([2.0, 2.0], [1.0, 1.0]) == Interval(1.0, 1.0)


@pytest.mark.parametrize("values", [[], [1.0]])
def test_an_interval_of_one_value_is_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="at least 2 values"):
        bootstrap_interval(values)


def test_a_level_of_percent_is_refused() -> None:
    with pytest.raises(ValueError, match="level=95"):
        mean_interval([1.0, 2.0], level=95.0)
