"""Train a config. The same command again goes on from the newest checkpoint, bit for bit.

  jgr train --config=configs/gan/dcgan_digits.py --workdir=runs/digits
  jgr train --config=configs/gan/dcgan_digits.py --workdir=runs/short --config.train.num_steps=500

SIGTERM and Ctrl-C save a checkpoint and stop.

One process uses all devices of its machine. Under srun, mpirun or on GKE the processes find each other; elsewhere start
each with --coordinator_address, --num_processes and --process_id, with a --workdir that all of them see.
"""

import argparse

from jgr.cli.options import add_config, add_processes
from jgr.cli.setup import set_up


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    add_config(parser)
    parser.add_argument("--workdir", required=True, metavar="RUN", help="the run's folder; made when missing")
    parser.add_argument("--quiet", action="store_true", help="print nothing")
    parser.add_argument(
        "--profile", metavar="START:STOP", help="trace these steps into RUN/profile, for XProf or Perfetto"
    )
    parser.add_argument("--tensorboard", action="store_true", help="copy metrics and pictures into RUN/tensorboard")
    add_processes(parser)


def run(options: argparse.Namespace) -> int:
    """Runs the command."""
    set_up(options)
    from jgr.config import load_config_file, resolve
    from jgr.jobs.experiment import Experiment
    from jgr.jobs.train import train

    train(
        resolve(load_config_file(options.config), Experiment, options.overrides),
        options.workdir,
        config_path=options.config,
        command=options.argv,
        quiet=options.quiet,
        profile=options.profile,
        tensorboard=options.tensorboard,
    )
    return 0
