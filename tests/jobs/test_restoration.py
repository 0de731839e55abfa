"""Runs that restore images, from their training to their scores, and what they start from."""

import csv
import dataclasses
import json
import re
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import jgr
from jgr.config import load_config_file, resolve
from jgr.data.digits import Digits
from jgr.degradations.jpeg import JPEG
from jgr.degradations.noise import GaussianNoise
from jgr.degradations.protocol import Protocol
from jgr.degradations.protocols import GaussianDenoising, JPEGArtifacts, Seeded, SuperResolution
from jgr.degradations.resize import Downsample
from jgr.errors import ConfigError, DataError
from jgr.jobs.degrade import Degrader
from jgr.jobs.experiment import Evaluation, Experiment, open_experiment
from jgr.models.dncnn import DnCNN
from jgr.run.folder import RunFolder
from jgr.state import averaged, leaves_by_name
from jgr.tasks.restoration import Restoration
from tests.conftest import ROOT

SMOKE = f"{ROOT}/configs/restoration/edsr_train400.py:smoke"


PSNR = "psnr_gray_u8/awgn-s25-seed0-unclipped"


def make_config(overrides=()):
    overrides = {"mesh.data": 1} | dict(overrides)
    return resolve(load_config_file(SMOKE), Experiment, [(key, str(value)) for key, value in overrides.items()])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = jgr.train(make_config(), tmp_path_factory.mktemp("restoration") / "run", quiet=True)
    rows = jgr.evaluate(folder.path, quiet=True)
    return folder, rows


def table(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_training_shows_what_it_restores(run):
    folder, _ = run
    assert [path.name for path in sorted(folder.samples_path.glob("step_*.png"))] == ["step_00000002.png"]
    with Image.open(folder.samples_path / "step_00000002.png") as picture:
        assert picture.mode == "L"
        assert picture.width >= 4 * 32
    assert all(np.isfinite(row["network/psnr"]) for row in folder.metrics())


def test_scores_carry_the_protocol(run):
    _, rows = run
    assert {row["protocol"] for row in rows} == {
        "psnr_gray_u8/awgn-s25-seed0-unclipped",
        "ssim_gray_valid_u8/awgn-s25-seed0-unclipped",
    }
    # The network begins as the identity and has learned for two steps: what it scores is about the noise's own PSNR.
    (psnr,) = (row["value"] for row in rows if row["metric"] == "psnr")
    assert psnr == pytest.approx(-20 * np.log10(25 / 255), abs=1.0)


def test_each_record_has_its_values_and_costs(run):
    folder, rows = run
    (path,) = (folder.path / "per_record").glob("*-awgn-s25-seed0-unclipped.csv")
    assert re.fullmatch(r"step_00000002-ema-seed0-photographs_gray-all_crop32@[0-9a-f]{16}-awgn.*", path.stem)
    records = table(path)
    (psnr,) = (row["value"] for row in rows if row["metric"] == "psnr")
    values = [float(record["psnr_gray_u8/awgn-s25-seed0-unclipped"]) for record in records]
    assert psnr == pytest.approx(np.mean(values), rel=1e-6)
    assert {(record["height"], record["width"]) for record in records} == {("32", "32")}
    assert all(float(record["ms"]) > 0 and float(record["peak_mib"]) > 0 for record in records)
    kernels = 4 * 8 + 2 * 8 * 8 + 8 * 8 + 8 * 4  # 3x3 at half resolution: head, a block, body, tail
    assert {float(record["gflop"]) for record in records} == {2 * 9 * kernels * 16 * 16 / 1e9}
    assert (folder.samples_path / "restored" / f"{path.stem}.png").is_file()


def test_the_first_records_are_kept_apart_and_without_loss(run):
    folder, _ = run
    (path,) = (folder.path / "per_record").glob("*-awgn-s25-seed0-unclipped.csv")
    kept = folder.samples_path / "restored" / path.stem
    assert sorted(file.name for file in kept.iterdir()) == sorted(
        f"{place}-{what}.png" for place in range(3) for what in ("degraded", "restored", "truth")
    )
    for place, record in list(enumerate(table(path)))[:3]:
        images = {}
        for what in ("degraded", "restored", "truth"):
            with Image.open(kept / f"{place}-{what}.png") as image:
                images[what] = np.asarray(image, np.float64)
        mse = np.mean((images["restored"] - images["truth"]) ** 2)
        # The metric is of 8-bit images, too: the very pixels that were scored.
        assert 10 * np.log10(255**2 / mse) == pytest.approx(float(record[PSNR]), abs=1e-3)
        assert np.std(images["degraded"] - images["truth"]) == pytest.approx(25, abs=3)


def test_how_it_is_restored_is_part_of_the_protocol(run):
    folder, plain = run
    overrides = [("inference.ensemble", "true"), ("inference.tile", "16"), ("inference.overlap", "8")]
    rows = jgr.evaluate(folder.path, overrides=overrides, quiet=True)
    assert {row["protocol"].rpartition("/")[2] for row in rows} == {"tile16o8+x8"}
    assert len(RunFolder.open(folder.path).results()) == len(plain) + len(rows)
    (path,) = (folder.path / "per_record").glob("*-tile16o8+x8.csv")
    costs = {float(record["gflop"]) for record in table(path)}
    (whole,) = {float(record["gflop"]) for record in table(next((folder.path / "per_record").glob("*unclipped.csv")))}
    assert list(costs) == [pytest.approx(8 * 9 * whole / 4)]  # eight turns of nine tiles, each a quarter of the image


def test_a_run_from_before_a_key_was_there_goes_on(run, tmp_path):
    folder, _ = run
    shutil.copytree(folder.path, tmp_path / "old")
    config = json.loads((tmp_path / "old" / "config.json").read_text())
    del config["evaluation"]["inference"]["dtype"]
    (tmp_path / "old" / "config.json").write_text(json.dumps(config))
    again = jgr.train(make_config(), tmp_path / "old", quiet=True)
    assert again.manifest()["sessions"][-1]["changed"] == {}


def test_bfloat16_at_test_time(run):
    folder, plain = run
    rows = jgr.evaluate(folder.path, overrides=[("inference.dtype", "bfloat16")], quiet=True)
    assert {row["protocol"].rpartition("/")[2] for row in rows} == {"bf16"}
    for row, full in zip(rows, plain, strict=True):
        assert row["value"] == pytest.approx(full["value"], rel=1e-2)
        assert row["value"] != full["value"]


def test_a_run_without_training_holds_the_weights_of_another(run, tmp_path):
    folder, rows = run
    config = make_config({"train.num_steps": 0})
    config.train.init_from = {"path": str(folder.path)}
    held = jgr.train(config, tmp_path / "held", quiet=True)
    assert held.manifest()["status"] == "completed"
    assert held.manifest()["init_from"]["step"] == 2
    source, copy = jgr.load(folder.path).state, jgr.load(held.path).state
    assert int(copy.step) == 0
    for name, leaf in leaves_by_name(averaged(source).params).items():
        np.testing.assert_array_equal(leaf, leaves_by_name(copy.params)[name])
        np.testing.assert_array_equal(leaf, leaves_by_name(copy.ema["params"])[name])
    again = jgr.evaluate(held.path, quiet=True)
    assert [row["value"] for row in again] == [row["value"] for row in rows]


def test_training_goes_on_from_a_file_of_arrays(run, tmp_path):
    folder, _ = run
    weights = {name: np.asarray(leaf) for name, leaf in leaves_by_name(jgr.load(folder.path).state.params).items()}
    file = tmp_path / "weights.npz"
    np.savez(file, **{f"model.{name}": array for name, array in weights.items()})
    config = make_config()
    config.train.init_from = {"path": str(file), "names": ((r"model\.(.*)", r"params/\1"),)}
    tuned = jgr.train(config, tmp_path / "tuned", quiet=True)
    assert len(tuned.metrics()) == 2
    assert tuned.manifest()["init_from"]["arrays"] == len(weights)

    def refused(message, **changes):
        config.train.init_from = {**config.train.init_from, **changes}
        with pytest.raises(ConfigError, match=message):
            jgr.train(config, tmp_path / "refused", quiet=True)
        assert not (tmp_path / "refused").exists()

    refused("has model.network/.*, which the networks do not have", names=())
    np.savez(file, **{f"model.{name}": array[..., :1] for name, array in weights.items()})
    refused(r"model\.network/.* is \[.*\], but params/network/", names=((r"model\.(.*)", r"params/\1"),))
    np.savez(file, **{"model.network/head/kernel": weights["network/head/kernel"]})
    refused("has nothing for params/network/.* more; map names .* or set init_from.partial=true")
    np.savez(file, **{"model.network/head/kernel": weights["network/head/kernel"] * np.nan})
    refused("network/head/kernel is not finite", partial=True)
    named = {"partial": True, "names": ((r"model\.(.*)", r"params/\2"),)}
    refused(r"init_from\.names: .* is no replacement for .*: invalid group reference", **named)
    refused("neither a run's folder nor an .npz file", path=str(tmp_path / "absent.npz"))
    (tmp_path / "cut.npz").write_bytes(file.read_bytes()[:100])
    refused("neither a run's folder nor an .npz file", path=str(tmp_path / "cut.npz"))
    np.save(tmp_path / "one.npy", np.zeros(3))
    refused("neither a run's folder nor an .npz file", path=str(tmp_path / "one.npy"))


def test_a_classical_method_stands_in_the_same_table(tmp_path):
    config = load_config_file(f"{ROOT}/configs/restoration/classical.py:smoke")
    folder = jgr.train({**config.to_dict(), "mesh": {"data": 1}}, tmp_path / "classical", quiet=True)
    rows = jgr.evaluate(folder.path, quiet=True)
    assert {row["protocol"] for row in rows} >= {"psnr_gray_u8/awgn-s25-seed0-unclipped"}
    (psnr,) = (row["value"] for row in rows if row["metric"] == "psnr")
    assert psnr > 24
    assert jax.tree.leaves(jgr.load(folder.path).state.params) == []
    config.train.num_steps = 1
    config.mesh = {"data": 1}
    with pytest.raises(ConfigError, match=r"BM3D is not trained: set config\.train\.num_steps to 0"):
        jgr.train(config, tmp_path / "trained", quiet=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Halved(Protocol):
    """A protocol of one's own that darkens, and may forget what a protocol must give."""

    lacking: str = ""
    gain: float = 0.5
    name = "halved"

    def __call__(self, image):
        record = {"image": np.float32(image * (self.gain / 255)), "target": image}
        return {key: value for key, value in record.items() if key != self.lacking}


def test_protocols_are_asked_for_what_they_must_give():
    def degraded(protocol):
        evaluation, batch = Evaluation(degradation=protocol), {"index": np.array([3])}
        images = np.full((1, 4, 4, 1), 100, np.uint8)
        return Degrader(evaluation, Restoration(network=DnCNN())).on_host(Digits(), {**batch, "image": images})

    assert set(degraded(Halved())) == {"index", "image", "target"}
    with pytest.raises(DataError, match="record 3 of digits-all: protocol halved gives no target, only image"):
        degraded(Halved(lacking="target"))
    with pytest.raises(DataError, match=r"image of protocol halved: float values from .* are not in units of \[0, 1\]"):
        degraded(Halved(gain=255.0))


def test_no_degradation_on_the_device_goes_by_the_name_of_a_protocol():
    task = Restoration(network=DnCNN())
    pairs = [
        (Downsample(scale=2), SuperResolution(scale=2)),
        (JPEG(quality=10), JPEGArtifacts(quality=10)),
        (GaussianNoise(sigma=0.1), GaussianDenoising(sigma=0.1)),
    ]
    for drawn, protocol in pairs:
        names = {
            Degrader(Evaluation(degradation=one), task).name for one in (drawn, protocol, Seeded(degradation=drawn))
        }
        assert len(names) == 3


def test_images_of_the_wrong_scale_are_told(run):
    folder, _ = run
    overrides = [("degradation.cls", "jgr.degradations.protocols.SuperResolution"), ("degradation.scale", "2")]
    message = "makes images of 16x16x1 of degraded ones of 16x16x1, but clean ones are 32x32x1"
    with pytest.raises(ConfigError, match=message):
        jgr.evaluate(folder.path, overrides=overrides, quiet=True)


def test_a_batch_of_one_record_trains():
    task = Restoration(network=DnCNN(depth=2, width=2), degradation=GaussianNoise(sigma=0.1))
    jax.eval_shape(task.init, jax.random.key(0), {"image": jnp.zeros((1, 8, 8, 1))})


def test_a_run_opens_where_the_variable_of_its_data_is_not_set(run, tmp_path, monkeypatch):
    monkeypatch.delenv("JGR_DATA", raising=False)
    shutil.copytree(run[0].path, tmp_path / "elsewhere")
    config = json.loads((tmp_path / "elsewhere" / "config.json").read_text())
    config["data"]["source"] = {"cls": "jgr.data.folder.ImageFolder", "path": "$JGR_DATA/train"}
    (tmp_path / "elsewhere" / "config.json").write_text(json.dumps(config))
    assert int(jgr.load(tmp_path / "elsewhere").state.step) == 2


def test_what_no_evaluation_can_be():
    plain = make_config().to_dict()
    plain["evaluation"]["degradation"] = "awgn"
    with pytest.raises(ConfigError, match="degradation"):
        open_experiment(plain)
    with pytest.raises(ConfigError, match=r"25/255"):
        dataclasses.replace(GaussianDenoising(sigma=0.1), sigma=25.0)
