"""Table and plot of `experiments/speed.py` from its rows."""

import csv
import io
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from speed_rows import MATMUL
from tabulate import tabulate

from jgr.files import write_text

Line = Mapping[str, Any]
_COLUMNS = (
    "row",
    "batch",
    "dtype",
    "contender",
    "ms",
    "min",
    "max",
    "images/s",
    "eager/this",
    "compile/this",
    "GFLOP/s",
    "share of peak",
    "start s",
    "error",
)
_FORMATS = ("", "", "", "", ".2f", ".2f", ".2f", ".0f", ".2f", ".2f", ".0f", ".0%", ".1f", "")


def write_tables(folder: Path, lines: Sequence[Line]) -> str:
    """Writes table.md, table.csv and, where matplotlib is installed, ratios.png and ratios.svg; returns the table."""
    rows = summary(lines)
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(folder / "table.csv", text.getvalue())
    shown = [[_shown(row[name], form) for name, form in zip(_COLUMNS, _FORMATS, strict=True)] for row in rows]
    table = tabulate(shown, _COLUMNS, tablefmt="github", disable_numparse=True)
    write_text(folder / "table.md", f"{_notes(lines)}\n\n{table}\n")
    _plot(folder, rows)
    return table


def summary(lines: Sequence[Line]) -> list[dict[str, Any]]:
    """One row a (row, batch, dtype, contender): medians over the rounds, ratios, and shares of the measured peak.

    `eager/this` is the median over the rounds of PyTorch eager's time by this contender's: above 1, this is faster. The
    peak is the fastest round of the matrix product, of the same framework in the same lane.
    """
    cells: dict[tuple[Any, ...], list[Line]] = {}
    for line in lines:
        cells.setdefault((line["row"], line["batch"], line["dtype"], line["contender"]), []).append(line)
    peaks: dict[tuple[str, str, str], float] = {}
    for line in lines:
        if line["row"] == MATMUL and "ms" in line and line["flops_per_step"]:
            key = (line["lane"], line["side"], line["dtype"])
            peaks[key] = max(peaks.get(key, 0.0), line["flops_per_step"] / line["ms"] / 1e6)
    return [_summary_row(key, cells, peaks) for key in cells]


def _summary_row(
    key: tuple[Any, ...], cells: Mapping[tuple[Any, ...], list[Line]], peaks: Mapping[tuple[str, str, str], float]
) -> dict[str, Any]:
    row, batch, dtype, contender = key
    timed = {line["round"]: line for line in cells[key] if "ms" in line}
    found: dict[str, Any] = dict.fromkeys(_COLUMNS, "")
    found |= {"row": row, "batch": batch, "dtype": dtype, "contender": contender}
    found["error"] = next((line["error"] for line in cells[key] if "error" in line), "")
    if not timed:
        return found
    times = [line["ms"] for line in timed.values()]
    ms, some = statistics.median(times), next(iter(timed.values()))
    found |= {"ms": ms, "min": min(times), "max": max(times), "images/s": batch / ms * 1e3}
    found["start s"] = timed[min(timed)]["start_s"]  # of the first round, which finds nothing compiled
    for mode in ("eager", "compile"):
        theirs = {line["round"]: line for line in cells.get((row, batch, dtype, f"torch {mode}"), []) if "ms" in line}
        if both := timed.keys() & theirs.keys():
            found[f"{mode}/this"] = statistics.median(theirs[turn]["ms"] / timed[turn]["ms"] for turn in both)
    if some["flops_per_step"]:
        found["GFLOP/s"] = some["flops_per_step"] / ms / 1e6
        if peak := peaks.get((some["lane"], some["side"], dtype)):
            found["share of peak"] = found["GFLOP/s"] / peak
    return found


def _shown(value: Any, form: str) -> str:
    return str(value) if value == "" or not form else format(value, form)


def _notes(lines: Sequence[Line]) -> str:
    """What the numbers are of, above the table."""
    timed = {line["contender"]: line for line in lines if "ms" in line}
    rounds = 1 + max((line["round"] for line in lines), default=0)
    notes = [
        f"Milliseconds a training step: medians, least and largest of {rounds} rounds, each a process of its own. "
        "`eager/this` and `compile/this` are PyTorch's time by this one's: above 1, this is faster. GFLOP/s count two "
        "operations a multiply-add of the products and convolutions that a step needs; the share is of the framework's "
        f"own `{MATMUL}` row. `start s`: imports, building, compiling and the first step, in the first round. PyTorch "
        "runs with channels last, Adam in its fused form, and makes no checks for finite values; jgr makes its own.",
        "",
    ]
    for name, line in timed.items():
        versions, device = line["versions"], line["device"]
        library = f"JAX {versions['jax']}" if line["side"] == "jgr" else f"PyTorch {versions['torch']}"
        notes.append(f"- {name}: {library}, Python {versions['python']}, {device['threads']} threads, {device['kind']}")
    notes += [f"- {text}" for text in measured(lines)]
    return "\n".join(notes)


def measured(lines: Sequence[Line]) -> list[str]:
    """What each row measured, and on which data."""
    rows = {line["row"]: line for line in lines}
    return [
        f"{name}: {line['about']}; data: {line['data']}" if line["data"] else f"{name}: {line['about']}"
        for name, line in rows.items()
    ]


def _plot(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Bars of the ratios, a group a row."""
    try:
        import matplotlib
    except ImportError:
        print("no plot: matplotlib is not installed")
        return
    matplotlib.use("agg")
    from matplotlib import pyplot

    matplotlib.rcParams["svg.hashsalt"] = "speed"  # the same names in it each time
    ours = [row for row in rows if row["contender"].startswith("jgr ") and row["eager/this"] != ""]
    if not ours:
        return
    groups = list(dict.fromkeys((row["row"], row["batch"], row["dtype"]) for row in ours))
    bars = [(name, mode) for name in dict.fromkeys(row["contender"] for row in ours) for mode in ("eager", "compile")]
    figure, axes = pyplot.subplots(figsize=(7, 0.8 + 0.22 * len(groups) * len(bars)), layout="constrained")
    height = 0.8 / len(bars)
    for place, (name, mode) in enumerate(bars):
        ratios = {
            (row["row"], row["batch"], row["dtype"]): row[f"{mode}/this"] for row in ours if row["contender"] == name
        }
        known = [(group + place * height, ratios[key]) for group, key in enumerate(groups) if ratios.get(key, "") != ""]
        if known:
            drawn = axes.barh(*zip(*known, strict=True), height, align="edge", label=f"torch {mode} / {name}")
            axes.bar_label(drawn, fmt="%.2f", padding=2, fontsize=7)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("{x:g}")
    axes.set_yticks(
        [group + 0.4 for group in range(len(groups))], [f"{row}\nbatch {batch}" for row, batch, _ in groups]
    )
    axes.invert_yaxis()
    axes.set_xlabel("PyTorch's time / jgr's: right of 1, jgr is faster")
    axes.legend(fontsize=7)
    for ending in ("png", "svg"):
        figure.savefig(folder / f"ratios.{ending}", dpi=150, metadata={"Date": None} if ending == "svg" else None)
    pyplot.close(figure)
