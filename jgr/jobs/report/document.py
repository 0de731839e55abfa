"""What a report holds, and the JSON that its page reads: a pure function of what is known of the runs."""

import base64
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jgr.files import json_values
from jgr.jobs.layout import MISSING, Part, cost_text, described, leads, parts, short_names
from jgr.jobs.report.curves import Logged, curves
from jgr.jobs.report.restored import Named, Restored, Test
from jgr.jobs.study import Published
from jgr.jobs.table import COSTS, Cell, Column, Comparison, Cost, Row, format_value

_RANKED = {"inf": "Infinity", "-inf": "-Infinity"}  # numbers that JSON has not, as JavaScript reads them


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One number of a run, and what makes it again.

    Args:
        what: Its metric, data set and protocol; empty where the command makes all numbers of the run.
        value: As it is shown.
        command: A command line.
    """

    what: str
    value: str
    command: str


@dataclasses.dataclass(frozen=True)
class ReportedRun:
    """What a report knows of one run.

    Args:
        name: Of its folder.
        facts: Code, versions, devices, data, as they are shown, by name.
        measurements: How to make its numbers again.
        logged: Its learning curve.
        grid: Its newest picture of samples, as WebP.
        restored: Parts of restored images.
        records: Names and values of the records, the restored ones first.
    """

    name: str
    facts: Mapping[str, str]
    measurements: Sequence[Measurement]
    logged: Logged = ()
    grid: bytes | None = None
    restored: Mapping[Test, Sequence[Restored]] = dataclasses.field(default_factory=dict)
    records: Mapping[Test, Sequence[Named]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Arm:
    """Runs that differ in their seed only.

    Args:
        name: As the tables call it.
        config: Flat, without the seed; where nobody knows it, what was set in it.
        whole: Whether `config` is all of it.
        runs: One a seed.
    """

    name: str
    config: Mapping[str, Any]
    whole: bool
    runs: Sequence[ReportedRun]


@dataclasses.dataclass(frozen=True)
class Report:
    """Everything that a report shows.

    Args:
        title: One line.
        comparison: The table; its rows are called as arms, and its notes concern all of it.
        arms: In the order of the rows.
        published: Numbers from elsewhere.
    """

    title: str
    comparison: Comparison
    arms: Sequence[Arm]
    published: Sequence[Published] = ()


def document(report: Report) -> dict[str, Any]:
    """The report in JSON's types; pictures are base64, each once, and pointed into by place."""
    gallery = _Gallery()
    configs = [{key: _text(value) for key, value in arm.config.items()} for arm in report.arms]
    whole = [config for config, arm in zip(configs, report.arms, strict=True) if arm.whole]
    # Of a config that is not whole, all that is known was set, and may differ.
    keys = sorted({*_differing(whole), *(key for config in configs if config not in whole for key in config)})
    facts = [run.facts for arm in report.arms for run in arm.runs]
    fact_names = _differing(facts)
    places = {arm.name: place for place, arm in enumerate(report.arms)}
    found = {
        "title": report.title,
        "notes": list(report.comparison.notes),
        "tables": [
            *(_table(part, places) for part in parts(report.comparison)),
            *_costs(report.comparison.rows, places),
        ],
        "published": [dataclasses.asdict(one) | {"value": format_value(one.value)} for one in report.published],
        "config": {"keys": keys, "alike": _alike(whole, keys)},
        "facts": {"names": fact_names, "alike": _alike(facts, fact_names)},
        "arms": [
            {
                "name": arm.name,
                "config": {key: config[key] for key in keys if key in config},
                "whole": arm.whole,
                "runs": [_run(run, fact_names) for run in arm.runs],
            }
            for arm, config in zip(report.arms, configs, strict=True)
        ],
        "curves": curves([{run.name: run.logged for run in arm.runs} for arm in report.arms]),
        "grids": [
            {"arm": place, "run": run.name, "picture": gallery.place(run.grid)}
            for place, arm in enumerate(report.arms)
            for run in arm.runs
            if run.grid is not None
        ],
        "tests": _tests(report.arms, gallery),
    }
    json: dict[str, Any] = json_values(found | {"pictures": gallery.encoded})
    return json


class _Gallery:
    """Pictures, each kept once."""

    def __init__(self) -> None:
        self._places: dict[bytes, int] = {}

    def place(self, picture: bytes) -> int:
        """Where a picture stands in the gallery."""
        return self._places.setdefault(picture, len(self._places))

    @property
    def encoded(self) -> list[str]:
        """All pictures, in base64."""
        return [base64.b64encode(picture).decode() for picture in self._places]


def _table(part: Part, places: Mapping[str, int]) -> dict[str, Any]:
    """Columns that may stand side by side, the published numbers of each beside it."""
    table, columns, cells = part.comparison, list[dict[str, Any]](), list[list[Any]]([] for _ in part.comparison.rows)

    def add(column: dict[str, Any], values: Iterable[Any]) -> None:
        columns.append({"better": None, "measured": False} | column)
        for line, value in zip(cells, values, strict=True):
            line.append(value)

    for name, texts in described(table.rows).items():
        add({"lines": [name]}, texts)
    for column, name in short_names(table.columns).items():
        better = table.better.get(column.metric)
        lines = [name, column.dataset, column.protocol, f"n={column.n}"]
        add({"lines": lines, "measured": True, "better": better}, (_cell(row.cells.get(column)) for row in table.rows))
        if any(one.column == column for one in table.references):
            add({"lines": ["published", f"{name}, not ranked"]}, (_cited(table, column, row) for row in table.rows))
    rows = [{"arm": places[row.name], "cells": line} for row, line in zip(table.rows, cells, strict=True)]
    return {"title": part.title, "apart": part.apart, "columns": columns, "rows": rows, "leads": leads(table)}


def _cited(table: Comparison, column: Column, row: Row) -> str | None:
    """What others published of the model of a row."""
    found = [one for one in table.references if one.column == column and one.row == row.name]
    return ", ".join(format_value(one.value) for one in found) or None


def _costs(rows: Sequence[Row], places: Mapping[str, int]) -> list[dict[str, Any]]:
    """The table of what the runs took, if anything is known of that."""
    known = [name for name in COSTS if any(name in row.costs for row in rows)]
    if not known:
        return []
    columns = [{"lines": ["device"], "measured": False, "better": None}]
    columns += [{"lines": [COSTS[name].header], "measured": False, "better": None} for name in known]
    lines = [
        {
            "arm": places[row.name],
            "cells": [", ".join(row.devices) or None, *(_cost(name, row.costs.get(name)) for name in known)],
        }
        for row in rows
    ]
    note = "Times are of the machine, and of what else it did."
    notes = [note] if any(COSTS[name].is_time for name in known) else []
    return [{"title": "Costs", "apart": "", "columns": columns, "rows": lines, "leads": notes}]


def _cost(name: str, cost: Cost | None) -> dict[str, Any]:
    """A cell of what runs took; a training's time in minutes."""
    if cost is None:
        return {"text": MISSING, "value": None}
    detail = f"{cost.seeds} {'seed' if cost.seeds == 1 else 'seeds'}"
    return {"text": cost_text(name, cost), "value": cost.mean, "best": False, "limits": None, "detail": detail}


def _cell(cell: Cell | None) -> dict[str, Any]:
    if cell is None:
        return {"text": MISSING, "value": None}
    limits = None
    if cell.low is not None and cell.high is not None:
        limits = f"[{format_value(cell.low)}, {format_value(cell.high)}]"
    steps, weights = ", ".join(map(str, cell.steps)), "/".join(cell.weights)
    detail = f"{cell.seeds} {'seed' if cell.seeds == 1 else 'seeds'}, step {steps}, {weights} weights"
    value = _RANKED.get(str(cell.mean), cell.mean)
    text = format_value(cell.mean, cell.std)
    return {"text": text, "value": value, "best": cell.best, "limits": limits, "detail": detail}


def _run(run: ReportedRun, fact_names: Iterable[str]) -> dict[str, Any]:
    return {
        "name": run.name,
        "facts": {name: run.facts[name] for name in fact_names if name in run.facts},
        "measurements": [dataclasses.asdict(one) for one in run.measurements],
    }


def _tests(arms: Sequence[Arm], gallery: _Gallery) -> list[dict[str, Any]]:
    """The restored images, by test and record."""
    every = [(place, run) for place, arm in enumerate(arms) for run in arm.runs]
    tests = []
    for test in sorted({test for _, run in every for test in run.restored}):
        having = [(place, run) for place, run in every if run.restored.get(test)]
        count = max(len(run.restored[test]) for _, run in having)
        records = [_record(test, number, having, gallery) for number in range(count)]
        tests.append({"dataset": test.dataset, "manner": test.manner, "records": records})
    return tests


def _record(test: Test, number: int, runs: Sequence[tuple[int, ReportedRun]], gallery: _Gallery) -> dict[str, Any]:
    """One record of a test, and what became of it in each run, with the place of its arm."""
    having = [(place, run) for place, run in runs if number < len(run.restored[test])]
    named = [records[number] for _, run in having if number < len(records := run.records.get(test, ()))]
    first = having[0][1].restored[test][number]
    return {
        "name": named[0].name if named else f"record {number}",
        "degraded": gallery.place(first.degraded),
        "truth": gallery.place(first.truth),
        "restored": [
            {
                "arm": place,
                "run": run.name,
                "picture": gallery.place(run.restored[test][number].restored),
                "values": _values(run.records.get(test, ()), number),
            }
            for place, run in having
        ],
    }


def _values(records: Sequence[Named], number: int) -> str:
    """What a record scored, in words."""
    values = records[number].values if number < len(records) else {}
    return ", ".join(f"{metric} {format_value(value)}" for metric, value in values.items())


def _differing(mappings: Sequence[Mapping[str, str]]) -> list[str]:
    """The keys whose values differ, or that only some have, in the order of the first that has them."""
    keys = dict.fromkeys(key for mapping in mappings for key in mapping)
    return [key for key in keys if len({mapping.get(key) for mapping in mappings}) > 1]


def _alike(mappings: Sequence[Mapping[str, str]], differing: Iterable[str]) -> dict[str, str]:
    """What all share."""
    apart = set(differing)
    return {key: value for key, value in mappings[0].items() if key not in apart} if mappings else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)
