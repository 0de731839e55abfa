"""Every config in `configs/`: shape-checked at full size, and run for two steps with its `smoke` argument.

Some of each kind always, all of them by `pytest -m "slow or not slow" tests/test_configs.py`.
"""

import ast
from pathlib import Path

import pytest
from PIL import Image

import jgr
from jgr.config import load_config_file
from jgr.errors import DataError
from jgr.jobs.check import check
from jgr.run.folder import RunFolder

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / "configs").rglob("*.py"))
NAMES = [str(file.relative_to(ROOT)) for file in FILES]

RUN_ALWAYS = (
    "configs/classification/cnn_digits.py",
    "configs/gan/cgan_mnist.py",
    "configs/gan/lsgan_mnist.py",
    "configs/image_to_image/pix2pix_facades.py",
    "configs/restoration/classical.py",
    "configs/restoration/edsr_train400.py",
)
TRACED_LONG = (  # whose like is checked always
    "configs/gan/biggan_cifar10.py",
    "configs/gan/cgan_projection_cifar10.py",
    "configs/gan/r3gan_cifar10.py",
    "configs/gan/sagan_cifar10.py",
    "configs/image_to_image/cyclegan_horse2zebra.py",
    "configs/vae/hierarchical_vae_cifar10.py",
)
ABSENT = {  # sizes of pictures of data sets that the test data do not hold
    "facades/train": (512, 256),
    "facades/test": (512, 256),
    "horse2zebra/trainA": (256, 256),
    "horse2zebra/trainB": (256, 256),
    "horse2zebra/testA": (256, 256),
}


@pytest.fixture
def prepared(test_data, tmp_path, monkeypatch):
    """Data sets come from the test data; of those that they do not hold there is one picture."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(test_data / "tfds"))
    folder = tmp_path / "data"
    for name, size in ABSENT.items():
        (folder / name).mkdir(parents=True)
        Image.new("RGB", size).save(folder / name / "1.png")
    for held in test_data.iterdir():
        (folder / held.name).symlink_to(held)
    monkeypatch.setenv("JGR_DATA", str(folder))


def sized_network(config):
    """The network whose fields say how large images are, if they do."""
    return config.task.get("generator") or config.task.get("network", {})


def load(name, argument, request):
    """The config; colour data sets of TFDS, which no test data hold, give way to photographs of the networks' size."""
    config = load_config_file(f"{ROOT / name}{argument}")
    network = sized_network(config)
    for data in (config.data, config.get("evaluation", {}).get("data")):
        if data and data["source"]["cls"] == "jgr.data.tfds.TFDS":
            # Photographs have no labels, and are cut to a size that the network tells.
            is_sized = "image_size" in network and not config.task.get("num_classes")
            if data["source"]["dataset"] == "cifar10" and not is_sized:
                request.getfixturevalue("prepared")
                data["source"]["dataset"] = "cifar10_jpeg75"
            elif network.get("channels", 1) == 3:
                data["source"] = {"cls": "jgr.data.photographs.Photographs"}
                data["resize"] = data["crop"] = network.image_size
            else:
                request.getfixturevalue("prepared")
    if "$JGR_DATA" in str(config):
        request.getfixturevalue("prepared")
    return config


@pytest.mark.parametrize("name", NAMES)
def test_docstring_gives_the_command(name):
    text = ast.get_docstring(ast.parse((ROOT / name).read_text()))
    assert f"jgr train --config={name} --workdir=" in text


def slow_where(slow):
    """All configs, some of them for `pytest -m slow`."""
    return [pytest.param(name, marks=pytest.mark.slow) if slow(name) else name for name in NAMES]


@pytest.mark.parametrize("name", slow_where(lambda name: name in TRACED_LONG))
def test_full_size_fits_together(name, request):
    config = load(name, "", request)
    shown = check(config)
    networks = [table.split()[0] for table in shown.split("\n\n")]
    assert {name for name in ("generator", "discriminator", "network") if name in config.task} <= set(networks)
    assert {"state", "config"} <= set(networks)
    network = sized_network(config)
    if "image_size" in network:
        assert f"images {network.image_size}x{network.image_size}x{network.get('channels', 1)}" in shown


@pytest.mark.parametrize("name", slow_where(lambda name: name not in RUN_ALWAYS))
def test_smoke_argument_makes_a_run_of_seconds(name, request, tmp_path):
    config = load(name, ":smoke", request)
    if "restoration" in name or "image_to_image" in name:
        config.mesh = {"data": 1}  # their networks take long to compile for several devices
    folder = jgr.train(config, tmp_path / "run", config_path=name, quiet=True)
    rows = jgr.evaluate(folder.path, quiet=True)
    steps = config.train.num_steps
    assert [row["step"] for row in folder.metrics()] == [1, 2][:steps]
    values = len(config.evaluation.metrics) * len(config.evaluation.get("seeds", (0, 1, 2)))
    assert [(row["step"], row["status"]) for row in rows] == [(steps, "ok")] * values
    if steps and config.train.sample_every:
        assert len(list(folder.samples_path.glob("step_*.png"))) == 1
    assert RunFolder.open(folder.path).manifest()["status"] == "completed"


def test_absent_data_set_is_said_before_anything_is_made(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with pytest.raises(DataError, match="run `jgr data prepare mnist`"):
        jgr.train(load_config_file(f"{ROOT / 'configs/gan/dcgan_mnist.py'}"), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()
