"""Uses of a small VAE with two latents, trained on digits, and of autoencoders whose every pixel has a known value."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy import stats
from scipy.optimize import minimize

import jgr
from jgr.data.digits import Digits
from jgr.data.loader import Data
from jgr.errors import ConfigError, DataError
from jgr.images import to_uint8
from jgr.jobs.experiment import Evaluation, Experiment, Train
from jgr.jobs.explore.explorer import Explorer
from jgr.jobs.explore.latents import plane
from jgr.jobs.explore.pictures import Blend
from jgr.jobs.explore.scatter import scatter
from jgr.losses.likelihoods import Bernoulli, DiscretizedLogisticMixture, Gaussian
from jgr.mesh import Mesh
from jgr.models.latent_priors import GaussianMixture
from jgr.models.mlp_vae import Decoder, Encoder
from jgr.rng import purpose_key, record_keys
from jgr.state import TrainState
from jgr.tasks.task import LatentDecoder, LatentDivergence, LatentSampler, PixelModel, Reconstructor, Task
from jgr.tasks.vae import VAE, Aggregate

SPREAD = 8.0  # a pixel is 0.5 + value / SPREAD
VARIANCES = [0.0, 4.0, 1.0]  # of the posterior means of `Stripes`


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plain(Task):
    """A task that maps images to a code and back, and does nothing else."""

    classes: int | None = None

    @property
    def num_classes(self):
        return self.classes

    def init(self, key, batch):
        return TrainState(step=jnp.int32(0), params={"coder": {}}, model_state={"coder": {}}, opt_state={})

    def step(self, state, batch, key):
        return state, {}

    def reconstruct(self, state, batch):
        return batch["image"] / 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Linear(Plain):
    """The three values of a latent are the row of pixels; the next row shows the label in steps of 1/8."""

    def posterior_mean(self, state, batch):
        return (batch["image"][:, 0, :, 0] - 0.5) * SPREAD

    def decode(self, state, latents, condition):
        row = 0.5 + latents / SPREAD
        label = condition["label"] / 8 if self.classes else jnp.zeros(len(latents))
        return jnp.stack([row, jnp.tile(label[:, None], (1, 3))], axis=1)[..., None]

    def reconstruct(self, state, batch):
        return self.decode(state, self.posterior_mean(state, batch), batch)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stripes:
    """Ten images whose latents in `Linear` have the variances `VARIANCES`, with the labels 0 to 2 in turn."""

    labelled: bool = True

    name = "stripes-test"

    def __len__(self):
        return 10

    def __getitem__(self, index):
        sign = 1 if index % 2 else -1
        row = 0.5 + sign * np.sqrt(VARIANCES) / SPREAD
        image = np.floor(np.stack([row, row])[..., None] * 255 + 0.5).astype(np.uint8)
        return {"image": image} | ({"label": index % 3} if self.labelled else {})


LEVEL = 0.51 * SPREAD / 255


def explorer(task, source=None, **fields):
    data = Data(source=Stripes() if source is None else source)
    experiment = Experiment(
        data=Data(source=Digits(split="test")),
        task=task,
        train=Train(num_steps=1, batch_size=4),
        evaluation=Evaluation(data=data),
    )
    return Explorer(experiment, task.init(None, {}), Mesh(data=2), **{"quiet": True} | fields)


def shown(rows):
    """The values that rows of pixels show, to half a level."""
    return (np.asarray(rows, np.float64)[..., 0] / 255 - 0.5) * SPREAD


@pytest.fixture(scope="module")
def vae(vae_run):
    return jgr.load(vae_run)


@pytest.fixture(scope="module")
def made(vae):
    return vae.explore(quiet=True)


def records(indices, split="test"):
    source = Digits(split=split)
    images = np.stack([source[index]["image"] for index in indices])
    return {"image": jnp.asarray(images / np.float32(255)), "index": jnp.asarray(indices)}


def test_protocols_are_recognised(vae):
    task = vae.experiment.task
    assert all(
        isinstance(task, protocol)
        for protocol in (LatentDecoder, LatentDivergence, LatentSampler, PixelModel, Reconstructor)
    )
    assert isinstance(Linear(), LatentDecoder)
    assert not isinstance(Plain(), LatentDecoder | LatentSampler | PixelModel)


def test_reconstructions_are_of_the_evaluations_records_and_better_than_their_mean(made):
    found = made.reconstruct(100)
    source = Digits(split="test")
    np.testing.assert_array_equal(found.originals, [source[index]["image"] for index in range(100)])
    again = made.task.reconstruct(made.state, records(range(100)))
    assert np.abs(found.images.astype(int) - np.asarray(to_uint8(again)).astype(int)).max() <= 1
    error, spread = (
        np.square(found.originals / 255 - other).mean() for other in (found.images / 255, found.originals.mean(0) / 255)
    )
    assert error < 0.8 * spread


def test_records_do_not_depend_on_the_batch(made):
    small = dataclasses.replace(made, batch_size=4)
    np.testing.assert_array_equal(small.reconstruct(7).images, made.reconstruct(9).images[:7])
    np.testing.assert_allclose(small.encode(7).means, made.encode(9).means[:7], rtol=1e-5, atol=1e-6)


def test_a_task_that_only_reconstructs_can_be_explored():
    found = explorer(Plain()).reconstruct(3)
    np.testing.assert_allclose(found.images, found.originals / 2, atol=0.51)
    with pytest.raises(ConfigError, match="Plain of this run generates no images: it has no method sample"):
        explorer(Plain()).sample()


def test_records_of_the_training_where_the_evaluation_has_none():
    made = explorer(Linear())
    experiment = dataclasses.replace(made.experiment, evaluation=Evaluation(), data=Data(source=Stripes()))
    images = dataclasses.replace(made, experiment=experiment).reconstruct(4).images
    np.testing.assert_array_equal(images, made.reconstruct(4).images)


def test_traversals_move_one_latent_each_the_most_spread_first():
    made = explorer(Linear(), batch_size=4)
    found = made.traverse(steps=5, num_latents=2, record=3, span=2.0)
    np.testing.assert_array_equal(found.latents, [1, 2])
    np.testing.assert_allclose(found.variances, [4.0, 1.0], rtol=0.05)
    np.testing.assert_array_equal(found.values, [-2, -1, 0, 1, 2])
    assert found.divergences is None
    np.testing.assert_allclose(shown(found.start[0]), [0, 2, 1], atol=2 * LEVEL)
    np.testing.assert_allclose(shown(found.images[0, :, 0]), [[0, v, 1] for v in found.values], atol=2 * LEVEL)
    np.testing.assert_allclose(shown(found.images[1, :, 0]), [[0, 2, v] for v in found.values], atol=2 * LEVEL)


def test_traversals_of_a_vae_start_at_the_decoded_posterior_mean(made):
    found = made.traverse(steps=3, record=5)
    assert np.abs(found.start.astype(int) - made.reconstruct(6).images[5]).max() <= 1
    assert sorted(found.latents) == [0, 1]
    assert (np.diff(found.variances) <= 0).all()
    means = made.encode(360).means
    np.testing.assert_allclose(found.variances, means.var(axis=0)[found.latents], rtol=1e-4)
    posterior = made.task.encode(made.state, records(range(360)))
    variances = np.exp(np.asarray(posterior.log_variance))
    # Kingma & Welling 2014, appendix B.
    divergences = (np.square(posterior.mean) + variances - 1 - np.log(variances)).mean(axis=0) / 2
    np.testing.assert_allclose(found.divergences, divergences[found.latents], rtol=1e-4)
    # Where a latent is set to what it is, the image is the one that it started from.
    code = np.tile(means[5], (2, 1))
    code[1, found.latents[0]] = found.values[2]
    expected = np.asarray(to_uint8(made.task.decode(made.state, jnp.asarray(code), {})))
    assert np.abs(expected.astype(int) - np.stack([found.start, found.images[0, 2]])).max() <= 1


def test_traversals_from_the_prior_have_its_mean_in_the_middle(made):
    found = made.traverse(steps=5, record=None)
    centre = np.asarray(to_uint8(made.task.decode(made.state, jnp.zeros((1, 2)), {})))[0]
    for row in found.images:
        np.testing.assert_array_equal(row[2], found.start)
    assert np.abs(found.start.astype(int) - centre).max() <= 1


def test_a_conditional_traversal_is_of_the_records_label_or_of_the_one_that_is_named():
    made = explorer(Linear(classes=4))
    assert (made.traverse(record=5, steps=2).images[:, :, 1] == 64).all()  # label 2
    assert (made.traverse(record=5, steps=2, classes=[3]).images[:, :, 1] == 96).all()
    assert (made.traverse(record=None, steps=2, classes=[1]).images[:, :, 1] == 32).all()


def test_the_map_is_of_the_quantiles_of_the_prior(made):
    images = made.latent_map(side=4)
    assert images.shape == (4, 4, 8, 8, 1)
    ends = stats.norm.ppf([0.125, 0.875])
    corners = {(0, 0): (ends[0], ends[1]), (0, 3): (ends[1], ends[1]), (3, 0): (ends[0], ends[0])}
    for place, code in corners.items():
        expected = np.asarray(to_uint8(made.task.decode(made.state, jnp.asarray([code], jnp.float32), {})))[0]
        assert np.abs(images[place].astype(int) - expected).max() <= 1
    assert not np.array_equal(images[0, 0], images[3, 3])
    cells = plane(3).reshape(3, 3, 2)
    np.testing.assert_allclose(cells[0, :, 0], stats.norm.ppf([1 / 6, 1 / 2, 5 / 6]), atol=1e-6)
    np.testing.assert_allclose(cells[:, 1, 1], stats.norm.ppf([5 / 6, 1 / 2, 1 / 6]), atol=1e-6)


def test_posterior_means_come_with_labels(made):
    found = made.encode()
    assert found.means.shape == (360, 2)
    assert found.labels.tolist() == [Digits(split="test")[index]["label"] for index in range(360)]
    assert (found.means.var(axis=0) > 0.01).all()  # both latents are active
    assert explorer(Linear(), Stripes(labelled=False)).encode().labels is None


def test_a_scatter_plot_has_points_where_they_belong_in_their_labels_colours():
    points = np.array([[-1.5, 1.5], [1.5, -1.5]])
    drawn = scatter(points, np.array([0, 1]), 300)
    assert len(drawn) == 300
    frame = drawn[:, :300]  # without the legend
    for color, (right, low) in {(31, 119, 180): (0, 0), (255, 127, 14): (1, 1)}.items():
        rows, columns = np.nonzero((frame == color).all(axis=-1))
        assert (rows.mean() > 150, columns.mean() > 170) == (low, right)
        assert (drawn[:, 304:] == color).all(axis=-1).any()  # the legend names it


def test_a_scatter_plot_holds_points_far_away():
    assert (scatter(np.array([[5.5, 0.0]]), None, 300)[100:200, 270:295] < 120).any()  # the frame goes to 6


def upper_halves(made, steps=60, **options):
    """Two images that differ in the lower half only, what is known of them, and their inversions."""
    first, second = made.reconstruct(2).originals
    second[:4] = first[:4]
    known = np.zeros((8, 8), bool)
    known[:4] = True
    targets = np.stack([first, second])
    search = {"steps": steps, "restarts": 3, "masks": known[None]} | options
    return targets, known, [made.invert(target[None], **search) for target in targets]


def test_unknown_pixels_have_no_influence_and_known_ones_stay(made):
    targets, known, found = upper_halves(made)
    assert not np.array_equal(targets[0], targets[1])
    np.testing.assert_array_equal(found[0].codes, found[1].codes)
    np.testing.assert_array_equal(found[0].images, found[1].images)
    assert found[0].psnr == found[1].psnr
    for target, one in zip(targets, found, strict=True):
        np.testing.assert_array_equal(one.composed[0, known], target[known])
        np.testing.assert_array_equal(one.composed[0, ~known], one.images[0, ~known])
        error = np.square(one.images[0, known].astype(float) - target[known]).mean()
        np.testing.assert_allclose(one.psnr, [10 * np.log10(255**2 / error)])


@pytest.mark.parametrize("weight", [1.0, 5.0])
def test_the_search_ends_at_the_most_probable_latent(made, weight):
    """The loss in NumPy, with the decoder and the Bernoulli distribution written out; its least value by SciPy."""
    targets, known, [found, _] = upper_halves(made, steps=150, prior_weight=weight)
    params = in_float64(made.state.params["decoder"])
    known, values = known.ravel(), targets[0].ravel() / 255

    def loss(code):
        hidden = np.tanh(code @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"])
        logits = hidden @ params["Dense_1"]["kernel"] + params["Dense_1"]["bias"]
        likelihood = values * logits - np.logaddexp(0, logits)
        return weight / 2 * np.sum(code**2) - likelihood[known].sum()

    starts = [found.codes[0], *np.random.default_rng(0).normal(size=(8, 2))]
    best = min(minimize(loss, start, method="Nelder-Mead").fun for start in starts)
    assert loss(found.codes[0]) == pytest.approx(best, abs=1e-2)


def in_float64(tree):
    return {name: in_float64(of) if hasattr(of, "items") else np.asarray(of, float) for name, of in tree.items()}


def test_a_stronger_prior_finds_latents_nearer_to_0(made):
    lengths = [np.linalg.norm(upper_halves(made, prior_weight=weight)[2][0].codes) for weight in (0.0, 1.0, 100.0)]
    assert lengths[0] > lengths[1] > lengths[2]
    assert lengths[2] < 0.5


@pytest.mark.parametrize(
    "likelihood",
    [
        Bernoulli(binarisation="none"),
        Bernoulli(binarisation="threshold"),
        Gaussian(scale=0.3),
        DiscretizedLogisticMixture(num_mixtures=2),
    ],
)
def test_pixels_sum_to_the_image(likelihood):
    generator = np.random.default_rng(0)
    images = jnp.asarray(generator.integers(0, 2, (3, 4, 5, 1)), jnp.float32)
    shape = (3, 4, 5, likelihood.num_outputs(1))
    outputs = jnp.asarray(generator.normal(size=shape), jnp.float32)
    params = likelihood.init()
    pixels = likelihood.of_pixels(params, outputs, images)
    assert pixels.shape == (3, 4, 5)
    np.testing.assert_allclose(pixels.sum(axis=(1, 2)), likelihood.log_prob(params, outputs, images), rtol=1e-5)


@pytest.mark.parametrize("likelihood", [Bernoulli(binarisation="dynamic"), Gaussian(scale=0.2, dequantised=True)])
def test_pixels_have_the_expectation_over_what_is_drawn(likelihood):
    """Up to a constant: differences between two outputs, each a mean over 4,000 drawn images."""
    generator = np.random.default_rng(1)
    image = np.round(generator.uniform(size=(1, 2, 2, 1)) * 255) / 255
    images = jnp.asarray(np.tile(image, (4000, 1, 1, 1)), jnp.float32)
    keys = record_keys(purpose_key(0, "test"), jnp.arange(4000))
    prepared = likelihood.prepared(images, jnp.arange(4000), keys)
    drawn, pixels = [], []
    for outputs in generator.normal(size=(2, 1, 2, 2, 1)):
        outputs = jnp.asarray(outputs, jnp.float32)
        each = likelihood.log_prob({}, jnp.tile(outputs, (4000, 1, 1, 1)), prepared)
        drawn.append(np.asarray(each, np.float64))
        pixels.append(float(likelihood.of_pixels({}, outputs, images[:1]).sum()))
    difference = drawn[0] - drawn[1]
    error = difference.std() / np.sqrt(4000)
    assert pixels[0] - pixels[1] == pytest.approx(difference.mean(), abs=4 * error + 1e-4)


@pytest.fixture(scope="module")
def conditional():
    """A conditional VAE as it is initialised."""
    sizes = {"latent_dim": 2, "widths": (8,), "num_classes": 10}
    task = VAE(encoder=Encoder(**sizes), decoder=Decoder(image_size=8, **sizes), num_classes=10)
    source = Data(source=Digits(split="test"))
    experiment = Experiment(data=source, task=task, train=Train(num_steps=1, batch_size=4))
    batch = {"image": jnp.zeros((2, 8, 8, 1)), "label": jnp.zeros(2, jnp.int32)}
    return Explorer(experiment, task.init(jax.random.key(0), batch), Mesh(data=2), quiet=True)


def test_a_conditional_vae_is_told_the_label(conditional):
    task, state = conditional.task, conditional.state
    table = conditional.class_grid(2)
    assert len(np.unique(table[:, 0].reshape(10, -1), axis=0)) == 10
    found = conditional.invert(table[[3, 7], 0], [1, 3, 7], steps=100, restarts=1, prior_weight=0.0)
    assert found.labels.tolist() == [3, 7]
    batch = records(range(4)) | {"label": jnp.array([2, 3, 4, 5])}  # as they are in the data
    again = np.asarray(to_uint8(task.reconstruct(state, batch))).astype(int)
    assert np.abs(conditional.reconstruct(4).images - again).max() <= 1
    centre = np.asarray(to_uint8(task.decode(state, jnp.zeros((1, 2)), {"label": jnp.array([3])}))).astype(int)
    assert np.abs(conditional.latent_map(3, classes=[3])[1, 1] - centre[0]).max() <= 1


@pytest.mark.parametrize("aggregate", [None, Aggregate(prior=GaussianMixture(latent_dim=2, num_components=3))])
def test_pixels_are_as_probable_as_the_generated_image_says(aggregate):
    sizes = {"latent_dim": 2, "widths": (8,)}
    task = VAE(encoder=Encoder(**sizes), decoder=Decoder(image_size=4, **sizes), aggregate=aggregate)
    state = task.init(jax.random.key(1), {"image": jnp.zeros((2, 4, 4, 1))})
    keys = record_keys(purpose_key(0, "test"), jnp.arange(5))
    latents = task.latents(keys)
    images = np.random.default_rng(2).uniform(size=(5, 4, 4, 1)).astype(np.float32)
    white = np.asarray(task.generate(state, latents, keys), np.float64)
    expected = (images * np.log(white) + (1 - images) * np.log(1 - white))[..., 0]
    found = task.pixel_log_probs(state, latents, keys, jnp.asarray(images))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_what_works_for_generators_works(made, vae):
    np.testing.assert_array_equal(made.sample(3), vae.sample(3))
    ways = made.interpolate(steps=3, num=2)
    np.testing.assert_array_equal(ways[:, 0], vae.sample(4)[[0, 2]])
    found = made.nearest(k=2, num=2)
    assert found.neighbours.shape == (2, 2, 8, 8, 1)
    assert (np.diff(found.distances) >= 0).all()
    own = made.sample(1)
    assert made.invert(own, steps=200, restarts=2, prior_weight=0.0).psnr[0] > 25


def test_an_image_is_filled_in_by_a_generator_without_a_likelihood(digits_run):
    made = jgr.load(digits_run).explore(quiet=True)
    masks = np.ones((1, 8, 8), bool)
    masks[0, 2:5, 3:6] = False
    target = made.sample(1)
    spoilt = np.where(masks[..., None], target, np.uint8(255) - target)
    found = [made.invert(of, steps=30, restarts=1, masks=masks) for of in (target, spoilt)]
    np.testing.assert_array_equal(found[0].codes, found[1].codes)
    np.testing.assert_array_equal(found[1].composed[masks], target[masks])


@pytest.mark.parametrize(
    ("task", "use", "message"),
    [
        (
            Linear(),
            lambda made: made.reconstruct(11),
            "reconstruct: num = 11 must be from 1 to 10, the records of stri",
        ),
        (Linear(), lambda made: made.traverse(steps=1), "traverse: steps = 1 must be at least 2"),
        (Linear(), lambda made: made.traverse(num_latents=4), "num_latents = 4 must be from 1 to 3, the latents of th"),
        (
            Linear(),
            lambda made: made.traverse(record=10),
            "record = 10 must be from 0 to 9, the places in stripes-test",
        ),
        (Linear(), lambda made: made.traverse(span=0.0), "traverse: span = 0.0 must be above 0"),
        (Plain(), lambda made: made.traverse(), "traverse: Plain of this run does not find the latents of images"),
        (Plain(), lambda made: made.encode(), "encode: Plain of this run has no encoder"),
        (Linear(), lambda made: made.latent_map(), "latent_map: a plane has 2 latents, and Linear of this run has 3"),
        (Linear(), lambda made: made.latent_map(side=1), "latent_map: side = 1 must be at least 2"),
        (Linear(), lambda made: made.traverse(classes=[1]), "Linear of this run is unconditional; leave classes out"),
        (Linear(classes=3), lambda made: made.traverse(classes="all"), "classes = 'all' must name one label, such as"),
        (Linear(classes=3), lambda made: made.traverse(record=None), "traverse: classes = None must name one label"),
    ],
)
def test_what_cannot_be_done(task, use, message):
    with pytest.raises(ConfigError, match=message):
        use(explorer(task))


def test_records_of_a_conditional_task_need_labels():
    with pytest.raises(ConfigError, match="Linear of this run is conditional, but the records of stripes-test have no"):
        explorer(Linear(classes=3), Stripes(labelled=False)).encode()


def test_masks_and_weights_that_are_none(made, digits_run):
    targets = np.zeros((1, 8, 8, 1), np.uint8)
    with pytest.raises(ConfigError, match="invert: masks of 1x8x7, but the images are 1x8x8"):
        made.invert(targets, masks=np.ones((1, 8, 7), bool))
    with pytest.raises(DataError, match="invert: image 0: the mask hides every pixel"):
        made.invert(targets, masks=np.zeros((1, 8, 8), bool))
    with pytest.raises(ConfigError, match=r"prior_weight = -1\.0 must be at least 0"):
        made.invert(targets, prior_weight=-1.0)
    gan = jgr.load(digits_run).explore(quiet=True)
    with pytest.raises(
        ConfigError, match=r"prior_weight = 1\.0 goes with a likelihood of pixels, and GAN of this run has"
    ):
        gan.invert(targets, prior_weight=1.0)
    with pytest.raises(ConfigError, match="reconstruct: GAN of this run maps no images to a code and back"):
        gan.reconstruct()
    cut = dataclasses.replace(made, truncation=0.7)
    with pytest.raises(ConfigError, match=r"truncation = 0\.7 does not go with latent_map, which draws no latents"):
        cut.latent_map()


def test_blends_lie_where_their_shares_put_them():
    own = explorer(Linear())
    images = np.stack([own.record(place) for place in (0, 1, 3)])
    codes = shown(images[:, 0])
    shares = np.array([[1, 0, 0], [0.5, 0.5, 0], [0.25, 0.25, 0.5], [0, -0.2, 1.2]])
    blends = own.blend(images, shares)
    np.testing.assert_allclose(shown(blends[:, 0]), shares @ codes, atol=2 * LEVEL)
    with pytest.raises(ConfigError, match="shares must be rows of 3 finite numbers"):
        own.blend(images, np.full((1, 3), np.nan))
    with pytest.raises(ConfigError, match="images of 1x3x1, but those of the run's data are 2x3x1"):
        own.blend(images[:, :1], shares)
    with pytest.raises(ConfigError, match="record = 10 must be from 0 to 9"):
        own.record(10)


def test_a_blend_of_a_conditional_run_is_of_one_label():
    own = explorer(Linear(classes=3))
    images = np.stack([own.record(0), own.record(1)])
    (blend,) = own.blend(images, np.array([[0.5, 0.5]]), classes=[2])
    np.testing.assert_allclose(blend[1, :, 0] / 255, 2 / 8, atol=1 / 255)
    with pytest.raises(ConfigError, match=r"blend: classes = None must name one label"):
        own.blend(images, np.array([[0.5, 0.5]]))


def test_pictures_of_blends(tmp_path):
    own = explorer(Linear())
    row = Blend(inputs=(0, 1), steps=3).draw(own, None, None).pixels
    one = Blend(inputs=(0, 1), shares=(0.5, 0.5)).draw(own, None, None).pixels
    table = Blend(inputs=(0, 1, 3)).draw(own, None, None).pixels
    assert row.shape[1] / row.shape[0] > one.shape[1] / one.shape[0] > table.shape[1] / table.shape[0]
    Image.fromarray(own.record(0)[..., 0]).save(tmp_path / "zero.png")
    np.testing.assert_array_equal(Blend(inputs=(tmp_path / "zero.png", 1), steps=3).draw(own, None, None).pixels, row)
    for fields, message in (
        (dict(inputs=(1,)), "name two images or more"),
        (dict(inputs=(1, 2), shares=(1.0,)), "1 shares of 2 images"),
        (dict(inputs=(1, 2), steps=1), "steps = 1 must be at least 2"),
    ):
        with pytest.raises(ConfigError, match=message):
            Blend(**fields)
    with pytest.raises(ConfigError, match="num = 3 does not go with blend"):
        Blend(inputs=(0, 1)).draw(own, 3, None)


def test_an_attribute_is_the_difference_of_the_kinds_means():
    own = explorer(Linear())
    codes = np.stack([shown(own.record(place)[0]) for place in range(10)])
    labels = np.arange(10) % 3
    way = codes[labels == 1].mean(axis=0) - codes[labels == 0].mean(axis=0)
    found = own.transfer(1, 0, num=3, strengths=(0.0, 0.5))
    np.testing.assert_array_equal(found.records, [0, 3, 6])
    assert found.counts == (3, 4)
    np.testing.assert_allclose(shown(found.images[:, 0, 0]), codes[[0, 3, 6]], atol=2 * LEVEL)
    np.testing.assert_allclose(shown(found.images[:, 1, 0]), codes[[0, 3, 6]] + 0.5 * way, atol=2 * LEVEL)
    with pytest.raises(ConfigError, match="none of the first 10 records of the run's data has 7"):
        own.transfer(7, 0)
    with pytest.raises(ConfigError, match="have no label 1"):
        explorer(Linear(), Stripes(labelled=False)).transfer(1, 0)
    with pytest.raises(DataError, match="caption"):
        own.transfer("thick", "thin")


def test_words_of_captions_are_attributes():
    @dataclasses.dataclass(frozen=True)
    class Told:
        name = "told-test"

        def __len__(self):
            return 10

        def __getitem__(self, index):
            return Stripes()[index] | {"caption": f"a {'Thick' if index % 2 else 'thin'} line, thickset"}

    found = explorer(Linear(), Told()).transfer("thick", "thin", num=8)
    np.testing.assert_array_equal(found.records, [0, 2, 4, 6, 8])
    assert found.counts == (5, 5)
    # The kinds' means are those of the two rows there are, so that all of the way ends at the other.
    other = explorer(Linear()).record(1)
    np.testing.assert_allclose(found.images[0, 2, 0].astype(int), other[0].astype(int), atol=2)
