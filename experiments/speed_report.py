"""The page of `experiments/speed.py` from its rows: what each contender took for each row, to sort and to filter."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from speed_table import measured

from jgr.files import write_text
from jgr.jobs.differences import Scores, leader
from jgr.jobs.report.document import Arm, Measurement, Report, ReportedRun, document
from jgr.jobs.report.page import page
from jgr.jobs.table import Cell, Column, Comparison, Row, format_value

Line = Mapping[str, Any]


def write_report(folder: Path, lines: Sequence[Line]) -> None:
    """Writes report.html: contenders are its rows, and rounds what its means and intervals are of."""
    timed = [line for line in lines if "ms" in line]
    if timed:
        write_text(folder / "report.html", page(document(_report(folder, timed))))


def _report(folder: Path, lines: Sequence[Line]) -> Report:
    contenders = list(dict.fromkeys(line["contender"] for line in lines))
    of = {name: [line for line in lines if line["contender"] == name] for name in contenders}
    columns = list(dict.fromkeys(map(_column, lines)))
    scores = [
        {column: Scores(tuple(line["ms"] for line in of[name] if _column(line) == column)) for column in columns}
        for name in contenders
    ]
    cells: list[dict[Column, Cell]] = [{} for _ in contenders]
    leads = {}
    for column in columns:
        known = {place: found[column] for place, found in enumerate(scores) if found[column].values}
        best, leads[column] = leader(known, contenders, "lower")
        for place, score in known.items():
            cells[place][column] = _cell(score, place in best)
    rows = [
        Row(name=name, runs=(name,), seeds=tuple({line["round"] for line in of[name]}), config={}, cells=found)
        for name, found in zip(contenders, cells, strict=True)
    ]
    comparison = Comparison(
        rows=tuple(rows),
        columns=tuple(columns),
        config_keys=(),
        notes=(
            "Milliseconds a training step, means of rounds that are processes of their own; what seeds are elsewhere "
            "are rounds here. Times are of the machine, and of what else it did.",
            *measured(lines),
        ),
        leads=leads,
        better={column.metric: "lower" for column in columns},
    )
    return Report(
        title="Speed of training steps, beside PyTorch",
        comparison=comparison,
        arms=[Arm(name, {}, True, [_run(name, of[name], folder)]) for name in contenders],
    )


def _column(line: Line) -> Column:
    return Column(line["row"], "a step, ms", f"batch {line['batch']} {line['dtype']}", line["batch"])


def _cell(score: Scores, best: bool) -> Cell:
    limits = score.interval()
    return Cell(
        mean=score.mean,
        std=None,
        seeds=len(score.values),
        steps=(),
        weights=(),
        low=None if limits is None else limits.low,
        high=None if limits is None else limits.high,
        best=best,
    )


def _run(name: str, lines: Sequence[Line], folder: Path) -> ReportedRun:
    some = lines[0]
    facts = {f"versions.{key}": value for key, value in some["versions"].items()}
    facts |= {f"device.{key}": str(value) for key, value in some["device"].items()}
    return ReportedRun(name=name, facts=facts, measurements=[_measurement(line, folder) for line in lines])


def _measurement(line: Line, folder: Path) -> Measurement:
    contender = "jgr" if line["side"] == "jgr" else line["contender"].split()[1]
    command = ["python", "experiments/speed.py", f"--only={line['row']}", f"--contenders={contender}"]
    what = f"{line['row']}, batch {line['batch']}, {line['dtype']}, round {line['round']}, ms"
    return Measurement(what, format_value(line["ms"]), shlex.join([*command, f"--out={folder.name}-again"]))
