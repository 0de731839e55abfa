"""Run a study: train and evaluate what is missing, and write its table and its report.

  jgr experiment experiments/classifiers.py
  jgr experiment experiments/classifiers.py --dry_run     what there is, and what would be run
  jgr experiment experiments/classifiers.py --jobs=4      four runs at a time, which share cores and GPUs
  jgr experiment experiments/classifiers.py --launcher=slurm --slurm.partition=gpu --slurm.gpus-per-node=1
  jgr experiment experiments/classifiers.py --rebuild     table and report again, from the committed files alone

Runs go to runs/<study>/, results to results/<study>/. Started again, it goes on where it was: after Ctrl-C, a crash, a
run that failed, and beside jobs that are still queued or running. A run that starts from the weights of another run of
the study waits for it.
"""

import argparse
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from jgr.errors import ConfigError, RunError

if TYPE_CHECKING:
    from jgr.jobs.launch.work import Launcher


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
    group = parser.add_argument_group("where runs are made")
    group.add_argument(
        "--launcher", choices=("local", "slurm"), default="local", help="this machine (default), or jobs of Slurm"
    )
    group.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help="runs at a time; on this machine they share CPU cores and GPUs (default: one a GPU, one without GPUs), in "
        "Slurm no more than these run at once (default: as Slurm decides)",
    )
    group.add_argument(
        "--slurm.OPTION",
        dest="_slurm",
        metavar="VALUE",
        help="an option of sbatch for each run, such as --slurm.partition=gpu, --slurm.time=12:00:00, "
        "--slurm.gpus-per-node=8, or --slurm.nodes=2, which makes a run on two machines",
    )


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
    if options.rebuild:
        print(rebuild(study, out), end="")
        write_study_report(study, out)
        return 0
    launcher = _launcher(options)
    if options.dry_run:
        chosen = plan(study, runs, only)
        for one in chosen:
            after = f"  after {one.needs}" if one.needs is not None and one.state == "missing" else ""
            print(f"{one.state:12} {one.path}  {one.arm.config}{after}{f': {one.problem}' if one.problem else ''}")
        left = sum(one.state != "done" and not one.problem for one in chosen)
        print(f"{left} of {len(chosen)} runs to make: {launcher.describe()}")
        return 0
    from jgr.cli.setup import set_up

    set_up()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    outcome = run_study(
        study,
        runs,
        out,
        launcher=launcher,
        command=options.argv,
        only=only,
        evaluate_again=options.evaluate_again,
        set_up=set_up,
        say=_say,
        quiet=options.quiet,
    )
    print(f"\n{outcome.table}\n{outcome.out}/table.md\n{outcome.out}/report.html")
    for path, reason in outcome.failures.items():
        print(f"{path}: {reason}")
    if outcome.failures:
        raise RunError(f"{len(outcome.failures)} runs failed or were refused, for the reasons above")
    return 0


def _launcher(options: argparse.Namespace) -> "Launcher":
    """What makes the runs. Where that is not this process, it leaves GPUs to those that do."""
    if options.launcher == "slurm":
        from jgr.jobs.launch.slurm import Slurm

        launcher: Launcher = Slurm(jobs=options.jobs, options=dict(options.slurm))
        elsewhere = True
    else:
        from jgr.jobs.launch.local import Local

        if options.slurm:
            raise ConfigError(f"--slurm.{options.slurm[0][0]} needs --launcher=slurm")
        launcher = Local(options.jobs)
        elsewhere = launcher.num_jobs > 1
    if elsewhere:
        import jax

        jax.config.update("jax_platforms", "cpu")
    return launcher


def _say(line: str) -> None:
    """A line beside bars of progress, at once."""
    from tqdm import tqdm

    tqdm.write(line)
    sys.stdout.flush()
