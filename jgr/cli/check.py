"""Resolve a config, trace its initialisation and step without computing, and show what it makes.

jgr check --config=configs/gan/dcgan_mnist.py
jgr check --config=configs/gan/dcgan_mnist.py --show
"""

import argparse

from jgr.cli.options import add_config
from jgr.cli.setup import set_up


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    add_config(parser)
    parser.add_argument("--show", action="store_true", help="print every key of the resolved config, ready to override")
    parser.add_argument("--compile", action="store_true", help="compile the step too, and show the memory it takes")


def run(options: argparse.Namespace) -> int:
    """Runs the command."""
    set_up()
    from jgr.config import flatten, load_config_file, resolve
    from jgr.jobs.check import check
    from jgr.jobs.experiment import Experiment

    config = resolve(load_config_file(options.config), Experiment, options.overrides)
    if options.show:
        print("\n".join(f"--config.{key}={value}" for key, value in flatten(config).items()), end="\n\n")
    print(check(config, compile_step=options.compile))
    return 0
