"""Draws the learning curves of a study's runs.

    python experiments/draw_curves.py results/bsd68_sigma25 --metric=validation/psnr

It reads `curves/*.csv` there and writes `curves.png` beside them.
"""

import argparse
import csv
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt


def main() -> None:
    """Draws one metric of every run that has it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="the study's folder, such as results/bsd68_sigma25")
    parser.add_argument("--metric", default="validation/psnr", help="a column of the curves (default: %(default)s)")
    options = parser.parse_args()
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    drawn = 0
    for path in sorted((options.results / "curves").glob("*.csv")):
        with path.open() as file:
            rows = [row for row in csv.DictReader(file) if row.get(options.metric)]
        if rows:
            steps, values = [int(row["step"]) for row in rows], [float(row[options.metric]) for row in rows]
            axes.plot(steps, values, ("-", "--", ":")[drawn // 10 % 3], label=path.stem)  # there are ten colours
            drawn += 1
    if not drawn:
        parser.error(f"no curve in {options.results / 'curves'} has {options.metric}")
    axes.set(xlabel="step", ylabel=options.metric)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(options.results / "curves.png", dpi=120)


if __name__ == "__main__":
    main()
