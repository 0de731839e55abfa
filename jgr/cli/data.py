"""Prepare a TFDS data set for reading without TensorFlow, or look at any data.

jgr data prepare mnist --data_dir=~/tensorflow_datasets
jgr data show mnist                           a prepared TFDS data set, its training split
jgr data show mnist:test --out=mnist.png
jgr data show digits                          scikit-learn's digits, embedded
jgr data show photographs                     scikit-image's photographs, embedded
jgr data show path/to/images                  a folder of images
jgr data show --config=configs/gan/dcgan_digits.py
"""

import argparse
from pathlib import Path
from typing import Any

from jgr.errors import DataError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    prepare = actions.add_parser("prepare", help="download a TFDS data set and write it as ArrayRecord")
    prepare.add_argument("name", metavar="NAME", help="such as mnist or cifar10")
    prepare.add_argument("--data_dir", metavar="DIR", help="default: $TFDS_DATA_DIR, or ~/tensorflow_datasets")
    show = actions.add_parser("show", help="counts, sizes, fingerprint, and a grid of images")
    show.add_argument(
        "name", nargs="?", metavar="NAME", help="digits, photographs, a folder of images, or TFDS name[:split]"
    )
    show.add_argument("--config", metavar="FILE[:ARG]", help="show the training data of a config instead")
    show.add_argument("--data_dir", metavar="DIR", help="where prepared TFDS data sets lie")
    for action in (prepare, show):
        action.add_argument("--debug", action="store_true", help="show the traceback of an error")
    show.add_argument("--out", metavar="FILE.png", help="where the grid goes (default: NAME.png)")
    show.add_argument("--num", type=int, default=64, help="images in the grid (default: %(default)s)")


def run(options: argparse.Namespace) -> int:
    """Runs the command."""
    if options.action == "prepare":
        from jgr.data.prepare import prepare

        print(prepare(options.name, options.data_dir))
        return 0
    return _show(options)


def _show(options: argparse.Namespace) -> int:
    import numpy as np
    from tabulate import tabulate

    from jgr.data.show import fitted_images, sample_images, summary
    from jgr.files import write_png
    from jgr.images import grid

    if options.config:
        data = _data(options)
        source, images = data.source, fitted_images(data, options.num)
    elif options.overrides or options.name is None:
        raise DataError("name what to show, such as digits or a folder, or give --config=FILE and its overrides")
    else:
        source = _source(options)
        images = sample_images(source, options.num)
    print(tabulate(list(summary(source).items()), tablefmt="plain"))
    print(write_png(Path(options.out or f"{source.name}.png"), grid(np.stack(images))))
    return 0


def _data(options: argparse.Namespace) -> Any:
    from jgr.config import load_config_file, resolve
    from jgr.jobs.experiment import Experiment, open_experiment

    return open_experiment(resolve(load_config_file(options.config), Experiment, options.overrides)).data


def _source(options: argparse.Namespace) -> Any:
    name, _, split = options.name.partition(":")
    if name == "digits":
        from jgr.data.digits import Digits

        return Digits(split=split or "all")
    if name == "photographs":
        from jgr.data.photographs import Photographs

        return Photographs()
    if Path(options.name).is_dir():
        from jgr.data.folder import ImageFolder

        return ImageFolder(path=options.name)
    from jgr.data.tfds import TFDS

    return TFDS(dataset=name, split=split or "train", data_dir=options.data_dir)
