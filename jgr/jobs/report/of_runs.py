"""The report of runs that belong to no study, from their folders."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from jgr.config import flatten
from jgr.files import write_text
from jgr.jobs.compare import compare
from jgr.jobs.observe import MEASURED
from jgr.jobs.report.document import Arm, Measurement, Report, ReportedRun, document
from jgr.jobs.report.facts import facts
from jgr.jobs.report.page import page
from jgr.jobs.report.pictures import thumbnail
from jgr.jobs.report.restored import named_records, newest, restored_of
from jgr.run.folder import RunFolder


def report(
    paths: Sequence[str | Path],
    out: str | Path,
    *,
    title: str | None = None,
    rank: str | None = None,
    select: Literal["last", "best"] = "last",
) -> Path:
    """Writes one HTML file that shows runs side by side: numbers, curves, pictures, configs, environment.

    Args:
        paths: The runs' folders.
        out: The file.
        title: Its first line; how many runs there are when None.
        rank: Sorts the rows by this metric, as in `jgr.compare`.
        select: "last" for the newest step, "best" for the checkpoint chosen on a validation split.

    Returns:
        The file's path.

    Raises:
        RunError: A folder is no run, the rows cannot be ranked as asked, or the disk refuses.
        ValueError: No path, or `select` is none of its values.
    """
    return write_text(Path(out), page(document(report_of_runs(paths, title=title, rank=rank, select=select))))


def report_of_runs(
    paths: Sequence[str | Path],
    *,
    title: str | None = None,
    rank: str | None = None,
    select: Literal["last", "best"] = "last",
) -> Report:
    """What is known of runs; see `report`."""
    comparison = compare(paths, rank=rank, select=select)
    folders = {folder.manifest().get("run", folder.path.name): folder for folder in map(RunFolder.open, paths)}
    arms: list[Arm] = []
    for row in comparison.rows:
        runs = []
        for run in row.runs:
            rows = [one for one in folders[run].results() if one["select"] == select]
            runs.append(_run(folders[run], rows))
        config = flatten(folders[row.runs[0]].config())
        arms.append(Arm(row.name, {key: item for key, item in config.items() if key != "seed"}, True, runs))
    return Report(
        title=title or f"{len(folders)} {'run' if len(folders) == 1 else 'runs'}",
        comparison=comparison,
        arms=arms,
    )


def _run(folder: RunFolder, rows: Sequence[Mapping[str, Any]]) -> ReportedRun:
    drawn = sorted(folder.samples_path.glob("step_*.png"))
    return ReportedRun(
        name=folder.path.resolve().name,
        facts=facts(folder.manifest()),
        measurements=[Measurement("", "", f"jgr reproduce {shlex.quote(str(folder.path))}")],
        logged=[{name: item for name, item in row.items() if name not in MEASURED} for row in folder.metrics()],
        grid=thumbnail(drawn[-1]) if drawn else None,
        restored=restored_of(folder, rows),
        records=named_records(folder.records_path, newest(rows)),
    )
