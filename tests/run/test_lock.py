import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from jgr.errors import RunError
from jgr.run.lock import RunLock, is_alive

HOLD = """
import sys
from jgr.run.lock import RunLock
with RunLock(sys.argv[1], job="reproduce"):
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of `tmp_path` until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout.readline() == "locked\n"
        yield process
        process.kill()


def test_second_training_is_refused_with_pid_host_and_advice(tmp_path, holder):
    begun = time.monotonic()
    with pytest.raises(RunError) as refused, RunLock(tmp_path):
        pass
    assert time.monotonic() - begun < 3
    message = str(refused.value)
    assert f"job 'reproduce', pid {holder.pid} on {socket.gethostname()} since 20" in message
    assert f"kill {holder.pid}" in message
    assert "\n" not in message
    assert is_alive(tmp_path)


def test_sigkill_frees_the_lock(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert not is_alive(tmp_path)  # though its heartbeat is fresh
    with RunLock(tmp_path):
        assert is_alive(tmp_path)


def test_leaving_frees_the_lock_and_ends_the_heartbeat(tmp_path, holder):
    holder.communicate("")
    assert holder.returncode == 0
    assert not (tmp_path / "heartbeat.json").exists()
    assert not is_alive(tmp_path)


def test_one_process_cannot_train_twice(tmp_path):
    with RunLock(tmp_path), pytest.raises(RunError, match=f"pid {os.getpid()}"), RunLock(tmp_path):
        pass
    with RunLock(tmp_path):
        pass


def test_a_forked_worker_does_not_keep_the_lock(tmp_path):
    code = (
        "import os, sys, time; from jgr.run.lock import RunLock\n"
        "RunLock(sys.argv[1]).__enter__()\n"
        "child = os.fork()\n"
        "if child: print(child, flush=True); os.kill(os.getpid(), 9)\n"
        "os.close(1); time.sleep(60)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert done.returncode == -signal.SIGKILL
        assert not is_alive(tmp_path)
    finally:
        os.kill(int(done.stdout), signal.SIGKILL)


def test_heartbeat_is_rewritten_and_its_thread_stops_at_once(tmp_path):
    heartbeat = tmp_path / "heartbeat.json"
    threads = threading.active_count()
    with RunLock(tmp_path, beat_s=0.02):
        first = json.loads(heartbeat.read_text())
        deadline = time.monotonic() + 10
        while json.loads(heartbeat.read_text())["time"] == first["time"]:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert first["pid"] == os.getpid()
    with RunLock(tmp_path, beat_s=1000.0):
        begun = time.monotonic()
    assert time.monotonic() - begun < 1
    assert threading.active_count() == threads


def foreign_heartbeat(folder, age_s):
    beat = {"pid": 7, "host": "another-host", "job": "train", "since": "2026-01-01", "time": time.time() - age_s}
    (folder / "heartbeat.json").write_text(json.dumps(beat))


def test_fresh_heartbeat_of_another_host_keeps_out(tmp_path):
    foreign_heartbeat(tmp_path, 30)
    assert is_alive(tmp_path)
    (tmp_path / "train.lock").touch()
    assert is_alive(tmp_path)
    assert not is_alive(tmp_path, timeout_s=20.0)
    with pytest.raises(RunError, match=r"pid 7 on another-host .*remove .*heartbeat\.json"), RunLock(tmp_path):
        pass
    assert json.loads((tmp_path / "heartbeat.json").read_text())["host"] == "another-host"


def test_old_or_damaged_heartbeat_keeps_no_one_out(tmp_path):
    foreign_heartbeat(tmp_path, 90)
    assert not is_alive(tmp_path)
    with RunLock(tmp_path):
        pass
    (tmp_path / "heartbeat.json").write_text("{")
    assert not is_alive(tmp_path)
    with RunLock(tmp_path):
        pass


def test_probing_never_keeps_a_training_out(tmp_path):
    with RunLock(tmp_path):
        pass
    stop = threading.Event()

    def probe():
        while not stop.is_set():
            is_alive(tmp_path)

    prober = threading.Thread(target=probe)
    prober.start()
    try:
        for _ in range(10):
            with RunLock(tmp_path):
                pass
    finally:
        stop.set()
        prober.join()


def test_unwritable_heartbeat_is_reported_once_and_harms_nothing(tmp_path, caplog):
    (tmp_path / "heartbeat.json").mkdir()
    (tmp_path / "heartbeat.json" / "file").touch()
    with caplog.at_level(logging.WARNING), RunLock(tmp_path, beat_s=0.01):
        time.sleep(0.1)
        assert is_alive(tmp_path)
    assert len(caplog.records) == 1
    assert "heartbeat.json cannot be written" in caplog.text


def test_folder_that_cannot_hold_a_lock(tmp_path):
    with (
        pytest.raises(RunError, match=r"absent/train\.lock cannot be written: No such file"),
        RunLock(tmp_path / "absent"),
    ):
        pass
    assert not is_alive(tmp_path / "absent")
