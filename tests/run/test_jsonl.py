import json
import math
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from jgr.errors import RunError
from jgr.run import jsonl


def test_rows_come_back_in_order(tmp_path):
    path = tmp_path / "metrics.jsonl"
    assert jsonl.read(path) == []
    rows = [{"step": step, "loss": 0.1 * step, "name": "ü"} for step in range(3)]
    for row in rows:
        jsonl.append(path, row)
    assert jsonl.read(path) == rows


def test_numbers_that_json_lacks_become_null_and_arrays_become_numbers(tmp_path):
    path = tmp_path / "metrics.jsonl"
    jsonl.append(
        path, {"a": math.nan, "b": -math.inf, "c": np.float32(0.5), "d": [np.inf, np.int64(3)], "e": jnp.ones(2)}
    )

    def refuse(constant: str) -> None:
        raise AssertionError(f"bare {constant} in the file")

    row = json.loads(path.read_text(), parse_constant=refuse)
    assert row == {"a": None, "b": None, "c": 0.5, "d": [None, 3], "e": [1.0, 1.0]}


@pytest.mark.parametrize("torn", [b'{"step": 2, "lo', b"\0\0\0\0", b'{"name": "\xc3'])
def test_torn_tail_is_ignored_and_removed_by_the_next_append(tmp_path, torn):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n' + torn)
    assert jsonl.read(path) == [{"step": 1}]
    jsonl.append(path, {"step": 2})
    assert path.read_bytes() == b'{"step": 1}\n{"step": 2}\n'


def test_row_that_lacks_only_its_line_end_counts(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}')
    assert jsonl.read(path) == [{"step": 1}]
    jsonl.append(path, {"step": 2})
    assert jsonl.read(path) == [{"step": 1}, {"step": 2}]


@pytest.mark.parametrize("broken", [b"{oops}", b"[1, 2]", b"\xff"])
def test_broken_line_names_file_and_line(tmp_path, broken):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n' + broken + b'\n{"step": 3}\n')
    with pytest.raises(RunError, match=r"metrics\.jsonl:2 is damaged"):
        jsonl.read(path)


def test_cut_back_keeps_earlier_lines_byte_for_byte(tmp_path):
    path = tmp_path / "metrics.jsonl"
    kept = b'{"step": 1,   "x": 1.0}\n{"x": 2, "step": 2}\n'
    path.write_bytes(kept + b'{"step": 3}\n{"ste')
    jsonl.cut_back(path, 2)
    assert path.read_bytes() == kept
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_cut_back_of_nothing_makes_nothing(tmp_path):
    jsonl.cut_back(tmp_path / "metrics.jsonl", 0)
    assert list(tmp_path.iterdir()) == []


def test_cut_back_refuses_rows_without_step(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"loss": 1}\n')
    with pytest.raises(RunError, match="row 1 has no step"):
        jsonl.cut_back(path, 2)


def test_writers_in_several_processes_lose_no_row(tmp_path):
    path = tmp_path / "results.jsonl"
    code = (
        "import sys; from pathlib import Path; from jgr.run import jsonl\n"
        "for i in range(40): jsonl.append(Path(sys.argv[1]), {'writer': sys.argv[2], 'i': i, 'text': 'x' * 5000})"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(path), str(writer)]) for writer in range(3)]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    rows = jsonl.read(path)
    for writer in "012":
        assert [row["i"] for row in rows if row["writer"] == writer] == list(range(40))


def test_append_to_a_full_disk_takes_its_part_back(tmp_path):
    path = tmp_path / "metrics.jsonl"
    jsonl.append(path, {"step": 1})
    before = path.read_bytes()
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from jgr.run import jsonl; from jgr.errors import RunError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))\n"
        "try: jsonl.append(Path(sys.argv[1]), {'step': 2, 'text': 'x' * 500})\n"
        "except RunError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"{path} cannot be written: File too large")
    assert done.stdout.count("\n") == 1
    assert path.read_bytes() == before


def test_append_where_no_folder_is(tmp_path):
    with pytest.raises(RunError, match=r"absent/metrics\.jsonl cannot be written: No such file or directory"):
        jsonl.append(tmp_path / "absent" / "metrics.jsonl", {"step": 1})
