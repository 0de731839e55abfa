import dataclasses
import os
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from ml_collections import ConfigDict
from PIL import Image
from scipy.ndimage import uniform_filter
from skimage.color import rgb2ycbcr

import jgr
from jgr.cli.main import main
from jgr.config import resolve
from jgr.degradations.degradation import Degradation, Pipeline
from jgr.degradations.masks import Mask, RandomPixels
from jgr.degradations.noise import GaussianNoise
from jgr.errors import ConfigError, DataError, RunError
from jgr.jobs.conditions import Conditions, read_kernel, read_mask, read_shots
from jgr.jobs.experiment import Experiment
from jgr.jobs.photograph import Photograph, read_photograph, write_photograph
from jgr.jobs.photograph_restorer import PhotographRestorer
from jgr.jobs.restore import restore
from jgr.models.classical import Bicubic, NonLocalMeans
from jgr.state import TrainState
from jgr.tasks.baseline import Baseline
from jgr.tasks.task import Task

HERE = __name__


class Identity(nn.Module):
    channels: int = 1
    scale: int = 1
    gain: float = 1.0

    def __call__(self, images):
        return self.gain * images.repeat(self.scale, 1).repeat(self.scale, 2)


class Box(Identity):
    def __call__(self, images):
        window = (1, 5, 5, 1)
        counts = jax.lax.reduce_window(jnp.ones_like(images), 0.0, jax.lax.add, window, (1, 1, 1, 1), "SAME")
        return jax.lax.reduce_window(images, 0.0, jax.lax.add, window, (1, 1, 1, 1), "SAME") / counts


@dataclasses.dataclass(frozen=True, kw_only=True)
class Toy(Task):
    """A restorer of fixed arithmetic; what it is told is added to the image."""

    network: nn.Module = dataclasses.field(default_factory=Identity)
    inputs: tuple[str, ...] = ()
    noise: float = 0.0
    keep_known: bool = False
    degradation: Degradation | None = None

    @property
    def scale(self):
        return self.network.scale

    def init(self, key, batch):
        return TrainState(step=jnp.int32(0), params={"network": {"w": jnp.ones(2)}}, model_state={}, opt_state={})

    def step(self, state, batch, key):
        return state, {}

    def restore(self, state, batch, keys):
        image = batch["image"]
        for name in () if self.degradation is not None else self.inputs:
            told = batch[name]
            image = image + (
                told if told.ndim == 4 else told.reshape(-1, 1, 1, told.size // len(told)).sum(-1)[..., None]
            )
        drawn = jax.vmap(lambda key: jax.random.normal(key, image.shape[1:]))(keys)
        return self.network.apply({}, image + self.noise * drawn)


@dataclasses.dataclass(frozen=True, kw_only=True)
class OnHost(Toy):
    """It is plain Python on NumPy arrays."""

    on_host = True

    def restore(self, state, batch, keys):
        assert all(isinstance(value, np.ndarray) for value in batch.values())
        if batch["image"].shape[1] == 5:
            raise MemoryError
        return batch["image"] if batch["image"].shape[1] != 6 else np.full_like(batch["image"], np.nan)


STATE = Toy().init(jax.random.key(0), {})


def noise(height, width, channels, dtype=np.uint8):
    generator = np.random.default_rng(height + channels)
    if dtype == np.float32:
        return generator.normal(0.5, 0.5, (height, width, channels)).astype(np.float32)
    return generator.integers(0, np.iinfo(dtype).max, (height, width, channels), dtype, endpoint=True)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("network_channels", [1, 3])
def test_identity_gives_every_bit_back(dtype, network_channels):
    restorer = PhotographRestorer(Toy(network=Identity(channels=network_channels)), STATE)
    for channels in (1, 2, 3, 4):
        pixels = noise(30, 45, channels, dtype)
        restored = restorer(pixels)
        assert restored.dtype == dtype
        if dtype == np.float32 and network_channels == 3 and channels < 3:  # (a + a + a) / 3 is rounded
            np.testing.assert_allclose(restored, pixels, rtol=3e-7)
        else:
            np.testing.assert_array_equal(restored, pixels)


def test_a_gray_network_restores_the_colours_one_by_one():
    """The noise of colour photographs lies in their chroma, too."""
    pixels = noise(20, 24, 3, np.float32)
    network = Identity(gain=1.25)
    restored = PhotographRestorer(Toy(network=network), STATE)(pixels)
    for channel in range(3):
        alone = PhotographRestorer(Toy(network=network), STATE)(pixels[..., channel : channel + 1])
        np.testing.assert_allclose(restored[..., channel : channel + 1], alone, rtol=1e-6)


def test_a_gray_network_may_change_the_luma_of_a_colour_photograph_and_keep_its_chroma():
    pixels = np.clip(noise(20, 24, 3, np.float32), 0.3, 0.6)
    restored = PhotographRestorer(Toy(network=Identity(gain=1.25)), STATE, luma=True)(pixels)
    before, after = rgb2ycbcr(pixels.astype(np.float64)), rgb2ycbcr(restored.astype(np.float64))
    np.testing.assert_allclose(after[..., 1:], before[..., 1:], atol=1e-4)  # of 224 levels
    np.testing.assert_allclose((after[..., 0] - 16) / (before[..., 0] - 16), 1.25, rtol=1e-5)


def test_what_leaves_the_range_is_clipped_in_integers_and_kept_in_floats():
    restorer = PhotographRestorer(Toy(network=Identity(gain=2.0)), STATE)
    np.testing.assert_array_equal(restorer(np.uint8([[[10], [200]]])), [[[20], [255]]])
    np.testing.assert_array_equal(restorer(np.float32([[[0.25], [0.75]]])), [[[0.5], [1.5]]])


def test_super_resolution_enlarges_alpha_and_chroma():
    gray_alpha = np.concatenate([noise(9, 12, 1, np.uint16), np.full((9, 12, 1), 40_000, np.uint16)], axis=-1)
    for channels in (1, 3):
        enlarged = PhotographRestorer(Toy(network=Identity(channels=channels, scale=2)), STATE)(gray_alpha)
        np.testing.assert_array_equal(enlarged[..., :1], gray_alpha[..., :1].repeat(2, 0).repeat(2, 1))
        np.testing.assert_array_equal(enlarged[..., 1], 40_000)
    color = np.broadcast_to(np.uint8([10, 200, 90, 77]), (6, 7, 4))
    enlarged = PhotographRestorer(Toy(network=Identity(scale=3)), STATE)(color)
    np.testing.assert_array_equal(enlarged, np.broadcast_to(color[0, 0], (18, 21, 4)))


def test_tiles_and_the_ensemble_give_what_the_whole_image_gives():
    pixels = noise(90, 70, 3, np.uint16)
    inside = (slice(2, -2), slice(2, -2))  # at the border it counts what an image is continued with
    expected = uniform_filter(pixels.astype(np.float64), (5, 5, 1))[inside]
    task = Toy(network=Box(channels=3))
    for options in ({}, {"tile": 48, "overlap": 8}, {"tile": 0, "ensemble": True}):
        restored = PhotographRestorer(task, STATE, **options)(pixels)
        assert np.abs(restored[inside] - expected).max() < 0.55  # rounding, and sums of 25 float32


def test_a_large_photograph_is_restored_in_tiles():
    shapes = []

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Watched(Toy):
        def restore(self, state, batch, keys):
            shapes.append(batch["image"].shape[1:3])
            return super().restore(state, batch, keys)

    restorer = PhotographRestorer(Watched(), STATE)
    pixels = np.zeros((1000, 1600, 1), np.uint8)
    np.testing.assert_array_equal(restorer(pixels), pixels)
    assert set(shapes) == {(512, 512)}
    shapes.clear()
    for height in (60, 61, 62):
        restorer(np.zeros((height, 100, 1), np.uint8))
    assert set(shapes) == {(60, 100), (61, 100), (62, 100)}  # whole, as an evaluation restores them
    assert len(shapes) == 3, "compiled once for each size"


def test_what_the_network_is_told():
    sigma, quality = Conditions(sigma=0.25), Conditions(quality=50)
    black = np.zeros((4, 6, 1), np.float32)
    assert (PhotographRestorer(Toy(inputs=("sigma",)), STATE, sigma)(black) == 0.25).all()
    assert (PhotographRestorer(Toy(inputs=("quality",)), STATE, quality)(black) == 0.5).all()
    mask = np.eye(4, 6) > 0
    restored = PhotographRestorer(Toy(inputs=("mask",)), STATE, Conditions(mask=mask))(black)
    np.testing.assert_array_equal(restored[..., 0], mask)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mean(Toy):
    """The mean of all shots."""

    inputs: tuple[str, ...] = ("shots",)

    def restore(self, state, batch, keys):
        image = batch["image"]
        others = batch["shots"].reshape(*image.shape[:3], -1, image.shape[-1])
        return (image + others.sum(axis=3)) / (1 + others.shape[3])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("colors", [1, 3])
def test_further_shots_keep_their_colours_whatever_the_networks_are(channels, colors, tmp_path):
    pixels = np.random.default_rng(0).random((3, 6, 8, colors), np.float32)
    restorer = PhotographRestorer(Mean(network=Identity(channels=channels)), STATE, Conditions(shots=pixels[1:]))
    np.testing.assert_allclose(restorer(pixels[0]), pixels.mean(axis=0), atol=1e-6)


def test_files_of_shots(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 6, 8, 4), np.uint8)
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for path, each in zip(paths, pixels, strict=True):
        Image.fromarray(each).save(path)
    shots = read_shots(paths)
    np.testing.assert_allclose(shots, pixels[..., :3] / np.float32(255))
    luma = PhotographRestorer(Mean(), STATE, Conditions(shots=shots[1:]), luma=True)
    wanted = shots[0] + (shots.mean(axis=0) - shots[0]) @ np.array([[0.299], [0.587], [0.114]], np.float32)
    np.testing.assert_allclose(luma(shots[0]), wanted, atol=1e-5)
    Image.fromarray(pixels[0, :4]).save(tmp_path / "low.png")
    with pytest.raises(DataError, match=r"low.png: shots must be of one size, but the first is 6x8x3, and this 4x8x3"):
        read_shots([paths[0], tmp_path / "low.png"])
    told = Conditions(shots=shots[1:])
    with pytest.raises(DataError, match="it is 8x4 pixels, and the other shots 8x6"):
        PhotographRestorer(Mean(), STATE, told)(shots[0, :4])
    with pytest.raises(DataError, match="it has 1 colours, and the other shots 3"):
        PhotographRestorer(Mean(), STATE, told)(shots[0, ..., :1])
    with pytest.raises(ConfigError, match="must be told further shots of the scene: give --shots FILE"):
        PhotographRestorer(Mean(), STATE)


def test_randomness_follows_from_seed_and_name_alone():
    pixels = noise(8, 9, 1)
    task = Toy(noise=0.1)
    first, other = PhotographRestorer(task, STATE), PhotographRestorer(task, STATE, seed=1)
    np.testing.assert_array_equal(first(pixels, "a"), PhotographRestorer(task, STATE)(pixels, "a"))
    assert not np.array_equal(first(pixels, "a"), first(pixels, "b"))
    assert not np.array_equal(first(pixels, "a"), other(pixels, "a"))


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        (dict(sigma=25.0), r"sigma = 25 must be from 0 to 1: it is in units of the range \[0, 1\], write 25/255"),
        (dict(sigma=-0.1), "sigma = -0.1 must be from 0 to 1"),
        (dict(sigma=float("nan")), "sigma = nan must be from 0 to 1"),
        (dict(quality=0), "quality = 0 must be from 1 to 100"),
        (dict(mask=np.zeros((3, 3), bool)), "the mask hides every pixel; 1 or white means known"),
        (dict(kernel=np.ones((3, 3), np.float32)), "the kernel sums to 9, not to 1: .*; divide it by its sum"),
    ],
)
def test_conditions_that_cannot_be(conditions, message):
    with pytest.raises(DataError, match=message):
        Conditions(**conditions)


def test_files_of_masks_and_kernels(tmp_path):
    mask = np.eye(4, 6) > 0
    Image.fromarray(mask).save(tmp_path / "a.png")
    Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).convert("RGB").save(tmp_path / "b.png")
    for name in ("a.png", "b.png"):
        np.testing.assert_array_equal(read_mask(tmp_path / name), mask)
    Image.fromarray(mask.astype(np.uint8)).save(tmp_path / "ones.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "ones.png"), mask)
    with pytest.raises(DataError, match=r"absent.png: there is no such file"):
        read_mask(tmp_path / "absent.png")
    Image.fromarray(np.where(mask, 255, 10).astype(np.uint8)).save(tmp_path / "soft.png")
    with pytest.raises(DataError, match=r"soft.png: 20 of 24 pixels of the mask are neither a hole nor known"):
        read_mask(tmp_path / "soft.png")
    kernel = np.float32([[0, 0.25, 0], [0.125, 0.375, 0], [0, 0.25, 0]])
    np.save(tmp_path / "a.npy", kernel)
    np.savetxt(tmp_path / "b.txt", kernel)
    Image.fromarray((kernel * 40).astype(np.uint8)).save(tmp_path / "c.png")  # divided by its sum
    for name in ("a.npy", "b.txt", "c.png"):
        np.testing.assert_array_equal(read_kernel(tmp_path / name), kernel)
    np.save(tmp_path / "d.npy", kernel * 1.5)
    with pytest.raises(
        DataError, match=r"/d.npy: the kernel sums to 1.5, not to 1: .*; divide it by its sum$"
    ) as error:
        read_kernel(tmp_path / "d.npy")
    assert str(error.value).startswith(str(tmp_path))
    with pytest.raises(DataError, match=r"/e.npy: there is no such file"):
        read_kernel(tmp_path / "e.npy")


def make_config(**task):
    return ConfigDict(
        {
            "seed": 0,
            "data": {"source": {"cls": "jgr.data.digits.Digits"}},
            "task": task,
            "train": {"num_steps": 0, "batch_size": 2},
            "mesh": {"data": 1},
        }
    )


def make_run(path, **task):
    config = make_config(**{"cls": f"{HERE}.Toy", **task})
    jgr.train(resolve(config, Experiment, trust=True), path, quiet=True, trust=True)
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("identity") / "run")


@pytest.fixture(scope="module")
def told_run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("told") / "run", inputs=("sigma", "mask"))


@pytest.fixture
def photos(tmp_path):
    """A folder with photographs of many kinds, two folders deep."""
    folder = tmp_path / "photos"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    write_photograph(folder / "a.png", Photograph(pixels=noise(20, 30, 4, np.uint16)))
    write_photograph(folder / "deep" / "b.tif", Photograph(pixels=noise(20, 30, 3, np.uint16)))
    write_photograph(folder / "deep" / "er" / "c.webp", Photograph(pixels=noise(33, 21, 4)))
    Image.fromarray(noise(24, 16, 3)).convert("P").save(folder / "palette.png")
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(noise(24, 16, 3)).save(folder / "phone.jpg", exif=exif)
    (folder / "notes.txt").write_text("no image")
    (folder / ".hidden" / "d.png").write_text("no image")
    return folder


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_is_restored_with_the_folders_inside(run, photos, tmp_path, capsys):
    before, out = files(photos), tmp_path / "out"
    restored = restore(run, photos, out, trust=True)
    names = {"a.png", "palette.png", "phone.png", "deep/b.tif", "deep/er/c.webp"}
    assert set(files(out)) == names
    assert files(photos) == before
    assert {path.relative_to(out).as_posix() for path in restored.files.values()} == names
    for source, target in restored.files.items():
        np.testing.assert_array_equal(read_photograph(target).pixels, read_photograph(source).pixels)
    with Image.open(out / "phone.png") as image:
        assert image.size == (24, 16)
        assert 274 not in image.getexif()
    shown = capsys.readouterr()
    assert shown.out.splitlines() == [
        "The network is for gray images: red, green and blue of colour photographs are restored one by one.",
        "JPEG files are written as PNG, which loses nothing.",
    ]
    restore(run, [photos, photos / "a.png"], out, trust=True, overwrite=True, quiet=True)
    assert capsys.readouterr().out == ""


def test_results_inside_the_folder_are_not_restored_again(run, photos):
    out = photos / "restored"
    first = restore(run, photos, out, trust=True, quiet=True)
    again = restore(run, photos, out, trust=True, quiet=True, overwrite=True)
    assert again.files == first.files


def test_files_that_cannot_be_read_do_not_keep_the_others_waiting(run, photos, tmp_path, capsys):
    (photos / "cut.png").write_bytes((photos / "a.png").read_bytes()[:300])
    (photos / "empty.jpg").touch()
    write_photograph(photos / "nan.tif", Photograph(pixels=np.full((4, 4, 3), np.nan, np.float32)))
    assert main(["restore", str(run), str(photos), f"--out={tmp_path / 'out'}", "--trust"]) == 1
    assert set(files(tmp_path / "out")) == {"a.png", "palette.png", "phone.png", "deep/b.tif", "deep/er/c.webp"}
    shown = capsys.readouterr()
    *reasons, last = shown.err.splitlines()
    assert [line.split(": ")[0] for line in reasons] == [
        f"{photos}/{name}" for name in ("empty.jpg", "cut.png", "nan.tif")
    ]
    assert "48 of 48 values are not finite" in reasons[-1]
    assert last == "jgr restore: error: 3 of 8 images were not restored; the reasons are above"
    assert shown.out.splitlines()[-1].startswith(f"5 images in {tmp_path / 'out'}, 0.")


def test_memory_and_numbers_that_do_not_suffice(tmp_path, run):
    restorer_run = make_run(tmp_path / "host", cls=f"{HERE}.OnHost")
    for height in (5, 6, 7):
        Image.fromarray(noise(height, 8, 1)[..., 0]).save(tmp_path / f"{height}.png")
    found = restore(
        restorer_run, [tmp_path / f"{n}.png" for n in (5, 6, 7)], tmp_path / "out", trust=True, quiet=True, tile=0
    )
    assert list(found.files) == [tmp_path / "7.png"]
    memory, numbers = found.failures.values()
    assert memory == f"{tmp_path}/5.png: does not fit the memory; restore it in smaller tiles, such as --tile=256"
    assert numbers.startswith(f"{tmp_path}/6.png: the network gives ")


def test_refusals_come_before_anything_is_done(run, photos, tmp_path):
    out = tmp_path / "out"
    (photos / "phone.png").write_bytes((photos / "a.png").read_bytes())
    (tmp_path / "none").mkdir()
    before = files(tmp_path)

    def refused(inputs, error, match, out=out, **options):
        with pytest.raises(error, match=match):
            restore(run, inputs, out, trust=True, quiet=True, **options)
        assert files(tmp_path) == before
        assert not (tmp_path / "out").exists()

    refused(photos, DataError, "phone.jpg and .*phone.png would both become .*out/phone.png; restore them into")
    refused([photos / "a.png", tmp_path / "absent.png"], DataError, "absent.png: no such file or folder")
    refused(tmp_path / "none", DataError, r"none: holds no image \(.png")
    refused([], DataError, "there is nothing to restore")
    refused(photos / "a.png", RunError, "a.png is a file; name a folder with --out", out=photos / "a.png")
    refused(
        photos / "phone.jpg", RunError, "phone.png exists; name another --out, or replace .* --overwrite", out=photos
    )
    own = "a.png would become .*, which is itself to be restored; name another --out"
    os.link(photos / "a.png", tmp_path / "none" / "a.png")
    before = files(tmp_path)
    for folder in (photos, tmp_path / "none"):
        refused(photos / "a.png", RunError, own, out=folder, overwrite=True)
    refused(photos / "a.png", ConfigError, r"is told no sigma: leave --sigma out", sigma=0.1)
    refused(photos / "a.png", ConfigError, "overlap = 9 must be at most half of tile = 8", tile=8, overlap=9)


def test_a_mask_of_another_size_is_an_error_of_that_photograph(told_run, photos, tmp_path):
    Image.new("1", (30, 20), 1).save(tmp_path / "mask.png")
    inputs = [photos / "palette.png", photos / "a.png"]
    found = restore(told_run, inputs, tmp_path / "out", sigma=0.0, mask=tmp_path / "mask.png", trust=True, quiet=True)
    assert list(found.files) == [photos / "a.png"]
    expected = f"{photos}/palette.png: it is 16x24 pixels, and the mask 30x20: they must be equal"
    assert list(found.failures.values()) == [expected]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], "this run must be told which pixels are known: give --mask=FILE"),
        (
            ["--mask=white.png"],
            "this run must be told the standard deviation of the noise: give --sigma=25/255",
        ),
        (["--sigma=25"], "sigma = 25 must be from 0 to 1: it is in units of the range [0, 1], write 25/255"),
        (["--sigma=a/b"], "--sigma=a/b must be a number in [0, 1], such as 25/255 or 0.098"),
        (["--sigma=1/0"], "--sigma=1/0 must be a number in [0, 1], such as 25/255 or 0.098"),
        (["--mask=black.png"], "black.png: the mask hides every pixel"),
        (["--mask=no.png"], "no.png: there is no such file"),
        (["--kernel=kernel.npy"], "kernel.npy: the kernel sums to 3, not to 1"),
        (["--quality=101"], "quality = 101 must be from 1 to 100"),
        (
            ["--sigma=25/255", "--mask=white.png", "--quality=10"],
            "this run is told no quality: leave --quality out",
        ),
        (["--sigma=25/255", "--mask=white.png", "--tile=-1"], "tile = -1 must not be negative"),
        (["--sigma=25/255", "--mask=white.png", "--step=7"], "has no checkpoint of step 7"),
    ],
)
def test_wrong_options_are_said_in_one_line(told_run, photos, tmp_path, capsys, monkeypatch, options, expected):
    monkeypatch.chdir(tmp_path)
    Image.new("1", (30, 20), 1).save("white.png")
    Image.new("1", (30, 20), 0).save("black.png")
    np.save("kernel.npy", np.float32([[1, 1, 1]] * 3) / 3)
    assert main(["restore", str(told_run), "photos/a.png", "--out=out", "--trust", *options]) == 1
    shown = capsys.readouterr()
    assert shown.err.count("\n") == 1
    assert expected in shown.err.removeprefix("jgr restore: error: ")
    assert not (tmp_path / "out").exists()
    told = ["--sigma=25/255", "--mask=white.png"]
    if not options:
        assert main(["restore", str(told_run), "photos/a.png", "--out=out", "--trust", "--quiet", *told]) == 0


def test_a_task_that_restores_nothing():
    class Blind(Task):
        init = step = None

    with pytest.raises(ConfigError, match="Blind of this run restores no images: it has no method restore"):
        PhotographRestorer(Blind(), STATE)


def test_methods_that_are_not_trained_are_told_what_they_need():
    sigma = Conditions(sigma=25 / 255)
    PhotographRestorer(Baseline(method=NonLocalMeans()), STATE, sigma)
    with pytest.raises(ConfigError, match="must be told the standard deviation of the noise: give --sigma=25/255"):
        PhotographRestorer(Baseline(method=NonLocalMeans()), STATE)
    with pytest.raises(ConfigError, match="this run is told no sigma: leave --sigma out"):
        PhotographRestorer(Baseline(method=Bicubic(scale=2), scale=2), STATE, sigma)


def test_who_is_told_the_mask():
    """A network may learn to find holes by itself; one whose known pixels stay must be told them, if only for that."""
    degradation, pixels = Mask(generator=RandomPixels(keep=0.5)), noise(8, 8, 3)
    blind = Toy(network=Identity(channels=3, gain=1.0), degradation=degradation)
    np.testing.assert_array_equal(PhotographRestorer(blind, STATE)(pixels), pixels)
    mask = np.ones((8, 8), bool)
    with pytest.raises(ConfigError, match="this run is told no mask: leave --mask out"):
        PhotographRestorer(blind, STATE, Conditions(mask=mask))
    keeping = Toy(network=Identity(channels=3, gain=0.0), degradation=degradation, keep_known=True)
    np.testing.assert_array_equal(PhotographRestorer(keeping, STATE, Conditions(mask=mask))(pixels), pixels)
    with pytest.raises(ConfigError, match="must be told which pixels are known: give --mask=FILE"):
        PhotographRestorer(keeping, STATE)


def test_holes_are_filled_and_known_pixels_stay():
    """In each colour, also by a gray network: the chroma of what is hidden is not known either."""
    pixels, mask = noise(20, 24, 4), np.ones((20, 24), bool)
    mask[3:9, 5:14] = False
    degradation = Mask(generator=RandomPixels(keep=0.5), fill=0.25)
    for channels in (1, 3):
        task = Toy(network=Identity(channels=channels, gain=2.0), inputs=("mask",), degradation=degradation)
        restored = PhotographRestorer(task, STATE, Conditions(mask=mask))(pixels)
        np.testing.assert_array_equal(restored[mask], pixels[mask])
        np.testing.assert_array_equal(restored[~mask][:, :3], 128)
        np.testing.assert_array_equal(restored[..., 3], pixels[..., 3])
    # Where the image is spoilt besides, known pixels are the network's, too.
    both = dataclasses.replace(task, degradation=Pipeline(steps=(GaussianNoise(sigma=0.1), degradation)))
    restored = PhotographRestorer(both, STATE, Conditions(mask=mask))(pixels)
    np.testing.assert_array_equal(restored[mask][:, :3], np.minimum(2 * pixels[mask][:, :3].astype(int), 255))
    np.testing.assert_array_equal(restored[~mask][:, :3], 128)


def test_the_command_restores_with_a_network_of_jgr(run_jgr, photos, tmp_path):
    config = make_config(
        cls="jgr.tasks.restoration.Restoration",
        network={"cls": "jgr.models.dncnn.DnCNN", "depth": 3, "width": 8},
        degradation={"cls": "jgr.degradations.noise.GaussianNoise", "sigma": 25 / 255},
        inputs=("sigma",),
        residual=True,
    )
    jgr.train(resolve(config, Experiment), tmp_path / "run", quiet=True)
    cut = photos / "deep" / "cut.tif"
    cut.write_bytes((photos / "deep" / "b.tif").read_bytes()[:200])
    options = [f"--out={tmp_path / 'out'}", "--sigma=25/255", "--tile=16", "--overlap=4"]
    done = run_jgr("restore", tmp_path / "run", photos, *options, status=1)
    reason, last = done.stderr.splitlines()
    assert reason.startswith(f"{cut}: not a readable image (")
    assert last == "jgr restore: error: 1 of 6 images were not restored; the reasons are above"
    *_, summary = done.stdout.splitlines()
    assert re.fullmatch(rf"5 images in {tmp_path / 'out'}, \d+\.\d\d s each", summary)
    run = jgr.load(tmp_path / "run")
    restorer = PhotographRestorer(run.experiment.task, run.state, Conditions(sigma=25 / 255), tile=16, overlap=4)
    for name in ("a.png", "deep/b.tif", "deep/er/c.webp"):
        photograph, restored = (read_photograph(folder / name).pixels for folder in (photos, tmp_path / "out"))
        assert restored.dtype == photograph.dtype
        np.testing.assert_array_equal(restored, restorer(photograph))
        assert not np.array_equal(restored[..., :3], photograph[..., :3])
