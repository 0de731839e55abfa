"""Run a study: train and evaluate what is missing, one run after another, and write its table and its report.

  jgr experiment experiments/classifiers.py
  jgr experiment experiments/classifiers.py --dry_run     what there is, and what would be run
  jgr experiment experiments/classifiers.py --rebuild     table and report again, from the committed files alone

Runs go to runs/<study>/, results to results/<study>/. Started again, it goes on where it was.
"""

import argparse
import signal
from pathlib import Path

from jgr.errors import RunError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("study", metavar="FILE", help="a Python file with get_study()")
    parser.add_argument("--only", default="", metavar="ARM,…", help="run these arms only")
    parser.add_argument("--dry_run", action="store_true", help="list the runs and how far each is, and run nothing")
    parser.add_argument(
        "--rebuild", action="store_true", help="write table and report from what is in --out, and run nothing"
    )
    parser.add_argument("--evaluate_again", action="store_true", help="score runs that have results already, too")
    parser.add_argument("--runs", metavar="DIR", help="folder of the runs (default: runs/<study>)")
    parser.add_argument("--out", metavar="DIR", help="folder of the results (default: results/<study>)")
    parser.add_argument("--quiet", action="store_true", help="show no progress of single runs")


def run(options: argparse.Namespace) -> int:
    """Runs the command."""
    from jgr.jobs.report.of_study import write_study_report
    from jgr.jobs.study import load_study
    from jgr.jobs.study_plan import plan
    from jgr.jobs.study_results import rebuild
    from jgr.jobs.study_run import run_study

    only = [arm for arm in options.only.split(",") if arm]
    study, name = load_study(options.study), Path(options.study).stem
    runs, out = Path(options.runs or f"runs/{name}"), Path(options.out or f"results/{name}")
    if options.dry_run:
        for one in plan(study, runs, only):
            print(f"{one.state:12} {one.path}  {one.arm.config}{f': {one.problem}' if one.problem else ''}")
        return 0
    if options.rebuild:
        print(rebuild(study, out), end="")
        write_study_report(study, out)
        return 0
    from jgr.cli.setup import set_up

    set_up()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    outcome = run_study(
        study,
        runs,
        out,
        command=options.argv,
        only=only,
        evaluate_again=options.evaluate_again,
        quiet=options.quiet,
    )
    print(f"\n{outcome.table}\n{outcome.out}/table.md\n{outcome.out}/report.html")
    if outcome.failures:
        raise RunError(f"{len(outcome.failures)} runs failed: {', '.join(outcome.failures)}; the reasons are above")
    return 0
