import json

import pytest

from jgr.jobs.report.curves import curves
from jgr.jobs.report.document import document
from tests.jobs.report import made


def test_tables_hold_what_the_comparison_writes():
    found = document(made.small())
    (table,) = found["tables"]
    assert [(column["lines"][0], column["better"]) for column in table["columns"]] == [
        ("psnr", "higher"),
        ("mae", "lower"),
    ]
    assert [found["arms"][row["arm"]]["name"] for row in table["rows"]] == ["beta", "alpha", "gamma"]
    texts = [[cell["text"] for cell in row["cells"]] for row in table["rows"]]
    assert texts == [["9.500", "0.2500"], ["10.25", "0.5000"], ["–", "inf"]]
    psnr, mae = table["rows"][0]["cells"]
    assert (psnr["value"], psnr["limits"], psnr["best"]) == (9.5, "[9.000, 10.00]", False)
    assert mae["limits"] is None
    assert table["rows"][1]["cells"][0]["best"]
    assert table["rows"][2]["cells"][1]["value"] == "Infinity"
    assert table["leads"] == ["psnr: one leads"]


def test_only_keys_that_differ_are_told_apart():
    found = document(made.small())
    assert found["config"] == {"keys": ["extra", "width"], "alike": {"depth": "2"}}
    assert [arm["config"] for arm in found["arms"]] == [
        {"width": "64"},
        {"width": "32"},
        {"extra": "None", "width": "32"},
    ]
    assert found["facts"] == {"names": ["commit"], "alike": {"python": "3.11"}}
    assert found["arms"][1]["runs"][1]["facts"] == {"commit": "c-alpha-s1"}


def test_a_picture_that_several_share_is_kept_once():
    found = document(made.small())
    assert len(found["pictures"]) == len(set(found["pictures"])) == 5  # degraded, truth, two restored, one grid
    (test,) = found["tests"]
    (record,) = test["records"]
    assert record["name"] == "bird.png"
    assert [(one["arm"], one["values"]) for one in record["restored"]] == [(0, "psnr 22.50"), (2, "psnr 22.50")]
    assert len({record["degraded"], record["truth"], *(one["picture"] for one in record["restored"])}) == 4


def test_it_is_json_without_what_json_has_not():
    json.dumps(document(made.small()), allow_nan=False)


def test_curves_are_of_every_run_at_shared_steps():
    logged = [
        {"step": 10, "images_seen": 40, "loss": 1.23456789, "name": "no number"},
        {"step": 20, "images_seen": 80, "loss": float("nan")},
    ]
    later = [{"step": 20, "images_seen": 80, "loss": 3}]
    found = curves([{"a-s0": logged, "a-s1": later}, {"b-s0": []}])
    assert found["metrics"] == ["loss"]
    (series,) = found["series"]
    assert found["steps"][series["steps"]] == [10, 20]
    assert series["runs"] == ["a-s0", "a-s1"]
    assert series["values"] == [[1.2346, None], [None, 3.0]]
    assert series["images_per_step"] == 4


@pytest.mark.parametrize("count", [1, 200])
def test_curves_are_thinned_to_a_bounded_number_of_points(count):
    logged = [{"step": step, "loss": step} for step in range(1, 1001)]
    found = curves([{f"{i}-s0": logged} for i in range(count)])
    values = [len(series["values"][0]) for series in found["series"]]
    assert max(values) <= found["points"] <= 240
    assert sum(values) <= 120_000
    assert found["logged"] == 1000
    steps = found["steps"][found["series"][0]["steps"]]
    assert (steps[0], steps[-1]) == (1, 1000)
    assert len(found["steps"]) == 1  # alike ones are written once


def test_two_hundred_runs_stay_below_five_megabytes():
    assert len(json.dumps(document(made.many(200)))) < 5e6
