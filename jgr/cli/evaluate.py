"""Score checkpoints with the metrics of the run's config; rows go to RUN/results.jsonl.

jgr evaluate runs/digits
jgr evaluate runs/digits --step=all
jgr evaluate runs/digits --follow     beside a training, until it ends
"""

import argparse
import signal

from jgr.cli.options import STEP_HELP, add_processes, add_run
from jgr.cli.setup import set_up


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    add_run(parser)
    parser.add_argument("--step", default="latest", help=f"{STEP_HELP}, or all (default: %(default)s)")
    parser.add_argument("--follow", action="store_true", help="score each new checkpoint until the training has ended")
    parser.add_argument("--seed", type=int, default=0, help="decides the latents (default: %(default)s)")
    parser.add_argument("--weights", choices=("ema", "raw"), help="default: what the config says")
    parser.add_argument("--quiet", action="store_true", help="print nothing")
    add_processes(parser)


def run(options: argparse.Namespace) -> int:
    """Runs the command."""
    set_up(options)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # JAX catches it where there are several processes
    from jgr.jobs.evaluate import evaluate

    evaluate(
        options.run,
        step=options.step,
        seed=options.seed,
        weights=options.weights,
        follow=options.follow,
        trust=options.trust,
        quiet=options.quiet,
    )
    return 0
