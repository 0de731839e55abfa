"""Strict numerics, four CPU devices and one compile cache for the whole suite."""

import os
import tempfile
from pathlib import Path

import jax
import pytest

CACHE = os.environ.get("JGR_COMPILE_CACHE") or str(
    Path(tempfile.gettempdir()) / f"jgr-test-compile-cache-{jax.__version__}"
)
os.environ["JGR_COMPILE_CACHE"] = CACHE  # subprocesses share it

jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_compilation_cache_dir", CACHE)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder with real data, `$JGR_TEST_DATA`; the test is skipped where there is none."""
    folder = os.environ.get("JGR_TEST_DATA")
    if not folder:
        pytest.skip("JGR_TEST_DATA is not set: no real data")
    path = Path(folder)
    if not path.is_dir():
        pytest.skip(f"JGR_TEST_DATA={folder} is not a folder")
    return path
