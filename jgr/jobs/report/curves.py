"""Learning curves for a report: what runs logged, thinned to a bounded number of points."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

Logged = Sequence[Mapping[str, Any]]
"""The rows of a run's logged steps, each with `step`."""

_MAX_VALUES = 120_000  # in all curves together: a report of 200 runs stays small
_POINTS = (40, 240)  # least and most of one curve
_AXES = ("step", "images_seen")
_DIGITS = 5  # significant


def curves(arms: Sequence[Mapping[str, Logged]]) -> dict[str, Any]:
    """What a page draws: of each arm and metric the values of every run, at steps that the runs share.

    Args:
        arms: By run's name what it logged; runs of one arm differ in their seed.

    Returns:
        Of JSON's types: `metrics` (names), `steps` (lists that curves point into), `series` (`arm`, `metric` and
        `steps` by place; `images_per_step`, None where unknown; `runs` and their `values`, None where a run has none),
        `points` (the most of one curve) and `logged` (of the longest before it was thinned).
    """
    found = [(place, metric, runs) for place, runs in enumerate(arms) for metric in _metrics(runs.values())]
    metrics = sorted({metric for _, metric, _ in found})
    count = sum(len(runs) for _, _, runs in found)
    limit = min(_POINTS[1], max(_POINTS[0], _MAX_VALUES // max(1, count)))
    steps: dict[tuple[int, ...], int] = {}
    series, longest = [], 0
    for place, metric, runs in found:
        values = {name: _values(logged, metric) for name, logged in runs.items()}
        every = sorted({step for one in values.values() for step in one})
        longest = max(longest, len(every))
        shown = tuple(_thinned(every, limit))
        series.append(
            {
                "arm": place,
                "metric": metrics.index(metric),
                "steps": steps.setdefault(shown, len(steps)),
                "images_per_step": _images_per_step(next(iter(runs.values()))),
                "runs": list(values),
                "values": [[_rounded(one.get(step)) for step in shown] for one in values.values()],
            }
        )
    return {"metrics": metrics, "steps": list(map(list, steps)), "series": series, "points": limit, "logged": longest}


def _metrics(runs: Collection[Logged]) -> list[str]:
    """Names of what was logged as a number."""
    names = {name for logged in runs for row in logged for name in row} - set(_AXES)
    return sorted(name for name in names if any(_values(logged, name) for logged in runs))


def _values(logged: Logged, metric: str) -> dict[int, float]:
    """By step; what is no number is left out."""
    found = ((row["step"], row.get(metric)) for row in logged)
    return {int(step): float(value) for step, value in found if isinstance(value, int | float) and math.isfinite(value)}


def _rounded(value: float | None) -> float | None:
    """In as many digits as a plot can show."""
    return None if value is None else float(f"{value:.{_DIGITS}g}")


def _thinned(steps: Sequence[int], limit: int) -> list[int]:
    """At most so many of the steps, evenly, the first and the last among them."""
    if len(steps) <= limit:
        return list(steps)
    return [steps[round(place * (len(steps) - 1) / (limit - 1))] for place in range(limit)]


def _images_per_step(logged: Logged) -> float | None:
    """How many images a step sees."""
    last = logged[-1] if logged else {}
    seen, step = last.get("images_seen"), last.get("step")
    return seen / step if step and seen else None
