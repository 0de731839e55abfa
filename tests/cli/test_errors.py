"""Bad input gives one line on stderr and a status other than 0, and changes nothing."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import jgr
from jgr.cli.main import main
from jgr.errors import ConfigError
from jgr.run.lock import RunLock
from jgr.state import checksums

DIGITS = str(Path(__file__).resolve().parents[2] / "configs/gan/dcgan_digits.py:smoke")


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def refused(tmp_path, capsys):
    """Runs a command that must fail with one line on stderr and leave everything below `tmp_path` as it is."""

    def run(*arguments, status=1, untouched=True):
        before = contents(tmp_path)
        capsys.readouterr()
        try:
            returned = main([str(argument) for argument in arguments])
        except SystemExit as stopped:  # argparse
            returned = stopped.code
        shown = capsys.readouterr()
        assert returned == status, shown
        assert shown.err.count("\n") == 1, shown.err
        assert shown.err.startswith("jgr")
        assert "error: " in shown.err
        if untouched:
            assert contents(tmp_path) == before
        return shown.err.partition("error: ")[2]

    return run


@pytest.fixture
def copied_run(digits_run, tmp_path):
    return shutil.copytree(digits_run, tmp_path / "run")


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["--config.train.num_stpes=4"], "config.train.num_stpes is unknown: Train has no 'num_stpes'; did you mean"),
        (["--config.task.generator.wdith=4"], "config.task.generator.wdith is unknown: Generator has no 'wdith'; did"),
        (["--config.train.batch_size=many"], "config.train.batch_size = 'many' must be of type int"),
        (["--config.train.num_steps=soon"], "config.train.num_steps = 'soon' is not a duration: write 500 (steps), "),
        (["--config.data.mode=fast"], "config.data.mode = 'fast' must be one of auto, resident, streamed"),
        (["--config.train.batch_size=0"], "config.train.batch_size = 0 must be at least 1"),
        (["--config.task.generator.image_size=9"], "config.task.generator.image_size = 9 must be 4, 5, 6 or 7 times"),
        (["--config.task.generator.image_size=16"], "config.task.generator makes images of 16x16x1 but the data has 8"),
        (["--config.task.cls=jgr.models.dcgan.Generator"], "config.task.cls = 'jgr.models.dcgan.Generator' is no jgr."),
        (["--config.task.generator.cls=my_file.Net"], "config.task.generator.cls = 'my_file.Net': there is no module"),
        (
            ["--config.data.source.cls=jgr.data.folder.ImageFolder", "--config.data.source.path=/no/such/images"],
            "/no/such/images: no such folder",
        ),
        (
            [
                *("--config.data.source.cls=jgr.data.tfds.TFDS", "--config.data.source.dataset=mnist"),
                *("--config.data.source.data_dir=/no/such/folder", "--config.data.source.split=train"),
            ],
            "mnist: no prepared data set in /no/such/folder/mnist; run `jgr data prepare mnist`",
        ),
    ],
)
def test_config_that_cannot_work(refused, tmp_path, overrides, expected):
    for command in (["train", f"--workdir={tmp_path / 'run'}"], ["check"]):
        assert refused(*command, f"--config={DIGITS}", *overrides).startswith(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "there is no file"),
        ("raise ValueError('two\\nlines')", "failed: ValueError: two lines"),
        ("def get_config(:", "failed: SyntaxError"),
        ("x = 1", "has no function get_config(arg='')"),
        ("def get_config(arg=''):\n    return {}", "must return an ml_collections.ConfigDict, not {}"),
        ("def get_config():\n    pass", "failed: TypeError: get_config() takes 0 positional arguments"),
        (
            "import ml_collections\ndef get_config(a=''):\n    return ml_collections.ConfigDict()",
            "config.data is missing",
        ),
    ],
)
def test_config_file_that_gives_none(refused, tmp_path, text, expected):
    config = tmp_path / "config.py"
    if text is not None:
        config.write_text(text)
    assert expected in refused("train", f"--config={config}:smoke", f"--workdir={tmp_path / 'run'}")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["trian"], "invalid choice: 'trian'"),
        (["train", "--config=a.py"], "the following arguments are required: --workdir"),
        (["check", "--config=a.py", "--fast"], "unrecognised arguments: --fast"),
        (["compare", "a", "--config.seed=1"], "unrecognised arguments: --config.seed"),
        (["compare", "a", "--format=html"], "invalid choice: 'html'"),
    ],
)
def test_wrong_command_line(refused, arguments, expected):
    message = refused(*arguments, status=2)
    assert expected in message
    assert "--help" in message


def test_folder_that_is_no_run(refused, tmp_path):
    (tmp_path / "empty").mkdir()
    for name, problem in (("empty", "config.json and run.json missing"), ("absent", "no such folder")):
        for command in (["evaluate"], ["sample", f"--out={tmp_path / 'x.png'}"], ["reproduce"], ["compare"]):
            message = refused(command[0], tmp_path / name, *command[1:])
            assert message.startswith(f"{tmp_path / name} is not a run's folder: {problem}; make one with: jgr train")


def test_workdir_that_cannot_be_made(refused, tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.tex").write_text("mine")
    for workdir, expected in (
        ("file", "is a file; name another folder"),
        ("file/run", "cannot be made: "),
        ("folder", "holds files but no run; empty it or name another folder"),
    ):
        assert expected in refused("train", f"--config={DIGITS}", f"--workdir={tmp_path / workdir}")


def test_workdir_of_another_config(refused, copied_run):
    for override, expected in (
        ("task.generator.width=4", "config.task.generator.width is 8 there and 4 here. Use another --workdir"),
        ("seed=1", "config.seed is 0 there and 1 here"),
        ("data.source.split=train", "config.data.source.split is 'all' there and 'train' here"),
    ):
        message = refused("train", f"--config={DIGITS}", f"--workdir={copied_run}", f"--config.{override}")
        assert message.startswith(f"{copied_run} is a run of another config: {expected}")


def test_fewer_steps_than_are_done(refused, copied_run):
    """Nor does the refusal shorten or fail the run that is there."""
    arguments = [f"--config={DIGITS}", f"--workdir={copied_run}", "--config.train.num_steps=4"]
    message = refused("train", *arguments)
    assert message.startswith(f"{copied_run} is at step 6, beyond config.train.num_steps = 4; give a larger number")


def test_two_trainings_of_one_workdir(refused, copied_run):
    arguments = ["train", f"--config={DIGITS}", f"--workdir={copied_run}", "--config.train.num_steps=8"]
    with RunLock(copied_run):
        message = refused(*arguments)
    assert f"{copied_run} is in use by job 'train', pid {os.getpid()}" in message


def test_checkpoint_of_another_architecture(refused, copied_run, digits_config, tmp_path):
    wider = digits_config({"task.generator.width": 4, "train.num_steps": 6, "train.sample_every": 0})
    jgr.train(wider, tmp_path / "wider", quiet=True)
    shutil.rmtree(copied_run / "checkpoints")
    shutil.copytree(tmp_path / "wider" / "checkpoints", copied_run / "checkpoints")
    expected = f"checkpoint {copied_run}/checkpoints/6 is of another architecture: "
    same_config = [f"--config={DIGITS}", f"--workdir={copied_run}", "--config.train.num_steps=6"]
    keep = [f"--config.train.{name}" for name in ("checkpoint_every=2", "sample_every=2", "keep_checkpoints=3")]
    for command in (
        ["evaluate", copied_run],
        ["sample", copied_run, f"--out={tmp_path / 'x.png'}"],
        ["train", *same_config, *keep],
    ):
        message = refused(*command)
        assert message.startswith(expected)
        assert "Nothing was changed" in message
    assert not (copied_run / "damaged").exists()


@pytest.fixture
def intruder(copied_run, tmp_path, monkeypatch):
    """A run whose config names a module that leaves a mark when it is imported."""
    (tmp_path / "intruder.py").write_text(
        f"open({str(tmp_path / 'mark')!r}, 'w').close()\nfrom jgr.data.digits import Digits\nclass Mine(Digits): pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    config = json.loads((copied_run / "config.json").read_text())
    config["data"]["source"]["cls"] = "intruder.Mine"
    (copied_run / "config.json").write_text(json.dumps(config))
    yield copied_run
    sys.modules.pop("intruder", None)


def test_code_from_outside_is_not_run_without_consent(refused, intruder, tmp_path):
    expected = "config.data.source.cls = 'intruder.Mine' is none of the parts of jgr, optax and flax"
    for command in (["evaluate"], ["sample", f"--out={tmp_path / 'x.png'}"], ["reproduce"]):
        message = refused(command[0], intruder, *command[1:])
        assert message.startswith(expected)
        assert "--trust" in message
    with pytest.raises(ConfigError, match="--trust"):
        jgr.load(intruder)
    assert not (tmp_path / "mark").exists()
    assert main(["sample", str(intruder), "--num=2", f"--out={tmp_path / 'x.png'}", "--trust"]) == 0
    assert (tmp_path / "mark").exists()


@pytest.mark.parametrize("function", ["jgr.config.load_config_file", "jgr.files.read_json", "flax.io.rmtree"])
def test_functions_of_jgr_and_flax_that_build_no_run_are_not_called(refused, copied_run, tmp_path, function):
    """A config that comes with someone's results must not reach code that opens or deletes files."""
    (tmp_path / "mine.py").write_text(f"open({str(tmp_path / 'mark')!r}, 'w').close()\n")
    config = json.loads((copied_run / "config.json").read_text())
    config["data"]["source"] = {"cls": function, "path": str(tmp_path / "mine.py")}
    (copied_run / "config.json").write_text(json.dumps(config))
    assert f"config.data.source.cls = {function!r} is none of the parts" in refused("evaluate", copied_run)


@pytest.fixture
def images(tmp_path):
    """A folder of six 8x8 PNG files, the fourth of them cut short."""
    folder = tmp_path / "images"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for i in range(6):
        Image.fromarray(generator.integers(0, 256, (8, 8), np.uint8)).save(folder / f"{i}.png")
    (folder / "3.png").write_bytes((folder / "3.png").read_bytes()[:60])
    return folder


def test_truncated_image(refused, images, tmp_path, caplog):
    source = ["--config.data.source.cls=jgr.data.folder.ImageFolder", f"--config.data.source.path={images}"]
    arguments = ["train", f"--config={DIGITS}", *source, "--config.data.source.color=gray"]
    message = refused(*arguments, f"--workdir={tmp_path / 'stopped'}", untouched=False)
    assert message.startswith(f"{images / '3.png'}: not a readable image (")
    assert message.endswith("; replace or remove it\n")
    assert json.loads((tmp_path / "stopped" / "run.json").read_text())["status"] == "failed"
    assert main([*arguments, f"--workdir={tmp_path / 'run'}", "--config.data.source.on_error=skip", "--quiet"]) == 0
    assert "skipped 1 of 6 images that do not decode: 3.png" in caplog.text


def test_full_disk(tmp_path, digits_config):
    """A limit on the size of a file meets the checkpoint as a full disk does; what was saved before stays."""
    config = digits_config({"train.num_steps": 2, "train.sample_every": 0})
    jgr.train(config, tmp_path / "run", quiet=True)
    before = checksums(jgr.load(tmp_path / "run").state)
    code = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)); "
    code += "from jgr.cli.main import main; sys.exit(main())"
    longer = ["--config.train.num_steps=4", "--config.train.sample_every=0", "--quiet"]
    done = subprocess.run(
        [sys.executable, "-c", code, "train", f"--config={DIGITS}", f"--workdir={tmp_path / 'run'}", *longer],
        env=os.environ
        | {"JGR_COMPILE_CACHE": "", "GIT_DIR": str(tmp_path)},  # neither a cache nor a diff is in the way
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert "could not be written to" in done.stderr
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "failed"
    assert checksums(jgr.load(tmp_path / "run").state) == before
    jgr.train(digits_config({"train.num_steps": 4, "train.sample_every": 0}), tmp_path / "run", quiet=True)
    assert jgr.load(tmp_path / "run").steps()[-1] == 4
