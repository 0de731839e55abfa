"""Which runs a study needs, and how far each is."""

import dataclasses
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from jgr.config import config_hash, differences, flatten, load_config_file, resolve
from jgr.errors import ConfigError, JgrError
from jgr.files import expanded
from jgr.jobs.evaluate import EvaluationJob, by_step
from jgr.jobs.experiment import Evaluation, Experiment, open_evaluation
from jgr.jobs.load import Run
from jgr.jobs.session import RESUMABLE, stored_config
from jgr.jobs.study import Arm, Study, folder_name
from jgr.run.folder import RunFolder
from jgr.run.lock import is_alive


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
        needs: The folder of the study's run whose weights it starts from, if it does so.
    """

    arm: Arm
    seed: int
    path: Path
    state: str
    problem: str = ""
    config_hash: str = ""
    rows: tuple[dict[str, Any], ...] = ()
    needs: Path | None = None


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
            planned.append(plan_run(study, arm, seed, Path(runs) / folder_name(arm.name, seed)))
    return planned


def plan_run(study: Study, arm: Arm, seed: int, path: Path) -> Planned:
    """A run of a study, and how far it is.

    Args:
        study: The study.
        arm: What it is a run of.
        seed: Of its training.
        path: Its folder, beside those of the study's other runs.

    Raises:
        RunError: The run's folder cannot be read.
    """
    try:
        config = run_config(arm, seed)
        _evaluated_config(study, arm, seed)
    except JgrError as error:
        return Planned(arm, seed, path, "refused", str(error))
    found = Planned(arm, seed, path, "missing", config_hash=config_hash(config), needs=_needed(study, config, path))
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


def _needed(study: Study, config: ConfigDict, path: Path) -> Path | None:
    """The other run of the study whose weights a run starts from."""
    source = config.train.init_from
    if source is None:
        return None
    wanted = os.path.realpath(expanded(source.path))
    runs = [path.with_name(folder_name(arm.name, seed)) for arm in study.arms for seed in arm.seeds]
    return next((run for run in runs if run != path and os.path.realpath(run) == wanted), None)


def _results(study: Study, arm: Arm, seed: int, path: Path) -> tuple[list[dict[str, Any]], bool]:
    """The rows of a run that a study asks for, and whether they are all."""
    run = Run(path, trust=True)
    job = EvaluationJob(run, run_evaluation(study, arm, seed), quiet=True)
    step = study.step_of(arm)
    steps = run.steps() if step == "all" else [run.find_step(step)]
    found = by_step(job.wanted_rows("best" if step == "best" else "last"))
    rows = [row for step in steps for row in found.get(step, [])]
    return rows, all(job.is_whole(found.get(step, [])) for step in steps)


def run_config(arm: Arm, seed: int) -> ConfigDict:
    """The resolved config of an arm's run."""
    return resolve(load_config_file(arm.config), Experiment, [*override_texts(arm.overrides), ("seed", str(seed))])


def _evaluated_config(study: Study, arm: Arm, seed: int) -> ConfigDict:
    """An arm's config with what the study says of all evaluations."""
    return resolve(
        run_config(arm, seed),
        Experiment,
        [(f"evaluation.{key}", text) for key, text in override_texts(study.evaluation)],
    )


def run_evaluation(study: Study, arm: Arm, seed: int) -> Evaluation:
    """How the study scores an arm, whatever its config said when it was trained."""
    return open_evaluation(_evaluated_config(study, arm, seed))


def override_texts(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Overrides as a command line has them, groups by their single keys."""
    texts = []
    for key, value in values.items():
        single = flatten(value, f"{key}.") if isinstance(value, Mapping) else {key: value}
        texts += [(name, item if isinstance(item, str) else repr(item)) for name, item in single.items()]
    return texts
