"""No TensorFlow, no PyTorch; and JAX only where it is needed."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {"tensorflow", "torch"}


def loaded_after(code, *arguments, env=None):
    """Top-level modules that are loaded after `code`."""
    code += "\nimport sys\nprint('LOADED', *{name.partition('.')[0] for name in sys.modules})"
    command = [sys.executable, "-W", "error::FutureWarning", "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT, env=os.environ | (env or {}))
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split()[1:])


def test_importing_jgr_and_asking_for_help_load_no_jax():
    """What the time of `jgr --help` hangs on: heavy libraries are loaded by the command that needs them."""
    code = (
        "import contextlib, jgr\nfrom jgr.cli.main import main\nwith contextlib.suppress(SystemExit): main(['--help'])"
    )
    assert not loaded_after(code) & (HEAVY | {"jax", "flax", "numpy", "orbax", "optax", "ml_collections"})


TRAIN_AND_EVALUATE = """
import sys
from jgr.cli.main import main
assert main(["train", f"--config={sys.argv[1]}", f"--workdir={sys.argv[2]}"]) == 0
assert main(["evaluate", sys.argv[2]]) == 0
"""


def test_training_and_evaluating_load_no_tensorflow_and_no_torch(tmp_path):
    loaded = loaded_after(TRAIN_AND_EVALUATE, "configs/gan/dcgan_digits.py:smoke", tmp_path / "run")
    assert "jax" in loaded
    assert not loaded & HEAVY


@pytest.mark.slow
def test_nor_do_they_on_a_data_set_of_tfds(tmp_path, test_data):
    folder = {"TFDS_DATA_DIR": str(test_data / "tfds")}
    loaded = loaded_after(TRAIN_AND_EVALUATE, "configs/gan/mlp_gan_mnist.py:smoke", tmp_path / "run", env=folder)
    assert "tensorflow_datasets" in loaded
    assert not loaded & HEAVY


@pytest.mark.parametrize("folder", ["jgr", "configs"])
def test_no_file_imports_tensorflow_or_torch(folder):
    imported = {}
    for file in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0]: file for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported[node.module.partition(".")[0]] = file
    assert imported
    assert not {name: str(file) for name, file in imported.items() if name in HEAVY}
