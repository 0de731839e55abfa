import json
import shutil

import pytest

import jgr
from jgr.errors import CheckpointError, RunError


@pytest.fixture(scope="module")
def repeated(digits_run, tmp_path_factory):
    """The repetition of the run, made once; reproducing into it again only compares."""
    target = tmp_path_factory.mktemp("repeated") / "run"
    outcome = jgr.reproduce(digits_run, target, quiet=True)
    assert outcome.exact
    assert str(outcome).splitlines()[-1] == "reproduced bit for bit"
    return target


@pytest.fixture
def original(digits_run, tmp_path):
    """A copy of the run, to be tampered with."""
    return shutil.copytree(digits_run, tmp_path / "run")


def change_row(path, number, field, value):
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[number][field] = value(rows[number][field])
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def reproduce(original, repeated):
    outcome = jgr.reproduce(original, repeated, quiet=True)
    text = str(outcome)
    assert not outcome.exact
    assert text.splitlines()[-1] == "NOT reproduced bit for bit"
    return outcome, text


def test_repetition_is_a_run_of_its_own(digits_run, repeated):
    old, new = jgr.load(digits_run), jgr.load(repeated)
    assert new.folder.manifest()["run"] != old.folder.manifest()["run"]
    assert new.folder.manifest()["command"][:2] == ["jgr", "reproduce"]
    assert [row["value"] for row in new.results()] == [row["value"] for row in old.results()]


def test_one_bit_of_a_logged_value_is_noticed(original, repeated):
    change_row(original / "metrics.jsonl", 3, "generator/loss", lambda loss: loss * (1 + 2**-52))
    outcome, text = reproduce(original, repeated)
    [line] = outcome.metrics
    assert line.startswith("step 4: generator/loss 0.69")
    assert (outcome.states, outcome.results) == ([], [])
    assert "metrics.jsonl: differs" in text
    assert "results.jsonl: equal bit for bit" in text
    assert not [line for line in outcome.environment if line.startswith("jax")]


def test_another_result_is_noticed(original, repeated):
    change_row(original / "results.jsonl", 0, "value", lambda value: value + 1)
    outcome, text = reproduce(original, repeated)
    [line] = outcome.results
    assert "metric=fd_pixels" in line
    assert "results.jsonl: differs" in text


def test_another_state_and_what_differs_in_the_environment_are_named(original, repeated, digits_config, tmp_path):
    other = digits_config({"train.num_steps": 6, "train.sample_every": 0, "seed": 1})
    jgr.train(other, tmp_path / "other", quiet=True)
    shutil.rmtree(original / "checkpoints")
    shutil.copytree(tmp_path / "other" / "checkpoints", original / "checkpoints")
    manifest = json.loads((original / "run.json").read_text())
    manifest["environment"]["versions"]["jax"] = "0.4.1"
    (original / "run.json").write_text(json.dumps(manifest))
    outcome, text = reproduce(original, repeated)
    [kernel] = [line for line in outcome.states if line.startswith("params/generator/Dense_0/kernel:")]
    assert float(kernel.rpartition(" ")[2]) > 0
    assert "state at step 6 (parameters, model state, optimisers, average): differs" in text
    assert "environment: differs\n" in text
    assert "\n  jax: 0.4.1 -> " in text


def test_runs_that_cannot_be_reproduced(original, digits_config):
    shutil.rmtree(original / "checkpoints" / "6")
    with pytest.raises(CheckpointError, match="is at step 4 of 6: finish it before reproducing it"):
        jgr.reproduce(original, quiet=True)
    shutil.copytree(original / "checkpoints" / "4", original / "checkpoints" / "6")
    with pytest.raises(RunError, match="is the run itself: name another folder"):
        jgr.reproduce(original, original, quiet=True)
    assert [folder.name for folder in original.parent.iterdir()] == ["run"]
