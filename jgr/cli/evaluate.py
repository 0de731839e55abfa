"""Score checkpoints with the metrics of the run's config; rows go to RUN/results.jsonl.

jgr evaluate runs/digits
jgr evaluate runs/digits --step=all
jgr evaluate runs/digits --follow     beside a training, until it ends
"""

import argparse
import signal

from jgr.cli.options import STEP_HELP, add_processes, add_run
from jgr.cli.setup import set_up
from jgr.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    add_run(parser)
    parser.add_argument("--step", default="latest", help=f"{STEP_HELP}, or all (default: %(default)s)")
    parser.add_argument("--follow", action="store_true", help="score each new checkpoint until the training has ended")
    parser.add_argument(
        "--seeds", metavar="SEED,…", help="each decides samples of its own (default: what the config says)"
    )
    parser.add_argument("--weights", choices=("ema", "raw"), help="default: what the config says")
    parser.add_argument("--quiet", action="store_true", help="print nothing")
    parser.add_argument_group("config overrides").add_argument(
        "--config.evaluation.KEY",
        dest="_override",
        metavar="VALUE",
        help="score otherwise than the run's config says, such as --config.evaluation.num_samples=50000 or "
        "--config.evaluation.metrics.kid.cls=jgr.metrics.distribution.KernelDistance",
    )
    parser.set_defaults(config=None)  # the command takes overrides
    add_processes(parser)


def run(options: argparse.Namespace) -> int:
    """Runs the command."""
    set_up(options)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # JAX catches it where there are several processes
    from jgr.jobs.evaluate import evaluate

    if others := [key for key, _ in options.overrides if not key.startswith("evaluation.")]:
        raise ConfigError(
            f"--config.{others[0]}: a run's config is fixed; only keys below config.evaluation may change"
        )
    evaluate(
        options.run,
        step=options.step,
        seeds=None if options.seeds is None else _parse_seeds(options.seeds),
        weights=options.weights,
        overrides=[(key.removeprefix("evaluation."), text) for key, text in options.overrides],
        follow=options.follow,
        trust=options.trust,
        quiet=options.quiet,
    )
    return 0


def _parse_seeds(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise ConfigError(f"--seeds={text!r} must be numbers with commas between them, such as 0,1,2") from error
