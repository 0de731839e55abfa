"""Settings of the process that only the command line may make: compile cache, quiet libraries, other processes."""

import argparse
import functools
import logging
import os
import sys
from pathlib import Path


def set_up(options: argparse.Namespace | None = None) -> None:
    """Puts compiled programs on disk, so that the second start of a config is fast, and joins the other processes.

    Args:
        options: Those of `jgr.cli.options.add_processes`; None for a command that runs in one process.

    Programs go to `$JGR_COMPILE_CACHE`, or `~/.cache/jgr/xla`; an empty variable turns the cache off.
    """
    import jax

    # Orbax reports every file it writes, and every error, which it raises as well; so does what it runs in.
    for name in ("absl", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    _ignore_closed_loops()
    folder = os.environ.get("JGR_COMPILE_CACHE", str(Path.home() / ".cache" / "jgr" / "xla"))
    if folder:
        jax.config.update("jax_compilation_cache_dir", folder)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    if options is not None:
        from jgr.processes import initialize

        initialize(options.distributed, options.coordinator_address, options.num_processes, options.process_id)


@functools.cache
def _ignore_closed_loops() -> None:
    """Drops the pages that TensorStore's threads print after a failed write, when Orbax's event loop is closed."""
    hook = sys.unraisablehook

    def unless_closed_loop(unraisable: "sys.UnraisableHookArgs") -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            hook(unraisable)

    sys.unraisablehook = unless_closed_loop
