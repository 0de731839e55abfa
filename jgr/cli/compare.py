"""Put runs side by side: the config keys that differ, and each metric with its protocol.

Runs that differ only in seed share a row: mean ± standard deviation, and how many seeds. Columns of one metric that
cannot be compared stand in tables of their own. What the runs took stands below.

  jgr compare runs/a runs/b --format=tex --out=table.tex
  jgr compare runs/* --rank=fd_pixels
"""

import argparse
import shutil
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help="runs' folders")
    parser.add_argument(
        "--format", choices=("text", "md", "csv", "tex", "json"), default="text", help="default: %(default)s"
    )
    parser.add_argument("--out", metavar="FILE", help="write the table to a file instead of printing it")
    parser.add_argument(
        "--rank", metavar="METRIC", help="sort by a metric; refused where its values are not comparable"
    )
    parser.add_argument(
        "--select", choices=("last", "best"), default="last", help="results of which checkpoint (default: %(default)s)"
    )


def run(options: argparse.Namespace) -> int:
    """Runs the command."""
    from jgr.files import write_text
    from jgr.jobs.compare import compare

    comparison = compare(options.runs, rank=options.rank, select=options.select)
    on_terminal = sys.stdout.isatty() and not options.out
    width = shutil.get_terminal_size().columns if on_terminal else None
    table = comparison.format(options.format, width=width, styled=on_terminal)
    if options.out:
        print(write_text(Path(options.out), table + "\n"))
    else:
        print(table)
    return 0
