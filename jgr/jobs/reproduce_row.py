"""Makes a number of a study's results again, from its config to its score, and says whether it came out the same."""

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from jgr.config import config_hash, flatten, load_config_file, resolve
from jgr.data.source import fingerprint
from jgr.errors import JgrError, RunError
from jgr.files import expanded
from jgr.jobs.evaluate import evaluate
from jgr.jobs.experiment import Evaluation, Experiment, open_evaluation, open_experiment
from jgr.jobs.published_rows import PublishedRows
from jgr.jobs.score import Scorer
from jgr.jobs.study import folder_name, load_study
from jgr.jobs.study_plan import override_texts
from jgr.jobs.table import format_value
from jgr.jobs.train import train
from jgr.run.manifest import environment, git_state
from jgr.run.rows import value

_ROUNDING = 1e-5  # relative: what another order of float32 sums may change


@dataclasses.dataclass(frozen=True)
class Preparation:
    """What there is to say before anything is run.

    Args:
        lines: What the rows are of, what they need, and in what this machine and its code differ.
        problems: Why they cannot be made again here; nothing when they can.
        config: Of the run, as the code of today resolves it; None where it cannot.
        evaluation: How the run is scored.
    """

    lines: tuple[str, ...]
    problems: tuple[str, ...]
    config: ConfigDict | None = None
    evaluation: Evaluation | None = None


@dataclasses.dataclass(frozen=True)
class Verdict:
    """How a number came out.

    Args:
        row: The old one.
        new: The new one.
        step: Steps behind the new one.
        text: What to say of the two.
        holds: Whether the new one is the old one, or no further from it than luck reaches.
    """

    row: dict[str, Any]
    new: float
    step: int
    text: str
    holds: bool

    def __str__(self) -> str:
        steps = "" if self.step == self.row["step"] else f", step {self.row['step']} -> {self.step}"
        what = f"{self.row['protocol']} on {self.row['dataset']}, evaluation seed {self.row['eval_seed']}"
        return f"{what}: {value(self.row)!r} -> {self.new!r}{steps}: {self.text}"


def prepare(rows: PublishedRows, *, trust: bool = False) -> Preparation:
    """Says what rows need, and in what they differ from what is here, running nothing.

    Args:
        rows: Of one run.
        trust: Whether the config may name classes outside jgr, optax and flax.
    """
    known = rows.known
    lines = [*_described(rows), *_environment(known)]
    try:
        overrides = [*known["overrides"].items(), ("seed", str(known["seed"]))]
        config = resolve(load_config_file(known["config"]), Experiment, overrides, trust=trust)
        told, problems = _changes(known, config)
        lines += told
        missing = _missing_start(rows, config)
        problems += [missing] if missing else []
        data = _data(known, config, trust)
        lines += data[0]
        problems += data[1]
        if problems:
            return Preparation(tuple(lines), tuple(problems))
        evaluation = _evaluation(rows, config, trust)
        _check_measured(rows, config, evaluation, trust)
    except JgrError as error:
        return Preparation(tuple(lines), (str(error),))
    return Preparation(tuple(lines), (), config, evaluation)


def reproduce_rows(
    rows: PublishedRows,
    prepared: Preparation,
    workdir: str | Path | None = None,
    *,
    trust: bool = False,
    quiet: bool = False,
) -> list[Verdict]:
    """Trains the run again, scores it, and compares; begun before, it goes on.

    Args:
        rows: Of one run.
        prepared: What `prepare` says of them.
        workdir: Where the run goes; `runs/reproduced/<study>/<arm>-s<seed>` when None.
        trust: Whether the config may name classes outside jgr, optax and flax.
        quiet: Whether to print nothing.

    Returns:
        One verdict a row.

    Raises:
        RunError: There are problems, or the training was stopped.
    """
    if prepared.problems or prepared.config is None or prepared.evaluation is None:
        raise RunError(f"{rows.name} cannot be made again here: {'; '.join(prepared.problems)}")
    target = Path(workdir) if workdir is not None else default_workdir(rows)
    command = ["jgr", "reproduce", rows.name, f"--workdir={target}"]
    folder = train(prepared.config, target, config_path=rows.known["config"], command=command, trust=trust, quiet=quiet)
    if folder.manifest()["status"] != "completed":
        raise RunError(f"{target} was stopped: the same command goes on")
    made: dict[tuple[Any, ...], dict[str, Any]] = {}
    for settings in dict.fromkeys(map(_settings, rows.rows)):
        select, step, seed, weights = settings
        # All metrics, as then: alone, one would be compiled otherwise, and might differ in its last bits.
        asked = dataclasses.replace(prepared.evaluation, seeds=(seed,), weights=weights)
        again = evaluate(target, step="best" if select == "best" else step, evaluation=asked, trust=trust, quiet=quiet)
        made |= {(settings, _measurement(row)): row for row in again}
    return [_verdict(rows, row, made[_settings(row), _measurement(row)]) for row in rows.rows]


def _settings(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["select"], row["step"], row["eval_seed"], row["weights"]


def _measurement(row: dict[str, Any]) -> tuple[str, str, int]:
    return row["protocol"], row["dataset"], row["n"]


def default_workdir(rows: PublishedRows) -> Path:
    """Where the run of rows is made again."""
    return Path("runs/reproduced") / rows.folder.name / folder_name(rows.known["arm"], rows.known["seed"])


def _described(rows: PublishedRows) -> list[str]:
    known = rows.known
    lines = [f"{rows.name}: arm {known['arm']}, seed {known['seed']}, run {rows.rows[0]['run']}"]
    for row in rows.rows:
        spread = rows.spread(row)
        reach = f" (95 % of {spread.basis}: {spread.low:.6g} to {spread.high:.6g})" if spread else ""
        lines += [
            f"value     {row['metric']} {format_value(value(row))}{reach}",
            f"          {row['protocol']} on {row['dataset']}, n = {row['n']}",
            f"          {row['weights']} weights of step {row['step']}, evaluation seed {row['eval_seed']}",
        ]
    overrides = "".join(f" --config.{key}={text!r}" for key, text in known["overrides"].items())
    lines.append(f"config    {known['config']}{overrides} --config.seed={known['seed']}")
    if known.get("train_s"):
        lines.append(f"training  {known['train_s'] / 60:.3g} min there")
    return lines


def _environment(known: dict[str, Any]) -> list[str]:
    """Commit, versions and device of the run, each beside what is here."""
    here = environment()
    (now, *_) = git_state([Path(__file__).resolve().parent]) or [{"commit": None, "dirty": False}]
    then = (known["git"] or [{"commit": None, "dirty": False}])[0]
    commits = [f"{state['commit']}"[:12] + " and uncommitted changes" * bool(state["dirty"]) for state in (then, now)]
    advice = (
        "" if then["commit"] in (None, now["commit"]) else f"; to have it: git worktree add DIR {then['commit'][:12]}"
    )
    lines = [f"commit    {commits[0]}; here {commits[1]}{advice}"]
    versions = {name: (old, here["versions"].get(name)) for name, old in known["versions"].items()}
    other = [f"{name} {old}, here {new}" for name, (old, new) in versions.items() if old != new]
    lines.append(f"versions  {'; '.join(other) or 'those of the run'}")
    kinds = [
        f"{found['count']} {found['kind']}" if found else "unknown" for found in (known["devices"], here["devices"])
    ]
    lines.append(f"devices   {kinds[0]}{'' if kinds[0] == kinds[1] else f', here {kinds[1]}'}")
    return lines


def _changes(known: dict[str, Any], config: ConfigDict) -> tuple[list[str], list[str]]:
    """What the config file of today says otherwise: what may be told, and what forbids a repetition."""
    if config_hash(config) == known["config_hash"]:
        return [f"config    {known['config_hash']}, here too"], []
    differs = (
        f"{known['config']} is not the run's any more (hash {config_hash(config)}, and was {known['config_hash']})"
    )
    advice = "check out the commit, or bring the values back"
    old = known.get("config_values")
    if old is None:
        return [], [f"{differs}; which keys differ was not recorded: {advice}"]
    new = json.loads(json.dumps(flatten(config)))
    changed = [
        f"{key} was {old[key]!r} and is {new[key]!r}" if key in new else f"{key} was {old[key]!r} and is gone"
        for key in old
        if not key.startswith("mesh.") and old[key] != new.get(key, old[key] is None)
    ]
    if changed:
        return [], [f"{differs}: {'; '.join(changed)}: {advice}"]
    learned = [f"{key} = {new[key]!r}" for key in new if key not in old]
    return [f"config    keys that jgr has learned since, at their defaults: {', '.join(learned)}"], []


def _missing_start(rows: PublishedRows, config: ConfigDict) -> str:
    """What to make first, where the run starts from another that is not here."""
    start = config.train.init_from
    if not start or expanded(start.path).exists():
        return ""
    first = rows.first_of(expanded(start.path).name)
    how = f": make it first: jgr reproduce {first} --workdir={start.path}" if first else ""
    return f"the run starts from {start.path}, which is not here{how}"


def _data(known: dict[str, Any], config: ConfigDict, trust: bool) -> tuple[list[str], list[str]]:
    """The training data of the run beside that which is here."""
    source = open_experiment(config, trust=trust).data.source
    here = {source.name: fingerprint(source)}
    then = known["data"] or here
    wanted = ", ".join(f"{name}@{mark}" for name, mark in then.items())
    if here == then:
        return [f"data      {wanted}, here too"], []
    found = ", ".join(f"{name}@{mark}" for name, mark in here.items())
    return [f"data      {wanted}; here {found}"], [f"the training data is {found}, and was {wanted}: bring that back"]


def _evaluation(rows: PublishedRows, config: ConfigDict, trust: bool) -> Evaluation:
    """How the run is scored: as its config says, and its study where that is here."""
    file = Path("experiments") / f"{rows.folder.name}.py"
    changes = override_texts(load_study(file).evaluation) if file.is_file() else []
    scored = resolve(config, Experiment, [(f"evaluation.{key}", text) for key, text in changes], trust=trust)
    return open_evaluation(scored, trust=trust)


def _check_measured(rows: PublishedRows, config: ConfigDict, evaluation: Evaluation, trust: bool) -> None:
    """Raises RunError if the evaluation of today measures no such numbers."""
    experiment = open_experiment(config, trust=trust)
    data = evaluation.data or experiment.data
    measured = Scorer(experiment.task, evaluation, data, experiment.mesh).measurements()
    for row in rows.rows:
        if _measurement(row) not in measured:
            shown = "; ".join("{} on {}, n = {}".format(*one) for one in sorted(measured))
            wanted = "{} on {}, n = {}".format(*_measurement(row))
            raise RunError(f"the evaluation of today measures {shown}, and not {wanted}")


def _verdict(rows: PublishedRows, row: dict[str, Any], made: dict[str, Any]) -> Verdict:
    old, new = value(row), value(made)
    if repr(old) == repr(new):
        text, holds = "equal bit for bit", True
    elif math.isclose(old, new, rel_tol=_ROUNDING):
        text, holds = "equal within rounding", True
    elif (spread := rows.spread(row)) is None:
        text, holds = "differs, and nothing says how far luck reaches", False
    else:
        holds = spread.low <= new <= spread.high
        reach = f"95 % of {spread.basis}: {spread.low:.6g} to {spread.high:.6g}"
        text = f"{'within' if holds else 'OUTSIDE'} {reach}"
    return Verdict(row, new, made["step"], text, holds)


def conclusion(verdicts: Sequence[Verdict]) -> str:
    """A line for all rows."""
    failed = sum(not verdict.holds for verdict in verdicts)
    if failed:
        return f"NOT reproduced: {failed} of {len(verdicts)}"
    exact = all(verdict.text == "equal bit for bit" for verdict in verdicts)
    return "reproduced bit for bit" if exact else "reproduced"
