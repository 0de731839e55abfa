import dataclasses
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from jgr.config import config_hash
from jgr.files import write_json
from jgr.jobs.report.document import document
from jgr.jobs.report.of_runs import report
from jgr.jobs.report.of_study import report_of_study, write_study_report
from jgr.jobs.report.restored import Test, restored_of
from jgr.jobs.study import Arm, Study
from jgr.jobs.study_pictures import copy_restored, read_restored
from jgr.jobs.study_plan import run_config
from jgr.run.folder import RunFolder
from jgr.run.records import file_name
from jgr.run.rows import result_row
from tests.conftest import DIGITS

PROTOCOL = "psnr_gray_u8/awgn-s25"
VALUES = (20.0, 30.0, 25.0)
TEST = Test("set-test@1", "awgn-s25")
STUDY = Study(
    title="A study",
    arms=(
        Arm(name="wide", config=DIGITS, overrides={"task.generator.width": 16}),
        Arm(name="deep", config=DIGITS, seeds=(0, 1)),
    ),
)


def row_of(run, **fields):
    known = dict(
        config=DIGITS, config_hash="0", seed=0, eval_seed=0, step=7, images_seen=70, weights="ema", select="last"
    )
    known |= dict(dataset=TEST.dataset, metric="psnr", protocol=PROTOCOL, value=25.0, std=None, n=3, better="higher")
    return result_row(run=run, commit="c", device="cpu", time_s=1.0, **known | fields)


def images(scale=1):
    """Degraded, restored and true image of 200x300 and of a part of it: each pixel tells where it is."""
    truth = (np.arange(200)[:, None, None] + np.arange(300)[None, :, None]).astype(np.uint8)
    return {"degraded": truth[::scale, ::scale], "restored": truth + np.uint8(3), "truth": truth}


@pytest.fixture
def run(tmp_path):
    """The folder of a run that restored three records."""
    folder = RunFolder.create(
        tmp_path / "wide-s0", {"seed": 0, "width": 16}, {"run": "r0", "status": "completed", "git": []}
    )
    folder.append_result(row_of("r0"))
    stem = file_name(step=7, weights="ema", eval_seed=0, manner=[TEST.dataset, TEST.manner])
    folder.write_csv(
        f"per_record/{stem}", {"record": ["/a/bird.png", "/a/cat.png", "/a/dog.png"], PROTOCOL: list(VALUES)}
    )
    for place in range(2):
        for what, image in images().items():
            folder.write_png(f"restored/{stem.removesuffix('.csv')}/{place}-{what}.png", image)
    folder.append_metrics({"step": 7, "loss": 1.5, "elapsed_s": 3.0})
    folder.write_png("step_00000007.png", np.zeros((8, 8, 1), np.uint8))
    return folder


@pytest.fixture
def results(tmp_path, run):
    """A study's folder; only one of its runs is there still."""
    out = tmp_path / "results"
    (out / "curves").mkdir(parents=True)
    (out / "curves/deep-s1.csv").write_text("step,loss,validation/psnr\n1,2.5,\n2,1.5,20\n")
    runs = {"r0": STUDY.arms[0], "r1": STUDY.arms[1], "r2": STUDY.arms[1]}
    known = {
        run: {
            "arm": arm.name,
            "seed": int(run == "r2"),
            "config": arm.config,
            "overrides": {key: str(item) for key, item in arm.overrides.items()},
            "config_hash": config_hash(run_config(arm, 0)),
            "command": ["jgr", "experiment", "a study.py"],
            "git": [{"commit": "abc", "dirty": True}],
            "versions": {"jax": "0.1"},
        }
        for run, arm in runs.items()
    }
    write_json(out / "manifest.json", {"runs": known})
    rows = [row_of("r0"), row_of("r1", value=24.0), row_of("r2", value=26.0, seed=1)]
    (out / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    copy_restored(run, [row_of("r0")], out)
    return out


def pixels(content):
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image)[..., :1]


def test_the_middle_of_restored_images_is_kept_without_loss_and_what_runs_share_once(run, results):
    assert sorted(path.name for path in (results / "restored").glob("*/*")) == ["degraded", "truth", "wide-s0"]
    kept = read_restored(results, "wide-s0", [TEST])[TEST]
    assert len(kept) == 2
    assert kept == restored_of(run, [row_of("r0")])[TEST]
    whole = images()
    for what in ("degraded", "restored", "truth"):
        np.testing.assert_array_equal(pixels(getattr(kept[0], what)), whole[what][20:180, 70:230])
    assert read_restored(results, "deep-s0", [TEST]) == {}


def test_what_is_to_be_enlarged_shows_the_same_part(run):
    (stem,) = [path for path in (run.samples_path / "restored").iterdir() if path.is_dir()]
    run.write_png(f"restored/{stem.name}/0-degraded.png", images(scale=4)["degraded"])
    first = restored_of(run, [row_of("r0")])[TEST][0]
    np.testing.assert_array_equal(pixels(first.degraded), pixels(first.truth)[::4, ::4])


def test_a_study_has_its_report_from_what_is_kept_alone(run, results):
    found = document(report_of_study(STUDY, results))
    wide, deep = sorted(found["arms"], key=lambda arm: arm["name"], reverse=True)
    assert (wide["config"]["task.generator.width"], deep["config"]["task.generator.width"]) == ("16", "8")
    assert found["config"]["keys"] == ["task.generator.width"]
    assert [one["name"] for one in deep["runs"]] == ["deep-s0", "deep-s1"]
    assert deep["runs"][1]["measurements"][0]["command"] == f"jgr reproduce {results}/rows.jsonl#3"
    assert found["facts"]["alike"]["uncommitted changes"] == "yes"
    assert found["curves"]["metrics"] == ["loss", "validation/psnr"]
    (test,) = found["tests"]
    assert [record["name"] for record in test["records"]] == ["record 0", "record 1"]
    path = write_study_report(STUDY, results)
    before = path.read_bytes()
    path.unlink()
    assert write_study_report(STUDY, results).read_bytes() == before


def test_of_a_config_that_is_not_todays_only_what_was_set_is_shown(results):
    manifest = json.loads((results / "manifest.json").read_text())
    manifest["runs"]["r0"]["config_hash"] = "of another day"
    write_json(results / "manifest.json", manifest)
    arms = {arm.name: arm for arm in report_of_study(STUDY, results).arms}
    assert not arms["wide"].whole
    assert arms["wide"].config.keys() == {"task.generator.width", "config"}
    assert arms["deep"].whole
    manifest["runs"]["r0"]["config_values"] = {"task.generator.width": 99, "seed": 5}
    write_json(results / "manifest.json", manifest)
    arms = {arm.name: arm for arm in report_of_study(STUDY, results).arms}
    assert arms["wide"].whole
    assert arms["wide"].config == {"task.generator.width": 99, "config": DIGITS}


def test_runs_of_no_study_have_one_too(run, tmp_path):
    path = report([run.path], tmp_path / "report.html", title="Mine")
    data = re.search(r'id="document">(.*?)</script>', path.read_text(), re.DOTALL)
    found = json.loads(data[1])
    assert found["title"] == "Mine"
    assert found["arms"][0]["runs"][0]["measurements"][0]["command"] == f"jgr reproduce {run.path}"
    assert [record["name"] for record in found["tests"][0]["records"]] == ["bird.png", "cat.png"]
    assert found["tests"][0]["records"][1]["restored"][0]["values"] == "psnr 30.00"
    assert found["curves"]["metrics"] == ["loss"]
    assert len(found["grids"]) == 1


def test_arms_that_left_the_study_are_left_out(results):
    study = dataclasses.replace(STUDY, arms=STUDY.arms[1:])
    assert [arm.name for arm in report_of_study(study, results).arms] == ["deep"]
