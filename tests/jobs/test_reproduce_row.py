import argparse
import json
import math
import shutil

import pytest
from scipy import stats

from jgr.cli import reproduce as reproduce_command
from jgr.cli.main import main
from jgr.errors import RunError
from jgr.jobs.published_rows import is_named_row, read_rows
from jgr.jobs.reproduce_row import conclusion, prepare, reproduce_rows
from jgr.jobs.study import Arm, Study
from jgr.jobs.study_run import run_study
from jgr.run.folder import RunFolder

DIGITS = "configs/gan/dcgan_digits.py:smoke"


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A study of one arm and two seeds, and the repetition of its first run."""
    folder = tmp_path_factory.mktemp("study")
    arm = Arm(name="narrow", config=DIGITS, overrides={"mesh.data": 1, "evaluation.num_samples": 20}, seeds=(0, 1))
    tiny = Study(title="Tiny", arms=(arm,))
    outcome = run_study(tiny, folder / "runs", folder / "tiny", say=lambda line: None, quiet=True)
    assert not outcome.failures
    return folder


@pytest.fixture
def results(study, tmp_path):
    """A copy of the results, to be tampered with."""
    return shutil.copytree(study / "tiny", tmp_path / "tiny")


def tampered(results, known=None, row=None):
    """The first row, after changing what the manifest knows of its run, or the row itself."""
    lines = [json.loads(line) for line in (results / "rows.jsonl").read_text().splitlines()]
    lines[0] |= row or {}
    (results / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    manifest = json.loads((results / "manifest.json").read_text())
    manifest["runs"][lines[0]["run"]] |= known or {}
    (results / "manifest.json").write_text(json.dumps(manifest))
    return read_rows(f"{results}/rows.jsonl#1")


def problem(rows):
    (found,) = prepare(rows).problems
    return found


def test_a_row_comes_out_the_same_to_the_bit_and_another_is_noticed(study, results):
    rows = read_rows(f"{study}/tiny#narrow-s0")
    prepared = prepare(rows)
    assert not prepared.problems
    target = study / "again"
    verdicts = reproduce_rows(rows, prepared, target, quiet=True)
    assert [str(verdict).rpartition(": ")[2] for verdict in verdicts] == ["equal bit for bit"]
    assert conclusion(verdicts) == "reproduced bit for bit"
    folder = RunFolder.open(target)
    assert folder.manifest()["run"] != rows.rows[0]["run"]
    trained = folder.metrics()

    first, second = (json.loads(line)["value"] for line in (results / "rows.jsonl").read_text().splitlines())
    for off, said, holds in [
        (first * (1 + 1e-7), "equal within rounding", True),
        (second + 0.7 * (first - second), "within 95 % of 2 seeds", True),
        (second + 1e-6 * (first - second), "OUTSIDE 95 % of 2 seeds", False),
    ]:
        rows = tampered(results, row={"value": off})
        (verdict,) = reproduce_rows(rows, prepare(rows), target, quiet=True)
        assert said in verdict.text
        assert verdict.holds == holds
        assert conclusion([verdict]) == ("reproduced" if holds else "NOT reproduced: 1 of 1")
    assert folder.metrics() == trained  # it was not trained again


def test_what_a_row_is_and_needs_is_told_without_running(study, capsys):
    row, other = (json.loads(line) for line in (study / "tiny/rows.jsonl").read_text().splitlines())
    assert main(["reproduce", f"{study}/tiny/rows.jsonl#1", "--dry_run"]) == 0
    told = capsys.readouterr().out
    assert f"arm narrow, seed 0, run {row['run']}" in told
    assert f"{row['protocol']} on {row['dataset']}, n = 20" in told
    mean, std = (row["value"] + other["value"]) / 2, abs(row["value"] - other["value"]) / math.sqrt(2)
    reach = stats.t.ppf(0.975, 1) * std * math.sqrt(1.5)
    assert f"(95 % of 2 seeds: {mean - reach:.6g} to {mean + reach:.6g})" in told
    assert f"config    {DIGITS} --config.evaluation.num_samples='20' --config.mesh.data='1' --config.seed=0" in told
    assert "\nversions  those of the run\n" in told
    assert "\ndata      digits-all@" in told
    assert told.endswith("would go to runs/reproduced/tiny/narrow-s0\n")


def test_another_config_is_refused_by_its_keys(results):
    known = read_rows(f"{results}#1").known
    values = known["config_values"] | {"train.batch_size": 16, "train.gone": 3}
    found = problem(tampered(results, {"config_hash": "0" * 12, "config_values": values}))
    assert "train.batch_size was 16 and is 8; train.gone was 3 and is gone: check out the commit" in found
    del values["train.batch_size"], values["train.gone"]
    prepared = prepare(tampered(results, {"config_values": values}))
    assert not prepared.problems
    assert "config    keys that jgr has learned since, at their defaults: train.batch_size = 8" in prepared.lines
    assert "which keys differ was not recorded" in problem(tampered(results, {"config_values": None}))


def test_other_data_and_other_evaluations_are_refused(results, capsys):
    rows = tampered(results, {"data": {"digits-all": "0123"}})
    assert problem(rows).endswith("and was digits-all@0123: bring that back")
    with pytest.raises(RunError, match=r"#1 cannot be made again here: the training data is digits-all@"):
        reproduce_rows(rows, prepare(rows))
    assert main(["reproduce", f"{results}/rows.jsonl#1", "--dry_run"]) == 1
    assert "cannot be made again here: the training data is" in capsys.readouterr().out
    rows = tampered(results, {"data": None}, {"protocol": "fid"})
    assert "and not fid on digits-all@" in problem(rows)


def test_what_a_run_starts_from_is_to_be_made_first(results):
    known = read_rows(f"{results}#1").known
    start = {"train.init_from.path": "nowhere/narrow-s1"}
    rows = tampered(results, {"overrides": known["overrides"] | start, "config_values": {}, "config_hash": ""})
    assert problem(rows) == (
        "the run starts from nowhere/narrow-s1, which is not here: make it first: jgr reproduce "
        f"{results}/rows.jsonl#2 --workdir=nowhere/narrow-s1"
    )


def test_rows_that_are_not_there(results, tmp_path):
    assert not is_named_row(str(results))
    (tmp_path / "a#1").mkdir()
    assert not is_named_row(str(tmp_path / "a#1"))
    with pytest.raises(RunError, match="has rows 1 to 2, and no row 3"):
        read_rows(f"{results}/rows.jsonl#3")
    with pytest.raises(RunError, match="has no run 'wide-s0'; name a line, or one of narrow-s0, narrow-s1"):
        read_rows(f"{results}/rows.jsonl#wide-s0")
    with pytest.raises(RunError, match=r"none.jsonl: no such file; rows of a study are results/STUDY/rows.jsonl"):
        read_rows(f"{tmp_path}/none.jsonl#1")
    with pytest.raises(RunError, match="--dry_run goes with a row"):
        reproduce_command.run(argparse.Namespace(run=str(results), dry_run=True))
    (results / "manifest.json").write_text('{"runs": {}}')
    with pytest.raises(RunError, match="its rows cannot be made again"):
        read_rows(f"{results}/rows.jsonl#1")
