"""Draws the learning curves of a study's runs.

    python experiments/draw_curves.py results/bsd68_sigma25 --metrics=validation/psnr
    python experiments/draw_curves.py results/mnist_gan --metrics=discriminator/real_logits,discriminator/fake_logits

    python experiments/draw_curves.py results/restoration --apart

It reads `curves/*.csv` there and writes `curves.png` beside them: one plot a metric, or, where runs are of different
protocols and so do not compare, one plot a run and metric.
"""

import argparse
import csv
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt


def main() -> None:
    """Draws some metrics of every run that has them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="the study's folder, such as results/bsd68_sigma25")
    parser.add_argument(
        "--metrics",
        type=lambda text: text.split(","),
        default=["validation/psnr"],
        metavar="METRIC,…",
        help="columns of the curves (default: validation/psnr)",
    )
    parser.add_argument("--apart", action="store_true", help="a plot of its own for each run")
    options = parser.parse_args()
    curves = sorted((options.results / "curves").glob("*.csv"))
    plots = []
    for metric in options.metrics:
        drawable = [path for path in curves if metric in path.read_text().partition("\n")[0].split(",")]
        if not drawable:
            parser.error(f"no curve in {options.results / 'curves'} has {metric}")
        plots += [(metric, [path]) for path in drawable] if options.apart else [(metric, drawable)]
    columns = min(len(plots), 3 if options.apart else 2)
    rows, width, height = -(-len(plots) // columns), *((4.5, 2.8) if options.apart else (7, 4))
    size = (width * columns, height * rows)
    figure, places = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
    for axes, (metric, paths) in zip(places.flat, plots, strict=False):
        _draw(axes, paths, metric)
    for axes in places.flat[len(plots) :]:
        axes.set_axis_off()
    figure.savefig(options.results / "curves.png", dpi=120)


def _draw(axes: plt.Axes, curves: list[Path], metric: str) -> None:
    """Draws a metric of some runs."""
    for number, path in enumerate(curves):
        with path.open() as file:
            rows = [row for row in csv.DictReader(file) if row[metric]]
        steps, values = [int(row["step"]) for row in rows], [float(row[metric]) for row in rows]
        axes.plot(steps, values, ("-", "--", ":")[number // 10 % 3], label=path.stem)  # there are ten colours
    axes.set(xlabel="step", ylabel=metric)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")


if __name__ == "__main__":
    main()
