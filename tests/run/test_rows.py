import math

import numpy as np
import pytest

from jgr.run import rows

FIELDS = {
    "run": "r1",
    "config": "configs/a.py",
    "config_hash": "abc",
    "seed": 0,
    "eval_seed": 1,
    "step": 10,
    "images_seen": 640,
    "weights": "ema",
    "select": "last",
    "dataset": "digits-train@1234",
    "metric": "fd_pixels",
    "protocol": "fd_pixels_u8_n100_train",
    "value": 2.5,
    "std": None,
    "n": 100,
    "better": "lower",
    "commit": None,
    "device": "cpu",
    "time_s": 0.5,
}
# The schema of a row, in its order.
SCHEMA = (
    "schema run config config_hash seed eval_seed step images_seen weights select dataset metric protocol value std n "
    "status better commit device time_s"
)


def test_row_has_the_schema():
    row = rows.result_row(**FIELDS)
    assert " ".join(row) == SCHEMA
    assert row["status"] == "ok"
    assert {name: row[name] for name in FIELDS} == FIELDS


def test_unknown_and_missing_fields_are_refused():
    with pytest.raises(TypeError, match="higher_is_better"):
        rows.result_row(**FIELDS, higher_is_better=True)
    with pytest.raises(TypeError, match="protocol"):
        rows.result_row(**{name: value for name, value in FIELDS.items() if name != "protocol"})


@pytest.mark.parametrize(("value", "status"), [(math.inf, "inf"), (-math.inf, "-inf"), (math.nan, "nan")])
def test_numbers_that_json_lacks_are_told_by_status(value, status):
    row = rows.result_row(**FIELDS | {"value": value, "std": math.nan})
    assert (row["value"], row["std"], row["status"]) == (None, None, status)
    np.testing.assert_equal(rows.value(row), value)


def test_numpy_numbers_become_plain():
    row = rows.result_row(**FIELDS | {"value": np.float32(0.5), "step": np.int64(7), "n": np.uint32(3)})
    assert [(type(row[name]), row[name]) for name in ("value", "step", "n")] == [(float, 0.5), (int, 7), (int, 3)]


def test_newest_row_of_each_key_counts():
    first = rows.result_row(**FIELDS)
    other_step = rows.result_row(**FIELDS | {"step": 20})
    again = rows.result_row(**FIELDS | {"value": 3.5, "time_s": 9.0})
    assert rows.newest([first, other_step, again]) == [other_step, again]


@pytest.mark.parametrize("field", rows.KEY)
def test_each_key_field_makes_another_measurement(field):
    other = {"weights": "raw", "select": "best"}.get(field, 99 if isinstance(FIELDS[field], int) else "other")
    assert len(rows.newest([rows.result_row(**FIELDS), rows.result_row(**FIELDS | {field: other})])) == 2
