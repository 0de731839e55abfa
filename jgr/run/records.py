"""What single records scored: the CSV files beside results, and which of them a result is the mean of."""

import csv
import math
import re
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jgr.run.rows import value

NAMES = "record"
"""The column of the records' names; the others are named by protocol."""


def file_name(*, step: int, weights: str, eval_seed: int, manner: Iterable[str] = ()) -> str:
    """The name of the file of one scoring.

    Args:
        step: Training steps behind the weights.
        weights: "ema" or "raw".
        eval_seed: The evaluation's seed.
        manner: Words that tell it from others, such as the data set's.
    """
    words = "-".join([f"step_{step:08d}", weights, f"seed{eval_seed}", *manner])
    return re.sub(r"[^\w.@+-]", "_", words) + ".csv"


def find_values(folder: Path, row: dict[str, Any]) -> tuple[Path, dict[str, float]] | None:
    """The values that a result is the mean of, by record, and the file they stand in.

    Args:
        folder: Of the files.
        row: Of `jgr.run.rows.result_row`.

    Returns:
        None where there are none, as for numbers of sets of images, or where they are those of another scoring.
    """
    name = file_name(step=row["step"], weights=row["weights"], eval_seed=row["eval_seed"])
    for path in sorted([folder / name, *folder.glob(f"{name.removesuffix('.csv')}-*.csv")]):
        if not path.exists():
            continue
        values = read_columns(path, [row["protocol"]]).get(row["protocol"], {})
        whole = len(values) == row["n"] and all(map(math.isfinite, values.values()))
        if whole and math.isclose(statistics.fmean(values.values()), value(row), rel_tol=1e-5, abs_tol=1e-9):
            return path, values
    return None


def read_columns(path: Path, protocols: Iterable[str]) -> dict[str, dict[str, float]]:
    """Of some protocols that a file has, the value of each record."""
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        found = [protocol for protocol in protocols if protocol in (reader.fieldnames or ())]
        lines = list(reader)
    return {
        protocol: {line[NAMES]: float(line[protocol]) for line in lines if line[protocol] != ""} for protocol in found
    }


def short_names(names: Iterable[str]) -> list[str]:
    """Names of records without the words and folders that all of them begin with, and the words they end with.

    >>> short_names(["/data/set5/baby.png", "/data/set5/bird.png"])
    ['baby.png', 'bird.png']
    >>> short_names(["record 8 of mnist-test", "record 9 of mnist-test"])
    ['8', '9']
    """
    begun = [re.split(r"(?<=[ /\\])", name) for name in names]
    first = _num_shared(begun)
    ended = [re.split(r"(?= )", "".join(parts[first:]))[::-1] for parts in begun]
    last = _num_shared(ended)
    return ["".join(parts[last:][::-1]) for parts in ended]


def _num_shared(names: list[list[str]]) -> int:
    """How many of their first parts all have, without the last part of any."""
    count = 0
    while len({tuple(parts[: count + 1]) for parts in names}) == 1 and all(len(parts) > count + 1 for parts in names):
        count += 1
    return count
