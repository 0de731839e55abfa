"""Measure two sets of images: PSNR and its like of pairs, FID and its like of sets.

Folders pair files of one name; .npy and .npz files pair rows. For Fréchet distances B may be statistics (.npz with mu
and sigma, as --save_statistics and other tools write them).

  jgr metrics restored/ originals/ --metrics=psnr,ssim --color=y --crop=4
  jgr metrics samples.npy train/ --metrics=fid,kid,precision,recall --format=json
  jgr metrics samples/ --save_statistics=samples.npz
"""

import argparse
import json
import sys

from jgr.errors import ConfigError, MetricError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("a", metavar="A", help="images: a folder, .npy, or .npz with one array")
    parser.add_argument("b", metavar="B", nargs="?", help="what they are compared with")
    parser.add_argument(
        "--metrics",
        default="psnr,ssim",
        metavar="NAME,…",
        help="of pairs: psnr psnr_pooled ssim ms_ssim mae mse lpips lpips_vgg lpips_squeeze; of sets: fid kid kid_full "
        "inception_score, and with any --extractor fd kd kd_full classifier_score precision recall density coverage "
        "(default: %(default)s)",
    )
    pair = parser.add_argument_group("pairs")
    pair.add_argument(
        "--color",
        choices=("rgb", "y", "gray"),
        default="rgb",
        help="channels: all of RGB, BT.601 luma, or gray (default: %(default)s)",
    )
    pair.add_argument("--crop", type=int, default=0, metavar="N", help="cut N pixels off every side before")
    pair.add_argument(
        "--no_rounding", action="store_true", help="compare floats as they are, not rounded to 256 levels"
    )
    pair.add_argument("--per_image", metavar="FILE.csv", help="write the values of every pair")
    sets = parser.add_argument_group("sets")
    sets.add_argument(
        "--extractor",
        default="inception",
        metavar="NAME",
        help="features: inception, pixels, cnn-mnist, cnn-digits, a file of jgr weights pack, or an import path of "
        "your own, which is run (default: %(default)s)",
    )
    sets.add_argument(
        "--resize",
        choices=("tf1_bilinear", "legacy_pytorch", "clean"),
        default="tf1_bilinear",
        help="how FID's network gets its 299 pixels: as published, as pytorch-fid, as clean-fid; statistics from other "
        "tools must be of the same (default: %(default)s)",
    )
    sets.add_argument("--save_statistics", metavar="FILE.npz", help="write mean and covariance of A's features")
    parser.add_argument("--data_range", type=float, metavar="R", help="values of float arrays lie in [0, R]")
    parser.add_argument("--batch_size", type=int, default=50, help="images at a time (default: %(default)s)")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="default: %(default)s")
    parser.add_argument("--quiet", action="store_true", help="show no progress")


def run(options: argparse.Namespace) -> int:
    """Runs the command."""
    from jgr.cli.setup import set_up

    set_up()
    from jgr.jobs.measure import choose, measure, named_extractor, save_statistics, write_values
    from jgr.jobs.table import format_value
    from jgr.metrics.inception import Inception
    from jgr.metrics.metric import PairMetric

    if options.batch_size < 1:
        raise ConfigError(f"--batch_size={options.batch_size} must be at least 1")
    if options.data_range is not None and options.data_range <= 0:
        raise ConfigError(f"--data_range={options.data_range} must be positive")
    inception = Inception(resize=options.resize)
    extractor = inception if options.extractor == "inception" else named_extractor(options.extractor)
    shared = {"data_range": options.data_range, "batch_size": options.batch_size, "quiet": options.quiet}
    names = list(dict.fromkeys(name for name in options.metrics.split(",") if name))
    if not names:
        raise ConfigError("--metrics is empty: name at least one, such as --metrics=psnr")
    metrics = choose(
        names,
        color=options.color,
        crop=options.crop,
        rounding=not options.no_rounding,
        extractor=extractor,
        inception=inception,
    )
    if options.per_image and not any(isinstance(metric, PairMetric) for metric in metrics):
        raise ConfigError(f"--per_image={options.per_image}: no metric of pairs is asked for, so no image has a value")
    if options.save_statistics:
        save_statistics(options.save_statistics, options.a, extractor, **shared)
        print(options.save_statistics, file=sys.stderr)
        if options.b is None:
            return 0
    failures: list[str] = []
    measured = measure(options.a, options.b, metrics, failures=failures, **shared)
    if options.format == "json":
        print(json.dumps([found.record() for found in measured], indent=2, ensure_ascii=False))
    else:
        for found in measured:
            print(f"{found.protocol}  {format_value(found.value, found.std)}  n={found.n}")
    if options.per_image and measured:
        write_values(options.per_image, measured)
    if failures:
        raise MetricError("; ".join(dict.fromkeys(failures)))
    return 0
