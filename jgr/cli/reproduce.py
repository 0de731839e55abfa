"""Train a run's config again in a new folder, repeat its evaluations, and compare bit for bit.

  jgr reproduce runs/digits

Exit status 0 if all is equal, 1 if not.
"""

import argparse

from jgr.cli.options import add_run
from jgr.cli.setup import set_up


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    add_run(parser)
    parser.add_argument("--workdir", metavar="NEW", help="where the repetition goes (default: RUN-reproduced)")
    parser.add_argument("--quiet", action="store_true", help="print nothing but the verdict")


def run(options: argparse.Namespace) -> int:
    """Runs the command."""
    set_up()
    from jgr.jobs.reproduce import reproduce

    outcome = reproduce(options.run, options.workdir, trust=options.trust, quiet=options.quiet)
    print(outcome)
    return 0 if outcome.exact else 1
