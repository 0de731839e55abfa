"""A study on a Slurm daemon of this machine: Debian's packages slurmctld, slurmd and slurm-client."""

import getpass
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jgr.errors import ConfigError
from jgr.jobs.launch.slurm import Slurm

ROOT = Path(__file__).resolve().parents[3]
PROGRAMS = f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin"
STUDY = f"""
from jgr.jobs.study import Arm, Study

CONFIG = "{ROOT}/configs/gan/dcgan_digits.py:smoke"
COMMON = {{"train.num_steps": 200, "train.log_every": 5, "train.checkpoint_every": 50, "train.sample_every": 0}}


def get_study():
    arms = (
        Arm(name="a", config=CONFIG, overrides=COMMON, seeds=(0, 1, 2)),
        Arm(name="b", config=CONFIG, overrides=COMMON | {{"task.generator.width": 4}}, seeds=(0, 1)),
        Arm(name="from-a", config=CONFIG, overrides=COMMON | {{"train.init_from.path": "runs/six/a-s0"}}),
    )
    return Study(title="Six", arms=arms, evaluation={{"num_samples": 20}})
"""
NAMES = ["a-s0", "a-s1", "a-s2", "b-s0", "b-s1", "from-a-s0"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A cluster of one node with two CPUs; the environment in which its commands find it."""
    pytest.importorskip("submitit")
    daemons = {name: shutil.which(name, path=PROGRAMS) for name in ("slurmctld", "slurmd", "squeue")}
    if missing := [name for name, path in daemons.items() if path is None]:
        pytest.skip(f"no {missing[0]} here: apt-get install slurmctld slurmd slurm-client")
    if not any(Path("/usr/lib").rglob("auth_none.so")):
        pytest.skip("this Slurm cannot do without authentication (auth/none)")
    folder, host = tmp_path_factory.mktemp("slurm"), socket.gethostname().partition(".")[0]
    (folder / "state").mkdir()
    (folder / "slurm.conf").write_text(
        "\n".join(
            [
                "ClusterName=test",
                f"SlurmctldHost={host}(127.0.0.1)",
                f"SlurmUser={getpass.getuser()}",
                f"SlurmdUser={getpass.getuser()}",
                "AuthType=auth/none",
                "CredType=cred/none",
                f"SlurmctldPort={free_port()}",
                f"SlurmdPort={free_port()}",
                f"StateSaveLocation={folder}/state",
                f"SlurmdSpoolDir={folder}/spool",
                f"SlurmctldPidFile={folder}/slurmctld.pid",
                f"SlurmdPidFile={folder}/slurmd.pid",
                "ProctrackType=proctrack/linuxproc",
                "TaskPlugin=task/none",
                "JobAcctGatherType=jobacct_gather/none",
                "AccountingStorageType=accounting_storage/none",
                "SelectType=select/cons_tres",
                "SelectTypeParameters=CR_CPU",
                "MpiDefault=none",
                "JobRequeue=1",
                "SlurmdParameters=config_overrides",
                f"NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=1000 State=UNKNOWN",
                "PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP",
                "",
            ]
        )
    )
    environment = os.environ | {
        "SLURM_CONF": str(folder / "slurm.conf"),
        "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
        "JAX_NUM_CPU_DEVICES": "1",
    }
    logs = {name: (folder / f"{name}.log").open("wb") for name in ("slurmctld", "slurmd")}
    running = [
        subprocess.Popen([daemons[name], "-D"], env=environment, stdout=log, stderr=log) for name, log in logs.items()
    ]
    try:
        deadline = time.monotonic() + 60
        while "idle" not in slurm(environment, "sinfo", "--noheader", "--format=%T", check=False):
            assert time.monotonic() < deadline, (folder / "slurmctld.log").read_text()
            time.sleep(0.5)
        yield environment
        slurm(environment, "scancel", f"--user={getpass.getuser()}")
    finally:
        for daemon in reversed(running):
            daemon.terminate()
            daemon.wait(timeout=60)
        for log in logs.values():
            log.close()


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def slurm(environment, *command, check=True):
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=check, timeout=60).stdout


def start(environment, folder, *options):
    (folder / "six.py").write_text(STUDY)
    command = [sys.executable, "-m", "jgr", "experiment", "six.py", "--launcher=slurm", *options]
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def jobs(environment, *options):
    """The jobs in the queue, and their states, by id."""
    lines = slurm(environment, "squeue", "--noheader", "--array", "--format=%i %T %r", *options).splitlines()
    return {job: state for job, state, *_ in map(str.split, lines)}


def wait_for(condition, seconds=1200):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


def training(folder, name):
    """Whether a run has logged something, and is not at its end."""
    path = folder / "runs/six" / name
    return (path / "metrics.jsonl").exists() and manifest(folder, name)["status"] == "running"


def manifest(folder, name):
    return json.loads((folder / "runs/six" / name / "run.json").read_text())


def signal_as_before_the_time_limit(environment, job, arrived):
    """Sends USR2 once: scancel would try again while the job queues itself, which Slurm calls a transitional state."""
    command = subprocess.Popen(["scancel", "--signal=USR2", job], env=environment, stderr=subprocess.DEVNULL)
    try:
        wait_for(arrived, 120)
    finally:
        command.kill()
        command.wait()


@pytest.mark.slow
def test_six_runs_two_at_a_time_one_requeued_one_out_of_time(cluster, tmp_path):
    first = start(cluster, tmp_path, "--jobs=2")
    wait_for(lambda: training(tmp_path, "a-s0"))
    first.kill()  # the jobs go on without it
    output = first.communicate()[0]
    (array,) = {job.partition("_")[0] for job in jobs(cluster) if "_" in job}
    slurm(cluster, "scontrol", "requeue", f"{array}_0")
    wait_for(lambda: training(tmp_path, "a-s1"))
    signal_as_before_the_time_limit(cluster, f"{array}_1", lambda: manifest(tmp_path, "a-s1")["status"] != "running")
    again = start(cluster, tmp_path, "--jobs=2")
    most = 0
    while again.poll() is None:
        most = max(most, sum(state == "RUNNING" for state in jobs(cluster).values()))
        time.sleep(0.5)
    output += again.communicate()[0]
    assert again.returncode == 0, output
    assert output.count("submitted") == 2, output  # five runs, and the one that starts from one of them
    assert most <= 2
    rows = [json.loads(line) for line in (tmp_path / "results/six/rows.jsonl").read_text().splitlines()]
    assert [(row["seed"], row["step"]) for row in rows] == [(0, 200), (1, 200), (2, 200), (0, 200), (1, 200), (0, 200)]
    assert [len(manifest(tmp_path, name)["sessions"]) for name in NAMES] == [2, 2, 1, 1, 1, 1]
    assert manifest(tmp_path, "from-a-s0")["init_from"]["run"] == manifest(tmp_path, "a-s0")["run"]
    done = (tmp_path / "results/six/table.md").read_bytes()
    third = start(cluster, tmp_path)
    assert "submitted" not in third.communicate(timeout=600)[0]
    assert third.returncode == 0
    assert (tmp_path / "results/six/table.md").read_bytes() == done


@pytest.mark.slow
def test_a_run_of_two_tasks_and_one_that_is_cancelled(cluster, tmp_path):
    study = start(cluster, tmp_path, "--only=b", "--jobs=1", "--slurm.ntasks=2", "--slurm.cpus-per-task=1")
    wait_for(lambda: training(tmp_path, "b-s0"))
    (running,) = [job for job, state in jobs(cluster).items() if state == "RUNNING"]
    (waiting,) = [job for job, state in jobs(cluster).items() if state == "PENDING"]
    slurm(cluster, "scancel", waiting)
    output = study.communicate(timeout=1200)[0]
    assert study.returncode == 1, output
    assert "b-s1 failed: its job ended without a word: cancelled" in output
    assert manifest(tmp_path, "b-s0")["status"] == "completed"
    assert manifest(tmp_path, "b-s0")["sessions"][0]["environment"]["devices"]["processes"] == 2
    assert running.partition("_")[0] == waiting.partition("_")[0]


@pytest.mark.slow
def test_what_sbatch_refuses(cluster, tmp_path):
    study = start(cluster, tmp_path, "--slurm.partition=nowhere")
    assert "jgr experiment: error: Slurm takes no jobs: sbatch: error: " in study.communicate(timeout=600)[0]


def test_options_that_are_not_the_users():
    with pytest.raises(ConfigError, match=r"slurm\.job_name is jgr's to set"):
        Slurm(options={"job_name": "mine"})
    with pytest.raises(ConfigError, match="jobs = 0 must be at least 1"):
        Slurm(jobs=0)
