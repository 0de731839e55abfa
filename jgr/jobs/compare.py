"""Compares runs: one table of what differs between them and what they scored.

A column of the table holds values that may be ranked: of one metric, on one data set, by one protocol, over one number
of images. Values of two columns are never ranked against each other.
"""

import collections
import dataclasses
import itertools
import json
import math
import os
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from jgr.config import flatten
from jgr.errors import RunError
from jgr.jobs.costs import device_kind, mean_costs, read_costs, run_costs
from jgr.jobs.differences import Records, Scores, leader
from jgr.jobs.table import Cell, Column, Comparison, Row, columns_named, incomparable
from jgr.metrics.metric import Better
from jgr.run import rows as result_rows
from jgr.run.folder import RunFolder
from jgr.run.lock import is_alive
from jgr.run.records import find_values


@dataclasses.dataclass(frozen=True)
class ComparedRun:
    """What a comparison knows of one run.

    Args:
        name: What its row is called.
        id: Its id.
        seed: Of its training.
        config: Flat, without the seed; runs that agree in it share a row.
        scored: What it scored.
        better: Which values of a metric are better, by its name.
        notes: What a reader must know.
        costs: What it took, by the names of `jgr.jobs.table.COSTS`.
        device: What trained it.
    """

    name: str
    id: str
    seed: int
    config: dict[str, Any]
    scored: "Scored"
    better: dict[str, Better]
    notes: tuple[str, ...] = ()
    costs: Mapping[str, float] = dataclasses.field(default_factory=dict)
    device: str | None = None


@dataclasses.dataclass(frozen=True)
class Scored:
    """What one run scored, by its newest evaluated step.

    Args:
        cells: The mean over evaluation seeds, with their standard deviation.
        records: Of the columns whose numbers are means over records: of each the mean over evaluation seeds.
        eval_seeds: The largest number of evaluation seeds behind a cell.
    """

    cells: Mapping[Column, Cell]
    records: Mapping[Column, Records]
    eval_seeds: int


def compare(
    paths: Sequence[str | Path],
    *,
    rank: str | None = None,
    select: Literal["last", "best"] = "last",
) -> Comparison:
    """A table of runs: what differs in their configs, and each metric by its newest evaluated step.

    Runs that differ only in `seed` become one row of means and sample standard deviations. Of one step, averaged
    weights ("ema") count before raw ones; several evaluation seeds of one run are averaged.

    Args:
        paths: The runs' folders.
        rank: Sorts the rows by this metric, best first. Where it has several data sets, protocols or sizes, words
            after its name say which: "psnr_y set5-test@3f2a91".
        select: "last" for the newest step, "best" for the checkpoint chosen on a validation split.

    Raises:
        RunError: A folder is no run, or the rows cannot be ranked as asked.
        ValueError: No path, or `select` is none of its values.
    """
    if not paths:
        raise ValueError("nothing to compare: name at least one run's folder")
    if select not in ("last", "best"):
        raise ValueError(f"select={select!r} must be 'last' or 'best'")
    folders = list({os.path.realpath(path): Path(path) for path in paths}.values())
    runs = [_read(path, name, select) for path, name in zip(folders, _names(folders), strict=True)]
    return compared(runs, rank)


def compared(runs: Sequence[ComparedRun], rank: str | None = None) -> Comparison:
    """A table of runs; see `compare`.

    Raises:
        RunError: The rows cannot be ranked as asked.
    """
    better = {metric: direction for run in runs for metric, direction in run.better.items()}
    groups = _groups(runs)
    columns = tuple(sorted({column for run in runs for column in run.scored.cells}))
    keys = _differing([group[0].config for group in groups])
    rows = [_row(group, keys, columns) for group in groups]
    leads: dict[Column, str] = {}
    for column in columns:
        if (direction := better.get(column.metric)) is not None:
            scores = {
                place: _scores(group, column) for place, group in enumerate(groups) if column in rows[place].cells
            }
            best, lead = leader(scores, [row.name for row in rows], direction)
            rows = [_marked(row, column) if place in best else row for place, row in enumerate(rows)]
            leads |= {column: lead} if lead else {}
    if rank is not None:
        rows = _ranked(rows, columns, rank, better)
    return Comparison(tuple(rows), columns, keys, tuple(_notes(runs, rows)), leads, better)


def _read(path: Path, name: str, select: str) -> ComparedRun:
    folder = RunFolder.open(path)
    config, manifest, results = flatten(folder.config()), folder.manifest(), folder.results()
    seed = config.pop("seed", 0)
    chosen = [row for row in results if row["select"] == select]
    status = manifest.get("status", "unknown")
    if status == "running" and not is_alive(path):
        status = "stopped without a word; the same command goes on"
    notes = [] if status == "completed" else [f"{name}: status is {status}"]
    if not chosen:
        missing = f"no results with select={select}" if results else "no results"
        step = " --step=best" if select == "best" else ""
        notes.append(f"{name}: {missing}; evaluate it: jgr evaluate {path}{step}")
    found = scored(chosen, folder.records_path)
    if found.eval_seeds > 1:
        notes.append(f"{name}: over {found.eval_seeds} evaluation seeds")
    better: dict[str, Better] = {row["metric"]: row["better"] for row in chosen if "better" in row}
    known = read_costs(folder, chosen)
    return ComparedRun(
        name,
        manifest.get("run", name),
        seed,
        config,
        found,
        better,
        tuple(notes),
        run_costs(known, chosen),
        device_kind(known),
    )


def scored(rows: Sequence[dict[str, Any]], records_folder: Path) -> Scored:
    """What one run scored.

    Args:
        rows: Result rows of the run.
        records_folder: Where the values of single records are, see `jgr.run.records`.
    """
    by_column = collections.defaultdict(list)
    for row in rows:
        by_column[Column(row["metric"], row["dataset"], row["protocol"], row["n"])].append(row)
    cells, records, eval_seeds = {}, {}, 1
    for column, same in by_column.items():
        counting = _newest(same)
        values = list(map(result_rows.value, counting))
        eval_seeds = max(eval_seeds, len(values))
        cells[column] = Cell(_mean(values), _std(values), 1, (counting[0]["step"],), (counting[0]["weights"],))
        of_seeds = [found[1] for row in counting if (found := find_values(records_folder, row)) is not None]
        if (means := Scores.of_runs(values, of_seeds).records) is not None:
            records[column] = means
    return Scored(cells, records, eval_seeds)


def _newest(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of the newest evaluated step, of averaged weights if there are any: one an evaluation seed."""
    step = max(row["step"] for row in rows)
    rows = [row for row in rows if row["step"] == step]
    weights = "ema" if any(row["weights"] == "ema" for row in rows) else "raw"
    return list({row["eval_seed"]: row for row in rows if row["weights"] == weights}.values())


def _names(folders: Sequence[Path]) -> list[str]:
    """The folders' names; whole paths where two are called the same."""
    names = [folder.resolve().name for folder in folders]
    return names if len(set(names)) == len(names) else [str(folder) for folder in folders]


def _groups(runs: Sequence[ComparedRun]) -> list[list[ComparedRun]]:
    """Runs that differ only in their seed, together. A repeated seed is no new sample: it starts another row."""
    groups: dict[tuple[str, int], list[ComparedRun]] = {}
    repeats: collections.Counter[tuple[str, int]] = collections.Counter()
    for run in runs:
        config = json.dumps(run.config, sort_keys=True)
        groups.setdefault((config, repeats[config, run.seed]), []).append(run)
        repeats[config, run.seed] += 1
    return list(groups.values())


def _differing(configs: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    keys = sorted({key for config in configs for key in config})
    missing = object()
    return tuple(
        key
        for key in keys
        if any(_differ(config.get(key, missing), configs[0].get(key, missing)) for config in configs)
    )


def _differ(one: Any, other: Any) -> bool:
    return type(one) is not type(other) or one != other


def _row(group: Sequence[ComparedRun], keys: Iterable[str], columns: Iterable[Column]) -> Row:
    names = [run.name for run in group]
    config = {key: group[0].config[key] for key in keys if key in group[0].config}
    cells = {}
    for column in columns:
        found = [run.scored.cells[column] for run in group if column in run.scored.cells]
        if found:
            values = [cell.mean for cell in found]
            steps = tuple(sorted({step for cell in found for step in cell.steps}))
            weights = tuple(sorted({name for cell in found for name in cell.weights}))
            std = found[0].std if len(found) == 1 else _std(values)  # of one run, that over evaluation seeds
            interval = _scores(group, column).interval()
            limits = (None, None) if interval is None else (interval.low, interval.high)
            cells[column] = Cell(_mean(values), std, len(values), steps, weights, *limits)
    return Row(
        name=_braced(names),
        runs=tuple(run.id for run in group),
        seeds=tuple(run.seed for run in group),
        config=config,
        cells=cells,
        costs=mean_costs([run.costs for run in group]),
        devices=tuple(sorted({run.device for run in group if run.device})),
    )


def _braced(names: Sequence[str]) -> str:
    """The names as a shell would expand them: `a-s{0,1}`."""
    if len(set(names)) == 1:
        return names[0]
    alike = itertools.takewhile(lambda characters: len(set(characters)) == 1, zip(*names, strict=False))
    prefix = "".join(characters[0] for characters in alike)
    return f"{prefix}{{{','.join(name.removeprefix(prefix) for name in names)}}}"


def _mean(values: Sequence[float]) -> float:
    return statistics.fmean(values) if all(map(math.isfinite, values)) else sum(values) / len(values)


def _std(values: Sequence[float]) -> float | None:
    if len(values) == 1:
        return None
    return statistics.stdev(values) if all(map(math.isfinite, values)) else math.nan


def _scores(group: Sequence[ComparedRun], column: Column) -> Scores:
    having = [run.scored for run in group if column in run.scored.cells]
    return Scores.of_runs(
        [scored.cells[column].mean for scored in having], [scored.records.get(column) for scored in having]
    )


def _marked(row: Row, column: Column) -> Row:
    """The row with one cell marked as the best."""
    return dataclasses.replace(row, cells={**row.cells, column: dataclasses.replace(row.cells[column], best=True)})


def _ranked(rows: Sequence[Row], columns: Sequence[Column], rank: str, directions: Mapping[str, Better]) -> list[Row]:
    matching = columns_named(columns, rank)
    metric = rank.partition(" ")[0]
    if not matching:
        of_metric = [column for column in columns if column.metric == metric]
        known = sorted({column.metric for column in columns} if not of_metric else map(str, of_metric))
        raise RunError(f"cannot rank by {rank!r}: no run has it; there is {', '.join(known) or 'nothing evaluated'}")
    if len(matching) > 1:
        differences = "; ".join(incomparable(matching, "")) or metric
        raise RunError(
            f"cannot rank by {rank!r}, the values are not comparable: {differences}; evaluate all runs alike, or name "
            f"one: rank={str(matching[0])!r}"
        )
    direction = directions.get(metric)
    if direction is None:
        raise RunError(f"cannot rank by {rank!r}: its rows do not say which values are better; evaluate again")
    sign = 1 if direction == "lower" else -1

    def position(row: Row) -> tuple[bool, float]:
        cell = row.cells.get(matching[0])
        unknown = cell is None or math.isnan(cell.mean)
        return unknown, 0.0 if cell is None or unknown else sign * cell.mean

    return sorted(rows, key=position)


def _notes(runs: Sequence[ComparedRun], rows: Sequence[Row]) -> list[str]:
    notes = [note for run in runs for note in run.notes]
    for row in rows:
        newest = max((cell.steps for cell in row.cells.values()), default=())
        for column, cell in row.cells.items():
            if cell.seeds < len(row.seeds):
                notes.append(f"{row.name}: {column} is of {cell.seeds} of {len(row.seeds)} seeds")
            if cell.steps != newest:
                steps = " and ".join(map(str, cell.steps))
                notes.append(f"{row.name}: {column} is of step {steps}, not of {' and '.join(map(str, newest))}")
    return notes
