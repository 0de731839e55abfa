"""Each command as a user runs it: in a process of its own, by its words on stdout and its exit status."""

import csv
import io
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jgr.cli.main import COMMANDS, main
from jgr.run.folder import RunFolder
from jgr.run.lock import is_alive
from jgr.run.rows import result_row

DIGITS = "configs/gan/dcgan_digits.py:smoke"
LOG_LINE = re.compile(
    r"step (\d+)/6  discriminator/loss \d\.\d+  generator/loss \d\.\d+  (?:\d+|\?) images/s  \d+:\d\d left", re.ASCII
)


@pytest.fixture(scope="module")
def trained(run_jgr, tmp_path_factory):
    """What `jgr train` printed, and the run it made."""
    workdir = tmp_path_factory.mktemp("trained") / "run"
    every = ["--config.train.checkpoint_every=3", "--config.train.num_steps=6"]
    return run_jgr("train", f"--config={DIGITS}", f"--workdir={workdir}", *every), workdir


@pytest.fixture
def jgr_out(capsys):
    """`jgr …` in this process, which must succeed; returns what it printed."""

    def run(*arguments, status=0):
        capsys.readouterr()
        assert main([str(argument) for argument in arguments]) == status
        return capsys.readouterr().out

    return run


def steps_scored(workdir):
    path = workdir / "results.jsonl"
    return [json.loads(line)["step"] for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(run_jgr, command):
    shown = run_jgr(command, "--help").stdout
    assert re.search(rf"^ *jgr {command} \S", shown, re.MULTILINE)


def test_help_without_a_command_lists_all():
    command = Path(sys.executable).with_name("jgr")
    assert command.exists(), "the console command is not installed"
    begun = time.perf_counter()
    done = subprocess.run([command, "--help"], capture_output=True, text=True)
    elapsed = time.perf_counter() - begun
    assert done.returncode == 0
    assert all(re.search(rf"^ +{name}\s+\S", done.stdout, re.MULTILINE) for name in COMMANDS)
    assert elapsed < 1.0


def test_train_prints_plain_lines_and_where_everything_is(trained):
    done, workdir = trained
    lines = done.stdout.splitlines()
    steps = [int(match[1]) for match in map(LOG_LINE.fullmatch, lines) if match]
    assert steps == [1, 2, 3, 4, 5, 6]
    assert done.stderr == ""
    assert "\r" not in done.stdout
    places = dict(line.split(maxsplit=1) for line in lines[-4:])
    assert places["run"] == str(workdir)
    assert all(Path(place).exists() for place in places.values())
    assert places["samples"].endswith("step_00000006.png")
    [session] = RunFolder.open(workdir).manifest()["sessions"]
    assert session["command"][:3] == ["jgr", "train", f"--config={DIGITS}"]


def test_train_again_has_nothing_left_to_do(trained, jgr_out):
    _, workdir = trained
    before = (workdir / "metrics.jsonl").read_bytes()
    every = ["--config.train.checkpoint_every=3", "--config.train.num_steps=6"]
    shown = jgr_out("train", f"--config={DIGITS}", f"--workdir={workdir}", *every)
    assert "step 6 of 6: nothing left to do" in shown
    assert f"metrics      {workdir / 'metrics.jsonl'}" in shown
    assert (workdir / "metrics.jsonl").read_bytes() == before


def test_train_on_a_terminal_shows_a_bar(tmp_path):
    command = [sys.executable, "-m", "jgr", "train", f"--config={DIGITS}", f"--workdir={tmp_path / 'run'}"]
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 160))
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # Linux: the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(ours)
    assert process.wait(timeout=60) == 0
    text = shown.decode()
    assert "100%" in text
    assert "2/2" in text
    assert "\r" in text
    assert not re.search(r"^step \d+/2 ", text, re.MULTILINE)


def test_check_shows_networks_and_sizes(run_jgr, jgr_out):
    shown = run_jgr("check", f"--config={DIGITS}").stdout
    table = shown.split("\n\n")[1].splitlines()  # the generator's
    counts = [int(line.split()[-1].replace(",", "")) for line in table[2:]]
    assert table[0].split() == ["generator", "shape", "type", "parameters"]
    # 8x8 images of width 8: a dense layer to 4x4x8, batch norm, and a transposed convolution to one channel.
    assert counts[-1] == sum(counts[:-1]) == 100 * 4 * 4 * 8 + 2 * 8 + 4 * 4 * 8 * 1 + 1
    assert re.search(r"^data +digits-all: 1797 records, images 8x8x1$", shown, re.MULTILINE)
    full = jgr_out("check", f"--config={DIGITS}", "--show", "--config.train.num_steps=10 epochs")
    assert "--config.train.num_steps=10 epochs" in full.splitlines()
    assert "--config.task.generator.width=8" in full.splitlines()
    assert "--config.train.keep_every=0" in full.splitlines()  # a default
    assert re.search(r"^steps +2247 of 8 images: 10 epochs$", full, re.MULTILINE)  # 10 * 1797 / 8, rounded up


def test_evaluate_one_all_and_again(run_jgr, jgr_out, trained, tmp_path):
    workdir = shutil.copytree(trained[1], tmp_path / "run")
    shown = run_jgr("evaluate", workdir).stdout
    assert re.fullmatch(r"step 6  fd_pixels_u8_n16_all  \d+\.\d+  digits-all@\w{16}  ema\n", shown)
    jgr_out("evaluate", workdir, "--step=3", "--quiet")
    jgr_out("evaluate", workdir, "--step=all", "--seeds=1")
    assert steps_scored(workdir) == [6, 3, 3, 6]
    rows = RunFolder.open(workdir).results()
    assert [row["eval_seed"] for row in rows] == [0, 0, 1, 1]
    assert len({row["value"] for row in rows}) == 4


def test_sample_draws_a_grid_decided_by_its_seed(run_jgr, jgr_out, trained, tmp_path):
    def pixels(name):
        with Image.open(tmp_path / name) as picture:
            return np.asarray(picture)

    _, workdir = trained
    assert (
        run_jgr("sample", workdir, "--num=4", f"--out={tmp_path / 'four.png'}").stdout == f"{tmp_path / 'four.png'}\n"
    )
    jgr_out("sample", workdir, "--num=4", f"--out={tmp_path / 'again.png'}")
    jgr_out("sample", workdir, "--num=4", "--seed=1", f"--out={tmp_path / 'other.png'}")
    jgr_out("sample", workdir, "--num=3", f"--out={tmp_path / 'three.png'}")
    assert pixels("four.png").shape == (2 + 2 * 66, 2 + 2 * 66)  # 8x8 enlarged to 64x64, white lines of 2 pixels
    assert (tmp_path / "four.png").read_bytes() == (tmp_path / "again.png").read_bytes()
    assert (tmp_path / "four.png").read_bytes() != (tmp_path / "other.png").read_bytes()
    np.testing.assert_array_equal(pixels("three.png")[:, :66], pixels("four.png")[:, :66])
    np.testing.assert_array_equal(pixels("three.png")[:66], pixels("four.png")[:66])


@pytest.fixture
def three_runs(trained, tmp_path):
    """Runs with results that differ from each other in seed, and in learning rate; the results are made up."""
    made = []
    for name, seed, rate, value in (("s0", 0, 2e-4, 3.0), ("s1", 1, 2e-4, 5.0), ("fast", 0, 1e-3, 7.0)):
        workdir = shutil.copytree(trained[1], tmp_path / name)
        folder = RunFolder.open(workdir)
        config = folder.config()
        config["seed"] = seed
        config["task"]["generator_optimizer"]["learning_rate"] = rate
        folder.write_config(config)
        folder.update_manifest(run=name)
        folder.append_result(result(name, seed, value))
        made.append(workdir)
    return made


def result(run, seed, value):
    return result_row(
        run=run, config="a.py", config_hash="0", seed=seed, eval_seed=0, step=6, images_seen=48, weights="ema",
        select="last", dataset="digits-all@0", metric="fd_pixels", protocol="fd_pixels_u8_n16_all", value=value,
        std=None, n=16, better="lower", commit=None, device="cpu", time_s=1.0,
    )  # fmt: skip


def test_compare_in_every_format(run_jgr, jgr_out, three_runs, tmp_path):
    key = "task.generator_optimizer.learning_rate"
    markdown = run_jgr("compare", *three_runs, "--format=md").stdout
    assert markdown.startswith("On digits-all@0, n = 16.\n\n| run")
    header, _, folded, fast = markdown.splitlines()[2:6]
    assert [cell.strip() for cell in header.strip("|").split("|")][:3] == ["run", key, "seeds"]
    assert [cell.strip() for cell in folded.strip("|").split("|")] == ["s{0,1}", "0.0002", "2", "4.000 ± 1.414"]
    assert [cell.strip() for cell in fast.strip("|").split("|")] == ["fast", "0.001", "1", "7.000"]
    assert "- fd_pixels: s{0,1} is best, but nothing says how far luck reaches beside fast: 2 and 1 seeds" in markdown
    records = list(csv.DictReader(io.StringIO(jgr_out("compare", *three_runs, "--format=csv"))))
    scores = [record for record in records if record["kind"] == "score"]
    assert [(record["mean"], record[f"config.{key}"]) for record in scores] == [("4.0", "0.0002"), ("7.0", "0.001")]
    took = {record["metric"] for record in records if record["row"] == "fast" and record["kind"] in ("cost", "time")}
    assert took == {"parameters", "trained_parameters", "gflop_per_step", "steps", "images_seen", "train_s"}
    document = json.loads(jgr_out("compare", *three_runs, "--format=json"))
    assert [record["seeds"] for record in document["records"] if record["kind"] == "score"] == [2, 1]
    assert r"\begin{tabular}" in jgr_out("compare", *three_runs, "--format=tex")
    out = tmp_path / "table.md"
    assert jgr_out("compare", *three_runs, "--format=md", f"--out={out}") == f"{out}\n"
    assert out.read_text() == markdown
    ranked = jgr_out("compare", *three_runs[::-1], "--format=csv", "--rank=fd_pixels")
    rows = [record["row"] for record in csv.DictReader(io.StringIO(ranked)) if record["kind"] == "score"]
    assert rows == ["s{1,0}", "fast"]


def test_compare_does_not_rank_two_protocols(run_jgr, three_runs):
    other = result("fast", 0, 1.0) | {"protocol": "fd_pixels_u8_n64_all", "n": 64}
    RunFolder.open(three_runs[2]).append_result(other)
    done = run_jgr("compare", *three_runs, "--rank=fd_pixels", status=1)
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "cannot rank by 'fd_pixels', the values are not comparable" in done.stderr


@pytest.mark.slow
def test_reproduce_says_what_differs(run_jgr, jgr_out, trained, tmp_path):
    workdir = shutil.copytree(trained[1], tmp_path / "run")
    done = run_jgr("reproduce", workdir, "--quiet")
    assert done.stdout.splitlines() == [
        f"{workdir} -> {workdir}-reproduced",
        "state at step 6 (parameters, model state, optimisers, average): equal bit for bit",
        "metrics.jsonl: equal bit for bit",
        "results.jsonl: nothing was measured",
        "reproduced bit for bit",
    ]
    rows = RunFolder.open(workdir).metrics()
    rows[1]["generator/loss"] += 1e-9
    (workdir / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    shown = run_jgr("reproduce", workdir, status=1).stdout
    assert re.search(r"^metrics.jsonl: differs\n  step 2: generator/loss 0\.69\d+ -> 0\.69\d+$", shown, re.MULTILINE)
    assert shown.splitlines()[-1] == "NOT reproduced bit for bit"


def test_data_show_describes_and_draws(run_jgr, tmp_path):
    shown = run_jgr("data", "show", "digits", "--num=9", f"--out={tmp_path / 'grid.png'}").stdout
    described = dict(line.split(maxsplit=1) for line in shown.splitlines()[:-1])
    assert (described["num_records"], described["height"], described["channels"]) == ("1797", "8", "1")
    assert "1: 182" in described["labels"]  # the published count of ones
    with Image.open(tmp_path / "grid.png") as picture:
        assert picture.size == (2 + 3 * 66, 2 + 3 * 66)


def test_data_prepare_without_a_network_ends_in_one_line(run_jgr, tmp_path):
    proxies = {f"{kind}_proxy": "http://127.0.0.1:9" for kind in ("http", "https", "HTTP", "HTTPS")}
    done = run_jgr("data", "prepare", "mnist", f"--data_dir={tmp_path}", status=1, env=os.environ | proxies)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("jgr data: error: mnist: could not fetch https://")


@pytest.fixture
def start(tmp_path):
    """Starts commands on one run, and ends those that are left."""
    processes = []

    def run(command, *arguments):
        words = [sys.executable, "-m", "jgr", command, *map(str, arguments)]
        processes.append(subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
        return processes[-1]

    yield run
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_follow_scores_what_appears_and_ends_with_the_training(start, tmp_path):
    workdir = tmp_path / "run"
    every = [
        "--config.train.checkpoint_every=1000",
        "--config.train.keep_checkpoints=1000",
        "--config.train.log_every=1000",
        "--config.train.sample_every=0",
    ]
    training = [f"--config={DIGITS}", f"--workdir={workdir}", "--config.train.num_steps=1000000", *every]

    def saved():
        return sorted(int(entry.name) for entry in (workdir / "checkpoints").glob("*") if entry.name.isdigit())

    def follow_until(end):
        """Follows a training until two of its checkpoints are scored, ends it, and waits for the follower."""
        before = max(saved(), default=0)
        trainer = start("train", *training)
        wait_for(lambda: is_alive(workdir) or trainer.poll() is not None)
        follower = start("evaluate", workdir, "--follow")
        wait_for(lambda: sum(step > before for step in steps_scored(workdir)) >= 2 or follower.poll() is not None)
        assert trainer.poll() is None, trainer.communicate()[0]
        trainer.send_signal(end)
        assert trainer.wait(timeout=60) == (0 if end == signal.SIGTERM else -end)
        output = follower.communicate(timeout=100)[0]
        assert follower.returncode == 0, output

    follow_until(signal.SIGKILL)
    assert RunFolder.open(workdir).manifest()["status"] == "running"  # no one was left to write another word
    follow_until(signal.SIGTERM)
    assert RunFolder.open(workdir).manifest()["status"] == "preempted"
    assert steps_scored(workdir) == saved()  # each once, the last one included


def wait_for(condition, timeout=60.0):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
