"""The report of a study, from what the study keeps: it needs no run's folder."""

import csv
import functools
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jgr.config import config_hash, flatten, load_config_file, resolve
from jgr.errors import JgrError
from jgr.files import disk_errors, read_json, write_text
from jgr.jobs.experiment import Experiment
from jgr.jobs.report.document import Arm, Measurement, Report, ReportedRun, document
from jgr.jobs.report.facts import facts
from jgr.jobs.report.page import page
from jgr.jobs.report.pictures import thumbnail
from jgr.jobs.report.restored import Test, named_records, newest
from jgr.jobs.study import Study, folder_name
from jgr.jobs.study_pictures import read_restored
from jgr.jobs.study_results import RECORDS, tabulated
from jgr.jobs.table import format_value
from jgr.run import jsonl
from jgr.run.rows import value

Rows = Sequence[tuple[int, dict[str, Any]]]
"""Rows of a study with the numbers of their lines, from 1."""


def write_study_report(study: Study, out: str | Path) -> Path:
    """Writes `report.html` beside a study's tables; returns its path.

    Args:
        study: The study.
        out: The folder of its results, which has rows.

    Raises:
        RunError: A file cannot be read or written.
    """
    return write_text(Path(out) / "report.html", page(document(report_of_study(study, Path(out)))))


def report_of_study(study: Study, out: Path) -> Report:
    """What is known of a study.

    Raises:
        RunError: A file cannot be read.
    """
    rows, manifest = jsonl.read(out / "rows.jsonl"), read_json(out / "manifest.json")
    arms = {arm.name for arm in study.arms}
    runs = {run: known for run, known in manifest["runs"].items() if known["arm"] in arms}
    comparison = tabulated(study, rows, {"runs": runs}, out / RECORDS)
    numbered = list(enumerate(rows, start=1))
    return Report(
        title=study.title,
        comparison=comparison,
        arms=[
            _arm(row.name, [(runs[run], [pair for pair in numbered if pair[1]["run"] == run]) for run in row.runs], out)
            for row in comparison.rows
        ],
        published=study.published,
    )


def _arm(name: str, runs: Sequence[tuple[Mapping[str, Any], Rows]], out: Path) -> Arm:
    config, whole = _config(runs[0][0])
    return Arm(name, config, whole, [_run(known, rows, out) for known, rows in runs])


def _run(known: Mapping[str, Any], numbered: Rows, out: Path) -> ReportedRun:
    name = folder_name(known["arm"], known["seed"])
    rows = newest([row for _, row in numbered])
    picture = out / "samples" / f"{name}.png"
    return ReportedRun(
        name=name,
        facts=facts(known),
        measurements=[_measurement(row, out / "rows.jsonl", number) for number, row in numbered],
        logged=_logged(out / "curves" / f"{name}.csv"),
        grid=thumbnail(picture) if picture.is_file() else None,
        restored=read_restored(out, name, dict.fromkeys(map(Test.of, rows))),
        records=named_records(out / RECORDS / name, rows),
    )


def _measurement(row: Mapping[str, Any], path: Path, number: int) -> Measurement:
    what = f"{row['protocol']} on {row['dataset']}, n={row['n']}, step {row['step']}"
    if row["eval_seed"]:
        what += f", evaluation seed {row['eval_seed']}"
    return Measurement(what, format_value(value(dict(row))), f"jgr reproduce {shlex.quote(str(path))}#{number}")


def _config(known: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """A run's flat config without its seed, and whether it is all of it."""
    config = known.get("config_values")
    whole = config is not None
    if config is None:
        found = _resolved(known["config"], tuple(known["overrides"].items()), known["config_hash"])
        config, whole = (known["overrides"], False) if found is None else (found, True)
    return {key: item for key, item in config.items() if key != "seed"} | {"config": known["config"]}, whole


@functools.cache
def _resolved(path: str, overrides: tuple[tuple[str, str], ...], digest: str) -> dict[str, Any] | None:
    """What the config file of today gives; None where that is another config than the run had."""
    try:
        config = resolve(load_config_file(path), Experiment, overrides)
    except JgrError:
        return None
    return flatten(config) if config_hash(config) == digest else None


def _logged(path: Path) -> list[dict[str, float]]:
    """A learning curve as it was logged."""
    if not path.is_file():
        return []
    with disk_errors(path, "read"), path.open(newline="") as file:
        return [{name: float(text) for name, text in line.items() if text} for line in csv.DictReader(file)]
