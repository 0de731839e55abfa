"""Several processes on one machine, each with its own part of the data, over loopback."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jgr.data.order import record_index
from jgr.errors import ConfigError
from jgr.processes import initialize
from jgr.rng import purpose_key, record_keys, step_key

ROOT = Path(__file__).resolve().parents[2]
CONFIG = "configs/gan/dcgan_digits.py:smoke"
LONG = 1_000_000
RATE = [f"--config.task.{network}_optimizer.rule.cls=optax.sgd" for network in ("generator", "discriminator")]


class Job:
    """`jgr train` in some processes with some devices each."""

    def __init__(self, workdir, num_steps, processes, *extra, devices=1):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        several = lambda i: [  # noqa: E731
            f"--coordinator_address={address}",
            f"--num_processes={processes}",
            f"--process_id={i}",
        ]
        command = [
            *(sys.executable, "-m", "jgr", "train", f"--config={CONFIG}", f"--workdir={workdir}"),
            *("--config.task.cls=recorder.RecordingGAN", f"--config.train.num_steps={num_steps}", *RATE),
            *("--config.train.sample_every=0", "--config.train.checkpoint_every=100000", *extra),
        ]
        environment = os.environ | {"JAX_NUM_CPU_DEVICES": str(devices), "PYTHONPATH": str(ROOT / "tests")}
        self.processes = [
            subprocess.Popen(
                command + (several(i) if processes > 1 else []),
                cwd=ROOT,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for i in range(processes)
        ]

    def end(self, status=0):
        """The outputs, once all have ended."""
        outputs = [process.communicate(timeout=120)[0] for process in self.processes]
        assert [process.returncode for process in self.processes] == [status] * len(self.processes), outputs
        return outputs


def metrics(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def expected(step, batch_size=8, seed=0):
    """What RecordingGAN reports, by the order function and the keys alone."""
    position = step * batch_size + np.arange(batch_size)
    index = record_index(seed, position, 1797)
    records = sum((int(i) + 1) * (int(p) % 8191 + 1) for i, p in zip(index, position, strict=True)) % 2**32
    keys = record_keys(step_key(purpose_key(seed, "step"), step), jnp.asarray(position, jnp.uint32))
    latents = jax.vmap(lambda key: jax.random.normal(key, (100,)))(keys)
    noise = int(np.asarray(latents).view(np.uint32).sum(dtype=np.uint64)) % 2**32
    return records, noise


@pytest.fixture(scope="module")
def job_of_two(tmp_path_factory):
    """A run that two processes began and left when one of them got SIGTERM; its folder, and what they printed."""
    workdir = tmp_path_factory.mktemp("processes") / "run"
    job = Job(workdir, LONG, 2)
    deadline = time.monotonic() + 60
    while not (workdir / "metrics.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    job.processes[1].send_signal(signal.SIGTERM)
    return workdir, job.end()


def test_two_processes_write_one_run_once(job_of_two):
    workdir, (first, second) = job_of_two
    steps = [row["step"] for row in metrics(workdir)]
    assert steps == list(range(1, len(steps) + 1))
    (session,) = json.loads((workdir / "run.json").read_text())["sessions"]
    assert session["environment"]["devices"]["count"] == 2
    assert f"step 1/{LONG}" in first
    assert "step" not in second


def test_sigterm_to_one_saves_on_all(job_of_two):
    workdir, _ = job_of_two
    assert json.loads((workdir / "run.json").read_text())["status"] == "preempted"
    saved = [int(entry.name) for entry in (workdir / "checkpoints").iterdir() if entry.name.isdigit()]
    assert saved == [metrics(workdir)[-1]["step"]]


def test_what_one_cannot_do_all_are_told(job_of_two):
    workdir, _ = job_of_two
    for output in Job(workdir, LONG, 2, "--config.seed=3").end(status=1):
        assert "is a run of another config: config.seed is 0 there and 3 here" in output
        assert "Traceback" not in output


def test_a_run_of_two_goes_on_with_four_and_with_one(job_of_two, tmp_path):
    """The records and the noise are those that the order function says, the losses those of one process."""
    workdir, _ = job_of_two
    begun = metrics(workdir)[-1]["step"]
    Job(workdir, begun + 3, 4).end()
    Job(workdir, begun + 6, 1).end()
    Job(tmp_path / "one", begun + 6, 1).end()
    rows, straight = metrics(workdir), metrics(tmp_path / "one")
    assert [(row["records"], row["noise"]) for row in rows] == [expected(step) for step in range(begun + 6)]
    for row, one in zip(rows, straight, strict=True):
        for name in ("generator/loss", "discriminator/loss"):
            assert row[name] == pytest.approx(one[name], rel=1e-5)
    # one experiment, wherever it was computed
    hashes = {json.loads((folder / "run.json").read_text())["config_hash"] for folder in (workdir, tmp_path / "one")}
    assert len(hashes) == 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"num_processes": 2}, "--coordinator_address, --process_id missing"),
        (
            {"coordinator_address": "127.0.0.1:1", "num_processes": 2, "process_id": 2},
            "--process_id=2 must be from 0 to 1",
        ),
    ],
)
def test_arguments_that_cannot_be(given, message):
    with pytest.raises(ConfigError, match=message):
        initialize(**given)


@pytest.mark.parametrize(
    "environment", [{}, {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "4", "SLURM_PROCID": "0"}, {"OMPI_COMM_WORLD_SIZE": "1"}]
)
def test_a_process_that_is_alone_waits_for_none(monkeypatch, environment):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    initialize()
    assert jax.process_count() == 1
