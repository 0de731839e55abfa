"""A table of runs, and how it is written for a terminal, Markdown, LaTeX, CSV and JSON."""

import collections
import csv
import dataclasses
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from tabulate import LATEX_ESCAPE_RULES, tabulate

from jgr.files import json_values
from jgr.run import rows as result_rows

Format = Literal["md", "csv", "tex", "json", "text"]

_MISSING = "–"
# Stand-ins that no escaping touches, for what a format puts around a text.
_BEST, _END, _LINE, _STACK = "\ue000", "\ue001", "\ue002", "\ue003"
_TEX = {_BEST: r"\textbf{", _END: "}", _LINE: r" \\ ", _STACK: r"\shortstack{", "±": r"$\pm$", "–": "--"}
_MARKDOWN_ESCAPES = {"\\": "\\\\", "|": "\\|", "*": "\\*", "<": "&lt;", "\n": " "}


@dataclasses.dataclass(frozen=True, order=True)
class Column:
    """What makes values comparable."""

    metric: str
    dataset: str
    protocol: str
    n: int

    def __str__(self) -> str:
        return f"{self.metric} {self.dataset} {self.protocol} n={self.n}"


@dataclasses.dataclass(frozen=True)
class Cell:
    """The value of one row in one column.

    Args:
        mean: Over the runs (seeds) of the row.
        std: Their sample standard deviation (ddof 1); of a single run, that of its evaluation seeds, None for one seed.
        seeds: Runs with a value here.
        steps: Training steps that were evaluated.
        weights: "ema" or "raw", or both where the runs differ.
        low: Least value of the mean that 95 % of such samples allow, of records or of seeds; None of a single number.
        high: The largest.
        best: Whether it is better than every other of its column by more than luck; of a single value none is.
    """

    mean: float
    std: float | None
    seeds: int
    steps: tuple[int, ...]
    weights: tuple[str, ...]
    low: float | None = None
    high: float | None = None
    best: bool = False


@dataclasses.dataclass(frozen=True)
class Row:
    """Runs that differ only in their seed.

    Args:
        name: Their folders, as a shell would expand it: `digits-s{0,1,2}`.
        runs: Their ids.
        seeds: Their seeds.
        config: Value of each config key that differs between rows; a key the row lacks is absent.
        cells: Values by column.
    """

    name: str
    runs: tuple[str, ...]
    seeds: tuple[int, ...]
    config: Mapping[str, Any]
    cells: Mapping[Column, Cell]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A table of runs; `format` writes it.

    Args:
        rows: In the order of the paths, or best first where a metric ranks them.
        columns: The measurements, each comparable within itself only.
        config_keys: The dotted config keys that differ between rows, `seed` aside.
        notes: What a reader must know beside the numbers.
        leads: By column, how far its best row is ahead of the next, and whether by more than luck.
    """

    rows: tuple[Row, ...]
    columns: tuple[Column, ...]
    config_keys: tuple[str, ...]
    notes: tuple[str, ...]
    leads: Mapping[Column, str] = dataclasses.field(default_factory=dict)

    def format(self, form: Format = "text") -> str:
        """The table as text, without a line end after its last line.

        Args:
            form: "text" for a terminal, "md" (GitHub), "tex" (needs the package booktabs): four significant digits,
                the best of each column marked where it is no luck, leads and notes below. "csv" and "json": one record
                for each row and column, in full precision, with mean, std, interval and seeds apart; "json" holds
                leads and notes as well.

        Raises:
            ValueError: `form` is none of these.
        """
        if form == "csv":
            return _csv(self._records())
        if form == "json":
            document = {"records": self._records(), "leads": self._leads(), "notes": list(self.notes)}
            return json.dumps(json_values(document), indent=2, ensure_ascii=False)
        if form == "md":
            return self._markdown()
        if form == "tex":
            return self._latex()
        if form == "text":
            return self._text()
        raise ValueError(f"form={form!r} must be one of md, csv, tex, json, text")

    def texts(self) -> tuple[list[list[str]], list[list[str]], list[str]]:
        """The lines of each header, the text of each row below each header, and the leads; all without marks."""
        headers, body = self._table()
        marks = {_BEST: "", _END: ""}
        return (
            [header.split(_LINE) for header in headers],
            [[_replaced(text, marks) for text in line] for line in body],
            self._leads(),
        )

    def _text(self) -> str:
        headers, body = self._table()
        headers = [header.replace(_LINE, "\n") for header in headers]
        body = [[_replaced(text, {_BEST: "* ", _END: ""}) for text in line] for line in body]
        table = tabulate(body, headers, tablefmt="simple", disable_numparse=True, colalign=self._alignment(headers))
        best = ["* better than the others of its column by more than luck: 95 % intervals"] if self._has_best() else []
        return "\n".join([table, *best, *self._leads(), *self.notes])

    def _markdown(self) -> str:
        headers, body = self._table()
        marks = {_BEST: "**", _END: "**", _LINE: "<br>"}
        headers, *body = [
            [_replaced(_replaced(text, _MARKDOWN_ESCAPES), marks) for text in line] for line in [headers, *body]
        ]
        table = tabulate(body, headers, tablefmt="github", disable_numparse=True, colalign=self._alignment(headers))
        notes = [f"- {_replaced(note, _MARKDOWN_ESCAPES)}" for note in (*self._leads(), *self.notes)]
        return "\n".join([table, *([""] if notes else []), *notes])

    def _latex(self) -> str:
        headers, body = self._table()
        headers = [f"{_STACK}{header}{_END}" if _LINE in header else header for header in headers]
        table = tabulate(
            body, headers, tablefmt="latex_booktabs", disable_numparse=True, colalign=self._alignment(headers)
        )
        notes = [
            rf"\par{{\footnotesize {_replaced(note, LATEX_ESCAPE_RULES)}\par}}"
            for note in (*self._leads(), *self.notes)
        ]
        return _replaced("\n".join([table, *notes]), _TEX)

    def _table(self) -> tuple[list[str], list[list[str]]]:
        """Headers and lines of the table, with stand-ins for what a format puts around them."""
        described = self._described()
        headers = ["run", *self.config_keys, *described, *map(_heading, self.columns)]
        body = [
            [
                row.name,
                *(_text(row.config[key]) if key in row.config else _MISSING for key in self.config_keys),
                *(texts[position] for texts in described.values()),
                *(_format_cell(row.cells.get(column)) for column in self.columns),
            ]
            for position, row in enumerate(self.rows)
        ]
        return headers, body

    def _described(self) -> dict[str, list[str]]:
        """Columns of what else differs, a text a row: how many seeds or which, evaluated steps, weights."""
        described = {}
        if any(len(row.seeds) > 1 for row in self.rows):
            described["seeds"] = [str(len(row.seeds)) for row in self.rows]
        elif len({row.seeds for row in self.rows}) > 1:
            described["seed"] = [str(row.seeds[0]) for row in self.rows]
        cells = [list(row.cells.values()) for row in self.rows]
        steps = [{step for cell in line for step in cell.steps} for line in cells]
        weights = [{name for cell in line for name in cell.weights} for line in cells]
        if len(set().union(*steps)) > 1:
            described["step"] = [_joined(line) for line in steps]
        if len(set().union(*weights)) > 1:
            described["weights"] = [_joined(line) for line in weights]
        return described

    def _leads(self) -> list[str]:
        """What is known of the columns' best, a line a column."""
        alike = collections.Counter(column.metric for column in self.columns)
        return [
            f"{column.metric if alike[column.metric] == 1 else column}: {self.leads[column]}"
            for column in self.columns
            if column in self.leads
        ]

    def _has_best(self) -> bool:
        return any(cell.best for row in self.rows for cell in row.cells.values())

    def _alignment(self, headers: Sequence[str]) -> list[str]:
        described = len(headers) - len(self.columns)
        return ["left"] * described + ["right"] * len(self.columns)

    def _records(self) -> list[dict[str, Any]]:
        records = []
        for row in self.rows:
            described: dict[str, Any] = {"row": row.name, "runs": list(row.runs)}
            described |= {f"config.{key}": row.config.get(key) for key in self.config_keys}
            for column, cell in row.cells.items() or [(None, None)]:
                record = dict(described)
                for field in dataclasses.fields(Column):
                    record[field.name] = getattr(column, field.name, None)
                for field in dataclasses.fields(Cell):
                    value = getattr(cell, field.name, None)
                    record[field.name] = list(value) if isinstance(value, tuple) else value
                record["status"] = "missing" if cell is None else result_rows.status(cell.mean)
                records.append(record)
        return records


def _heading(column: Column) -> str:
    return _LINE.join([column.metric, column.dataset, column.protocol, f"n={column.n}"])


def _format_cell(cell: Cell | None) -> str:
    if cell is None:
        return _MISSING
    text = format_value(cell.mean, cell.std)
    return f"{_BEST}{text}{_END}" if cell.best else text


def format_value(mean: float, std: float | None = None) -> str:
    """Four significant digits of the mean, and as many decimals of its standard deviation.

    >>> format_value(123.456, 7.891)
    '123.5 ± 7.9'
    >>> format_value(1.23456e-7, 2e-9)
    '(1.235 ± 0.020)e-07'
    """
    if not math.isfinite(mean):
        return str(mean)
    mantissa, _, exponent = f"{mean:.3e}".partition("e")
    power = int(exponent)
    if mean and not -4 <= power < 6:
        if std is None:
            return f"{mantissa}e{exponent}"
        return f"({mantissa} ± {std / 10.0**power:.3f})e{exponent}"
    decimals = max(0, 3 - power)
    return f"{mean:.{decimals}f}" if std is None else f"{mean:.{decimals}f} ± {std:.{decimals}f}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)


def _joined(values: Iterable[Any]) -> str:
    return ", ".join(map(str, sorted(set(values)))) or _MISSING


def _replaced(text: str, replacements: Mapping[str, str]) -> str:
    return "".join(replacements.get(character, character) for character in text)


def _csv(records: Sequence[Mapping[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(records[0]), lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow(
            {key: " ".join(map(str, value)) if isinstance(value, list) else value for key, value in record.items()}
        )
    return out.getvalue().rstrip("\n")
