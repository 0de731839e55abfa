import shutil

import numpy as np
import pytest

import jgr
from jgr.config import config_hash
from jgr.data.digits import Digits
from jgr.data.source import fingerprint, read_records
from jgr.errors import CheckpointError, ConfigError, RunError
from jgr.jobs.sampling import make_sample
from jgr.run.folder import RunFolder
from jgr.state import averaged


@pytest.fixture
def workdir(digits_run, tmp_path):
    """A copy of the run, without results."""
    copy = shutil.copytree(digits_run, tmp_path / "run")
    (copy / "results.jsonl").unlink()
    return copy


def test_a_row_says_all_about_its_number(digits_run):
    run = jgr.load(digits_run)
    [row] = run.results()
    source = Digits(split="all")
    expected = {
        "run": run.folder.manifest()["run"],
        "config_hash": config_hash(run.config),
        "seed": 0,
        "eval_seed": 0,
        "step": 6,
        "images_seen": 48,
        "weights": "ema",
        "select": "last",
        "dataset": f"digits-all@{fingerprint(source)}",
        "metric": "fd_pixels",
        "protocol": "fd_pixels_u8_n16_all",
        "n": 16,
        "status": "ok",
        "std": None,
    }
    assert row.items() >= expected.items()
    assert row["config"].endswith("dcgan_digits.py:smoke")
    assert row["time_s"] > 0


def test_value_is_the_distance_of_the_samples(digits_run):
    run = jgr.load(digits_run)
    source = Digits(split="all")
    real = np.stack([record["image"].ravel() for record in read_records(source, range(len(source)))]) / 255
    draw = make_sample(run.experiment.task, run.mesh, "evaluation")
    images = np.asarray(draw(averaged(run.state), 0, 16))
    made = images.reshape(16, -1) / 255
    a, b = np.cov(real.T), np.cov(made.T)
    shift = real.mean(0) - made.mean(0)
    # The trace of a matrix's root is the sum of the roots of its eigenvalues, which are real and not negative here.
    root = np.sqrt(np.clip(np.linalg.eigvals(a @ b).real, 0, None)).sum()
    expected = shift @ shift + np.trace(a) + np.trace(b) - 2 * root
    assert run.results()[0]["value"] == pytest.approx(expected, rel=1e-4)


def test_all_checkpoints_and_then_the_same_again(workdir):
    rows = jgr.evaluate(workdir, step="all", quiet=True)
    assert [row["step"] for row in rows] == [2, 4, 6]
    again = jgr.evaluate(workdir, step=4, quiet=True)
    assert again[0]["value"] == rows[1]["value"]
    assert len((workdir / "results.jsonl").read_text().splitlines()) == 4
    assert sorted(row["step"] for row in jgr.load(workdir).results()) == [2, 4, 6]  # the later row of a step counts


def test_two_evaluations_give_identical_rows_but_for_time(workdir, tmp_path):
    fields = ("time_s", "commit", "device")
    other = shutil.copytree(workdir, tmp_path / "other")
    first, second = (
        [{name: value for name, value in row.items() if name not in fields} for row in rows]
        for rows in (jgr.evaluate(workdir, seeds=[0, 7], quiet=True), jgr.evaluate(other, seeds=[0, 7], quiet=True))
    )
    assert first == second
    assert [row["eval_seed"] for row in first] == [0, 7]


def test_keys_of_the_evaluation_can_be_changed(workdir):
    changes = [("num_samples", "20"), ("metrics.kd.cls", "jgr.metrics.distribution.KernelDistance")]
    rows = jgr.evaluate(workdir, overrides=[*changes, ("metrics.kd.num_subsets", "0")], quiet=True)
    assert [row["protocol"] for row in rows] == ["fd_pixels_u8_n20_all", "kd_pixels_u8_full_n20_all"]
    with pytest.raises(
        ConfigError, match=r"num_sample is unknown: Evaluation has no 'num_sample'; did you mean 'num_samples'"
    ):
        jgr.evaluate(workdir, overrides=[("num_sample", "20")])


def test_seed_and_weights_make_other_rows(workdir, capsys):
    values = {
        jgr.evaluate(workdir)[0]["value"],
        jgr.evaluate(workdir, seeds=[1])[0]["value"],
        jgr.evaluate(workdir, weights="raw")[0]["value"],
    }
    assert len(values) == 3
    found = {(row["eval_seed"], row["weights"]) for row in jgr.load(workdir).results()}
    assert found == {(0, "ema"), (1, "ema"), (0, "raw")}
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == 3
    assert shown[2].startswith("step 6  fd_pixels_u8_n16_all  ")
    assert shown[2].endswith("  raw")


def test_batch_size_changes_the_value_by_rounding_only(workdir):
    config = RunFolder.open(workdir).config()
    [one] = jgr.evaluate(workdir, quiet=True)
    config["evaluation"]["batch_size"] = 5
    RunFolder.open(workdir).write_config(config)
    [other] = jgr.evaluate(workdir, quiet=True)
    assert other["value"] == pytest.approx(one["value"], rel=1e-6)
    assert (other["n"], other["protocol"]) == (one["n"], one["protocol"])


def test_following_a_run_that_has_ended_scores_what_is_missing(workdir):
    jgr.evaluate(workdir, step=4, quiet=True)
    assert [row["step"] for row in jgr.evaluate(workdir, follow=True, quiet=True)] == [2, 6]
    assert jgr.evaluate(workdir, follow=True, quiet=True) == []


def test_a_damaged_checkpoint_is_left_out_of_all_and_kept(workdir, capsys):
    shutil.rmtree(workdir / "checkpoints" / "4" / "state")
    assert [row["step"] for row in jgr.evaluate(workdir, step="all")] == [2, 6]
    assert "step 4 is left out" in capsys.readouterr().out
    assert (workdir / "checkpoints" / "4").is_dir()


def test_what_cannot_be_evaluated(workdir, tmp_path):
    with pytest.raises(CheckpointError, match=r"has no checkpoint of step 3; it has 2, 4, 6"):
        jgr.evaluate(workdir, step=3)
    with pytest.raises(RunError, match="is not a run's folder"):
        jgr.evaluate(tmp_path)
    config = RunFolder.open(workdir).config()
    config["evaluation"]["metrics"] = {}
    RunFolder.open(workdir).write_config(config)
    with pytest.raises(ConfigError, match=r"config.evaluation.metrics is empty"):
        jgr.evaluate(workdir)
    assert not (workdir / "results.jsonl").exists()
