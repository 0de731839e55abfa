import dataclasses
import json
import math
import shutil
from typing import ClassVar

import jax
import numpy as np
import pytest
from PIL import Image

import jgr
from jgr.config import config_hash, resolve
from jgr.data.order import record_index
from jgr.data.source import fingerprint
from jgr.errors import NonFiniteError, RunError
from jgr.images import grid
from jgr.jobs.experiment import Experiment
from jgr.jobs.signals import StopRequest
from jgr.metrics.distribution import FrechetDistance
from jgr.run.folder import RunFolder
from jgr.state import checksums


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ugliness(FrechetDistance):
    """The distance as something to be maximised: the first checkpoints are the best ones."""

    higher_is_better: ClassVar[bool] = True

    @property
    def name(self):
        return "ugliness"


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def final_checksums(config, workdir):
    jgr.train(config, workdir, quiet=True)
    return checksums(jgr.load(workdir).state)


def test_metrics_hold_a_line_per_log_step(digits_run):
    lines = (digits_run / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row["images_seen"] for row in rows] == [8, 16, 24, 32, 40, 48]
    losses = {"discriminator/loss", "generator/loss"}
    for row in rows:
        assert losses | {"discriminator/real_logits", "images_per_s", "elapsed_s"} <= row.keys()
        # The first step is compiled while it runs, so it has no speed; of a CPU no peak is known.
        absent = {"mfu"} | ({"images_per_s", "tflops_per_s"} if row["step"] == 1 else set())
        assert {name for name, value in row.items() if value is None} == absent
        assert all(math.isfinite(value) for value in row.values() if value is not None)
        assert row["peak_memory_bytes"] > 1e8
        assert not [name for name in row if name.startswith("finite")]
    assert rows[0]["discriminator/loss"] == pytest.approx(2 * math.log(2), abs=0.02)  # logits start near 0
    elapsed = [row["elapsed_s"] for row in rows]
    assert elapsed == sorted(elapsed)


def test_config_is_complete(digits_run):
    stored = json.loads((digits_run / "config.json").read_text())
    resolved = resolve(stored, Experiment)
    assert config_hash(resolved) == config_hash(stored)
    assert stored["train"]["keep_every"] == 0  # a default that the config file does not mention
    assert stored["task"]["generator_optimizer"]["schedule"]["decay"] == "constant"
    assert json.loads((digits_run / "run.json").read_text())["config_hash"] == config_hash(stored)


def test_manifest_says_what_was_run_and_where(digits_run):
    manifest = json.loads((digits_run / "run.json").read_text())
    assert manifest["status"] == "completed"
    assert manifest["config"].endswith("configs/gan/dcgan_digits.py:smoke")
    assert manifest["command"] == ["jgr", "train"]
    assert manifest["seed"] == 0
    assert manifest["environment"]["versions"]["jax"] == jax.__version__
    assert manifest["environment"]["devices"]["count"] == jax.device_count()
    assert manifest["data"] == {"digits-all": fingerprint(jgr.load(digits_run).experiment.data.source)}
    assert manifest["reproducible"] == "bit for bit"
    assert manifest["error"] is None
    assert manifest["failure"] is None
    [session] = manifest["sessions"]
    assert session["command"] == ["jgr", "train"]
    assert session["changed"] == {}
    assert manifest["created"] <= session["started"] <= manifest["ended"]


def test_pictures_show_the_same_latents_at_every_step(digits_run):
    run = jgr.load(digits_run)
    for step in (2, 4, 6):
        with Image.open(digits_run / "samples" / f"step_{step:08d}.png") as picture:
            shown = np.asarray(picture)
        np.testing.assert_array_equal(shown, grid(run.sample(4, seed=0, step=step))[..., 0])


def test_a_second_run_is_the_same_and_only_says_so_when_asked(digits_run, digits_config, tmp_path, capsys):
    config = json.loads((digits_run / "config.json").read_text())
    jgr.train(config, tmp_path / "again", quiet=True)
    assert capsys.readouterr() == ("", "")
    assert checksums(jgr.load(tmp_path / "again").state) == checksums(jgr.load(digits_run).state)
    for picture in (digits_run / "samples").iterdir():
        assert (tmp_path / "again" / "samples" / picture.name).read_bytes() == picture.read_bytes()


def test_length_and_cadences_may_change_on_the_way(digits_run, digits_config, tmp_path, capsys):
    begun = digits_config({"train.num_steps": 3, "train.checkpoint_every": 100, "train.sample_every": 0})
    jgr.train(begun, tmp_path / "run", quiet=True)
    assert not list((tmp_path / "run" / "samples").iterdir())
    longer = digits_config({"train.num_steps": 6, "train.log_every": 2, "train.keep_checkpoints": 1})
    jgr.train(longer, tmp_path / "run")
    assert "step 3 of 6" in capsys.readouterr().out
    assert checksums(jgr.load(tmp_path / "run").state) == checksums(jgr.load(digits_run).state)
    assert [row["step"] for row in jgr.load(tmp_path / "run").metrics()] == [1, 2, 3, 4, 6]
    folder = RunFolder.open(tmp_path / "run")
    assert folder.manifest()["sessions"][1]["changed"]["train.log_every"] == [1, 2]
    assert folder.config()["train"]["num_steps"] == 6
    before = contents(folder.path)
    with pytest.raises(RunError, match=r"is at step 6, beyond config.train.num_steps = 5"):
        jgr.train(digits_config({"train.num_steps": 5}), folder.path, quiet=True)
    assert contents(folder.path) == before


@pytest.mark.slow
def test_delivery_of_the_data_changes_no_bit(digits_run, digits_config, tmp_path):
    resident = checksums(jgr.load(digits_run).state)
    streamed = {"data.mode": "streamed", "train.num_steps": 6, "train.checkpoint_every": 6, "train.sample_every": 0}
    for name, changes in {"threads": {}, "workers": {"data.num_workers": 2}}.items():
        assert final_checksums(digits_config({**streamed, **changes}), tmp_path / name) == resident


def test_values_that_are_not_finite_stop_the_run(digits_config, tmp_path):
    too_fast = {"task.generator_optimizer.learning_rate": 1e17, "train.num_steps": 40, "train.sample_every": 0}
    often, rarely = tmp_path / "often", tmp_path / "rarely"
    with pytest.raises(NonFiniteError) as first:
        jgr.train(digits_config(too_fast), often, quiet=True)
    slower = {"train.log_every": 20, "train.checkpoint_every": 20}
    with pytest.raises(NonFiniteError) as second:  # the step is named, however late the check is read
        jgr.train(digits_config({**too_fast, **slower}), rarely, quiet=True)
    manifest = RunFolder.open(often).manifest()
    step, terms = manifest["failure"]["step"], manifest["failure"]["terms"]
    records = record_index(0, np.arange(8) + 8 * (step - 1), 1797).tolist()
    assert step > 1
    assert "generator/parameters" in terms
    assert manifest["failure"]["records"] == records
    assert manifest["status"] == "failed"
    said = f"step {step}: not finite: {', '.join(terms)}. Records of the batch: {', '.join(map(str, records))}."
    assert str(first.value).startswith(said)
    assert str(second.value).startswith(said)
    assert manifest["error"] == str(first.value)
    kept = jgr.load(often)
    assert kept.steps()[-1] == step - 1
    assert [row["step"] for row in kept.metrics()] == list(range(1, step))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(jax.device_get(kept.state.params)))
    assert jgr.load(rarely).steps() == []


def test_validation_decides_which_checkpoint_is_kept(digits_config, tmp_path, capsys):
    config = digits_config({"train.num_steps": 5, "train.keep_checkpoints": 1, "train.sample_every": 0}).to_dict()
    metrics = {"ugliness": {"cls": f"{__name__}.Ugliness"}}
    config["validation"] = {"num_samples": 16, "batch_size": 16, "metrics": metrics}
    config["evaluation"]["metrics"] = metrics
    jgr.train(config, tmp_path / "run")
    lines = [line for line in capsys.readouterr().out.splitlines() if "(validation)" in line]
    scores = {int(line.split()[1].rstrip(":")): float(line.split()[3]) for line in lines}
    assert list(scores) == [1, 2, 3, 4, 5]
    run = jgr.load(tmp_path / "run", trust=True)
    best = max(scores, key=lambda step: scores[step])
    assert best < 5
    assert run.find_step("best") == best
    assert run.steps() == [best, 5]
    [row] = jgr.evaluate(tmp_path / "run", step="best", seeds=[0], trust=True, quiet=True)
    assert (row["step"], row["select"]) == (best, "best")
    assert row["value"] == pytest.approx(scores[best], rel=1e-3)  # the line has four digits


def test_one_who_stops_a_run_does_not_wait_for_a_validation(digits_config, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(StopRequest, "after", lambda request, call: call == 2)
    overrides = {"train.num_steps": 5, "train.checkpoint_every": 5, "train.sample_every": 0}
    config = digits_config(overrides).to_dict()
    config["validation"] = {"num_samples": 16, "metrics": {"ugliness": {"cls": f"{__name__}.Ugliness"}}}
    jgr.train(config, tmp_path / "run")
    assert "(validation)" not in capsys.readouterr().out
    assert jgr.load(tmp_path / "run", trust=True).steps() == [2]


def test_a_moved_run_goes_on(digits_run, tmp_path, capsys):
    shutil.copytree(digits_run, tmp_path / "moved")
    jgr.train(RunFolder.open(tmp_path / "moved").config(), tmp_path / "moved")
    assert "step 6 of 6: nothing left to do" in capsys.readouterr().out
    assert RunFolder.open(tmp_path / "moved").manifest()["status"] == "completed"
