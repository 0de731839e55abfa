"""Runs a study: trains and evaluates what is missing, and writes the results."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from ml_collections import ConfigDict

from jgr.config import to_plain
from jgr.errors import JgrError, RunError
from jgr.jobs.evaluate import evaluate
from jgr.jobs.report.of_study import write_study_report
from jgr.jobs.study import Study
from jgr.jobs.study_plan import Planned, plan, run_config, run_evaluation
from jgr.jobs.study_results import gather, has_rows, rebuild
from jgr.run.folder import RunFolder


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
        out: The folder of its results: `rows.jsonl`, `manifest.json`, `table.{md,csv,tex}`, `report.html`, and by run
            what single records scored (`records`), the learning curve (`curves`) and parts of what it restored
            (`restored`).
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
    table = ""
    if has_rows(out):
        table = rebuild(study, out)
        write_study_report(study, out)
    return Outcome(table, failures, Path(out))


def _make(study: Study, one: Planned, command: Sequence[str], quiet: bool) -> bool:
    """Trains and evaluates one run; False if its training was told to stop."""
    from jgr.jobs.train import train

    if one.problem:
        raise RunError(one.problem)
    if one.state in ("missing", "interrupted", "running"):
        config = run_config(one.arm, one.seed)
        if RunFolder.exists(one.path):  # it goes on as it began; how it is scored is the study's
            config = ConfigDict(to_plain(config) | {"evaluation": RunFolder.open(one.path).config()["evaluation"]})
        folder = train(config, one.path, config_path=one.arm.config, command=command, quiet=quiet)
        if folder.manifest()["status"] != "completed":
            return False
    evaluation = run_evaluation(study, one.arm, one.seed)
    evaluate(one.path, step=study.step_of(one.arm), evaluation=evaluation, trust=True, quiet=quiet)
    return True
