"""Settings of the process that only the command line may make: the compile cache, and quiet libraries."""

import logging
import os
from pathlib import Path


def set_up() -> None:
    """Puts compiled programs on disk, so that the second start of a config is fast.

    They go to `$JGR_COMPILE_CACHE`, or `~/.cache/jgr/xla`; an empty variable turns the cache off.
    """
    import jax

    logging.getLogger("absl").setLevel(logging.ERROR)  # Orbax reports every file it writes
    folder = os.environ.get("JGR_COMPILE_CACHE", str(Path.home() / ".cache" / "jgr" / "xla"))
    if folder:
        jax.config.update("jax_compilation_cache_dir", folder)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
