"""Draw a grid of images from a run's checkpoint.

jgr sample runs/digits --num=64 --out=grid.png --seed=1
"""

import argparse

from jgr.cli.options import STEP_HELP, add_run
from jgr.cli.setup import set_up


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    add_run(parser)
    parser.add_argument("--out", required=True, metavar="FILE.png", help="where the picture goes")
    parser.add_argument("--num", type=int, default=64, help="images in it (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="decides the latents (default: %(default)s)")
    parser.add_argument("--step", default="latest", help=f"{STEP_HELP} (default: %(default)s)")
    parser.add_argument("--weights", choices=("ema", "raw"), default="ema", help="default: %(default)s")


def run(options: argparse.Namespace) -> int:
    """Runs the command."""
    set_up()
    from jgr.jobs.sample import sample

    picture = sample(
        options.run,
        options.out,
        num=options.num,
        seed=options.seed,
        step=options.step,
        weights=options.weights,
        trust=options.trust,
    )
    print(picture)
    return 0
