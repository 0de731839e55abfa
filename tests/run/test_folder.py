import json
import math
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from jgr.errors import RunError
from jgr.run.folder import RunFolder
from jgr.run.rows import KEY

CONFIG = {"seed": 0, "task": {"cls": "jgr.tasks.gan.GAN", "betas": [0.5, 0.999], "clip": None}}
MANIFEST = {"run": "r1", "status": "created"}


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def test_created_folder_opens_and_holds_what_was_given(tmp_path):
    path = tmp_path / "deep" / "run"
    RunFolder.create(path, CONFIG, MANIFEST)
    assert RunFolder.exists(path)
    assert not RunFolder.exists(path.parent)
    folder = RunFolder.open(str(path))
    assert folder.config() == CONFIG
    assert folder.manifest() == MANIFEST
    assert names(path) == ["checkpoints", "config.json", "run.json", "samples"]
    assert names(path.parent) == ["run"]
    assert folder.config_path.read_text() == json.dumps(CONFIG, indent=2, sort_keys=True) + "\n"
    assert folder.metrics() == folder.results() == []


def test_an_empty_folder_is_taken_also_behind_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "disk")
    RunFolder.create(tmp_path / "run", CONFIG, MANIFEST)
    assert (tmp_path / "run").is_symlink()
    assert (tmp_path / "disk" / "run.json").is_file()


def test_a_folder_of_other_files_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(RunError, match="holds files but no run"):
        RunFolder.create(tmp_path, CONFIG, MANIFEST)
    assert names(tmp_path) == ["thesis.tex"]


def test_a_run_is_not_made_twice(tmp_path):
    RunFolder.create(tmp_path / "run", CONFIG, MANIFEST)
    with pytest.raises(RunError, match="already holds a run"):
        RunFolder.create(tmp_path / "run", {}, {})
    assert RunFolder.open(tmp_path / "run").config() == CONFIG


def test_a_file_is_not_a_folder(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunError, match="file is a file"):
        RunFolder.create(tmp_path / "file", CONFIG, MANIFEST)
    with pytest.raises(RunError, match=r"run cannot be made: .*: name a path whose parents are folders"):
        RunFolder.create(tmp_path / "file" / "run", CONFIG, MANIFEST)


def test_unwritable_parent():
    # /proc takes no new folder from anyone, root included.
    with pytest.raises(RunError, match=r"^/proc/run cannot be made: No such file or directory$"):
        RunFolder.create("/proc/run", CONFIG, MANIFEST)


def test_forbidden_parent(tmp_path):
    code = (
        "import os, sys; from jgr.run.folder import RunFolder; from jgr.errors import RunError\n"
        "if os.geteuid() == 0: os.setuid(65534)  # permissions do not bind root\n"
        "try: RunFolder.create(sys.argv[1], {'seed': 0}, {})\n"
        "except RunError as error: print(error)"
    )
    tmp_path.chmod(0o500)
    path = tmp_path / "run"
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert re.fullmatch(rf"{path} cannot be \w+: Permission denied: change its permissions .*\n", done.stdout)


def test_full_disk_leaves_nothing(tmp_path):
    code = (
        "import resource, sys; from jgr.run.folder import RunFolder; from jgr.errors import RunError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))\n"
        "try: RunFolder.create(sys.argv[1], {'seed': 0}, {'git': 'x' * 5000})\n"
        "except RunError as error: print(error)"
    )
    path = tmp_path / "run"
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"{path} cannot be made: File too large")
    assert names(tmp_path) == []


def test_full_disk_leaves_the_old_manifest(tmp_path):
    folder = RunFolder.create(tmp_path / "run", CONFIG, MANIFEST)
    code = (
        "import resource, sys; from jgr.run.folder import RunFolder; from jgr.errors import RunError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))\n"
        "try: RunFolder.open(sys.argv[1]).update_manifest(git='x' * 5000)\n"
        "except RunError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder.path)], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"{folder.manifest_path} cannot be written: File too large")
    assert folder.manifest() == MANIFEST
    assert names(folder.path) == ["checkpoints", "config.json", "run.json", "samples"]


def test_open_says_what_is_missing_and_what_to_do(tmp_path):
    with pytest.raises(RunError, match=r"no such folder; make one with: jgr train"):
        RunFolder.open(tmp_path / "absent")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(RunError, match=r"not a run's folder: run\.json missing"):
        RunFolder.open(tmp_path)


@pytest.mark.parametrize("content", ['{"run": ', "[]", "\0\0"])
def test_damaged_json_names_the_file(tmp_path, content):
    folder = RunFolder.create(tmp_path / "run", CONFIG, MANIFEST)
    folder.manifest_path.write_text(content)
    with pytest.raises(RunError, match=r"run\.json is damaged"):
        folder.manifest()


def test_manifest_is_updated_field_by_field(tmp_path):
    folder = RunFolder.create(tmp_path / "run", CONFIG, MANIFEST)
    folder.update_manifest(status="running", data={"digits": "1234"})
    assert folder.manifest() == {"run": "r1", "status": "running", "data": {"digits": "1234"}}
    with pytest.raises(ValueError, match="status='done' must be one of created, running"):
        folder.update_manifest(status="done")


def test_config_refuses_what_json_cannot_hold(tmp_path):
    with pytest.raises(RunError, match=r"config\.json cannot hold optimizer\.clip=inf"):
        RunFolder.create(tmp_path / "run", {"optimizer": {"clip": math.inf}}, MANIFEST)
    folder = RunFolder.create(tmp_path / "run", CONFIG, MANIFEST)
    with pytest.raises(RunError, match=r"config\.json cannot hold betas="):
        folder.write_config({"betas": (0.5, math.nan)})
    assert folder.config() == CONFIG


def test_metrics_and_results(tmp_path):
    folder = RunFolder.create(tmp_path / "run", CONFIG, MANIFEST)
    for step in (1, 2, 3):
        folder.append_metrics({"step": step})
    folder.cut_back_metrics(2)
    assert folder.metrics() == [{"step": 1}, {"step": 2}]
    for value in (1.0, 2.0):
        folder.append_result(dict.fromkeys(KEY, "same") | {"value": value, "status": "ok"})
    assert [row["value"] for row in folder.results()] == [2.0]
    folder.append_result({"metric": "psnr"})
    with pytest.raises(RunError, match=r"results\.jsonl: row 3 lacks run, config_hash"):
        folder.results()


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_picture_is_lossless(tmp_path, channels, mode):
    folder = RunFolder.create(tmp_path / "run", CONFIG, MANIFEST)
    image = np.random.default_rng(0).integers(0, 256, (5, 7, channels), np.uint8)
    path = folder.write_png("restored/step_0001.png", image)
    assert path == folder.samples_path / "restored" / "step_0001.png"
    with Image.open(path) as read:
        assert read.mode == mode
        np.testing.assert_array_equal(np.asarray(read).reshape(image.shape), image)
    assert names(path.parent) == ["step_0001.png"]
    with pytest.raises(RunError, match=r"a\.jpg cannot be written: pictures are PNG; name it a\.png"):
        folder.write_png("a.jpg", image)
