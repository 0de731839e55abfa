"""Uses of generators that paint what they are given, so that every pixel has a known value."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy.spatial import geometric_slerp

import jgr
from jgr.cli.main import main
from jgr.config import resolve
from jgr.data.loader import Data
from jgr.errors import ConfigError, NonFiniteError
from jgr.images import to_uint8
from jgr.jobs.experiment import Evaluation, Experiment, Train
from jgr.jobs.explore.explorer import Explorer
from jgr.jobs.sampling import make_sample
from jgr.mesh import Mesh
from jgr.metrics.distribution import FrechetDistance
from jgr.metrics.extractor import FeatureExtractor
from jgr.rng import purpose_key, record_keys
from jgr.state import TrainState
from jgr.tasks.task import LatentSampler, Sampler, StyleSampler, Task

HERE = __name__
SPREAD = 8.0  # a pixel is 0.5 + value / SPREAD, so that a level is 8 / 255


@dataclasses.dataclass(frozen=True, kw_only=True)
class Drawer(Task):
    """Images that follow from keys and labels alone, of a task without latents."""

    classes: int | None = None
    noisy: bool = True

    @property
    def num_classes(self):
        return self.classes

    def init(self, key, batch):
        params = {"generator": {"scale": jnp.ones(())}}
        return TrainState(step=jnp.int32(0), params=params, model_state={"generator": {}}, opt_state={})

    def step(self, state, batch, key):
        return state, {}

    def told(self, keys, condition):
        """A row of pixels: the label in steps of 1/8, noise, and two that are black."""
        label = jnp.zeros(len(keys)) if condition is None else condition["label"] / 8
        noise = jax.vmap(jax.random.uniform)(keys) if self.noisy else jnp.zeros(len(keys))
        return jnp.stack([label, noise, jnp.zeros(len(keys)), jnp.zeros(len(keys))], axis=1)[:, None, :, None]

    def sample(self, state, keys, condition=None):
        return self.told(keys, condition)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Painter(Drawer):
    """A row that shows the four values of a latent, above the row of `Drawer`."""

    def sample(self, state, keys, condition=None):
        return self.generate(state, self.latents(keys), keys, condition)

    def latents(self, keys):
        return jax.vmap(lambda key: jax.random.normal(key, (4,)))(keys)

    def generate(self, state, latents, keys, condition=None):
        row = 0.5 + state.params["generator"]["scale"] * latents[:, None, :, None] / SPREAD
        return jnp.concatenate([row, self.told(keys, condition)], axis=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class StylePainter(Painter):
    """A row for each of three layers, which shows its style: the mean style plus 1, 2 or 3 quarters of the latent."""

    has_styles: bool = True

    def generate(self, state, latents, keys, condition=None):
        return self.synthesise(state, self.styles(state, latents, condition), keys)

    def styles(self, state, latents, condition=None):
        label = 0.0 if condition is None else condition["label"][:, None, None] / 4
        share = jnp.array([0.25, 0.5, 0.75])[None, :, None]
        return share * latents[:, None, :] + self.mean_style(state)[None, None, :] + label

    def mean_style(self, state):
        return jnp.array([1.0, -1.0, 0.0, 0.5])

    def synthesise(self, state, styles, keys):
        return jnp.concatenate([0.5 + styles[..., None] / SPREAD, self.told(keys, None)], axis=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Swatches:
    """20 images of 2x4 pixels, the first six of which are those that `Painter` makes of the first six latents."""

    name = "swatches-train"

    def __len__(self):
        return 20

    def __getitem__(self, index):
        if index < 6:
            return {"image": painted(Painter(), 6)[index], "label": 0}
        return {"image": np.random.default_rng(index).integers(0, 256, (2, 4, 1), np.uint8), "label": 0}


class Brightness(FeatureExtractor):
    """The mean of an image."""

    name = "brightness"

    def __call__(self, weights, images):
        return {"features": images.reshape(len(images), -1).astype(jnp.float32).mean(axis=1, keepdims=True)}


METRICS = {"fd": FrechetDistance(), "fd_brightness": FrechetDistance(extractor=Brightness())}


def explorer(task, **fields):
    experiment = Experiment(
        data=Data(source=Swatches()),
        task=task,
        train=Train(num_steps=1, batch_size=4),
        evaluation=Evaluation(metrics=METRICS),
    )
    return Explorer(experiment, task.init(None, {}), Mesh(data=2), **{"quiet": True} | fields)


def keys(numbers, seed=0):
    return record_keys(purpose_key(seed, "samples"), jnp.asarray(numbers, jnp.uint32))


def latents(numbers, seed=0):
    """Those of `Run.sample`, by the number of the image."""
    return np.asarray(Painter().latents(keys(numbers, seed)))


def painted(task, num, labels=None):
    condition = None if labels is None else {"label": jnp.asarray(labels)}
    return np.asarray(to_uint8(task.sample(task.init(None, {}), keys(range(num)), condition)))


def shown(rows):
    """The values that rows of pixels show, to half a level."""
    return (np.asarray(rows, np.float64)[..., 0] / 255 - 0.5) * SPREAD


LEVEL = 0.51 * SPREAD / 255


def test_protocols_are_recognised():
    assert isinstance(Drawer(), Sampler)
    assert not isinstance(Drawer(), LatentSampler)
    assert isinstance(Painter(), LatentSampler)
    assert not isinstance(Painter(), StyleSampler)
    assert isinstance(StylePainter(), StyleSampler)


@pytest.mark.parametrize("task", [Drawer(classes=3), Painter(), Painter(classes=3), StylePainter()])
def test_samples_are_those_of_a_run_however_they_are_batched(task):
    draw = make_sample(task, Mesh(data=2), "samples")
    expected = np.asarray(draw(task.init(None, {}), 5, 7))[:7]
    for batch_size in (3, 64):
        np.testing.assert_array_equal(explorer(task, seed=5, batch_size=batch_size).sample(7), expected)


def test_classes_are_taken_in_turn():
    images = explorer(Painter(classes=4)).sample(5, classes=[3, 1])
    np.testing.assert_array_equal(images, painted(Painter(classes=4), 5, [3, 1, 3, 1, 3]))


def test_class_grid_has_a_row_for_each_class_and_a_column_for_each_latent():
    table = explorer(Painter(classes=4)).class_grid(5)
    assert table.shape == (4, 5, 2, 4, 1)
    np.testing.assert_array_equal(table[..., 1, 0, 0], np.repeat([[0], [32], [64], [96]], 5, axis=1))
    np.testing.assert_allclose(shown(table[..., 0, :, :]), np.tile(latents(range(5)), (4, 1, 1)), atol=LEVEL)
    chosen = explorer(Painter(classes=4), batch_size=3).class_grid(5, classes=[2, 0])
    np.testing.assert_array_equal(chosen, table[[2, 0]])


def test_a_task_without_latents_has_class_grids():
    assert explorer(Drawer(classes=2)).class_grid(3).shape == (2, 3, 1, 4, 1)


def test_interpolation_goes_along_the_sphere():
    rows = explorer(Painter(classes=3), seed=2, batch_size=4).interpolate(steps=5, num=2)
    ends = latents(range(4), seed=2).astype(np.float64)
    for number, row in enumerate(rows):
        first, second = ends[2 * number], ends[2 * number + 1]
        lengths = np.linalg.norm([first, second], axis=1, keepdims=True)
        way = geometric_slerp(*(np.stack([first, second]) / lengths), np.linspace(0, 1, 5))
        np.testing.assert_allclose(shown(row[[0, -1], 0]), [first, second], atol=LEVEL)
        # A combination of the ends whose weights are those of the unit vectors.
        weights = np.linalg.lstsq((np.stack([first, second]) / lengths).T, way.T, rcond=None)[0]
        np.testing.assert_allclose(shown(row[:, 0]), weights.T @ np.stack([first, second]), atol=LEVEL)
        assert (row[:, 1] == row[0, 1]).all()  # one class and one noise along a row
        assert row[0, 1, 0, 0] == 32 * number


def test_styles_are_interpolated_along_straight_lines():
    rows = shown(explorer(StylePainter()).interpolate(steps=3, num=4)[:, :, :3])
    np.testing.assert_allclose(rows[:, 1], (rows[:, 0] + rows[:, 2]) / 2, atol=2 * LEVEL)
    assert not np.allclose(rows[:, 0], rows[:, 2], atol=10 * LEVEL)


def test_truncation_draws_latents_beyond_it_again():
    plain, cut = (shown(explorer(Painter(), truncation=psi).sample(64)[:, 0]) for psi in (None, 0.7))
    assert np.abs(plain).max() > 2
    assert np.abs(cut).max() <= 0.7 + LEVEL
    within = np.abs(plain) < 0.7 - LEVEL
    np.testing.assert_array_equal(cut[within], plain[within])


def test_truncation_pulls_styles_to_their_mean():
    plain, half, none = (shown(explorer(StylePainter(), truncation=psi).sample(6)[:, :3]) for psi in (None, 0.5, 0.0))
    mean = np.broadcast_to([1.0, -1.0, 0.0, 0.5], none.shape)
    np.testing.assert_allclose(none, mean, atol=LEVEL)
    np.testing.assert_allclose(half, (plain + mean) / 2, atol=2 * LEVEL)
    np.testing.assert_array_equal(plain, shown(explorer(StylePainter(), truncation=1.0).sample(6)[:, :3]))


@pytest.mark.parametrize(("layer", "expected"), [(None, 1), (1, 1), (2, 2)])
def test_mixtures_have_coarse_rows_of_the_left_and_fine_rows_of_the_top(layer, expected):
    table = explorer(StylePainter(classes=2), batch_size=6).mix(num=3, layer=layer)
    assert table.shape == (4, 4, 4, 4, 1)
    assert (table[0, 0] == 255).all()
    sources = explorer(StylePainter(classes=2)).sample(6)
    np.testing.assert_array_equal(table[1:, 0], sources[:3])
    np.testing.assert_array_equal(table[0, 1:], sources[3:])
    for row in range(1, 4):
        for column in range(1, 4):
            cell = table[row, column]
            np.testing.assert_array_equal(cell[:expected], table[row, 0][:expected])
            np.testing.assert_array_equal(cell[expected:3], table[0, column][expected:3])
            np.testing.assert_array_equal(cell[3], table[row, 0][3])


@pytest.mark.parametrize("within", ["pixels", "brightness"])
def test_nearest_neighbours_are_those_by_brute_force(within):
    made = explorer(Painter())
    found = made.nearest(k=3, num=4, within=within)
    data = np.stack([Swatches()[index]["image"] for index in range(20)])
    np.testing.assert_array_equal(found.images, made.sample(4))
    rows = [images.reshape(len(images), -1) / (255 if within == "pixels" else 1) for images in (found.images, data)]
    rows = [part if within == "pixels" else part.mean(axis=1, keepdims=True) for part in rows]
    distances = np.linalg.norm(rows[0][:, None] - rows[1][None], axis=-1)
    np.testing.assert_array_equal(found.indices, np.argsort(distances, axis=1, kind="stable")[:, :3])
    np.testing.assert_array_equal(found.indices[:, 0], range(4))  # they are in the data
    np.testing.assert_allclose(found.distances, np.sort(distances, axis=1)[:, :3], rtol=1e-5)
    assert (found.distances[:, 0] == 0).all()
    np.testing.assert_array_equal(found.neighbours, data[found.indices])


def test_inversion_finds_the_latents_and_the_class():
    task = Painter(classes=3, noisy=False)
    made = explorer(task, seed=3)
    condition = {"label": jnp.array([2, 0])}
    wanted = jnp.array([[0.5, -1.0, 0.2, 2.0], [-2.0, 0.0, 1.5, -0.3]])
    targets = np.asarray(to_uint8(task.generate(made.state, wanted, keys(range(2)), condition)))
    found = made.invert(targets, steps=150, restarts=2)
    np.testing.assert_allclose(found.codes, wanted, atol=0.05)
    assert found.labels.tolist() == [2, 0]
    error = np.square(found.images.astype(float) - targets).mean(axis=(1, 2, 3))
    assert (error < 1).all()  # of 255 levels
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(found.psnr, 10 * np.log10(255**2 / error))
    alone = made.invert(targets[1:], steps=150, restarts=2)
    np.testing.assert_allclose(alone.codes[0], found.codes[1], atol=1e-4)


def test_inversion_of_a_style_based_generator_frees_every_layer():
    task = StylePainter(noisy=False)
    made = explorer(task)
    wanted = jnp.asarray(np.random.default_rng(0).normal(size=(1, 3, 4)), jnp.float32)  # of no latent
    targets = np.asarray(to_uint8(task.synthesise(made.state, wanted, keys(range(1)))))
    found = made.invert(targets, steps=150, restarts=1)
    assert found.labels is None
    np.testing.assert_allclose(found.codes, wanted, atol=0.05)


def test_inversion_of_a_generator_that_gives_nan():
    made = explorer(Painter())
    broken = dataclasses.replace(made, state=made.state.replace(params={"generator": {"scale": jnp.float32(jnp.nan)}}))
    with pytest.raises(NonFiniteError, match="invert: image 0: no search stayed finite"):
        broken.invert(np.zeros((1, 2, 4, 1), np.uint8), steps=2)


def test_each_use_is_compiled_once_however_many_images():
    traced = []

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Counting(StylePainter):
        def synthesise(self, state, styles, keys):
            traced.append(len(keys))
            return super().synthesise(state, styles, keys)

    made = explorer(Counting(), batch_size=4, truncation=0.5)
    for use in (
        lambda: made.sample(15),
        lambda: made.interpolate(steps=5, num=3),
        lambda: made.mix(num=3, layer=1),
        lambda: made.mix(num=3, layer=2),
    ):
        use()
    assert traced == [4, 4, 4]


@pytest.mark.parametrize(
    ("task", "use", "message"),
    [
        (Painter(), lambda made: made.class_grid(), "classes = 'all': Painter of this run is unconditional; leave cl"),
        (Painter(classes=3), lambda made: made.sample(2, [3]), r"classes = \[3\] must be labels from 0 to 2, or 'all'"),
        (Painter(classes=3), lambda made: made.sample(2, []), r"classes = \[\] must be labels from 0 to 2, or 'all'"),
        (Painter(), lambda made: made.sample(0), "num = 0 must be at least 1"),
        (Painter(), lambda made: made.interpolate(1), "interpolate: steps = 1 must be at least 2"),
        (Drawer(), lambda made: made.interpolate(), "interpolate: Drawer of this run has no latents to choose"),
        (Painter(), lambda made: made.mix(), "mix: the generator of this run has no styles"),
        (StylePainter(has_styles=False), lambda made: made.mix(), "mix: the generator of this run has no styles"),
        (StylePainter(), lambda made: made.mix(layer=3), "mix: layer = 3 must be from 1 to 2: this generator has 3 la"),
        (Painter(), lambda made: made.nearest(k=21), "nearest: k = 21 must be at most 20, the records of swatches-tra"),
        (
            Painter(),
            lambda made: made.nearest(within="cnn"),
            "within = 'cnn' must be one of pixels, brightness: pixels",
        ),
        (Drawer(), lambda made: made.nearest(), "the images of swatches-train are 2x4x1 and the generated ones 1x4x1"),
        (Painter(), lambda made: made.invert(np.zeros((1, 3, 4, 1), np.uint8)), "images of 3x4x1, but the generator"),
        (Painter(), lambda made: made.invert(np.zeros((1, 2, 4, 1), np.uint8), steps=0), "invert: steps = 0 must be"),
    ],
)
def test_what_cannot_be_done(task, use, message):
    with pytest.raises(ConfigError, match=message):
        use(explorer(task))


@pytest.mark.parametrize(
    ("task", "truncation", "message"),
    [
        (Painter(), 0.0, "truncation = 0.0 must be above 0, such as 0.7"),
        (Painter(), float("inf"), "truncation = inf must be"),
        (StylePainter(), -0.5, "truncation = -0.5 must be at least 0"),
        (Drawer(), 0.7, "truncation: Drawer of this run has no latents"),
    ],
)
def test_truncations_that_are_none(task, truncation, message):
    with pytest.raises(ConfigError, match=message):
        explorer(task, truncation=truncation)


@pytest.fixture(scope="module")
def painter_run(tmp_path_factory):
    """Makes a run that holds a task's initial weights."""

    def make(task, **fields):
        workdir = tmp_path_factory.mktemp(task) / "run"
        config = {
            "data": {"source": {"cls": f"{HERE}.Swatches"}},
            "task": {"cls": f"{HERE}.{task}", **fields},
            "train": {"num_steps": 0, "batch_size": 2},
            "mesh": {"data": 1},
            "evaluation": {"metrics": {"fd": {"cls": "jgr.metrics.distribution.FrechetDistance"}}},
        }
        jgr.train(resolve(config, Experiment), workdir, quiet=True)
        return workdir

    return make


def picture(capsys, out, *arguments):
    """What `jgr sample` draws, and the lines it prints before the picture's path."""
    capsys.readouterr()
    assert main(["sample", *map(str, arguments), "--trust", f"--out={out}"]) == 0
    *remarks, path = capsys.readouterr().out.splitlines()
    assert path == str(out)
    with Image.open(out) as opened:
        return np.asarray(opened), remarks


def cells(pixels, rows, columns, height, width):
    """The images of a grid whose images were enlarged so that the longer side has 64 pixels."""
    factor = 64 // max(height, width)
    tall, wide = factor * height + 2, factor * width + 2
    assert pixels.shape == (rows * tall + 2, columns * wide + 2)
    return np.stack(
        [
            [
                pixels[2 + row * tall : row * tall + tall : factor, 2 + column * wide : column * wide + wide : factor]
                for column in range(columns)
            ]
            for row in range(rows)
        ]
    )[..., None]


def test_pictures_of_a_conditional_run(capsys, painter_run, tmp_path):
    workdir = painter_run("Painter", classes=4)
    pixels, remarks = picture(capsys, tmp_path / "all.png", workdir, "--classes")
    np.testing.assert_array_equal(cells(pixels, 4, 10, 2, 4), explorer(Painter(classes=4)).class_grid(10))
    assert remarks == []
    pixels, _ = picture(capsys, tmp_path / "some.png", workdir, "--classes=3,1", "--num=2", "--truncation=0.5")
    cut = explorer(Painter(classes=4), truncation=0.5)
    np.testing.assert_array_equal(cells(pixels, 2, 2, 2, 4), cut.class_grid(2, [3, 1]))


def test_pictures_of_mixtures_and_neighbours(capsys, painter_run, tmp_path):
    workdir = painter_run("StylePainter")
    pixels, _ = picture(capsys, tmp_path / "mix.png", workdir, "--mix", "--num=2", "--mix_layer=2")
    np.testing.assert_array_equal(cells(pixels, 3, 3, 4, 4), explorer(StylePainter()).mix(2, 2))
    workdir, made = painter_run("Painter"), explorer(Painter())
    pixels, remarks = picture(capsys, tmp_path / "near.png", workdir, "--nearest=2", "--num=3")
    shown = cells(pixels, 3, 3, 2, 4)
    np.testing.assert_array_equal(shown[:, 0], made.sample(3))
    np.testing.assert_array_equal(shown[:, 1], made.sample(3))
    assert [remark.split(" (")[0] for remark in remarks] == [
        f"image {number}: nearest in pixels are the records {number}" for number in range(3)
    ]


def test_picture_of_an_inversion(capsys, painter_run, tmp_path):
    workdir = painter_run("Painter", classes=2, noisy=False)
    target = painted(Painter(classes=2, noisy=False), 1, [1])[0]
    Image.fromarray(target[..., 0]).save(tmp_path / "target.png")
    Image.fromarray(np.full((6, 6, 3), 200, np.uint8)).save(tmp_path / "photo.jpg")
    files = [tmp_path / "target.png", tmp_path / "photo.jpg"]
    search = ["--invert_steps=120", "--restarts=1"]
    pixels, remarks = picture(capsys, tmp_path / "inverted.png", workdir, *search, "--invert", *files)
    shown = cells(pixels, 2, 3, 2, 4).astype(int)
    np.testing.assert_array_equal(shown[0, 0], target)
    np.testing.assert_array_equal(shown[1, 0], 200)
    np.testing.assert_array_equal(shown[:, 2], np.minimum(4 * np.abs(shown[:, 0] - shown[:, 1]), 255))
    for row, label, file, remark in zip(shown, (1, 1), files, remarks, strict=True):
        error = np.square(row[0] - row[1]).mean()
        psnr = 10 * np.log10(255**2 / error) if error else np.inf
        assert remark == f"{file}: PSNR {psnr:.2f} dB as class {label}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--mix_layer=2"], "--mix_layer=2 goes with --mix: add that, or leave it out"),
        (["--restarts=2", "--mix"], "--restarts=2 goes with --invert"),
        (["--nearest_in=cnn-mnist"], "--nearest_in=cnn-mnist goes with --nearest"),
        (["--classes=3;7"], "--classes=3;7 must be labels such as 3,7, or all"),
        (["--classes=7"], "classes = [7] must be labels from 0 to 1"),
        (["--mix"], "mix: the generator of this run has no styles"),
        (["--num=3", "--invert", "x.png"], "num = 3 does not go with invert"),
        (["--invert", "/no/such.png"], "/no/such.png: no such file"),
        (["--truncation=-1"], "truncation = -1.0 must be above 0"),
    ],
)
def test_command_lines_that_cannot_be_done(capsys, small_run, tmp_path, arguments, message):
    assert main(["sample", str(small_run), "--trust", f"--out={tmp_path / 'x.png'}", *arguments]) == 1
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert message in shown
    assert not (tmp_path / "x.png").exists()


@pytest.fixture(scope="module")
def small_run(painter_run):
    return painter_run("Painter", classes=2)


def test_two_pictures_at_once(capsys, small_run, tmp_path):
    with pytest.raises(SystemExit, match="2"):
        main(["sample", str(small_run), f"--out={tmp_path / 'x.png'}", "--mix", "--interpolate"])
    assert "argument --interpolate: not allowed with argument --mix" in capsys.readouterr().err
