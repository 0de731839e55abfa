"""One denoiser over all noise levels: PSNR on BSD68 against sigma, as a table and a picture.

    python experiments/blind_denoising.py runs/restoration/edsr-blind-s0 runs/bsd68_sigma25/dncnn-s-released-s0

Each run is scored at every sigma by the protocol of Gaussian denoising, its best checkpoint where it has one. It writes
`table.md`, `table.csv` and `psnr.png` to results/blind_denoising/.
"""

import argparse
from pathlib import Path

import matplotlib
from tabulate import tabulate

matplotlib.use("Agg")

from matplotlib import pyplot as plt

import jgr
from jgr.errors import CheckpointError
from jgr.files import write_csv, write_text

SIGMAS = (5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55)


def main() -> None:
    """Scores, writes and draws."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="folders of runs that denoise gray images")
    parser.add_argument("--out", type=Path, default=Path("results/blind_denoising"), help="(default: %(default)s)")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    curves = {path.name: [psnr(path, sigma) for sigma in SIGMAS] for path in options.runs}
    columns = {"sigma": list(SIGMAS), **{name: [f"{value:.2f}" for value in curve] for name, curve in curves.items()}}
    write_csv(options.out / "table.csv", {"sigma": list(SIGMAS), **curves})
    write_text(options.out / "table.md", tabulate(columns, headers="keys", tablefmt="github") + "\n")
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for name, curve in curves.items():
        axes.plot(SIGMAS, curve, marker="o", label=name)
    axes.set(xlabel="sigma, in levels of 255", ylabel="PSNR on BSD68 in dB", xticks=SIGMAS)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(options.out / "psnr.png", dpi=120)


def psnr(path: Path, sigma: int) -> float:
    """The run's PSNR at a noise level."""
    overrides = [("degradation.sigma", str(sigma / 255))]
    try:
        rows = jgr.evaluate(path, step="best", overrides=overrides)
    except CheckpointError:
        rows = jgr.evaluate(path, overrides=overrides)
    return next(row["value"] for row in rows if row["metric"] == "psnr")


if __name__ == "__main__":
    main()
