"""Train a config. The same command again goes on from the newest checkpoint, bit for bit.

  jgr train --config=configs/gan/dcgan_digits.py --workdir=runs/digits
  jgr train --config=configs/gan/dcgan_digits.py --workdir=runs/short --config.train.num_steps=500

SIGTERM and Ctrl-C save a checkpoint and stop.
"""

import argparse

from jgr.cli.options import add_config
from jgr.cli.setup import set_up


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    add_config(parser)
    parser.add_argument("--workdir", required=True, metavar="RUN", help="the run's folder; made when missing")
    parser.add_argument("--quiet", action="store_true", help="print nothing")


def run(options: argparse.Namespace) -> int:
    """Runs the command."""
    set_up()
    from jgr.config import load_config_file, resolve
    from jgr.jobs.experiment import Experiment
    from jgr.jobs.train import train

    train(
        resolve(load_config_file(options.config), Experiment, options.overrides),
        options.workdir,
        config_path=options.config,
        command=options.argv,
        quiet=options.quiet,
    )
    return 0
