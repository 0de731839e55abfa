"""Runs a study: trains and evaluates what is missing, and writes the results."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from jgr.jobs.launch.local import Local
from jgr.jobs.launch.work import Ended, Launcher, Say, Work
from jgr.jobs.report.of_study import write_study_report
from jgr.jobs.study import Study
from jgr.jobs.study_plan import Planned, plan, plan_run
from jgr.jobs.study_results import gather, has_rows, rebuild


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What running a study came to.

    Args:
        table: The table, as Markdown.
        failures: Why runs failed or were refused, by folder.
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
    launcher: Launcher | None = None,
    command: Sequence[str] = (),
    only: Iterable[str] = (),
    evaluate_again: bool = False,
    set_up: Callable[[], object] | None = None,
    say: Say = print,
    quiet: bool = False,
) -> Outcome:
    """Trains and evaluates what is missing, and writes the results, anew whenever a run has ended.

    What is there already is left as it is, an interrupted training goes on. A run that fails is reported, and does not
    stop the others; those that start from its weights are refused. The results do not depend on the order in which
    runs end.

    Args:
        study: The study.
        runs: The folder of its runs.
        out: The folder of its results: `rows.jsonl`, `manifest.json`, `table.{md,csv,tex}`, `report.html`, and by run
            what single records scored (`records`), the learning curve (`curves`) and parts of what it restored
            (`restored`).
        launcher: Where runs are made; one after another in this process when None.
        command: The command line, for the manifests.
        only: Names of arms; all when empty.
        evaluate_again: Whether runs that have results are scored again, as after a change of the evaluation.
        set_up: What a process of its own calls before it makes a run; a function of a module, found there by name.
        say: Takes lines about the progress.
        quiet: Whether trainings and evaluations show nothing.

    Raises:
        ConfigError: As `plan`.
    """
    known = {one.path: one for one in plan(study, runs)}
    chosen = [known[one.path] for one in plan(study, runs, only)] if (only := list(only)) else list(known.values())
    works = []
    for number, one in enumerate(chosen, start=1):
        title = f"[{number}/{len(chosen)}] {one.path}: {one.state}"
        if one.state == "done" and not evaluate_again:
            say(title)
            continue
        works.append(
            Work(
                study=study,
                arm=one.arm,
                seed=one.seed,
                path=one.path,
                title=title,
                needs=one.needs,
                command=tuple(command),
                evaluate_again=evaluate_again,
                set_up=set_up,
            )
        )
    failures: dict[Path, str] = {}
    table = _write(study, list(known.values()), out)
    try:
        with closing((launcher or Local(1)).launch(works, say, quiet)) as launched:
            for ended in launched:
                say(_line(ended))
                if ended.reason:
                    failures[ended.path] = ended.reason
                one = known[ended.path]
                known[ended.path] = plan_run(study, one.arm, one.seed, one.path)
                table = _write(study, list(known.values()), out)
    except BaseException:
        _write(study, plan(study, runs), out)
        raise
    in_order = {str(one.path): failures[one.path] for one in chosen if one.path in failures}
    return Outcome(table, in_order, Path(out))


def _line(ended: Ended) -> str:
    if ended.result == "stopped":
        return f"{ended.path} was stopped: the same command goes on"
    return f"{ended.path}: {ended.result}" if ended.result == "done" else f"{ended.path} {ended.result}: {ended.reason}"


def _write(study: Study, planned: Sequence[Planned], out: str | Path) -> str:
    """Writes the results of all runs that have some; returns the table."""
    gather(planned, out, study.pictures)
    if not has_rows(out):
        return ""
    table = rebuild(study, out)
    write_study_report(study, out)
    return table
