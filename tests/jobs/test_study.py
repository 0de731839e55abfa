import csv
import dataclasses
import json
import re
import shutil

import pytest
import skimage.data
from PIL import Image

import jgr
from jgr.errors import ConfigError, RunError
from jgr.jobs.study import Arm, Published, Study, load_study
from jgr.jobs.study_plan import plan
from jgr.jobs.study_results import gather, rebuild
from jgr.jobs.study_run import run_study
from jgr.run.folder import RunFolder

DIGITS = "configs/gan/dcgan_digits.py:smoke"
SMALL = {"mesh.data": 1}


def study_of(*arms, **fields):
    fields = {"evaluation": {"num_samples": 20}} | fields
    return Study(title="Small GANs", arms=arms, **fields)


STUDY = study_of(
    Arm(name="narrow", config=DIGITS, overrides=SMALL, seeds=(0, 1)),
    Arm(name="one-step", config=DIGITS, overrides=SMALL | {"train.num_steps": 1, "train.sample_every": 1}),
    published=(
        Published(name="Nobody's GAN", metric="fd_pixels", value=1.5, source="A. Author 2020, table 3"),
        Published(name="Narrow", metric="fd_pixels", value=2.5, source="B. Author", note="50k", arm="narrow"),
        Published(name="Elsewhere", metric="fid", value=7.0, source="C. Author"),
    ),
    notes=("Trained for two steps.",),
    pictures=True,
)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    said = []
    outcome = run_study(STUDY, folder / "runs", folder / "results", say=said.append, quiet=True)
    return folder, outcome, said


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_rows_and_table_of_all_runs(done):
    folder, outcome, said = done
    assert not outcome.failures
    names = ("narrow-s0", "narrow-s1", "one-step-s0")
    assert said == [
        line
        for i, name in enumerate(names, 1)
        for line in (f"[{i}/3] {folder}/runs/{name}: missing", f"{folder}/runs/{name}: done")
    ]
    rows = [json.loads(line) for line in (folder / "results/rows.jsonl").read_text().splitlines()]
    assert [(row["seed"], row["step"], row["n"]) for row in rows] == [(0, 2, 20), (1, 2, 20), (0, 1, 20)]
    runs = json.loads((folder / "results/manifest.json").read_text())["runs"]
    assert [(runs[row["run"]]["arm"], runs[row["run"]]["seed"]) for row in rows] == [
        ("narrow", 0),
        ("narrow", 1),
        ("one-step", 0),
    ]
    newest = (folder / "runs/narrow-s0/samples/step_00000002.png").read_bytes()
    assert (folder / "results/samples/narrow-s0.png").read_bytes() == newest
    table = (folder / "results/table.md").read_text()
    assert table == outcome.table
    assert table.startswith("# Small GANs\n")
    narrow = next(line for line in table.splitlines() if line.startswith("| narrow"))
    assert f"{(rows[0]['value'] + rows[1]['value']) / 2:.4g}" in narrow
    assert "±" in narrow
    assert "- Trained for two steps." in table
    assert re.search(
        r"- fd_pixels: (narrow|one-step) is best, .* beside (narrow|one-step): \d and \d seeds, 3 each are needed\n",
        table,
    )


def test_published_numbers_stand_beside_ours(done):
    folder, outcome, _ = done
    lines = [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in outcome.table.partition("## Costs")[0].splitlines()
        if line.startswith("| ")
    ]
    assert lines[0] == ["run", "seeds", "fd_pixels ↓", "published †"]
    assert [(line[0], line[3]) for line in lines[2:]] == [
        ("narrow", "2.500 [2]"),
        ("one-step", "–"),
        ("Nobody's GAN", "1.500 [1]"),
    ]
    assert "- [1] Nobody's GAN: A. Author 2020, table 3\n- [2] Narrow: B. Author; 50k\n- † Published" in outcome.table
    assert "- Published, beside none of the columns: Elsewhere, fid 7.000 (C. Author)." in outcome.table
    records = list(csv.DictReader((folder / "results/table.csv").read_text().splitlines()))
    published = [record for record in records if record["kind"] == "published"]
    assert [(one["row"], one["mean"], one["source"], one["note"], one["best"]) for one in published] == [
        ("Nobody's GAN", "1.5", "Nobody's GAN: A. Author 2020, table 3", "", ""),
        ("narrow", "2.5", "Narrow: B. Author", "50k", ""),
    ]
    assert r"one-step & 1 & " in (folder / "results/table.tex").read_text()
    with pytest.raises(ConfigError, match="arm = 'broad' must be None or one of narrow, one-step"):
        study_of(*STUDY.arms, published=(dataclasses.replace(STUDY.published[1], arm="broad"),))


def test_what_is_of_the_machine_stands_apart(done):
    folder, outcome, _ = done
    kinds = {
        name: {record["kind"] for record in csv.DictReader((folder / f"results/{name}.csv").read_text().splitlines())}
        for name in ("table", "times")
    }
    assert kinds == {"table": {"score", "published", "cost"}, "times": {"time"}}
    assert "training, min" in (folder / "results/times.md").read_text()
    runs = json.loads((folder / "results/manifest.json").read_text())["runs"]
    took = next(one for one in runs.values() if one["arm"] == "one-step")
    generator, discriminator = (took["networks"][name] for name in ("generator", "discriminator"))
    # 8x8 images of width 8: a dense layer to 4x4x8, batch norm, and a transposed convolution to one channel.
    assert generator == {"parameters": 100 * 4 * 4 * 8 + 2 * 8 + 4 * 4 * 8 + 1, "evaluated": True}
    assert not discriminator["evaluated"]
    assert took["config_values"]["train.num_steps"] == 1
    costs = outcome.table.partition("## Costs")[2]
    header, _, _, line = [
        [cell.strip() for cell in line.strip("|").split(" | ")] for line in costs.splitlines() if line.startswith("| ")
    ]
    shown = dict(zip(header, line, strict=True))
    assert shown["parameters"] == f"{generator['parameters']:,}"
    assert shown["trained parameters"] == f"{generator['parameters'] + discriminator['parameters']:,}"
    assert (shown["run"], shown["steps"], shown["images seen"]) == ("one-step", "1", "8")


def test_runs_of_older_manifests_have_their_parameters_counted(done, tmp_path):
    folder, _, _ = done
    shutil.copytree(folder / "runs", tmp_path / "runs")
    for manifest in (tmp_path / "runs").glob("*/run.json"):
        known = json.loads(manifest.read_text())
        assert known.pop("networks")
        manifest.write_text(json.dumps(known))
    gather(plan(STUDY, tmp_path / "runs"), tmp_path / "results")
    again, before = (json.loads((path / "results/manifest.json").read_text()) for path in (tmp_path, folder))
    assert [one["networks"] for one in again["runs"].values()] == [one["networks"] for one in before["runs"].values()]


def test_running_it_again_changes_nothing(done):
    folder, _, _ = done
    before, said = files(folder / "results"), []
    run_study(STUDY, folder / "runs", folder / "results", say=said.append, quiet=True)
    assert [line.rpartition(": ")[2] for line in said] == ["done"] * 3
    assert files(folder / "results") == before


def test_the_table_follows_from_the_rows_alone(done, tmp_path):
    folder, outcome, _ = done
    shutil.copytree(folder / "results", tmp_path / "results")
    for name in ("table.md", "table.csv", "table.tex", "table.json", "times.md", "times.csv"):
        (tmp_path / f"results/{name}").unlink()
    assert rebuild(STUDY, tmp_path / "results") == outcome.table
    assert files(tmp_path / "results") == files(folder / "results")


def test_an_interrupted_run_goes_on_and_a_failing_one_does_not_stop_the_others(done, tmp_path):
    folder, _, _ = done
    runs = tmp_path / "runs"
    shutil.copytree(folder / "runs/narrow-s0", runs / "narrow-s0")
    manifest = json.loads((runs / "narrow-s0/run.json").read_text())
    (runs / "narrow-s0/run.json").write_text(json.dumps(manifest | {"status": "preempted"}))
    (runs / "narrow-s0/results.jsonl").unlink()
    broken = Arm(name="broken", config=DIGITS, overrides={"task.generator.image_size": 16})
    study = study_of(STUDY.arms[0], broken)
    assert [one.state for one in plan(study, runs)] == ["interrupted", "missing", "missing"]
    found = run_study(study, runs, tmp_path / "results", only=["narrow", "broken"], say=lambda line: None, quiet=True)
    assert list(found.failures) == [str(runs / "broken-s0")]
    assert "config.task.generator makes images of 16x16x1" in found.failures[str(runs / "broken-s0")]
    rows = [json.loads(line) for line in (tmp_path / "results/rows.jsonl").read_text().splitlines()]
    before = [json.loads(line) for line in (folder / "results/rows.jsonl").read_text().splitlines()]
    assert [row["value"] for row in rows] == [row["value"] for row in before[:2]]


def test_a_run_of_another_config_is_refused_and_its_rows_are_left_out(done, tmp_path):
    folder, _, _ = done
    shutil.copytree(folder / "results", tmp_path / "results")
    shutil.copytree(folder / "runs", tmp_path / "runs")
    faster = Arm(name="narrow", config=DIGITS, overrides=SMALL | {"task.generator.width": 16}, seeds=(0, 1))
    study = study_of(faster, STUDY.arms[1])
    found = run_study(study, tmp_path / "runs", tmp_path / "results", say=lambda line: None, quiet=True)
    assert found.failures.keys() == {f"{tmp_path}/runs/narrow-s{seed}" for seed in (0, 1)}
    assert "config.task.generator.width is 8 there and 16 in the study" in next(iter(found.failures.values()))
    rows = [json.loads(line) for line in (tmp_path / "results/rows.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1]


@pytest.mark.slow
def test_a_changed_evaluation_is_done_when_all_its_rows_are_there(done, tmp_path):
    folder, _, _ = done
    shutil.copytree(folder / "runs", tmp_path / "runs")
    changed = study_of(*STUDY.arms, evaluation={"num_samples": 24, "seeds": (0, 1)})
    assert [one.state for one in plan(changed, tmp_path / "runs")] == ["trained"] * 3
    jgr.evaluate(tmp_path / "runs/narrow-s0", seeds=[1], overrides=[("num_samples", "24")], quiet=True)
    assert [one.state for one in plan(changed, tmp_path / "runs")] == ["trained"] * 3
    run_study(changed, tmp_path / "runs", tmp_path / "results", say=lambda line: None, quiet=True)
    assert [one.state for one in plan(changed, tmp_path / "runs")] == ["done"] * 3
    rows = [json.loads(line) for line in (tmp_path / "results/rows.jsonl").read_text().splitlines()]
    assert [(row["n"], row["eval_seed"]) for row in rows] == [(24, seed) for _ in range(3) for seed in (0, 1)]


def test_what_a_config_says_of_the_evaluation_may_change_without_a_training(done, tmp_path):
    folder, _, _ = done
    shutil.copytree(folder / "runs/one-step-s0", tmp_path / "runs/one-step-s0")
    arm = STUDY.arms[1]
    changed = study_of(dataclasses.replace(arm, overrides=arm.overrides | {"evaluation.seeds": (5,)}))
    assert [one.state for one in plan(changed, tmp_path / "runs")] == ["trained"]
    found = run_study(changed, tmp_path / "runs", tmp_path / "results", say=lambda line: None, quiet=True)
    assert not found.failures
    assert [one.state for one in plan(changed, tmp_path / "runs")] == ["done"]
    (row,) = [json.loads(line) for line in (tmp_path / "results/rows.jsonl").read_text().splitlines()]
    assert row["eval_seed"] == 5
    assert len(RunFolder.open(tmp_path / "runs/one-step-s0").manifest()["sessions"]) == 1


def test_an_evaluation_that_cannot_be_is_told_before_anything_is_trained(tmp_path):
    study = study_of(STUDY.arms[0], evaluation={"metrics.kd": {"cls": "jgr.metrics.distribution.Kernel"}})
    assert [one.state for one in plan(study, tmp_path)] == ["refused"] * 2
    found = run_study(study, tmp_path / "runs", tmp_path / "results", say=lambda line: None, quiet=True)
    assert len(found.failures) == 2
    assert found.table == ""
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("made_again", [False, True])
def test_rows_of_runs_that_are_gone_or_made_again_stay(done, tmp_path, made_again):
    folder, _, _ = done
    shutil.copytree(folder / "results", tmp_path / "results")
    shutil.copytree(folder / "runs/one-step-s0", tmp_path / "runs/one-step-s0")
    if made_again:
        shutil.copytree(folder / "runs/narrow-s0", tmp_path / "runs/narrow-s0")
        (tmp_path / "runs/narrow-s0/results.jsonl").unlink()
    run_study(STUDY, tmp_path / "runs", tmp_path / "results", only=["one-step"], say=lambda line: None, quiet=True)
    there, here = (str(path / "results").encode() for path in (tmp_path, folder))
    # The report names the file of rows in its commands.
    made = {name: content.replace(there, here) for name, content in files(tmp_path / "results").items()}
    assert made == files(folder / "results")


def test_rows_stay_when_jgr_learns_a_key_and_go_when_a_value_changes(done, tmp_path):
    folder, _, _ = done
    shutil.copytree(folder / "results", tmp_path / "results")
    kept = json.loads((tmp_path / "results/manifest.json").read_text())
    for known in kept["runs"].values():
        known["config_hash"] = "0" * 12  # of a config without what was learned since
        assert known["config_values"].pop("data.resize") is None
        if known["arm"] == "one-step":
            known["config_values"]["task.generator.width"] += 1
    (tmp_path / "results/manifest.json").write_text(json.dumps(kept))
    gather(plan(STUDY, tmp_path / "runs"), tmp_path / "results")
    rows = [json.loads(line) for line in (tmp_path / "results/rows.jsonl").read_text().splitlines()]
    before = [json.loads(line) for line in (folder / "results/rows.jsonl").read_text().splitlines()]
    assert rows == before[:2]


def test_what_is_no_study(tmp_path):
    with pytest.raises(ConfigError, match="no arm is called 'wide'; there are narrow, one-step"):
        plan(STUDY, tmp_path, ["wide"])
    with pytest.raises(RunError, match="no run of the study has results yet"):
        rebuild(STUDY, tmp_path)
    with pytest.raises(ConfigError, match="its name is a folder's"):
        Arm(name="../x", config=DIGITS)
    with pytest.raises(ConfigError, match="each once"):
        Arm(name="x", config=DIGITS, seeds=(0, 0))
    with pytest.raises(ConfigError, match="arms of different names"):
        study_of(Arm(name="x", config=DIGITS), Arm(name="x", config=DIGITS))
    (tmp_path / "none.py").write_text("")
    with pytest.raises(ConfigError, match=r"none.py has no function get_study\(\)"):
        load_study(tmp_path / "none.py")
    with pytest.raises(ConfigError, match="there is no file"):
        load_study(tmp_path / "absent.py")


def test_the_studies_that_come_with_jgr_load():
    assert [arm.name for arm in load_study("experiments/classifiers.py").arms] == ["cnn-mnist", "cnn-digits"]


def test_values_of_single_records_are_kept_and_tell_methods_apart(tmp_path):
    (tmp_path / "photographs").mkdir()
    for number in range(6):
        crop = skimage.data.camera()[64 * number : 64 * number + 32, 100:132]
        Image.fromarray(crop).save(tmp_path / f"photographs/{number}.png")
    path = str(tmp_path / "photographs")
    where = {"data.source.path": path, "evaluation.data.source.path": path, "mesh.data": 1}
    arms = [
        Arm(name=name, config=f"configs/restoration/classical.py:{name}", overrides=where) for name in ("noisy", "tv")
    ]
    study = Study(title="Denoising", arms=tuple(arms))
    outcome = run_study(study, tmp_path / "runs", tmp_path / "results", say=lambda line: None, quiet=True)
    assert not outcome.failures
    (kept,) = (tmp_path / "results/records/tv-s0").glob("*.csv")
    header, first, *_ = kept.read_text().splitlines()
    assert header.startswith("record,psnr_gray_u8/awgn-s25")
    assert "ms" not in header  # of this machine alone
    assert first.startswith("0.png,")  # nor where the images lie
    scores, _ = [line for line in outcome.table.splitlines() if line.startswith("| tv")]
    assert "**" in scores
    assert re.search(r"- psnr: tv is ahead of noisy by \d+\.\d+ \[\d[\d., ]+\] \(6 records in pairs\)", outcome.table)
    shutil.rmtree(tmp_path / "runs")
    (tmp_path / "results/table.md").unlink()
    assert rebuild(study, tmp_path / "results") == outcome.table
