"""Get the weights that FID and LPIPS need, or pack those of a classifier of your own.

jgr weights                                                   what there is, what is missing
jgr weights inception                                         download and convert
jgr weights inception --from=pt_inception-2015-12-05-6726825d.pth    the same from a file, without a network
jgr weights pack runs/classifier --out=classifier.npz         for --extractor and TrainedClassifier
"""

import argparse

from jgr.cli.options import STEP_HELP, add_run
from jgr.errors import DataError
from jgr.metrics.pretrained import PUBLISHED, digest, install, weights_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    actions = parser.add_subparsers(dest="action", metavar="NAME")
    for name, published in PUBLISHED.items():
        action = actions.add_parser(name, help=f"for {published.needed_for}")
        action.add_argument("--from", dest="file", metavar="FILE", help=f"{published.file}, if you have it already")
        action.add_argument("--quiet", action="store_true", help="show no progress")
    pack = actions.add_parser("pack", help="write the classifier of a run into one small file")
    add_run(pack)
    pack.add_argument("--out", required=True, metavar="FILE.npz", help="the file to write")
    pack.add_argument("--step", default="latest", help=f"{STEP_HELP} (default: %(default)s)")
    pack.add_argument("--weights", choices=("ema", "raw"), default="ema", help="default: %(default)s")
    for action in actions.choices.values():
        action.add_argument("--debug", action="store_true", help="show the traceback of an error")


def run(options: argparse.Namespace) -> int:
    """Runs the command."""
    if options.action is None:
        print(_table())
    elif options.action == "pack":
        from jgr.cli.setup import set_up
        from jgr.jobs.pack import pack

        set_up()
        print(pack(options.run, options.out, step=options.step, weights=options.weights, trust=options.trust))
    else:
        print(install(options.action, options.file, quiet=options.quiet))
    return 0


def _table() -> str:
    from tabulate import tabulate

    rows = [
        (name, published.needed_for, _state(name), weights_file(name), published.url)
        for name, published in PUBLISHED.items()
    ]
    return tabulate(rows, headers=("weights", "for", "state", "file", "source"), tablefmt="plain")


def _state(name: str) -> str:
    if not weights_file(name).exists():
        return f"missing: jgr weights {name}"
    try:
        return f"there, from {digest(name)[:8]}"
    except DataError:
        return f"damaged: jgr weights {name}"
