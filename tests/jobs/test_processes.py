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

import jgr
from jgr.data.order import record_index
from jgr.errors import ConfigError
from jgr.jobs.score import Scorer
from jgr.processes import _launched_together, _own_gpus, initialize
from jgr.rng import purpose_key, record_keys, step_key

ROOT = Path(__file__).resolve().parents[2]
CONFIG = "configs/gan/dcgan_digits.py:smoke"
LONG = 1_000_000
RATE = [f"--config.task.{network}_optimizer.rule.cls=optax.sgd" for network in ("generator", "discriminator")]


class Job:
    """A command of jgr in some processes."""

    def __init__(self, command, processes):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        several = lambda i: [  # noqa: E731
            f"--coordinator_address={address}",
            f"--num_processes={processes}",
            f"--process_id={i}",
        ]
        environment = os.environ | {"JAX_NUM_CPU_DEVICES": "1", "PYTHONPATH": str(ROOT / "tests")}
        self.processes = [
            subprocess.Popen(
                [sys.executable, "-m", "jgr", *map(str, command), *(several(i) if processes > 1 else [])],
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


def train(workdir, num_steps, processes, *extra):
    """A training that records what it took."""
    every = ("--config.train.sample_every=0", "--config.train.checkpoint_every=100000")
    options = (
        "--config.task.cls=recorder.RecordingGAN",
        "--config.data.mode=streamed",
        f"--config.train.num_steps={num_steps}",
        *RATE,
        *every,
    )
    return Job(["train", f"--config={CONFIG}", f"--workdir={workdir}", *options, *extra], processes)


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
    job = train(workdir, LONG, 2)
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


def test_two_processes_evaluate_once(job_of_two, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tests"))
    workdir, _ = job_of_two
    first, second = Job(["evaluate", workdir, "--trust"], 2).end()
    (row,) = [json.loads(line) for line in (workdir / "results.jsonl").read_text().splitlines()]
    assert "fd_pixels" in first
    assert "fd_pixels" not in second
    run = jgr.load(workdir, trust=True)
    (alone,) = Scorer(run.experiment.task, run.experiment.evaluation, run.experiment.data, run.mesh).score(
        run.state, 0, "ema"
    )
    assert row["value"] == pytest.approx(alone.value, rel=1e-5)
    assert row["n"] == alone.n


@pytest.mark.slow
def test_an_error_in_one_process_alone_ends_it_at_once(tmp_path):
    """The others are ended by JAX when they miss it; an orderly end of this one would wait for them."""
    job = train(tmp_path / "run", LONG, 2, "--config.data.source.cls=recorder.HalfBroken")
    output = job.processes[1].communicate(timeout=60)[0]
    assert job.processes[1].returncode == 1
    assert "jgr train: error: record 7 of half-broken: process 1 cannot read it" in output
    job.processes[0].kill()
    job.processes[0].communicate()


@pytest.mark.slow
def test_other_data_in_one_process_is_told(tmp_path):
    for output in train(tmp_path / "run", 6, 2, "--config.data.source.cls=recorder.OneEach").end(status=1):
        assert "the fingerprint of the data is {'one-each': 'of process 1'} here" in output
    assert not (tmp_path / "run").exists()


def test_what_one_cannot_do_all_are_told(job_of_two):
    workdir, _ = job_of_two
    for output in train(workdir, LONG, 2, "--config.seed=3").end(status=1):
        assert "is a run of another config: config.seed is 0 there and 3 here" in output
        assert "Traceback" not in output


@pytest.mark.slow
def test_a_run_of_two_goes_on_with_four_and_with_one(job_of_two, tmp_path):
    """The records and the noise are those that the order function says, the losses those of one process."""
    workdir, _ = job_of_two
    begun = metrics(workdir)[-1]["step"]
    train(workdir, begun + 3, 4, "--config.mesh.fsdp=2", "--config.mesh.fsdp_min_size=64").end()
    train(workdir, begun + 6, 1).end()
    train(tmp_path / "one", begun + 6, 1).end()
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


@pytest.mark.parametrize(
    ("environment", "gpus"),
    [
        ({"SLURM_STEP_TASKS_PER_NODE": "1(x2)", "CUDA_VISIBLE_DEVICES": "0,1,2,3"}, [0, 1, 2, 3]),
        ({"OMPI_COMM_WORLD_LOCAL_SIZE": "1", "CUDA_VISIBLE_DEVICES": "4,5"}, [0, 1]),
        ({"SLURM_STEP_TASKS_PER_NODE": "8(x2)", "CUDA_VISIBLE_DEVICES": "0,1,2,3,4,5,6,7"}, None),
        ({"OMPI_COMM_WORLD_LOCAL_SIZE": "4"}, None),
        ({}, None),
    ],
)
def test_the_only_process_of_a_machine_takes_all_its_gpus(monkeypatch, environment, gpus):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert _own_gpus() == gpus


@pytest.mark.parametrize(
    "environment",
    [{"SLURM_STEP_NUM_TASKS": "2"}, {"OMPI_COMM_WORLD_SIZE": "2"}, {"TPU_WORKER_HOSTNAMES": "a,b"}],
    ids=["Slurm", "Open MPI", "GKE"],
)
def test_launchers_are_noticed(monkeypatch, environment):
    assert not _launched_together()
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert _launched_together()
