"""A study in several processes, killed and started again, has the table of the study that was not."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jgr.jobs.launch.local import Local
from jgr.jobs.study import load_study
from jgr.jobs.study_plan import plan

ROOT = Path(__file__).resolve().parents[3]
NUM_STEPS = 60
STUDY = f"""
from jgr.jobs.study import Arm, Study

CONFIG = "{ROOT}/configs/gan/dcgan_digits.py:smoke"
COMMON = {{
    "mesh.data": 1,
    "train.num_steps": {NUM_STEPS},
    "train.log_every": 2,
    "train.checkpoint_every": 10,
    "train.sample_every": 0,
}}


def get_study():
    arms = (
        Arm(name="late", config=CONFIG, overrides=COMMON | {{"train.init_from.path": "runs/small/early-s0"}}),
        Arm(name="early", config=CONFIG, overrides=COMMON),
        Arm(name="broken", config=CONFIG, overrides=COMMON | {{"task.generator.image_size": 16}}),
        Arm(name="lost", config=CONFIG, overrides=COMMON | {{"train.init_from.path": "runs/small/broken-s0"}}),
    )
    return Study(title="Small GANs", arms=arms, evaluation={{"num_samples": 20}})
"""
RUN_ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{6}")
LOST = "runs/small/lost-s0 refused: it starts from runs/small/broken-s0, which was not trained to its end"


class Killed:
    """`jgr experiment small.py` in a folder, in a process group of its own."""

    def __init__(self, folder, *options):
        self.folder, self.command = folder, [sys.executable, "-m", "jgr", "experiment", "small.py", *options]
        folder.mkdir(exist_ok=True)
        (folder / "small.py").write_text(STUDY)

    def start(self):
        path = f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
        return subprocess.Popen(
            self.command,
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def finish(self, status=0):
        """What it prints when nothing stops it."""
        process = self.start()
        output = process.communicate(timeout=600)[0]
        assert process.returncode == status, output
        return output

    def logged(self):
        """Lines that all trainings have logged."""
        files = self.folder.glob("runs/small/*/metrics.jsonl")
        return sum(file.read_bytes().count(b"\n") for file in files)

    def kill(self, number, lines, delay):
        """Starts it, and sends a signal to all its processes some time after so many lines are logged."""
        process, deadline = self.start(), time.monotonic() + 600
        while self.logged() < lines and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(delay)
        with_group = process.poll() is None
        if with_group:
            os.killpg(process.pid, number)
        process.communicate(timeout=600)
        return with_group

    def tables(self):
        """The files of the table, rows and curves, without times and the runs' ids, which are times, too."""
        out = self.folder / "results/small"
        rows = [json.loads(line) for line in (out / "rows.jsonl").read_text().splitlines()]
        numbers = [{key: row[key] for key in row if key not in ("run", "time_s")} for row in rows]
        curves = {path.name: path.read_bytes() for path in (out / "curves").iterdir()}
        tables = {form: RUN_ID.sub("", (out / f"table.{form}").read_text()) for form in ("md", "csv", "tex")}
        return tables, numbers, curves


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """The study made by one process that nothing stops."""
    study = Killed(tmp_path_factory.mktemp("straight") / "study")
    output = study.finish(status=1)
    assert [line for line in output.splitlines() if line.startswith("[")] == [
        f"[{number}/4] runs/small/{name}-s0: missing"
        for number, name in ((2, "early"), (1, "late"), (3, "broken"), (4, "lost"))
    ]
    assert LOST in output
    assert "jgr experiment: error: 2 runs failed or were refused" in output
    return study


def test_a_study_in_two_processes_that_is_killed_has_the_table_of_one_that_is_not(straight, tmp_path):
    study = Killed(tmp_path / "study", "--jobs=2", "--only=late,early")
    assert study.kill(signal.SIGKILL, random.randrange(1, NUM_STEPS // 2), 0.0)
    assert "early-s0: interrupted" in study.finish()
    assert study.tables() == straight.tables()
    manifest = json.loads((study.folder / "runs/small/late-s0/run.json").read_text())
    early = json.loads((study.folder / "runs/small/early-s0/run.json").read_text())
    assert manifest["created"] >= early["ended"]


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_study_that_is_killed_five_times_has_the_table_of_one_that_is_not(straight, tmp_path, jobs):
    generator = random.Random(int.from_bytes(os.urandom(4)))
    study = Killed(tmp_path / "study", f"--jobs={jobs}")
    for turn in range(5):
        number = generator.choice([signal.SIGKILL, signal.SIGTERM])
        lines = round((turn + generator.random()) / 5 * NUM_STEPS)  # of two runs that log every other step
        print("killed" if study.kill(number, lines, generator.uniform(0, 1)) else "ended", number.name, lines)
    assert LOST in study.finish(status=1)
    assert study.tables() == straight.tables()
    done = {path: path.read_bytes() for path in (study.folder / "results").rglob("*") if path.is_file()}
    study.finish(status=1)
    assert {path: path.read_bytes() for path in (study.folder / "results").rglob("*") if path.is_file()} == done


@pytest.mark.slow
def test_runs_stop_with_a_checkpoint_when_the_process_that_started_them_is_killed(tmp_path):
    study = Killed(tmp_path / "study", "--jobs=2")
    process = study.start()
    while study.logged() < 2:
        time.sleep(0.01)
    process.kill()
    manifest = study.folder / "runs/small/early-s0/run.json"
    deadline = time.monotonic() + 300
    while json.loads(manifest.read_text())["status"] == "running":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.communicate()
    assert json.loads(manifest.read_text())["status"] in ("preempted", "completed")


def test_what_would_be_launched(straight, monkeypatch):
    assert Local(1).describe() == "one after another, in this process"
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3})
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert Local(2).describe() == "2 at once, the first with 2 CPU cores"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert Local(2).describe() == "2 at once, the first with 2 CPU cores and GPU 0"
    monkeypatch.chdir(straight.folder)
    late, early, *_ = plan(load_study("small.py"), "runs/small")
    assert (late.needs, early.needs) == (early.path, None)
