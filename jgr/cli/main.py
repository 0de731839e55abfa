"""The command line: `jgr COMMAND`. A command's module is imported only when that command runs."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from jgr.errors import JgrError

COMMANDS = {
    "train": "train a config, or go on with a run that was interrupted",
    "check": "resolve a config and show its networks and sizes, computing nothing",
    "evaluate": "score the checkpoints of a run",
    "sample": "draw a grid of images from a run",
    "restore": "restore photographs of your own with a run",
    "experiment": "run a study: what is missing of its runs, and its table of results",
    "metrics": "measure two folders of images: PSNR, SSIM, LPIPS, FID, KID, precision, recall …",
    "weights": "get the weights that FID and LPIPS need, or pack those of a classifier of your own",
    "compare": "put runs side by side in a table",
    "report": "put runs side by side in one HTML file: numbers, curves, pictures, configs",
    "reproduce": "run a run again and say whether every bit came out the same",
    "data": "prepare a data set, or look at one",
}

_DESCRIPTION = """JAX Generation & Restoration: reproducible experiments in image generation and restoration.

  jgr train --config=configs/gan/dcgan_digits.py --workdir=runs/digits --config.train.num_steps=500
  jgr evaluate runs/digits
  jgr compare runs/digits

Any key of a config is changed by --config.KEY=VALUE; `jgr check --config=…` lists what a config makes."""

# Options whose names are not known beforehand: how they begin, and an option of the commands that take them.
_DOTTED = {"overrides": ("--config.", "config"), "slurm": ("--slurm.", "launcher")}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: Arguments after the program's name; those of the process when None.

    Returns:
        The exit status: 0, 1 for an error that is printed as one line, 2 for a wrong command line, 130 after Ctrl-C.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = _parser(arguments[0] if arguments else "")
    options = parser.parse_args(arguments) if not arguments or arguments[0] not in COMMANDS else None
    if options is None:
        options, rest = parser.parse_known_args(arguments)
        for group, (prefix, owner) in _DOTTED.items():
            found, rest = _split_dotted(rest, prefix) if hasattr(options, owner) else ([], rest)
            setattr(options, group, found)
        if rest:
            parser.error(f"unrecognised arguments: {' '.join(rest)}")
        options.argv = ["jgr", *arguments]
    if not getattr(options, "command", None):
        parser.print_help()
        return 2
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # so that a config may name a module that lies beside it
    try:
        status: int = importlib.import_module(f"jgr.cli.{options.command}").run(options)
        return status
    except JgrError as error:
        if options.debug:
            raise
        print(f"jgr {options.command}: error: {' '.join(str(error).splitlines())}", file=sys.stderr)
        _leave_others(error)
        return 1
    except KeyboardInterrupt:
        if options.debug:
            raise
        print(f"jgr {options.command}: interrupted", file=sys.stderr)
        return 130


def _leave_others(error: JgrError) -> None:
    """Ends this process at once if others do not know of its error: an orderly end would wait for them."""
    jax = sys.modules.get("jax")
    if jax is None or jax.process_count() == 1:
        return
    from jgr.processes import is_shared

    if not is_shared(error):
        sys.stderr.flush()
        os._exit(1)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong with a command line in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}; see {self.prog} --help\n")


def _parser(command: str) -> argparse.ArgumentParser:
    """The parser; only the command that is asked for gets its arguments, so that no other module is imported."""
    parser = _Parser(
        prog="jgr", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"jgr {_version()}")
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    for name, purpose in COMMANDS.items():
        sub = commands.add_parser(
            name, help=purpose, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
        )
        if name == command:
            module = importlib.import_module(f"jgr.cli.{name}")
            sub.description = module.__doc__
            module.add_arguments(sub)
        sub.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def _split_dotted(arguments: Sequence[str], prefix: str) -> tuple[list[tuple[str, str]], list[str]]:
    """What begins with a prefix as (key, text), from --config.a.b=1, --config.a.b 1 or --config.flag; and the rest."""
    found: list[tuple[str, str]] = []
    others: list[str] = []
    waiting = list(arguments)
    while waiting:
        argument = waiting.pop(0)
        if not argument.startswith(prefix):
            others.append(argument)
            continue
        key, equals, text = argument.removeprefix(prefix).partition("=")
        if not equals:
            text = waiting.pop(0) if waiting and not waiting[0].startswith("--") else "true"
        found.append((key, text))
    return found, others


def _version() -> str:
    from importlib.metadata import version

    return version("jgr")


if __name__ == "__main__":
    sys.exit(main())
