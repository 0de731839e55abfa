"""Whether one row of a table is better than another: by single records where both have those, else by seeds."""

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence

from jgr.metrics.intervals import Interval, bootstrap_interval, mean_interval, welch_interval
from jgr.metrics.metric import Better

FEWEST_SEEDS = 3
"""Of each of two rows that seeds are to tell apart: `jgr.metrics.intervals.welch_interval` says why."""

Records = Mapping[str, float]
"""The value of each record, by its name."""


@dataclasses.dataclass(frozen=True)
class Scores:
    """What the runs of one row scored in one column.

    Args:
        values: One a run.
        records: Of each record the mean over the runs; None where it is not known, or no such thing.
    """

    values: tuple[float, ...]
    records: Records | None = None

    @classmethod
    def of_runs(cls, values: Sequence[float], records: Sequence[Records | None]) -> "Scores":
        """Of the runs' values and, if all have the same records, theirs."""
        known = [one for one in records if one is not None]
        whole = len(known) == len(values) and all(one.keys() == known[0].keys() for one in known)
        means = {name: statistics.fmean(one[name] for one in known) for name in known[0]} if whole else None
        return cls(tuple(values), means)

    @property
    def mean(self) -> float:
        """Over the runs."""
        return sum(self.values) / len(self.values)

    def interval(self) -> Interval | None:
        """Of the mean, for 95 %: over records like these, else over seeds; None of a single number."""
        if self.records is not None and len(self.records) > 1:
            return bootstrap_interval(list(self.records.values()))
        if len(self.values) > 1 and all(map(math.isfinite, self.values)):
            return mean_interval(self.values)
        return None


@dataclasses.dataclass(frozen=True)
class Difference:
    """How far one row is above another.

    Args:
        value: The first mean less the second.
        interval: Of it, for 95 %; None where nothing says how far luck reaches.
        basis: What it was computed from.
    """

    value: float
    interval: Interval | None
    basis: str

    @property
    def holds(self) -> bool:
        """Whether the interval excludes that there is none."""
        return self.interval is not None and self.interval.excludes(0.0)


def difference(first: Scores, second: Scores) -> Difference:
    """The difference of two rows: in pairs of the same records, else of 3 seeds or more each (Welch's t)."""
    value = first.mean - second.mean
    if first.records is not None and second.records is not None and first.records.keys() == second.records.keys():
        pairs = [own - second.records[name] for name, own in first.records.items()]
        if len(pairs) > 1:
            return Difference(value, bootstrap_interval(pairs), f"{len(pairs)} records in pairs")
    counts = len(first.values), len(second.values)
    basis = f"{counts[0]} and {counts[1]} seeds"
    if min(counts) < FEWEST_SEEDS:
        return Difference(value, None, "one seed" if max(counts) == 1 else f"{basis}, {FEWEST_SEEDS} each are needed")
    if not all(map(math.isfinite, first.values + second.values)):
        return Difference(value, None, basis)
    return Difference(value, welch_interval(first.values, second.values), basis)


def leader(scores: Mapping[int, Scores], names: Sequence[str], direction: Better) -> tuple[list[int], str]:
    """The rows that are better than every other by more than luck, by place, and what to say of the best.

    Args:
        scores: Of one column, by place.
        names: Of all rows.
        direction: Which values are better.
    """
    sign = 1.0 if direction == "higher" else -1.0
    known = sorted(
        (place for place in scores if not math.isnan(scores[place].mean)), key=lambda place: -sign * scores[place].mean
    )
    if len(known) < 2:
        return [], ""
    first, *others = known
    gaps = {other: difference(scores[first], scores[other]) for other in others}
    apart = all(gap.holds for gap in gaps.values())
    # Beside the first that it cannot be told apart from, else the next.
    nearest = next((other for other, gap in gaps.items() if not gap.holds), others[0])
    return [first] if apart else [], f"{names[first]} {_lead(gaps[nearest], names[nearest])}"


def _lead(gap: Difference, other: str) -> str:
    """What to say of the best row and another, after its name."""
    if gap.value == 0.0:
        return f"and {other} score the same"
    if gap.interval is None:
        return f"is best, but nothing says how far luck reaches beside {other}: {gap.basis}"
    low, high = sorted((abs(gap.interval.low), abs(gap.interval.high)))
    if gap.holds:
        return f"is ahead of {other} by {_limits(abs(gap.value), low, high)} ({gap.basis})"
    return f"and {other} are not told apart: {_limits(gap.value, gap.interval.low, gap.interval.high)} ({gap.basis})"


def _limits(value: float, low: float, high: float) -> str:
    return f"{value:.3g} [{low:.3g}, {high:.3g}]"
