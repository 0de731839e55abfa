"""Make a run, or a number of a study's results, again, and compare.

  jgr reproduce runs/digits                                  train and evaluate again: is every bit equal?
  jgr reproduce results/bsd68_sigma25/rows.jsonl#3           the third row: its run again, and that number
  jgr reproduce results/mnist_gan/rows.jsonl#dcgan-s0        all numbers of a run
  jgr reproduce results/mnist_gan/rows.jsonl#7 --dry_run     what it needs, and what differs here; runs nothing

Exit status 0 if all is equal, or a row's number no further off than luck reaches; 1 if not.
"""

import argparse

from jgr.cli.options import add_run
from jgr.cli.setup import set_up


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    add_run(parser, "a run's folder, or results/STUDY/rows.jsonl#ROW: the row's line from 1, or ARM-sSEED")
    parser.add_argument(
        "--workdir",
        metavar="NEW",
        help="where the repetition goes (default: RUN-reproduced; of a row runs/reproduced/STUDY/ARM-sSEED)",
    )
    parser.add_argument(
        "--dry_run", action="store_true", help="of a row: only say what it needs, and what differs here"
    )
    parser.add_argument("--quiet", action="store_true", help="print nothing but the verdict")


def run(options: argparse.Namespace) -> int:
    """Runs the command."""
    from jgr.errors import RunError
    from jgr.jobs.published_rows import is_named_row

    set_up()
    if is_named_row(options.run):
        return _run_rows(options)
    if options.dry_run:
        raise RunError("--dry_run goes with a row: results/STUDY/rows.jsonl#ROW")
    from jgr.jobs.reproduce import reproduce

    outcome = reproduce(options.run, options.workdir, trust=options.trust, quiet=options.quiet)
    print(outcome)
    return 0 if outcome.exact else 1


def _run_rows(options: argparse.Namespace) -> int:
    from jgr.jobs.published_rows import read_rows
    from jgr.jobs.reproduce_row import conclusion, default_workdir, prepare, reproduce_rows

    rows = read_rows(options.run)
    prepared = prepare(rows, trust=options.trust)
    if options.dry_run or not options.quiet:
        print("\n".join(prepared.lines))
    if options.dry_run:
        said = [f"cannot be made again here: {problem}" for problem in prepared.problems]
        print("\n".join(said or [f"would go to {options.workdir or default_workdir(rows)}"]))
        return 1 if prepared.problems else 0
    verdicts = reproduce_rows(rows, prepared, options.workdir, trust=options.trust, quiet=options.quiet)
    print("\n".join([*map(str, verdicts), conclusion(verdicts)]))
    return 0 if all(verdict.holds for verdict in verdicts) else 1
