import os
import subprocess
import sys

import pytest

from jgr.jobs.launch.shares import default_jobs, shares


def test_cores_are_divided(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 5, 6})
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert [sorted(share.cores) for share in shares(2)] == [[0, 1], [2, 5, 6]]
    assert [sorted(share.cores) for share in shares(1)] == [[0, 1, 2, 5, 6]]
    assert [sorted(share.cores) for share in shares(7)] == [[0], [1], [2], [5], [6], [0], [1]]
    assert not shares(2)[0].variables


@pytest.mark.parametrize(
    ("jobs", "gpus", "fraction"),
    [(2, ["4,5", "6,7"], None), (4, ["4", "5", "6", "7"], None), (6, ["4", "5", "6", "7", "4", "5"], "0.450")],
)
def test_gpus_are_divided_and_the_memory_of_shared_ones_too(monkeypatch, jobs, gpus, fraction):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")
    monkeypatch.delenv("XLA_PYTHON_CLIENT_MEM_FRACTION", raising=False)
    found = [share.variables for share in shares(jobs)]
    assert [variables["CUDA_VISIBLE_DEVICES"] for variables in found] == gpus
    assert {variables.get("XLA_PYTHON_CLIENT_MEM_FRACTION") for variables in found} == {fraction}
    monkeypatch.setenv("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.2")
    assert "XLA_PYTHON_CLIENT_MEM_FRACTION" not in shares(jobs)[0].variables


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no affinity here")
def test_a_process_has_the_cores_of_its_share():
    share, before = shares(len(os.sched_getaffinity(0)))[0], os.sched_getaffinity(0)
    with share.taken():
        code = "import os; print(*os.sched_getaffinity(0))"
        printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert set(map(int, printed.split())) == share.cores
    assert os.sched_getaffinity(0) == before


def test_one_run_at_a_time_without_gpus(monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert default_jobs() == 1
