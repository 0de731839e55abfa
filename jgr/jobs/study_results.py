"""Results of a study: what is copied of its runs, and the tables that follow from it."""

import dataclasses
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jgr.config import config_hash, flatten, nested, resolve
from jgr.errors import ConfigError, RunError
from jgr.files import disk_errors, read_json, write_csv, write_json, write_text
from jgr.jobs.compare import ComparedRun, compared, scored
from jgr.jobs.costs import device_kind, read_costs, run_costs
from jgr.jobs.document import Heading, Paragraph, markdown
from jgr.jobs.experiment import Experiment
from jgr.jobs.layout import blocks, costs
from jgr.jobs.load import Run
from jgr.jobs.observe import MEASURED
from jgr.jobs.study import Study, folder_name
from jgr.jobs.study_pictures import copy_restored
from jgr.jobs.study_plan import Planned, override_texts, run_config
from jgr.jobs.table import COSTS, Comparison, Reference, columns_named, csv_text, format_value
from jgr.run import jsonl
from jgr.run.folder import RunFolder
from jgr.run.records import NAMES, find_values, short_names

RECORDS = "records"
"""The folder of what single records scored."""
_TIMES = "How long it took on which device: [times.md](times.md). That alone differs where a study is run again."


def gather(planned: Sequence[Planned], out: str | Path, pictures: bool = False) -> None:
    """Copies rows, values of single records, curves and manifests of runs that have results to a study's folder.

    What is there of runs that are gone from this machine, or are made again and not scored yet, stays as long as their
    configs are those of today.

    Args:
        planned: All runs of the study.
        out: The folder.
        pictures: Whether to copy the newest picture of each run, too.
    """
    out = Path(out)
    rows, manifest = _kept(out)
    today = {(one.arm.name, one.seed): one for one in planned}
    runs = {}
    for run, known in manifest["runs"].items():
        one = today.get((known["arm"], known["seed"]))
        if one is not None and not one.rows and _is_of_today(one, known):
            runs[run] = (known, [row for row in rows if row["run"] == run])
    for one in planned:
        if one.rows:
            folder = RunFolder.open(one.path)
            runs[folder.manifest()["run"]] = (_summary(one, folder), list(one.rows))
            _copy_records(folder, one.rows, out / RECORDS / one.path.name)
            _copy_curve(folder, out / "curves" / f"{one.path.name}.csv")
            copy_restored(folder, one.rows, out)
            if pictures:
                _copy_picture(folder, out / "samples" / f"{one.path.name}.png")
    if not runs and not rows:
        return
    place = {(one.arm.name, one.seed): number for number, one in enumerate(planned)}
    ranked = dict(sorted(runs.items(), key=lambda item: place[item[1][0]["arm"], item[1][0]["seed"]]))
    with disk_errors(out, "made"):
        out.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(row, sort_keys=True) + "\n" for _, of_run in ranked.values() for row in of_run]
    write_text(out / "rows.jsonl", "".join(lines))
    write_json(out / "manifest.json", {"runs": {run: known for run, (known, _) in ranked.items()}})


def _is_of_today(one: Planned, known: Mapping[str, Any]) -> bool:
    """Whether a run that the study knows has the config of today; keys that jgr has learned since are at defaults."""
    if known["config_hash"] == one.config_hash:
        return True
    values = known.get("config_values")
    if values is None:
        return False
    try:
        return config_hash(resolve(nested(values), Experiment)) == one.config_hash
    except ConfigError:
        return False  # it has keys, or names classes, that are gone


def _copy_records(folder: RunFolder, rows: Sequence[dict[str, Any]], out: Path) -> None:
    """Copies what single records scored in the newest of the steps, without what is of the machine alone."""
    newest = max(row["step"] for row in rows)
    files: dict[Path, dict[str, dict[str, float]]] = {}
    for row in rows:
        found = find_values(folder.records_path, row) if row["step"] == newest else None
        if found is not None:
            files.setdefault(found[0], {})[row["protocol"]] = found[1]
    for path, columns in files.items():
        with disk_errors(out, "made"):
            out.mkdir(parents=True, exist_ok=True)
        names = list(next(iter(columns.values())))
        # What a float32 holds, and no more.
        texts = {protocol: [f"{values[name]:.8g}" for name in names] for protocol, values in columns.items()}
        write_csv(out / path.name, {NAMES: short_names(names), **texts})


def _copy_curve(folder: RunFolder, path: Path) -> None:
    """Writes a run's learning curve: a row a logged step, a column a metric, without what is of the machine alone."""
    logged = folder.metrics()
    if not logged:
        return
    names = list(dict.fromkeys(name for row in logged for name in row if name not in MEASURED))
    with disk_errors(path.parent, "made"):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_csv(path, {name: [row.get(name, "") for row in logged] for name in names})


def _copy_picture(folder: RunFolder, path: Path) -> None:
    """Copies a run's newest picture, if it has one."""
    drawn = sorted(folder.samples_path.glob("step_*.png"))
    if drawn:
        with disk_errors(path.parent, "made"):
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(drawn[-1], path)


def has_rows(out: str | Path) -> bool:
    """Whether a study's folder has any result."""
    return bool(_kept(Path(out))[0])


def rebuild(study: Study, out: str | Path) -> str:
    """Writes a study's tables from its rows, and the manifest that says whose they are; returns the Markdown.

    Raises:
        RunError: There are no rows.
    """
    out = Path(out)
    rows, manifest = _kept(out)
    if not rows:
        raise RunError(f"{out}: no run of the study has results yet")
    arms = {arm.name for arm in study.arms}
    manifest = {"runs": {run: known for run, known in manifest["runs"].items() if known["arm"] in arms}}
    comparison = tabulated(study, rows, manifest, out / RECORDS)
    scores = _with_costs(comparison, times=False)
    table = markdown([Heading(study.title, level=1), *blocks(scores), Paragraph(_TIMES)]) + "\n"
    write_text(out / "table.md", table)
    for form in ("csv", "tex", "json"):
        write_text(out / f"table.{form}", scores.format(form) + "\n")
    times = _with_costs(comparison, times=True)
    write_text(out / "times.md", markdown([Heading(study.title, level=1), *costs(times)]) + "\n")
    write_text(out / "times.csv", csv_text([one for one in times.records() if one["kind"] == "time"]) + "\n")
    return table


def _with_costs(comparison: Comparison, times: bool) -> Comparison:
    """The table with those costs alone that are, or are not, of the machine."""
    return dataclasses.replace(
        comparison,
        rows=tuple(
            dataclasses.replace(
                row,
                costs={name: cost for name, cost in row.costs.items() if COSTS[name].is_time == times},
            )
            for row in comparison.rows
        ),
    )


def tabulated(
    study: Study, rows: Sequence[dict[str, Any]], manifest: Mapping[str, Any], records_folder: Path
) -> Comparison:
    """The table of a study: a row an arm, mean ± standard deviation over its seeds.

    Args:
        study: The study.
        rows: Its rows.
        manifest: What is known of the runs that made them.
        records_folder: Where each run has a folder of what single records scored.
    """
    arms = {arm.name: arm for arm in study.arms}
    places = {name: place for place, name in enumerate(arms)}
    runs = []
    for run, known in sorted(manifest["runs"].items(), key=lambda one: (places[one[1]["arm"]], one[1]["seed"])):
        select = "best" if study.step_of(arms[known["arm"]]) == "best" else "last"
        of_run = [row for row in rows if row["run"] == run and row["select"] == select]
        found = scored(of_run, records_folder / folder_name(known["arm"], known["seed"]))
        better = {row["metric"]: row["better"] for row in of_run}
        # The arm stands for the config: runs of one arm share a row.
        config, costs_of_run = {"arm": known["arm"]}, run_costs(known, of_run)
        device = device_kind(known)
        runs.append(
            ComparedRun(known["arm"], run, known["seed"], config, found, better, costs=costs_of_run, device=device)
        )
    comparison = compared(runs)
    references, unplaced = _references(study, comparison)
    seeds = max((len({row["eval_seed"] for row in rows if row["run"] == run}) for run in manifest["runs"]), default=1)
    notes = [*study.notes, *unplaced]
    if seeds > 1:
        notes.append(f"Each run was scored with {seeds} sampling seeds; their mean counts.")
    return dataclasses.replace(
        comparison,
        rows=tuple(dataclasses.replace(row, config={}) for row in comparison.rows),
        config_keys=(),
        notes=(*notes, *comparison.notes),
        references=references,
    )


def _references(study: Study, comparison: Comparison) -> tuple[tuple[Reference, ...], list[str]]:
    """The published numbers that belong beside a column, and sentences on those that belong beside none, or several."""
    rows = {row.name: row for row in comparison.rows}
    found, unplaced = [], []
    for one in study.published:
        columns = columns_named(comparison.columns, one.metric)
        row = rows.get(one.arm) if one.arm is not None else None
        if row is not None:
            columns = [column for column in columns if column in row.cells]
        if len(columns) == 1:
            beside = row.name if row is not None else None
            found.append(Reference(one.name, beside, columns[0], one.value, one.source, one.note))
        else:
            note = f"; {one.note}" if one.note else ""
            unplaced.append(
                f"Published, beside none of the columns: {one.name}, {one.metric} {format_value(one.value)} "
                f"({one.source}{note})."
            )
    return tuple(found), unplaced


def _summary(one: Planned, folder: RunFolder) -> dict[str, Any]:
    """What a study keeps of the manifest of a run: what it takes to make its row again, and what it took."""
    manifest, took = folder.manifest(), read_costs(folder, one.rows)
    return {
        "arm": one.arm.name,
        "seed": one.seed,
        "config": one.arm.config,
        "overrides": dict(override_texts(one.arm.overrides)),
        "config_hash": one.config_hash,
        "config_values": flatten(run_config(one.arm, one.seed)),
        "command": manifest["command"],
        "git": [{key: state[key] for key in ("commit", "dirty") if key in state} for state in manifest["git"][:1]],
        "data": manifest.get("data"),
        "versions": manifest["environment"]["versions"],
        **took,
        # Manifests of older runs do not tell.
        "networks": took["networks"] or Run(folder.path, trust=True).networks(),
    }


def _kept(out: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    if not (out / "rows.jsonl").exists():
        return [], {"runs": {}}
    return jsonl.read(out / "rows.jsonl"), read_json(out / "manifest.json")
