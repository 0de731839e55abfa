"""Arguments that several commands share."""

import argparse

STEP_HELP = "latest, best (needs a validation in the config), or a number"


def add_config(parser: argparse.ArgumentParser) -> None:
    """`--config` and, in the help only, its overrides."""
    parser.add_argument(
        "--config",
        required=True,
        metavar="FILE[:ARG]",
        help="a Python file with get_config(arg=''); ARG is passed to it",
    )
    parser.add_argument_group("config overrides").add_argument(
        "--config.KEY",
        dest="_override",
        metavar="VALUE",
        help="set any key, such as --config.train.num_steps=500, --config.train.num_steps='20 epochs', "
        "--config.task.generator.width=32 or --config.task.generator.cls=my_models.Generator",
    )


def add_run(parser: argparse.ArgumentParser, what: str = "a run's folder") -> None:
    """An existing run, and consent to the code that its config names."""
    parser.add_argument("run", metavar="RUN", help=what)
    parser.add_argument(
        "--trust",
        action="store_true",
        help="let the run's config name classes outside jgr, optax and flax: runs that code",
    )


def add_processes(parser: argparse.ArgumentParser) -> None:
    """How several processes that share the work find each other."""
    group = parser.add_argument_group("several processes")
    group.add_argument(
        "--distributed",
        action="store_true",
        help="this is one of several processes that JAX can find, as on a TPU pod; srun, mpirun and GKE are noticed",
    )
    group.add_argument("--coordinator_address", metavar="HOST:PORT", help="of process 0, where no launcher tells it")
    group.add_argument("--num_processes", type=int, metavar="N", help="how many there are")
    group.add_argument("--process_id", type=int, metavar="I", help="which this is, from 0")
