"""Every config in `configs/`: shape-checked at full size, and run for two steps with its `smoke` argument.

Some of each kind always, all of them by `pytest -m "slow or not slow" tests/test_configs.py`.
"""

import ast
from pathlib import Path

import jax
import pytest
from PIL import Image

import jgr
from jgr.config import load_config_file, resolve
from jgr.errors import DataError
from jgr.jobs.check import check
from jgr.jobs.experiment import Experiment, open_experiment
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
    if "$JGR_DATA" in str(config) or "captioned_mnist" in str(config):
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


COLLECTIONS = dict(learning_rate=(2e-4, 2e-4), decay="linear", latent_dim=100, batch=128, d_steps=1, multiple=2)
PUBLISHED = {
    # The files configs/*.txt of w86763777/pytorch-gan-collections, the defaults of its scripts, and its table.
    "dcgan_cifar10": COLLECTIONS | dict(loss="non_saturating", betas=(0.5, 0.9), flip=True, steps=100_000, fid="42.72"),
    "sngan_cnn_cifar10": COLLECTIONS | dict(loss="hinge", betas=(0.0, 0.9), flip=False, steps=100_000, fid="17.81"),
    "wgan_gp_cifar10": COLLECTIONS | dict(loss="wasserstein", betas=(0.0, 0.9), flip=True, steps=100_000, fid="19.83"),
    "sngan_resnet_cifar10": COLLECTIONS
    | dict(loss="hinge", betas=(0.0, 0.9), flip=False, steps=100_000, fid="14.32", latent_dim=128, batch=64, d_steps=5),
    # PyTorch-StudioGAN's configs/CIFAR10/StyleGAN2.yaml and table; a generator's Adam for updates at every fourth step.
    "stylegan2_cifar10": dict(
        loss="non_saturating",
        betas=(0.0, 0.99),
        learning_rate=(0.0025 * 4 / 5, 0.0025),
        decay="constant",
        latent_dim=512,
        batch=64,
        d_steps=1,
        multiple=1,
        flip=True,
        steps=200_000,
        fid="3.78",
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_recipe_is_followed_and_its_score_told(name, request):
    path, recipe = f"configs/gan/{name}.py", PUBLISHED[name]
    config = resolve(load(path, "", request), Experiment)
    task, train = config.task, config.train
    assert task.loss.endswith(f".{recipe['loss']}")
    assert (task.discriminator_optimizer.rule.b1, task.discriminator_optimizer.rule.b2) == recipe["betas"]
    assert task.generator_optimizer.rule.b1 == recipe["betas"][0]
    optimizers = task.generator_optimizer, task.discriminator_optimizer
    assert tuple(optimizer.learning_rate for optimizer in optimizers) == pytest.approx(recipe["learning_rate"])
    assert {optimizer.schedule.decay for optimizer in optimizers} == {recipe["decay"]}
    assert {optimizer.schedule.end for optimizer in optimizers} == {0.0}
    assert task.generator.latent_dim == recipe["latent_dim"]
    assert (task.num_d_steps, task.generator_multiple) == (recipe["d_steps"], recipe["multiple"])
    assert (train.num_steps, train.batch_size) == (recipe["steps"], recipe["batch"])
    assert (config.data.augment.flip, config.evaluation.data.augment.flip) == (recipe["flip"], False)
    assert config.evaluation.num_samples == 50_000
    assert f"FID of\n{recipe['fid']}," in (text := (ROOT / path).read_text()) or f"FID of {recipe['fid']}" in text
    if name == "wgan_gp_cifar10":
        assert task.penalties.gp.weight == 10.0
    if name == "stylegan2_cifar10":
        assert (task.penalties.r1.gamma, task.penalties.r1.interval) == (0.01, 16)
        assert (train.average.half_life, train.average.ramp_up) == ("500000 examples", 0.05)
        assert (task.generator.mapping_layers, task.generator.mixing, task.path_length) == (2, 0.0, None)
        assert (task.discriminator.group_size, task.discriminator.residual) == (32, False)


@pytest.mark.parametrize(
    ("name", "generator", "discriminator"),
    [
        ("stylegan2_cifar10", 20_215_315, 23_089_664),  # StudioGAN's log
        ("r3gan_cifar10", 20_781_952, 21_280_512),  # by hand, see tests/models/test_r3gan.py
    ],
)
def test_large_networks_have_as_many_parameters_as_their_config_says(name, generator, discriminator, request):
    path = f"configs/gan/{name}.py"
    task = open_experiment(resolve(load(path, "", request), Experiment)).task
    records = {"image": jax.ShapeDtypeStruct((2, 32, 32, 3), "float32"), "label": jax.ShapeDtypeStruct((2,), "int32")}
    params = jax.eval_shape(task.init, jax.random.key(0), records).params
    for network, count in (("generator", generator), ("discriminator", discriminator)):
        assert sum(leaf.size for leaf in jax.tree.leaves(params[network])) == count
        assert f"{count:,}" in (ROOT / path).read_text()


def test_absent_data_set_is_said_before_anything_is_made(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with pytest.raises(DataError, match="run `jgr data prepare mnist`"):
        jgr.train(load_config_file(f"{ROOT / 'configs/gan/dcgan_mnist.py'}"), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()
