"""A run that is killed and started again is, bit for bit, the run that was not."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jgr.checkpoint import Checkpointer
from jgr.jobs.load import load
from jgr.jobs.observe import MEASURED
from jgr.state import checksums

CONFIG = "configs/gan/dcgan_digits.py:smoke"


def start(workdir, num_steps, *extra):
    command = [
        *(sys.executable, "-m", "jgr", "train", f"--config={CONFIG}", f"--workdir={workdir}"),
        *(f"--config.train.num_steps={num_steps}", "--config.train.checkpoint_every=10", "--config.train.log_every=5"),
        *extra,
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process):
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 0, output
    return output


def logged(workdir):
    rows = load(workdir).metrics()
    return [{key: value for key, value in row.items() if key not in MEASURED} for row in rows]


def assert_same(workdir, straight):
    assert checksums(load(workdir).state) == checksums(load(straight).state)
    assert json.dumps(logged(workdir)) == json.dumps(logged(straight))
    assert load(workdir).folder.manifest()["status"] == "completed"


def has_checkpoint(workdir):
    return any(entry.name.isdigit() for entry in (Path(workdir) / "checkpoints").glob("*"))


def wait_for(condition, process, timeout=60.0):
    deadline = time.monotonic() + timeout
    while not condition() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("straight") / "run"
    finish(start(workdir, 200))
    assert [row["step"] for row in logged(workdir)] == list(range(5, 201, 5))
    return workdir


def kill_at_random(workdir, generator):
    """Kills once a checkpoint is there, at a random moment after it."""
    process = start(workdir, 200)
    wait_for(lambda: has_checkpoint(workdir), process)
    time.sleep(generator.uniform(0.0, 0.3))
    process.kill()
    process.communicate()


def kill_while_saving(workdir):
    """Kills the moment that an unfinished checkpoint is seen on disk."""
    process = start(workdir, 200)
    folder = Path(workdir) / "checkpoints"
    wait_for(lambda: any("tmp" in entry.name for entry in folder.glob("*")), process)
    process.kill()
    process.communicate()


def test_sigkill(straight, tmp_path):
    workdir = tmp_path / "run"
    generator = random.Random(int.from_bytes(os.urandom(4)))
    kill_at_random(workdir, generator)
    kill_while_saving(workdir)
    kill_at_random(workdir, generator)
    finish(start(workdir, 200))
    assert_same(workdir, straight)


def test_sigterm_saves_and_exits_with_success(straight, tmp_path):
    workdir = tmp_path / "run"
    process = start(workdir, 200)
    wait_for(lambda: has_checkpoint(workdir), process)
    process.send_signal(signal.SIGTERM)
    finish(process)
    manifest = load(workdir).folder.manifest()
    assert manifest["status"] == "preempted"
    stopped = load(workdir).steps()[-1]
    assert 10 <= stopped < 200
    assert f"step {stopped} of 200" in finish(start(workdir, 200))
    assert_same(workdir, straight)


@pytest.mark.slow
def test_going_on_with_more_steps_is_the_longer_run(straight, tmp_path):
    workdir = tmp_path / "run"
    finish(start(workdir, 60))
    finish(start(workdir, 200))
    assert_same(workdir, straight)
    assert load(workdir).folder.manifest()["sessions"][1]["changed"] == {"train.num_steps": [60, 200]}


@pytest.mark.slow
def test_a_damaged_newest_checkpoint_is_moved_aside(straight, tmp_path):
    workdir = tmp_path / "run"
    finish(start(workdir, 60))
    newest = max((workdir / "checkpoints" / "60" / "state").rglob("d/*"), key=lambda file: file.stat().st_size)
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    output = finish(start(workdir, 200))
    assert "checkpoints/60" in output
    assert "damaged" in output
    assert "step 50 of 200" in output
    assert [entry.name.split("-")[0] for entry in (workdir / "damaged").iterdir()] == ["60"]
    assert_same(workdir, straight)


@pytest.mark.slow
def test_sigkill_many_times(straight, tmp_path):
    generator = random.Random(0)
    for trial in range(3):
        workdir = tmp_path / str(trial)
        for _ in range(6):
            if generator.random() < 0.4:
                kill_while_saving(workdir)
            else:
                kill_at_random(workdir, generator)
        finish(start(workdir, 200))
        assert_same(workdir, straight)


def test_checkpoints_hold_the_position_in_the_data(straight):
    checkpoints = Checkpointer(straight / "checkpoints", read_only=True)
    run = load(straight)
    _, meta = checkpoints.restore(200, run._abstract)
    assert meta["position"] == 200 * run.experiment.images_per_step
