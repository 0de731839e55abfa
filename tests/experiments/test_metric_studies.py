"""`experiments/metric_fidelity.py` and `experiments/metric_speed.py`: what they write, and that they judge."""

import json
from pathlib import Path

import pytest

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"


@pytest.fixture
def fidelity(monkeypatch):
    monkeypatch.syspath_prepend(EXPERIMENTS)
    import metric_fidelity

    return metric_fidelity


@pytest.fixture
def speed(monkeypatch):
    monkeypatch.syspath_prepend(EXPERIMENTS)
    import metric_speed

    return metric_speed


def lines(folder):
    return [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]


def test_the_numbers_beside_scikit_images_are_equal_or_explained(fidelity, tmp_path):
    fidelity.main(["--smoke", f"--out={tmp_path}"])
    rows = lines(tmp_path)
    assert {row["library"] for row in rows} == {"scikit-image", "Pillow", "scipy"}
    verdicts = {row["case"]: row["verdict"] for row in rows}
    assert verdicts["ssim/scikit-image"] == verdicts["ms-ssim/scipy"] == verdicts["frechet/scipy"] == "equal"
    assert verdicts["gray/scikit-image"] == "explained"
    table = (tmp_path / "table.md").read_text()
    assert f"metric_fidelity.py --smoke --out={tmp_path}" in table
    assert "BT.709" in table
    assert "Set5, BSD68 and MNIST are left out" in table
    assert "scikit-image" in json.loads((tmp_path / "manifest.json").read_text())["libraries"]


def test_a_deviation_without_an_explanation_fails(fidelity, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fidelity, "_GROUPS", [(("skimage",), fidelity.images_by_scikit_image)])
    monkeypatch.delitem(fidelity.EXPLANATIONS, "gray/scikit-image")
    with pytest.raises(SystemExit, match="1"):
        fidelity.main(["--smoke", f"--out={tmp_path}"])
    assert "gray/scikit-image, astronaut: differs by" in capsys.readouterr().err
    assert "not explained" in (tmp_path / "table.md").read_text()


@pytest.mark.parametrize(
    ("case", "theirs", "verdict"),
    [
        ("psnr/scikit-image", 20.00001, "equal"),
        ("psnr/scikit-image", 20.1, "not explained"),
        ("psnr/scikit-image", float("nan"), "not explained"),
        ("psnr-default/torchmetrics", 19.5, "explained"),
        ("psnr-default/torchmetrics", 19.6, "not what explains it"),
        ("fid/torch-fidelity", 20.00015, "explained"),
        ("fid/torch-fidelity", 20.1, "more than what explains it"),
    ],
)
def test_an_explanation_holds_for_what_it_explains_only(fidelity, case, theirs, verdict):
    row = fidelity.Row(case=case, metric="", inputs="", ours=20.0, theirs=theirs, bound=1e-4, adjusted=19.5)
    assert row.verdict == verdict


def test_a_library_that_is_missing_is_named(fidelity, tmp_path, monkeypatch):
    def never(inputs):
        raise AssertionError(inputs)

    monkeypatch.setattr(fidelity, "_GROUPS", [(("no_such_library", "skimage"), never)])
    assert fidelity.collected(fidelity.Inputs(smoke=False, data=None)) == ([], ["no_such_library"])


def test_times_are_measured_and_rows_of_other_tasks_stay(speed, tmp_path):
    speed.main(["--smoke", "--only=ssim,moments", "--repeats=1", f"--out={tmp_path}"])
    first = lines(tmp_path)
    assert [(row["task"], row["contender"]) for row in first] == [
        ("ssim", "jgr"),
        ("ssim", "scikit-image"),
        ("moments", "jgr"),
        ("moments", "numpy"),
    ]
    for ours, other in (first[:2], first[2:]):
        assert ours["value"] == pytest.approx(other["value"], rel=1e-4)
    speed.main(["--smoke", "--only=frechet", "--repeats=2", f"--out={tmp_path}"])
    second = lines(tmp_path)
    assert [row["task"] for row in second] == ["frechet"] * 3 + ["ssim", "ssim", "moments", "moments"]
    assert second[3:] == first
    for other in second[1:3]:
        assert second[0]["value"] == pytest.approx(other["value"], rel=1e-7)
    tasks = json.loads((tmp_path / "manifest.json").read_text())["tasks"]
    assert len(tasks["ssim"]["load_average_before"]) == 3
    assert "--only=frechet" in (tmp_path / "table.md").read_text()


def test_bars_are_judged_by_the_numbers(speed):
    def row(contender, seconds, memory_mib=None, task="frechet", smoke=False):
        return {
            "task": task,
            "what": "",
            "contender": contender,
            "version": "1",
            "s": seconds,
            "value": [1.0],
            "memory_mib": memory_mib,
            "smoke": smoke,
        }

    def bars(*rows):
        return [line["bar"] for line in speed.summary(rows)]

    assert bars(row("jgr", [2.0, 3.0, 2.4]), row("scipy", [8.0, 15.0, 7.2])) == [
        "",
        "jgr below 2.5 s: met; jgr at least 4 times as fast: met",
    ]
    assert bars(row("jgr", [2.6]), row("scipy", [10.0]))[1] == (
        "jgr below 2.5 s: NOT met; jgr at least 4 times as fast: NOT met"
    )
    assert "MiB: NOT met" in bars(row("jgr", [1.0], 960, "neighbours"), row("prdc", [2.0], 1, "neighbours"))[1]
    assert bars(row("jgr", [9.0], smoke=True), row("scipy", [1.0], smoke=True)) == ["", ""]


def test_the_memory_of_a_task_is_that_of_its_own_process(speed):
    held = bytearray(200 << 20)  # of this process: does not count
    grown = speed._memory("neighbours", "jgr", smoke=True)
    assert len(held) > 0
    assert 0 <= grown < 50
