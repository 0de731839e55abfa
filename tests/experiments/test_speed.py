"""`experiments/speed.py`: what it counts, what it writes, and how it goes on after a failure."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"
SMOKE = ("--smoke", "--rounds=1", "--blocks=2", "--block-s=0.01", "--batch=4")


def run(*arguments, cwd, status=0):
    """`python experiments/speed.py …` without data sets."""
    command = [sys.executable, str(EXPERIMENTS / "speed.py"), *map(str, arguments)]
    variables = os.environ | {"TFDS_DATA_DIR": str(cwd)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, cwd=cwd, env=variables)
    assert done.returncode == status, done.stderr
    return done


def timed(row, contender, turn, ms, **changes):
    """A line of rows.jsonl."""
    side = contender.split()[0]
    versions = {"python": "3.11", "jax": "0.10", "torch": "2.13"}
    device = {"kind": "cpu", "count": 1, "threads": 2}
    return {
        "row": row,
        "batch": 10,
        "dtype": "float32",
        "contender": contender,
        "side": side,
        "lane": "a",
        "round": turn,
        "flops_per_step": 4e9,
        "data": "",
        "ms": ms,
        "start_s": 7.0 - turn,
        "versions": versions,
        "device": device,
    } | changes


def table(folder):
    with (folder / "table.csv").open() as file:
        return {(line["row"], line["contender"]): line for line in csv.DictReader(file)}


def test_a_run_writes_rows_table_and_manifest(tmp_path):
    """A network of the study's own and a config, which its own loader and step train."""
    wanted = ("--only=mlp_vae,mlp_gan_mnist", "--contenders=jgr", f"--lanes=mine={sys.executable}")
    run(*SMOKE, *wanted, "--out=out", cwd=tmp_path)
    folder = tmp_path / "out"
    lines = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    assert [line["row"] for line in lines] == ["matmul", "mlp_gan_mnist", "mlp_vae"]
    for line in lines:
        assert len(line["block_ms"]) == 2
        assert 0 < min(line["block_ms"]) <= line["ms"] <= max(line["block_ms"])
        assert line["start_s"] * 1e3 > line["ms"]
    assert lines[1]["batch"] == 4
    assert lines[1]["data"] == "noise instead of mnist"
    assert json.loads((folder / "manifest.json").read_text())["lanes"]["mine"]["jax"] == lines[0]["versions"]["jax"]
    written = table(folder)["mlp_vae", "jgr mine"]
    assert float(written["images/s"]) == pytest.approx(4e3 / float(written["ms"]))

    (folder / "table.csv").unlink()
    run("--table", "--out=out", cwd=tmp_path)
    assert table(folder)["mlp_vae", "jgr mine"] == written


def test_what_cannot_be_measured_is_told_and_tried_once(tmp_path):
    """A lane whose interpreter fails at every measurement, though it tells its versions."""
    broken = tmp_path / "python"
    tells_versions = f'case "$2" in *versions*) exec {sys.executable} "$@";; esac'
    broken.write_text(f'#!/bin/sh\n{tells_versions}\necho "ValueError: no luck" >&2\nexit 3\n')
    broken.chmod(0o755)
    run(*SMOKE, "--rounds=2", "--only=matmul", f"--lanes=broken={broken}", "--out=out", cwd=tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "out" / "rows.jsonl").read_text().splitlines()]
    assert [line["error"] for line in lines if line["side"] == "jgr"] == ["ValueError: no luck"]
    assert table(tmp_path / "out")["matmul", "jgr broken"]["error"] == "ValueError: no luck"


def test_an_unknown_row_is_an_error_of_one_line(tmp_path):
    done = run("--only=mlp_vee", cwd=tmp_path, status=2)
    assert "no rows mlp_vee; there are matmul, mlp_gan_mnist" in done.stderr.splitlines()[-1]


def test_summary_takes_ratios_within_rounds_and_shares_of_the_own_peak(monkeypatch):
    monkeypatch.syspath_prepend(EXPERIMENTS)
    from speed_table import summary

    lines = [timed("matmul", "jgr a", 0, 20.0, flops_per_step=4e9), timed("matmul", "jgr a", 1, 10.0)]
    # The machine is twice as slow in round 1: times double, ratios stay.
    lines += [timed("net", "jgr a", turn, ms) for turn, ms in enumerate((20.0, 40.0, 22.0))]
    lines += [timed("net", "torch eager", turn, ms) for turn, ms in enumerate((30.0, 60.0, 44.0))]
    lines += [{**timed("net", "torch compile", 0, 1.0), "error": "no compiler"}]
    del lines[-1]["ms"]
    rows = {(row["row"], row["contender"]): row for row in summary(lines)}
    ours = rows["net", "jgr a"]
    assert (ours["ms"], ours["min"], ours["max"], ours["start s"]) == (22.0, 20.0, 40.0, 7.0)
    assert ours["eager/this"] == pytest.approx(1.5)
    assert ours["compile/this"] == ""
    assert ours["GFLOP/s"] == pytest.approx(4 / 0.022)
    assert ours["share of peak"] == pytest.approx((4 / 0.022) / (4 / 0.010))
    assert rows["net", "torch compile"]["error"] == "no compiler"
    assert rows["net", "torch compile"]["ms"] == ""


def test_operations_are_those_that_pytorch_counts(monkeypatch, tmp_path):
    """torch.utils.flop_counter sees every product of a step; groups, where it counts too many, are left out."""
    torch = pytest.importorskip("torch")
    np = pytest.importorskip("numpy")
    from torch.utils.flop_counter import FlopCounterMode

    monkeypatch.syspath_prepend(EXPERIMENTS)
    from speed_rows import ROWS, Settings, program

    torch.set_num_threads(1)
    for row in ROWS:
        if row.name.startswith(("depthwise", "grouped")):
            continue
        images = ""
        if row.images:
            images = str(tmp_path / f"{row.name}.npy")
            np.save(images, np.zeros((8, *map(int, row.images.split()[1:])), np.uint8))
        run_steps = program(row.torch, Settings(batch=2 if row.sized else 1, images=images))
        with FlopCounterMode(display=False) as counter:
            run_steps(1)
        assert counter.get_total_flops() == (2 if row.sized else 1) * row.flops, row.name


def test_operations_of_the_vae_by_hand(monkeypatch):
    monkeypatch.syspath_prepend(EXPERIMENTS)
    from speed_rows import ROWS

    (row,) = (row for row in ROWS if row.name == "mlp_vae")
    layers = [784 * 400, 400 * 40, 20 * 400, 400 * 784]
    assert row.flops == 2 * (3 * sum(layers) - layers[0])
