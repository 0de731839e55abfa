"""Studies: which runs, evaluated how, beside which published numbers; and the table that comes of them."""

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from jgr.config import call_file, config_hash, differences, flatten, load_config_file, resolve, to_plain
from jgr.errors import ConfigError, JgrError, RunError
from jgr.files import disk_errors, read_json, write_csv, write_json, write_text
from jgr.jobs.compare import ComparedRun, compared, scored
from jgr.jobs.evaluate import EvaluationJob, by_step, evaluate
from jgr.jobs.experiment import Evaluation, Experiment, open_evaluation
from jgr.jobs.load import Run
from jgr.jobs.observe import MEASURED
from jgr.jobs.session import RESUMABLE, stored_config
from jgr.jobs.table import Column, Comparison, format_value
from jgr.run import jsonl
from jgr.run.folder import RunFolder
from jgr.run.lock import is_alive

_STEPS = ("latest", "best", "all")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arm:
    """One row of a study's table: a config, run with several seeds.

    Args:
        name: What the table calls it; also the runs' folders, with "-s<seed>" behind.
        config: The config file, from the repository's root, perhaps with ":ARG".
        overrides: Other values for some of its keys, by dotted name.
        seeds: The trainings' seeds.
        step: Which checkpoints are scored: "latest", "best" or "all"; the study's where None.
    """

    name: str
    config: str
    overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    seeds: tuple[int, ...] = (0,)
    step: str | None = None

    def __post_init__(self) -> None:
        if self.step not in (None, *_STEPS):
            raise ConfigError(f"arm {self.name}: step = {self.step!r} must be {', '.join(_STEPS)} or None")
        if not self.name or not all(c.isalnum() or c in "-_." for c in self.name) or self.name.startswith("."):
            raise ConfigError(f"arm {self.name!r}: its name is a folder's: letters, digits, - _ and . only")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ConfigError(f"arm {self.name}: seeds = {self.seeds} must name at least one seed, each once")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Published:
    """A number from elsewhere that stands beside ours, and is never ranked with them.

    Args:
        name: What was measured: the model's name.
        metric: The metric, as the study's rows call it.
        value: The number.
        source: Paper and table, or repository.
        note: In what its protocol differs from ours; nothing if it does not.
    """

    name: str
    metric: str
    value: float
    source: str
    note: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study:
    """What is compared.

    Args:
        title: One line that says what the study is of.
        arms: The rows.
        evaluation: Other values for keys of the configs' `evaluation`, by dotted name, alike for all arms.
        step: Which checkpoints are scored: "latest", "best" or "all".
        published: Numbers from elsewhere.
        notes: Sentences below the table.
        pictures: Whether the newest picture of every run is kept beside the table, in `samples`.
    """

    title: str
    arms: tuple[Arm, ...]
    evaluation: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    step: str = "latest"
    published: tuple[Published, ...] = ()
    notes: tuple[str, ...] = ()
    pictures: bool = False

    def __post_init__(self) -> None:
        names = [arm.name for arm in self.arms]
        if not names or len(set(names)) < len(names):
            raise ConfigError(f"a study needs arms of different names, not {names}")
        if self.step not in _STEPS:
            raise ConfigError(f"step = {self.step!r} must be one of {', '.join(_STEPS)}")

    def step_of(self, arm: Arm) -> str:
        """Which checkpoints of an arm's runs are scored."""
        return arm.step or self.step


@dataclasses.dataclass(frozen=True)
class Planned:
    """One run of a study.

    Args:
        arm: What it is a run of.
        seed: Of its training.
        path: Its folder.
        state: "missing", "interrupted" (its training is not at its end), "running" (by another process), "trained"
            (it lacks results), "done", "refused" (the config cannot work) or "of another config".
        problem: What is wrong in the last two states.
        config_hash: Of its config.
        rows: Its results, of what the study asks for.
    """

    arm: Arm
    seed: int
    path: Path
    state: str
    problem: str = ""
    config_hash: str = ""
    rows: tuple[dict[str, Any], ...] = ()


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What running a study came to.

    Args:
        table: The table, as Markdown.
        failures: Why runs failed, by folder.
        out: Where the results are.
    """

    table: str
    failures: Mapping[str, str]
    out: Path


def load_study(file: str | Path) -> Study:
    """What `get_study()` of a Python file returns.

    Raises:
        ConfigError: The file is missing, fails, or has no `get_study`.
    """
    study = call_file(str(file), "get_study()", (), str(file), "a study")
    if not isinstance(study, Study):
        raise ConfigError(f"{file}: get_study() must return a jgr.jobs.study.Study, not {study!r}")
    return study


def plan(study: Study, runs: str | Path, only: Iterable[str] = ()) -> list[Planned]:
    """The runs of a study, in order, and how far each is.

    Args:
        study: The study.
        runs: The folder of its runs.
        only: Names of arms; all when empty.

    Raises:
        ConfigError: No arm is called so.
        RunError: A run's folder cannot be read.
    """
    wanted = list(only)
    known = [arm.name for arm in study.arms]
    if unknown := [name for name in wanted if name not in known]:
        raise ConfigError(f"no arm is called {unknown[0]!r}; there are {', '.join(known)}")
    planned = []
    for arm in study.arms:
        for seed in arm.seeds if not wanted or arm.name in wanted else ():
            planned.append(_planned(study, arm, seed, Path(runs) / f"{arm.name}-s{seed}"))
    return planned


def run_study(
    study: Study,
    runs: str | Path,
    out: str | Path,
    *,
    command: Sequence[str] = (),
    only: Iterable[str] = (),
    evaluate_again: bool = False,
    say: Callable[[str], None] = print,
    quiet: bool = False,
) -> Outcome:
    """Trains and evaluates what is missing, one run after another, and writes the results.

    What is there already is left as it is, an interrupted training goes on. A run that fails is reported, and does not
    stop the others.

    Args:
        study: The study.
        runs: The folder of its runs.
        out: The folder of its results: `rows.jsonl`, `manifest.json`, `table.md`, `table.csv` and `table.tex`.
        command: The command line, for the manifests.
        only: Names of arms; all when empty.
        evaluate_again: Whether runs that have results are scored again, as after a change of the evaluation.
        say: Takes lines about the progress.
        quiet: Whether trainings and evaluations show nothing.

    Raises:
        ConfigError: As `plan`.
    """
    planned = plan(study, runs, only)
    failures: dict[str, str] = {}
    try:
        for number, one in enumerate(planned, start=1):
            say(f"[{number}/{len(planned)}] {one.path}: {one.state}")
            if one.state == "done" and not evaluate_again:
                continue
            try:
                if not _make(study, one, command, quiet):
                    say(f"{one.path} was stopped: the same command goes on")
                    break
            except JgrError as error:
                failures[str(one.path)] = str(error)
                say(f"{one.path} failed: {error}")
    finally:
        gather(plan(study, runs), out, study.pictures)
    return Outcome(rebuild(study, out) if has_rows(out) else "", failures, Path(out))


def gather(planned: Sequence[Planned], out: str | Path, pictures: bool = False) -> None:
    """Copies rows, curves and manifests of the runs that have results to a study's folder.

    What is there of runs that are gone from this machine stays, as long as their configs are those of today.

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
        if one is not None and one.state == "missing" and one.config_hash == known["config_hash"]:
            runs[run] = (known, [row for row in rows if row["run"] == run])
    for one in planned:
        if one.rows:
            folder = RunFolder.open(one.path)
            runs[folder.manifest()["run"]] = (_summary(one, folder), list(one.rows))
            _copy_curve(folder, out / "curves" / f"{one.path.name}.csv")
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
    comparison = tabulated(study, rows, manifest)
    table = _markdown(study, comparison)
    write_text(out / "table.md", table)
    for form in ("csv", "tex"):
        write_text(out / f"table.{form}", comparison.format(form) + "\n")
    return table


def tabulated(study: Study, rows: Sequence[dict[str, Any]], manifest: Mapping[str, Any]) -> Comparison:
    """The table of a study: a row an arm, mean ± standard deviation over its seeds.

    Args:
        study: The study.
        rows: Its rows.
        manifest: What is known of the runs that made them.
    """
    arms = {arm.name: arm for arm in study.arms}
    runs = []
    for run, known in manifest["runs"].items():
        select = "best" if study.step_of(arms[known["arm"]]) == "best" else "last"
        of_run = [row for row in rows if row["run"] == run and row["select"] == select]
        cells, _ = scored(of_run)
        better = {row["metric"]: row["better"] for row in of_run}
        # The arm stands for the config: runs of one arm share a row.
        config = {"arm": known["arm"]}
        runs.append(ComparedRun(known["arm"], run, known["seed"], config, cells, better))
    comparison = compared(runs)
    arm = {run: known["arm"] for run, known in manifest["runs"].items()}
    named = tuple(dataclasses.replace(row, name=arm[row.runs[0]], config={}) for row in comparison.rows)
    seeds = sorted({len({row["eval_seed"] for row in rows if row["run"] == run}) for run in manifest["runs"]})
    notes = [*study.notes]
    if seeds and seeds[-1] > 1:
        notes.append(f"Each run was scored with {seeds[-1]} sampling seeds; their mean counts.")
    return dataclasses.replace(comparison, rows=named, config_keys=(), notes=(*notes, *comparison.notes))


def _make(study: Study, one: Planned, command: Sequence[str], quiet: bool) -> bool:
    """Trains and evaluates one run; False if its training was told to stop."""
    from jgr.jobs.train import train

    if one.problem:
        raise RunError(one.problem)
    if one.state in ("missing", "interrupted", "running"):
        config = _config(one.arm, one.seed)
        if RunFolder.exists(one.path):  # it goes on as it began; how it is scored is the study's
            config = ConfigDict(to_plain(config) | {"evaluation": RunFolder.open(one.path).config()["evaluation"]})
        folder = train(config, one.path, config_path=one.arm.config, command=command, quiet=quiet)
        if folder.manifest()["status"] != "completed":
            return False
    evaluation = _evaluation(study, one.arm, one.seed)
    evaluate(one.path, step=study.step_of(one.arm), evaluation=evaluation, trust=True, quiet=quiet)
    return True


def _planned(study: Study, arm: Arm, seed: int, path: Path) -> Planned:
    """A run, and how far it is."""
    try:
        config = _config(arm, seed)
        _evaluated_config(study, arm, seed)
    except JgrError as error:
        return Planned(arm, seed, path, "refused", str(error))
    found = Planned(arm, seed, path, "missing", config_hash=config_hash(config))
    if not RunFolder.exists(path):
        return found
    folder = RunFolder.open(path)
    changed = differences(stored_config(folder), config)
    if fixed := {
        key: pair for key, pair in changed.items() if key not in RESUMABLE and not key.startswith("evaluation.")
    }:
        key, (there, here) = next(iter(fixed.items()))
        problem = f"config.{key} is {there!r} there and {here!r} in the study: move the folder away, or bring it back"
        return dataclasses.replace(found, state="of another config", problem=f"{path}: {problem}")
    if is_alive(path):
        return dataclasses.replace(found, state="running")
    if folder.manifest()["status"] != "completed" or "train.num_steps" in changed:
        return dataclasses.replace(found, state="interrupted")
    rows, whole = _results(study, arm, seed, path)
    return dataclasses.replace(found, state="done" if whole else "trained", rows=tuple(rows))


def _results(study: Study, arm: Arm, seed: int, path: Path) -> tuple[list[dict[str, Any]], bool]:
    """The rows of a run that a study asks for, and whether they are all."""
    run = Run(path, trust=True)
    job = EvaluationJob(run, _evaluation(study, arm, seed), quiet=True)
    step = study.step_of(arm)
    steps = run.steps() if step == "all" else [run.find_step(step)]
    found = by_step(job.wanted_rows("best" if step == "best" else "last"))
    rows = [row for step in steps for row in found.get(step, [])]
    return rows, all(job.is_whole(found.get(step, [])) for step in steps)


def _config(arm: Arm, seed: int) -> ConfigDict:
    return resolve(load_config_file(arm.config), Experiment, [*_texts(arm.overrides), ("seed", str(seed))])


def _evaluated_config(study: Study, arm: Arm, seed: int) -> ConfigDict:
    """An arm's config with what the study says of all evaluations."""
    return resolve(
        _config(arm, seed), Experiment, [(f"evaluation.{key}", text) for key, text in _texts(study.evaluation)]
    )


def _evaluation(study: Study, arm: Arm, seed: int) -> Evaluation:
    """How the study scores an arm, whatever its config said when it was trained."""
    return open_evaluation(_evaluated_config(study, arm, seed))


def _texts(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Overrides as a command line has them, groups by their single keys."""
    texts = []
    for key, value in values.items():
        single = flatten(value, f"{key}.") if isinstance(value, Mapping) else {key: value}
        texts += [(name, item if isinstance(item, str) else repr(item)) for name, item in single.items()]
    return texts


def _summary(one: Planned, folder: RunFolder) -> dict[str, Any]:
    """What a study keeps of the manifest of a run: what it takes to make its row again."""
    logged, manifest = folder.metrics(), folder.manifest()
    return {
        "arm": one.arm.name,
        "seed": one.seed,
        "config": one.arm.config,
        "overrides": dict(_texts(one.arm.overrides)),
        "config_hash": one.config_hash,
        "command": manifest["command"],
        "git": [{key: state[key] for key in ("commit", "dirty") if key in state} for state in manifest["git"][:1]],
        "data": manifest.get("data"),
        "versions": manifest["environment"]["versions"],
        "devices": manifest["environment"].get("devices"),
        "train_s": logged[-1]["elapsed_s"] if logged else None,
    }


def _kept(out: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    if not (out / "rows.jsonl").exists():
        return [], {"runs": {}}
    return jsonl.read(out / "rows.jsonl"), read_json(out / "manifest.json")


def _by_test(comparison: Comparison) -> dict[str, Comparison]:
    """A table for each data set and way to degrade it, where there are several; arms without a number there are absent.

    What stands in one table can be compared, so notes on what cannot be fall away.
    """
    columns: dict[str, list[Column]] = {}
    for column in comparison.columns:
        words = (column.dataset.partition("@")[0], column.protocol.partition("/")[2])
        columns.setdefault(" ".join(word for word in words if word), []).append(column)
    if len(columns) < 2:
        return {"": comparison}
    return {
        test: dataclasses.replace(
            comparison,
            columns=tuple(of_test),
            rows=tuple(row for row in comparison.rows if any(column in row.cells for column in of_test)),
            notes=(),
        )
        for test, of_test in columns.items()
    }


def _markdown(study: Study, comparison: Comparison) -> str:
    lines = [f"# {study.title}"]
    parts = _by_test(comparison)
    for test, part in parts.items():
        lines += ["", *([f"## {test}", ""] if len(parts) > 1 else []), part.format("md")]
    if len(parts) > 1 and study.notes:
        lines += ["", *(f"- {note}" for note in study.notes)]
    if study.published:
        lines += ["", "Published, not ranked with the above:", ""]
        lines += [
            f"- {one.name}: {one.metric} {format_value(one.value)} ({one.source}){f'; {one.note}' if one.note else ''}"
            for one in study.published
        ]
    return "\n".join(lines) + "\n"
