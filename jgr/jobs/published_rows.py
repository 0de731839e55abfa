"""Rows of a study's results that are named as `results/STUDY/rows.jsonl#ROW`, and what is known of their run."""

import dataclasses
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scipy import stats

from jgr.errors import RunError
from jgr.files import read_json
from jgr.jobs.study import folder_name
from jgr.metrics.intervals import bootstrap_interval
from jgr.run import jsonl
from jgr.run.records import find_values
from jgr.run.rows import value

_ALIKE = ("metric", "dataset", "protocol", "n", "select", "weights")


@dataclasses.dataclass(frozen=True)
class Spread:
    """Between what a number may come out, in 95 % of the cases.

    Args:
        low: The least.
        high: The most.
        basis: What it was computed from.
    """

    low: float
    high: float
    basis: str


@dataclasses.dataclass(frozen=True)
class PublishedRows:
    """Some rows of one run of a study.

    Args:
        name: What they were named as.
        folder: The study's results.
        rows: The rows.
        known: What the study's manifest knows of the run.
        others: All rows of the study.
        runs: All runs of the manifest.
    """

    name: str
    folder: Path
    rows: tuple[dict[str, Any], ...]
    known: dict[str, Any]
    others: tuple[dict[str, Any], ...]
    runs: dict[str, dict[str, Any]]

    def first_of(self, run_folder: str) -> str:
        """The name of the first row of another run, by the name of its folder; nothing where there is none."""
        for number, row in enumerate(self.others, start=1):
            known = self.runs.get(row["run"])
            if known and folder_name(known["arm"], known["seed"]) == run_folder:
                return f"{self.folder / 'rows.jsonl'}#{number}"
        return ""

    def spread(self, row: dict[str, Any]) -> Spread | None:
        """Between what one more run may score: by the arm's seeds, else the records, else the evaluation seeds."""
        alike = [one for one in self.others if all(one[field] == row[field] for field in _ALIKE)]
        of_arm = {
            one["seed"]: value(one)
            for one in alike
            if one["eval_seed"] == row["eval_seed"] and self.runs[one["run"]]["arm"] == self.known["arm"]
        }
        if len(of_arm) > 1 and all(map(math.isfinite, of_arm.values())):
            return _prediction(list(of_arm.values()), f"{len(of_arm)} seeds")
        records = self.folder / "records" / folder_name(self.known["arm"], self.known["seed"])
        found = find_values(records, row)
        if found is not None and len(found[1]) > 1:
            interval = bootstrap_interval(list(found[1].values()))
            return Spread(interval.low, interval.high, f"{len(found[1])} records")
        of_run = {
            one["eval_seed"]: value(one) for one in alike if one["run"] == row["run"] and one["step"] == row["step"]
        }
        if len(of_run) > 1 and all(map(math.isfinite, of_run.values())):
            return _prediction(list(of_run.values()), f"{len(of_run)} evaluation seeds")
        return None


def is_named_row(name: str) -> bool:
    """Whether a name is of rows, and not of a run's folder."""
    return "#" in name and not Path(name).is_dir()


def read_rows(name: str) -> PublishedRows:
    """The rows of a name.

    Args:
        name: "results/STUDY/rows.jsonl#ROW": the row's line from 1, or all rows of a run by its id, or by arm and seed,
            such as "dcgan-s0". "results/STUDY#ROW" is the same.

    Raises:
        RunError: There is no such file, row or run.
    """
    file, _, which = name.rpartition("#")
    path = Path(file) / "rows.jsonl" if Path(file).is_dir() else Path(file)
    if not path.is_file():
        raise RunError(f"{path}: no such file; rows of a study are results/STUDY/rows.jsonl")
    others, runs = jsonl.read(path), read_json(path.parent / "manifest.json").get("runs", {})
    if which.isdigit():
        if not 1 <= int(which) <= len(others):
            raise RunError(f"{path} has rows 1 to {len(others)}, and no row {which}")
        rows = [others[int(which) - 1]]
    else:
        names = {run: folder_name(known["arm"], known["seed"]) for run, known in runs.items()}
        rows = [row for row in others if which in (row["run"], names.get(row["run"]))]
        if not rows:
            known = ", ".join(dict.fromkeys(names.values())) or "none"
            raise RunError(f"{path} has no run {which!r}; name a line, or one of {known}")
    run = rows[0].get("run")
    if run not in runs:
        raise RunError(f"{path.parent / 'manifest.json'} does not know run {run}: its rows cannot be made again")
    return PublishedRows(name, path.parent, tuple(rows), runs[run], tuple(others), runs)


def _prediction(values: Sequence[float], basis: str) -> Spread:
    """For one more value like these, by Student's t."""
    count, mean = len(values), statistics.fmean(values)
    reach = float(stats.t.ppf(0.975, count - 1)) * statistics.stdev(values) * math.sqrt(1 + 1 / count)
    return Spread(mean - reach, mean + reach, basis)
