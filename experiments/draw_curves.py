"""Draws the learning curves of a study's runs.

    python experiments/draw_curves.py results/bsd68_sigma25 --metrics=validation/psnr
    python experiments/draw_curves.py results/mnist_gan --metrics=discriminator/real_logits,discriminator/fake_logits

It reads `curves/*.csv` there and writes `curves.png` beside them: one plot a metric.
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
    options = parser.parse_args()
    curves = sorted((options.results / "curves").glob("*.csv"))
    columns = min(len(options.metrics), 2)
    rows = -(-len(options.metrics) // columns)
    figure, plots = plt.subplots(rows, columns, figsize=(7 * columns, 4 * rows), layout="constrained", squeeze=False)
    for axes, metric in zip(plots.flat, options.metrics, strict=False):
        if not _draw(axes, curves, metric):
            parser.error(f"no curve in {options.results / 'curves'} has {metric}")
    for axes in plots.flat[len(options.metrics) :]:
        axes.set_axis_off()
    figure.savefig(options.results / "curves.png", dpi=120)


def _draw(axes: plt.Axes, curves: list[Path], metric: str) -> int:
    """Draws a metric of the runs that have it, and says how many they are."""
    drawn = 0
    for path in curves:
        with path.open() as file:
            rows = [row for row in csv.DictReader(file) if row.get(metric)]
        if rows:
            steps, values = [int(row["step"]) for row in rows], [float(row[metric]) for row in rows]
            axes.plot(steps, values, ("-", "--", ":")[drawn // 10 % 3], label=path.stem)  # there are ten colours
            drawn += 1
    axes.set(xlabel="step", ylabel=metric)
    axes.grid(alpha=0.3)
    if drawn:
        axes.legend(fontsize="small")
    return drawn


if __name__ == "__main__":
    main()
