"""What README shows works as it stands there."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def run(arguments, folder):
    done = subprocess.run([sys.executable, "-m", *arguments], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_parts_of_your_own(tmp_path):
    (parts,) = [text for kind, text in BLOCKS if kind == "python" and "class Generator" in text]
    (commands,) = [text for kind, text in BLOCKS if kind == "" and "my_parts.NoisyGAN" in text]
    (tmp_path / "my_parts.py").write_text(parts)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    train, evaluate = (shlex.split(line) for line in commands.replace("\\\n", " ").strip().splitlines())
    train = [argument.replace("dcgan_digits.py", "dcgan_digits.py:smoke") for argument in train]
    train = [argument.replace("num_steps=500", "num_steps=4") for argument in train]
    assert "step 4/4" in run(train, tmp_path)
    printed = run(evaluate, tmp_path)
    assert re.search(r"fd_brightness@[0-9a-f]{6}_u8_n16_all", printed)
    assert "stripes-all@" in printed


def test_restoration_parts_of_your_own(tmp_path):
    parts = [text for kind, text in BLOCKS if kind == "python" and "@dataclasses" in text]
    (commands,) = [text for kind, text in BLOCKS if kind == "" and "my_parts.Banding" in text]
    (tmp_path / "my_parts.py").write_text("".join(parts))
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    train, evaluate = (shlex.split(line)[1:] for line in commands.replace("\\\n", " ").strip().splitlines())
    train = [argument.replace("edsr_train400.py", "edsr_train400.py:smoke") for argument in train]
    assert "step 2/2" in run(train, tmp_path)
    assert "psnr_gray_u8/banding-8-seed0" in run(evaluate, tmp_path)


@pytest.mark.parametrize("folder", ["jgr", "configs", "experiments", "results", "tests"])
def test_the_layout_is_there(folder):
    assert f"\n{folder}/" in README
    assert (ROOT / folder).is_dir()


def test_metrics_from_python(tmp_path):
    (example,) = [text for kind, text in BLOCKS if kind == "python" and "PairStream" in text]
    (tmp_path / "example.py").write_text(example)
    done = subprocess.run([sys.executable, "example.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.stdout.startswith("Value(value=0.9"), done.stderr


def test_every_command_is_in_the_table():
    from jgr.cli.main import COMMANDS

    for command in COMMANDS:
        assert f"| `jgr {command} " in README
