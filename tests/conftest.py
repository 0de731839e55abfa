"""Strict numerics, four CPU devices and one compile cache for the whole suite."""

import gc
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import jax
import pytest

# jgr itself is imported inside fixtures: the shape-checking import hook comes after this file.

ROOT = Path(__file__).resolve().parents[1]
DIGITS = f"{ROOT}/configs/gan/dcgan_digits.py:smoke"

CACHE = os.environ.get("JGR_COMPILE_CACHE") or str(
    Path(tempfile.gettempdir()) / f"jgr-test-compile-cache-{jax.__version__}"
)
os.environ["JGR_COMPILE_CACHE"] = CACHE  # subprocesses share it
jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_compilation_cache_dir", CACHE)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def pytest_configure(config):
    """Where slow tests are left out, most of the time goes into compiling what runs for milliseconds, once."""
    if config.option.markexpr != "not slow":
        return
    flags = ["--xla_backend_optimization_level=0"]
    if jax.__version_info__ < (0, 11):  # later ones have no such choice
        flags += [
            "--xla_cpu_use_fusion_emitters=false",
            "--xla_cpu_opt_preset=CPU_OPT_PRESET_FAST_COMPILE",
            "--xla_cpu_parallel_codegen_split_count=1",
        ]
    os.environ["XLA_FLAGS"] = " ".join([*flags, os.environ.get("XLA_FLAGS", "")]).strip()  # subprocesses share them


def pytest_collection_finish():
    """What was imported stays: the garbage collector, which every compilation calls, need not look at it each time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 50)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Statistics and weights of this session alone, for subprocesses too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JGR_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


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


@pytest.fixture(scope="session")
def run_jgr():
    """`jgr …` in a process of its own, in the repository's root; it must end with `status`."""

    def run(*arguments, status=0, **options):
        command = [sys.executable, "-m", "jgr", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT, **options)
        assert done.returncode == status, done.stderr
        return done

    return run


@pytest.fixture(scope="session")
def digits_config():
    """The small digits config on one device, with overrides, resolved: `digits_config({"train.num_steps": 6})`."""

    def make(overrides=()):
        from jgr.config import load_config_file, resolve
        from jgr.jobs.experiment import Experiment

        return resolve(
            load_config_file(DIGITS),
            Experiment,
            [(key, str(value)) for key, value in ({"mesh.data": 1} | dict(overrides)).items()],
        )

    return make


@pytest.fixture(scope="session")
def vae_run(tmp_path_factory):
    """A VAE with two latents, trained for 400 steps on scikit-learn's digits: enough to use both. To be read only."""
    import jgr
    from jgr.config import load_config_file, resolve
    from jgr.jobs.experiment import Experiment

    overrides = {
        "mesh.data": 1,
        "task.encoder.widths": (64,),
        "task.decoder.widths": (64,),
        "task.optimizer.learning_rate": 1e-2,
        "train.num_steps": 400,
        "train.steps_per_call": 50,
        "train.batch_size": 64,
        "train.log_every": 400,
        "train.checkpoint_every": 400,
        "train.sample_every": 0,
    }
    config = resolve(
        load_config_file(f"{ROOT}/configs/vae/vae_digits.py:smoke"),
        Experiment,
        [(key, str(value)) for key, value in overrides.items()],
    )
    workdir = tmp_path_factory.mktemp("vae") / "run"
    jgr.train(config, workdir, quiet=True)
    return workdir


@pytest.fixture(scope="session")
def digits_run(digits_config, tmp_path_factory):
    """A run of 6 steps with checkpoints and pictures at 2, 4 and 6, evaluated at the last. To be read only."""
    import jgr

    workdir = tmp_path_factory.mktemp("digits") / "run"
    every = {"train.checkpoint_every": 2, "train.sample_every": 2, "train.keep_checkpoints": 3}
    config = digits_config({"train.num_steps": 6, **every})
    jgr.train(config, workdir, config_path=DIGITS, command=["jgr", "train"], quiet=True)
    jgr.evaluate(workdir, quiet=True)
    return workdir
