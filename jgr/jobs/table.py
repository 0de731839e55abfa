"""A table of runs: what differs between them, what they scored and what they took."""

import csv
import dataclasses
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from jgr.files import json_values
from jgr.metrics.metric import Better
from jgr.run import rows as result_rows

Format = Literal["md", "csv", "tex", "json", "text"]
Kind = Literal["score", "published", "cost", "time"]


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
class Cost:
    """What the runs of a row took, in one respect; see `COSTS`.

    Args:
        mean: Over the runs for which it is known.
        std: Their sample standard deviation; None of a single run, or where all took the same.
        seeds: Runs for which it is known.
    """

    mean: float
    std: float | None
    seeds: int


@dataclasses.dataclass(frozen=True)
class CostKind:
    """One way to count what a run took.

    Args:
        header: What a table calls it.
        is_time: Whether it is of the machine: it differs between equal runs.
    """

    header: str
    is_time: bool = False


COSTS = {
    "parameters": CostKind("parameters"),
    "trained_parameters": CostKind("trained parameters"),
    "gflop_per_image": CostKind("GFLOP an image"),
    "gflop_per_step": CostKind("GFLOP a training step"),
    "steps": CostKind("steps"),
    "images_seen": CostKind("images seen"),
    "train_s": CostKind("training, min", is_time=True),
    "ms_per_image": CostKind("ms an image", is_time=True),
}
"""In the order of the tables. `parameters` are of the networks that are evaluated, `trained_parameters` of those that
only train as well, such as a discriminator. `gflop_per_image` and `ms_per_image` are of the restoration of an image,
the median of a test set; operations are of matrix products and convolutions."""


@dataclasses.dataclass(frozen=True)
class Row:
    """Runs that differ only in their seed.

    Args:
        name: Their folders, as a shell would expand it: `digits-s{0,1,2}`.
        runs: Their ids.
        seeds: Their seeds.
        config: Value of each config key that differs between rows; a key the row lacks is absent.
        cells: Values by column.
        costs: What they took, by the names of `COSTS`; what is not known is absent.
        devices: Kinds of the devices that trained them.
    """

    name: str
    runs: tuple[str, ...]
    seeds: tuple[int, ...]
    config: Mapping[str, Any]
    cells: Mapping[Column, Cell]
    costs: Mapping[str, Cost] = dataclasses.field(default_factory=dict)
    devices: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Reference:
    """A number from elsewhere, which is never ranked.

    Args:
        name: What was measured.
        row: The row that it stands beside; a row of its own where None.
        column: The column that it stands beside.
        value: The number.
        source: Where it was published.
        note: In what its protocol differs from ours.
    """

    name: str
    row: str | None
    column: Column
    value: float
    source: str
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A table of runs; `format` writes it.

    Args:
        rows: In the order of the paths, or best first where a metric ranks them.
        columns: The measurements, each comparable within itself only.
        config_keys: The dotted config keys that differ between rows, `seed` aside.
        notes: What a reader must know beside the numbers.
        leads: By column, how far its best row is ahead of the next, and whether by more than luck.
        better: Which values of a metric are better, by its name, where that is known.
        references: Numbers from elsewhere.
    """

    rows: tuple[Row, ...]
    columns: tuple[Column, ...]
    config_keys: tuple[str, ...]
    notes: tuple[str, ...]
    leads: Mapping[Column, str] = dataclasses.field(default_factory=dict)
    better: Mapping[str, Better] = dataclasses.field(default_factory=dict)
    references: tuple[Reference, ...] = ()

    def format(self, form: Format = "text", *, width: int | None = None, styled: bool = False) -> str:
        """The table as text, without a line end after its last line.

        Args:
            form: "text" for a terminal, "md" (GitHub), "tex" (needs the package booktabs): four significant digits,
                the best of each column marked where it is no luck, leads and notes below; columns of one metric that
                cannot be compared stand in tables of their own. "csv" and "json": one record for each row and column,
                published number and cost, in full precision, with mean, std, interval and seeds apart; "json" holds
                leads and notes as well.
            width: Characters of a line of "text"; as many as it takes when None.
            styled: Whether "text" may have a terminal's codes.

        Raises:
            ValueError: `form` is none of these.
        """
        from jgr.jobs import document, layout  # below this module

        if form == "csv":
            return csv_text(self.records())
        if form == "json":
            document_ = {
                "records": self.records(),
                "leads": layout.leads(self),
                "notes": list(self.notes),
                "not_ranked": incomparable(self.columns),
            }
            return json.dumps(json_values(document_), indent=2, ensure_ascii=False)
        if form == "md":
            return document.markdown(layout.blocks(self))
        if form == "tex":
            return document.latex(layout.blocks(self))
        if form == "text":
            return document.plain(layout.blocks(self), width, styled)
        raise ValueError(f"form={form!r} must be one of md, csv, tex, json, text")

    def records(self) -> list[dict[str, Any]]:
        """One record for each number: a row's score in a column, a published number, a cost, a time."""
        records = []
        for row in self.rows:
            for column, cell in row.cells.items():
                records.append(self._record(row, "score", column, cell))
            if not row.cells:
                records.append(self._record(row, "score", None, None))
        for one in self.references:
            record = dict.fromkeys(records[0] if records else ()) | dataclasses.asdict(one.column)
            record |= {"row": one.row or one.name, "runs": [], "kind": "published", "mean": one.value, "status": "ok"}
            records.append(record | {"source": f"{one.name}: {one.source}", "note": one.note})
        for row in self.rows:
            for name, cost in row.costs.items():
                column = Column(name, "", "", 0)
                kind: Kind = "time" if COSTS[name].is_time else "cost"
                record = self._record(row, kind, column, cost) | {"dataset": None, "protocol": None, "n": None}
                records.append(record | ({"device": " ".join(row.devices)} if kind == "time" else {}))
        return records

    def _record(self, row: Row, kind: Kind, column: Column | None, value: Cell | Cost | None) -> dict[str, Any]:
        record: dict[str, Any] = {"row": row.name, "runs": list(row.runs)}
        record |= {f"config.{key}": row.config.get(key) for key in self.config_keys}
        record["kind"] = kind
        for field in dataclasses.fields(Column):
            record[field.name] = getattr(column, field.name, None)
        for field in dataclasses.fields(Cell):
            found = getattr(value, field.name, None)
            record[field.name] = list(found) if isinstance(found, tuple) else found
        record["status"] = "missing" if value is None else result_rows.status(value.mean)
        return record | {"device": None, "source": None, "note": None}


def columns_named(columns: Sequence[Column], words: str) -> list[Column]:
    """The columns of a metric, such as "psnr", or of those the ones with the data set, protocol or size named after it.

    >>> columns_named([Column("psnr", "set5", "u8", 5), Column("psnr", "bsd68", "u8", 68)], "psnr set5 n=5")
    [Column(metric='psnr', dataset='set5', protocol='u8', n=5)]
    """
    metric, *rest = words.split() or [""]
    return [
        column
        for column in columns
        if column.metric == metric and all(word in (column.dataset, column.protocol, f"n={column.n}") for word in rest)
    ]


def incomparable(columns: Sequence[Column], prefix: str = "not ranked: ") -> list[str]:
    """For each metric of several columns, in what they differ."""
    notes = []
    for metric in dict.fromkeys(column.metric for column in columns):
        same = [column for column in columns if column.metric == metric]
        for field in ("protocol", "dataset", "n"):
            values = sorted({getattr(column, field) for column in same})
            if len(values) > 1:
                name = "sizes n" if field == "n" else f"{field}s"
                notes.append(f"{prefix}{metric} has {len(values)} {name}: {', '.join(map(str, values))}")
    return notes


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


def csv_text(records: Sequence[Mapping[str, Any]]) -> str:
    """Records of one kind of keys as CSV with a header, without a line end after its last line."""
    if not records:
        return ""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(records[0]), lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow(
            {key: " ".join(map(str, value)) if isinstance(value, list) else value for key, value in record.items()}
        )
    return out.getvalue().rstrip("\n")
