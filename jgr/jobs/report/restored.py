"""Restored images that evaluations kept, as a report shows them: parts of some records, by the test they are of."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jgr.jobs.report.pictures import middles, read, webp
from jgr.run.folder import RunFolder
from jgr.run.records import find_values, short_names


@dataclasses.dataclass(frozen=True, order=True)
class Test:
    """What makes restored images comparable, one by one.

    Args:
        dataset: As result rows have it.
        manner: How its images were degraded, and restored where that was not the usual way.
    """

    dataset: str
    manner: str

    __test__ = False  # pytest would take it for one of its own

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "Test":
        """What a result row is of."""
        return cls(row["dataset"], row["protocol"].partition("/")[2])


@dataclasses.dataclass(frozen=True)
class Restored:
    """Parts of one record's images, as WebP without loss.

    Args:
        degraded: What was restored; it may have fewer pixels.
        restored: What became of it.
        truth: What it should be.
    """

    degraded: bytes
    restored: bytes
    truth: bytes


@dataclasses.dataclass(frozen=True)
class Named:
    """What a record is called and scored.

    Args:
        name: Such as its file's.
        values: By metric.
    """

    name: str
    values: Mapping[str, float]


def newest(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows of the newest step of every test."""
    steps: dict[Test, int] = {}
    for row in rows:
        steps[Test.of(row)] = max(row["step"], steps.get(Test.of(row), 0))
    return [dict(row) for row in rows if row["step"] == steps[Test.of(row)]]


def restored_of(folder: RunFolder, rows: Sequence[Mapping[str, Any]]) -> dict[Test, list[Restored]]:
    """The images a run has kept of each test, in the records' order.

    Args:
        folder: The run.
        rows: Its results.
    """
    kept: dict[Test, list[Restored]] = {}
    for row in newest(rows):
        if Test.of(row) in kept or (found := find_values(folder.records_path, row)) is None:
            continue
        images = _parts(folder.samples_path / "restored" / found[0].stem)
        if images:
            kept[Test.of(row)] = images
    return kept


def named_records(records: Path, rows: Iterable[Mapping[str, Any]]) -> dict[Test, list[Named]]:
    """Of each test the records' names and values.

    Args:
        records: The folder of what single records scored.
        rows: Results of one run, of the newest steps; of several seeds the first counts.
    """
    columns: dict[Test, dict[str, Mapping[str, float]]] = {}
    for row in rows:
        metrics = columns.setdefault(Test.of(row), {})
        if row["metric"] not in metrics and (found := find_values(records, dict(row))) is not None:
            metrics[row["metric"]] = found[1]
    named = {}
    for test, metrics in columns.items():
        first = next(iter(metrics.values()), {})
        values = [{metric: column[key] for metric, column in metrics.items() if key in column} for key in first]
        named[test] = [Named(*pair) for pair in zip(short_names(first), values, strict=True)] if first else []
    return named


def _parts(folder: Path) -> list[Restored]:
    images: list[Restored] = []
    while (folder / f"{len(images)}-restored.png").is_file():
        whole = [read(folder / f"{len(images)}-{what}.png") for what in ("degraded", "restored", "truth")]
        images.append(Restored(*map(webp, middles(whole))))
    return images
