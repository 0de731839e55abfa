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


def run(*arguments, cwd, status=0, timeout=110):
    """`python experiments/speed.py …` without data sets."""
    command = [sys.executable, str(EXPERIMENTS / "speed.py"), *map(str, arguments)]
    variables = os.environ | {"TFDS_DATA_DIR": str(cwd)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, cwd=cwd, env=variables)
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
        "about": "a network",
        "ms": ms,
        "start_s": 7.0 - turn,
        "versions": versions,
        "device": device,
    } | changes


def table(folder):
    with (folder / "table.csv").open() as file:
        return {(line["row"], line["contender"]): line for line in csv.DictReader(file)}


@pytest.mark.slow
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
    shown = (tmp_path / "out/report.html").read_text()
    assert all(name in shown for name in ("jgr mine", "784-400-20-400-784", "a step, ms"))
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
        if row.name.startswith(("depthwise", "grouped")) or row.torch.startswith(("speed_restoration", "speed_gan")):
            continue
        images = ""
        if row.images:
            images = str(tmp_path / f"{row.name}.npy")
            np.save(images, np.zeros((8, *map(int, row.images.split()[1:])), np.uint8))
        run_steps = program(row.torch, Settings(batch=2 if row.sized else 1, images=images))
        with FlopCounterMode(display=False) as counter:
            run_steps(1)
        assert counter.get_total_flops() == (2 if row.sized else 1) * row.flops, row.name


@pytest.fixture
def networks(monkeypatch):
    """Of experiments/speed_restoration.py, by name; PyTorch on one thread."""
    torch = pytest.importorskip("torch")
    monkeypatch.syspath_prepend(EXPERIMENTS)
    torch.set_num_threads(1)
    from speed_restoration import NETWORKS

    return NETWORKS


def traced_step(setup, smoke):
    """Parameters of jgr's network, PyTorch's as shapes alone, and the operations of jgr's step of two images."""
    import jax
    import speed_restoration_jgr
    import speed_restoration_torch
    import torch
    from speed_rows import Settings

    from jgr.flops import count_flops

    settings, found = Settings(batch=2, smoke=smoke, row=setup.name), {}

    def trace():
        step, state, arrays = speed_restoration_jgr.training_step(settings)
        found["jaxpr"] = jax.make_jaxpr(step)(state, *arrays).jaxpr
        return state

    _, params, *_ = jax.eval_shape(trace)
    with torch.device("meta"):
        twin = speed_restoration_torch.untrained(settings)
    return sum(leaf.size for leaf in jax.tree.leaves(params)), twin, count_flops(found["jaxpr"])


def test_networks_for_restoration_are_the_same_and_cost_what_is_said(networks):
    """Tiny ones, Restormer with one head: with more, jgr multiplies what it does not use."""
    from speed_rows import ROWS, Settings, program

    rows = {row.name: row for row in ROWS}
    for name, setup in networks.items():
        size, twin, operations = traced_step(setup, smoke=True)
        assert size == sum(parameter.numel() for parameter in twin.parameters()), name
        # The gradient of the first layer's input is traced, too, by Conv's own rule; compilation leaves it out.
        assert operations == 2 * (setup.flops(smoke=True) + setup.layers(smoke=True)[0]), name
        assert program(rows[name].torch, Settings(batch=2, smoke=True, row=name))(1) == 1


def test_operations_of_networks_for_restoration_are_those_that_pytorch_counts(networks):
    """Full ones, as shapes alone; of the gradients of grouped convolutions PyTorch counts too many."""
    import torch
    from speed_restoration_torch import untrained
    from speed_rows import Settings
    from torch.utils.flop_counter import FlopCounterMode

    for name, setup in networks.items():
        batch, rows, columns, channels = setup.shapes(2, smoke=False)[0]
        with torch.device("meta"):
            twin = untrained(Settings(batch=batch, row=name))
            images = torch.zeros(batch, channels + setup.noise_map, rows, columns)
        with FlopCounterMode(display=False) as counter:
            made = twin(images)
        assert counter.get_total_flops() == batch * sum(setup.layers()), name
        if name not in ("nafnet", "restormer"):
            with counter:
                twin(images).sum().backward()
            assert counter.get_total_flops() == batch * setup.flops(), name
        assert (made[-1] if name == "prenet" else made).shape[2:] == setup.shapes(2, smoke=False)[1][1:3]


@pytest.mark.slow
def test_networks_for_restoration_at_full_size(networks):
    for name, setup in networks.items():
        size, twin, operations = traced_step(setup, smoke=False)
        assert size == sum(parameter.numel() for parameter in twin.parameters()), name
        if name != "restormer":
            assert operations == 2 * (setup.flops() + setup.layers()[0]), name


@pytest.mark.slow
def test_every_network_for_restoration_is_timed(networks, tmp_path):
    run(*SMOKE, f"--only={','.join(networks)}", "--contenders=jgr,eager", "--out=out", cwd=tmp_path, timeout=900)
    lines = [json.loads(line) for line in (tmp_path / "out" / "rows.jsonl").read_text().splitlines()]
    assert not [line["error"] for line in lines if "error" in line]
    assert {line["row"] for line in lines} == {"matmul", *networks}


def test_operations_of_the_vae_by_hand(monkeypatch):
    monkeypatch.syspath_prepend(EXPERIMENTS)
    from speed_rows import ROWS

    (row,) = (row for row in ROWS if row.name == "mlp_vae")
    layers = [784 * 400, 400 * 40, 20 * 400, 400 * 784]
    assert row.flops == 2 * (3 * sum(layers) - layers[0])
