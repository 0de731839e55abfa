"""How a table of runs is laid out: what can be compared side by side, and the rest apart."""

import collections
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jgr.jobs.document import Block, Grid, Heading, Notes, Paragraph
from jgr.jobs.table import COSTS, Column, Comparison, Cost, Reference, Row, format_value

MISSING = "–"
"""What stands for a number that there is not."""
_MOST_KEYS = 4  # config keys that stand beside the scores; more get a table of their own
_FIELDS = {"dataset": "data set", "protocol": "protocol", "n": "number of images"}
_ARROWS = {"higher": " ↑", "lower": " ↓"}


@dataclasses.dataclass(frozen=True)
class Part:
    """Columns that may stand side by side: no two of one metric.

    Args:
        title: The data set, and how its images were degraded.
        apart: Why the columns stand apart from those before; nothing of the first.
        comparison: The columns and the rows that have values in them.
    """

    title: str
    apart: str
    comparison: Comparison


def blocks(comparison: Comparison) -> list[Block]:
    """The table as a document: scores, differing config keys where they are many, costs, notes."""
    found: list[Block] = []
    of_parts = parts(comparison)
    for part in of_parts:
        found += [Heading(part.title)] if len(of_parts) > 1 else []
        found += _scores(part)
    if notes := (*_conventions(comparison), *comparison.notes):
        if len(of_parts) > 1:
            found.append(Heading("Notes"))
        elif isinstance(last := found[-1], Notes):
            found, notes = found[:-1], (*last.lines, *notes)
        found.append(Notes(notes))
    if len(comparison.config_keys) > _MOST_KEYS:
        found += [Heading("Config keys that differ"), _keys(comparison)]
    return [*found, *costs(comparison)]


def _conventions(comparison: Comparison) -> list[str]:
    """What the marks of the tables mean, of those that they have."""
    cells = [cell for row in comparison.rows for cell in row.cells.values()]
    found = []
    if any(cell.best for cell in cells):
        found.append("Marked: better than all others of its column by more than luck, by 95 % intervals.")
    if any(cell.std is not None for cell in cells):
        single = any(cell.std is not None and cell.seeds == 1 for cell in cells)
        over = "evaluation seeds of one run" if all(cell.seeds == 1 for cell in cells) else "training seeds"
        several = ", of a single run over its evaluation seeds" if single and over == "training seeds" else ""
        found.append(f"± is the standard deviation over {over}{several}.")
    return found


def parts(comparison: Comparison) -> list[Part]:
    """The columns in groups that may stand side by side, by data set and degradation.

    A column of a metric that a group has already, of another protocol or number of images, starts another group.
    """
    groups: dict[tuple[str, int], list[Column]] = {}
    for column in comparison.columns:
        test = _test(column)
        fitting = [
            (all(other.n != column.n for other in group), number)
            for (of, number), group in groups.items()
            if of == test and all(other.metric != column.metric for other in group)
        ]
        number = min(fitting)[1] if fitting else sum(of == test for of, _ in groups)
        groups.setdefault((test, number), []).append(column)
    if len(groups) < 2:
        return [Part("", "", comparison)]
    found: list[Part] = []
    earlier: list[Column] = []
    for place, ((test, _), group) in enumerate(groups.items()):
        rows = tuple(
            row
            for row in comparison.rows
            if any(column in row.cells for column in group) or (place == 0 and not row.cells)
        )
        references = tuple(one for one in comparison.references if one.column in group)
        own = dataclasses.replace(comparison, columns=tuple(group), rows=rows, references=references)
        found.append(Part(test, _apart(group, earlier), own))
        earlier += group
    return found


def _test(column: Column) -> str:
    """The data set, and what its images went through."""
    words = (column.dataset.partition("@")[0], column.protocol.partition("/")[2])
    return " ".join(word for word in words if word)


def _apart(group: Sequence[Column], earlier: Sequence[Column]) -> str:
    """Why columns cannot be compared with those of the tables before."""
    pairs = [(column, other) for column in group for other in earlier if other.metric == column.metric]
    differing = [
        words for field, words in _FIELDS.items() if any(getattr(a, field) != getattr(b, field) for a, b in pairs)
    ]
    return f"Not comparable with the above: another {', another '.join(differing)}." if differing else ""


def _scores(part: Part) -> list[Block]:
    """The grid of a part, what its columns are above it, and what is known of their best below."""
    comparison = part.comparison
    names = short_names(comparison.columns)
    footnotes = {id(one): number for number, one in enumerate(comparison.references, start=1)}
    published = {column for column in comparison.columns if any(one.column == column for one in comparison.references)}
    keys = comparison.config_keys if len(comparison.config_keys) <= _MOST_KEYS else ()
    others = described(comparison.rows)
    headers = ["run", *keys, *others]
    numbers = 0
    for column in comparison.columns:
        headers.append(names[column] + _ARROWS.get(comparison.better.get(column.metric, ""), ""))
        headers += ["published †"] if column in published else []
        numbers += 1 + (column in published)
    lines, strong = [], set()
    for place, row in enumerate(comparison.rows):
        line = [row.name, *(_text(row.config[key]) if key in row.config else MISSING for key in keys)]
        line += [texts[place] for texts in others.values()]
        for column in comparison.columns:
            cell = row.cells.get(column)
            if cell is not None and cell.best:
                strong.add((place, len(line)))
            line.append(MISSING if cell is None else format_value(cell.mean, cell.std))
            if column in published:
                line.append(_cited(comparison.references, column, row.name, footnotes))
        lines.append(tuple(line))
    shown = {row.name for row in comparison.rows}
    for name in dict.fromkeys(one.name for one in comparison.references if one.row not in shown):
        own = [one for one in comparison.references if one.name == name and one.row not in shown]
        line = [name, *[MISSING] * (len(keys) + len(others))]
        for column in comparison.columns:
            line.append(MISSING)
            line += [_cited(own, column, None, footnotes)] if column in published else []
        lines.append(tuple(line))
    notes = [*leads(comparison, names), *map(_footnote, comparison.references, footnotes.values())]
    notes += ["† Published by others: never ranked with ours."] if published else []
    notes += _protocols(comparison.columns, names)
    found: list[Block] = [Paragraph(text) for text in (part.apart, _where(comparison.columns)) if text]
    found.append(Grid(tuple(headers), tuple(lines), numbers, frozenset(strong)))
    return [*found, Notes(tuple(notes))] if notes else found


def short_names(columns: Sequence[Column]) -> dict[Column, str]:
    """The columns' metrics, without the hash of an extractor where that leaves them apart.

    Args:
        columns: Of one table.
    """
    short = [column.metric.partition("@")[0] for column in columns]
    if len(set(short)) < len(short):
        short = [column.metric for column in columns]
    return dict(zip(columns, short, strict=True))


def _where(columns: Sequence[Column]) -> str:
    """The data set and the number of images, where they are those of all columns."""
    datasets, sizes = ({getattr(column, field) for column in columns} for field in ("dataset", "n"))
    found = [f"on {columns[0].dataset}"] if len(datasets) == 1 else []
    found += [f"n = {columns[0].n}"] if len(sizes) == 1 else []
    return f"{found[0][0].upper()}{', '.join(found)[1:]}." if found else ""


def _protocols(columns: Sequence[Column], names: Mapping[Column, str]) -> list[str]:
    """What the columns' names leave out: the protocol, and what is not alike in all columns."""
    alike = {field: len({getattr(column, field) for column in columns}) == 1 for field in ("dataset", "n")}
    found = []
    for column in columns:
        named = column.protocol.startswith(names[column])
        words = [column.protocol if named else f"{names[column]}: {column.protocol}"]
        words += [] if alike["dataset"] else [f"on {column.dataset}"]
        words += [] if alike["n"] else [f"n = {column.n}"]
        found.append(" ".join(words))
    return [f"Protocols: {'; '.join(found)}."] if found and found != list(names.values()) else []


def _cited(references: Iterable[Reference], column: Column, row: str | None, footnotes: Mapping[int, int]) -> str:
    """The published numbers of a cell, each with the number of its source."""
    found = [one for one in references if one.column == column and (row is None or one.row == row)]
    return ", ".join(f"{format_value(one.value)} [{footnotes[id(one)]}]" for one in found) or MISSING


def _footnote(reference: Reference, number: int) -> str:
    note = f"; {reference.note}" if reference.note else ""
    return f"[{number}] {reference.name}: {reference.source}{note}"


def leads(comparison: Comparison, names: Mapping[Column, str] | None = None) -> list[str]:
    """What is known of the columns' best, a line a column.

    Args:
        comparison: The table.
        names: What its columns are called; metrics, or more where that is not enough, when None.
    """
    alike = collections.Counter(column.metric for column in comparison.columns)
    if names is None:
        names = {c: c.metric if alike[c.metric] == 1 else str(c) for c in comparison.columns}
    return [
        f"{names[column]}: {comparison.leads[column]}" for column in comparison.columns if column in comparison.leads
    ]


def described(rows: Sequence[Row]) -> dict[str, list[str]]:
    """Columns of what else differs, a text a row: how many seeds or which, and weights.

    Args:
        rows: Of the table.
    """
    described = {}
    if any(len(row.seeds) > 1 for row in rows):
        described["seeds"] = [str(len(row.seeds)) for row in rows]
    elif len({row.seeds for row in rows}) > 1:
        described["seed"] = [str(row.seeds[0]) for row in rows]
    weights = [{name for cell in row.cells.values() for name in cell.weights} for row in rows]
    if len(set().union(*weights)) > 1:
        described["weights"] = [", ".join(sorted(line)) or MISSING for line in weights]
    return described


def _keys(comparison: Comparison) -> Grid:
    """The config keys that differ, a line a key, a column a row of the table."""
    lines = tuple(
        (key, *(_text(row.config[key]) if key in row.config else MISSING for row in comparison.rows))
        for key in comparison.config_keys
    )
    return Grid(("key", *(row.name for row in comparison.rows)), lines)


def costs(comparison: Comparison) -> list[Block]:
    """What the rows took, as far as it is known."""
    rows = comparison.rows
    known = [name for name in COSTS if any(name in row.costs for row in rows)]
    if all(row.costs.get("parameters") == row.costs.get("trained_parameters") for row in rows):
        known = [name for name in known if name != "trained_parameters"]
    timed = any(COSTS[name].is_time for name in known)
    if not known:
        return []
    headers = ("run", *(["device"] if timed else []), *(COSTS[name].header for name in known))
    lines = tuple(
        (
            row.name,
            *([", ".join(row.devices) or MISSING] if timed else []),
            *(_cost(name, row) for name in known),
        )
        for row in rows
    )
    notes = []
    if "trained_parameters" in known:
        notes.append("Parameters are of the networks that are evaluated; trained are others besides.")
    if any(name.startswith("gflop") for name in known):
        notes.append("GFLOP: 10^9 operations of matrix products and convolutions, a multiply-add being two.")
    if timed:
        notes.append("Times are of the machine, and of what else it did.")
    return [Heading("Costs"), Grid(headers, lines, len(known)), *([Notes(tuple(notes))] if notes else [])]


def _cost(name: str, row: Row) -> str:
    cost = row.costs.get(name)
    return MISSING if cost is None else cost_text(name, cost)


def cost_text(name: str, cost: Cost) -> str:
    """A cost as a table has it: a training's time in minutes, counts in whole numbers.

    Args:
        name: Of `jgr.jobs.table.COSTS`.
        cost: The cost.
    """
    if name == "train_s":
        return format_value(cost.mean / 60, cost.std and cost.std / 60)
    if cost.std is None and cost.mean == int(cost.mean):
        return f"{int(cost.mean):,}"
    return format_value(cost.mean, cost.std)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)
