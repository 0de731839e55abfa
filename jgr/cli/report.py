"""Write one HTML file that shows runs side by side: numbers, learning curves, pictures, configs, environment.

It asks nothing of any network, so it can be sent, and opens anywhere. A study has its own: see `jgr experiment`.

  jgr report runs/a runs/b --out=report.html
  jgr report runs/* --rank=fd_pixels --title="Wider discriminators"
"""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help="runs' folders")
    parser.add_argument("--out", default="report.html", metavar="FILE", help="default: %(default)s")
    parser.add_argument("--title", help="first line of the report (default: how many runs there are)")
    parser.add_argument(
        "--rank", metavar="METRIC", help="sort by a metric; refused where its values are not comparable"
    )
    parser.add_argument(
        "--select", choices=("last", "best"), default="last", help="results of which checkpoint (default: %(default)s)"
    )


def run(options: argparse.Namespace) -> int:
    """Runs the command."""
    from jgr.jobs.report.of_runs import report

    print(report(options.runs, options.out, title=options.title, rank=options.rank, select=options.select))
    return 0
