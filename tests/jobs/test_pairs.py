"""A run on pairs from files, from its training to its scores."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

import jgr
from jgr.config import resolve
from jgr.data import PairedFolders
from jgr.data.folder import ImageFolder
from jgr.jobs.experiment import Experiment
from jgr.jobs.load import Run
from jgr.rng import record_keys


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Six pairs of 16x16 pixels: noise, and half of it."""
    root = tmp_path_factory.mktemp("pairs")
    for name in ("in", "out"):
        (root / name).mkdir()
    for number in range(6):
        pixels = np.random.default_rng(number).integers(0, 256, (16, 16, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(root / "in" / f"{number}.png")
        Image.fromarray(pixels // 2).save(root / "out" / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def run(folders, tmp_path_factory):
    source = dict(
        cls="jgr.data.pairs.PairedFolders",
        images=dict(path=str(folders / "in")),
        targets=dict(path=str(folders / "out")),
    )
    config = dict(
        data=dict(source=source, augment=dict(flip=True, crop=8)),
        mesh=dict(data=1),
        task=dict(
            cls="jgr.tasks.restoration.Restoration",
            network=dict(cls="jgr.models.pix2pix.Generator", width=4, levels=2, norm="instance", dropout_at_test=False),
            adversarial=dict(
                discriminator=dict(cls="jgr.models.pix2pix.Discriminator", width=4, layers=1), conditional=True
            ),
        ),
        train=dict(num_steps=2, batch_size=4, log_every=1, checkpoint_every=2, sample_every=2, num_samples=2),
        evaluation=dict(batch_size=4, seeds=(0,), metrics=dict(psnr=dict(cls="jgr.metrics.pairs.PSNR"))),
    )
    folder = jgr.train(resolve(ConfigDict(config), Experiment), tmp_path_factory.mktemp("run") / "run", quiet=True)
    return folder, jgr.evaluate(folder.path, quiet=True)


def test_scores_compare_with_the_target(run, folders):
    folder, (row,) = run
    assert (row["metric"], row["n"], row["protocol"]) == ("psnr", 6, "psnr_rgb_u8")
    assert row["dataset"].startswith("in-rgb+out-rgb@")
    loaded = Run(folder.path)
    state = loaded.restore("latest")
    source = PairedFolders(images=ImageFolder(path=str(folders / "in")), targets=ImageFolder(path=str(folders / "out")))
    image, target = (
        np.stack([source[i][name] for i in range(6)]).astype(np.float32) / 255 for name in ("image", "target")
    )
    keys = record_keys(jax.random.key(0), jnp.arange(6, dtype=jnp.uint32))
    restored = jax.jit(loaded.experiment.task.restore)(state, {"image": jnp.asarray(image)}, keys)
    levels = np.floor(np.clip(restored, 0, 1) * 255 + 0.5) / 255
    errors = ((levels - target) ** 2).mean(axis=(1, 2, 3))
    assert row["value"] == pytest.approx(np.mean(-10 * np.log10(errors)), abs=1e-3)


def test_pictures_show_the_target(run):
    folder, _ = run
    (path,) = folder.samples_path.glob("step_*.png")
    with Image.open(path) as picture:
        assert picture.mode == "RGB"
        assert picture.width >= 4 * 16
    assert all(np.isfinite(row["network/adversarial"]) for row in folder.metrics())
