import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jgr.config import Context, build
from jgr.errors import ConfigError
from jgr.losses.perceptual import LPIPS, Extractor, Perceptual, Trunk
from jgr.losses.restoration import Loss
from jgr.metrics import pretrained
from jgr.metrics.perceptual import linear_weights, lpips

LOADED = []  # what `Slopes` was loaded for


@dataclasses.dataclass(frozen=True, kw_only=True)
class Slopes(Extractor):
    """Differences of neighbours, twice those across, and the images themselves."""

    factor: float = 2.0

    @property
    def layers(self):
        return ("across", "plain")

    def load(self):
        LOADED.append(self)
        return {"factor": jnp.float32(self.factor) + 0}  # computed: a tracer, if it were traced

    def __call__(self, weights, images):
        return {"across": weights["factor"] * jnp.diff(images, axis=2), "plain": images}


def _pair(channels=3, side=32):
    random = np.random.RandomState(0)
    images, targets = random.random_sample((2, 2, side, side, channels)).astype(np.float32)
    return jnp.asarray(images), jnp.asarray(targets)


@pytest.fixture(scope="module")
def alex(tmp_path_factory):
    """A cache with random weights of AlexNet's trunk in the place of the published ones."""
    random, weights = np.random.RandomState(0), {}
    shapes = [(64, 3, 11), (192, 64, 5), (384, 192, 3), (256, 384, 3), (256, 256, 3)]
    for name, (features, channels, side) in zip(("0", "3", "6", "8", "10"), shapes, strict=True):
        bound = np.sqrt(6 / (channels * side * side))
        kernel = (2 * random.random_sample((side, side, channels, features)) - 1) * bound
        weights[f"{name}/kernel"] = kernel.astype(np.float32)
        weights[f"{name}/bias"] = (random.random_sample(features) - 0.5).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JGR_CACHE", str(tmp_path_factory.mktemp("cache")))
        path = pretrained.weights_file("lpips_alex")
        path.parent.mkdir(parents=True)
        np.savez(path, source_sha256=np.array("7be5be79" + "0" * 56), **weights)
        yield pretrained.load("lpips_alex")


@pytest.mark.parametrize(("distance", "power"), [("l1", 1), ("l2", 2)])
def test_is_the_weighted_distance_of_features(distance, power):
    images, targets = _pair()
    loss = Perceptual(extractor=Slopes(), layers={"across": 0.5, "plain": 3.0}, distance=distance)
    error = np.asarray(images, np.float64) - np.asarray(targets, np.float64)
    across, plain = (np.abs(2 * np.diff(error, axis=2)) ** power, np.abs(error) ** power)
    expected = 0.5 * across.mean(axis=(1, 2, 3)) + 3.0 * plain.mean(axis=(1, 2, 3))
    np.testing.assert_allclose(loss(images, targets), expected, rtol=1e-5)


def test_a_layer_that_is_not_named_does_not_count():
    images, targets = _pair()
    loss = Perceptual(extractor=Slopes(), layers={"plain": 1.0})
    np.testing.assert_allclose(loss(images, targets), jnp.abs(images - targets).mean(axis=(1, 2, 3)), rtol=1e-5)


def test_weights_are_loaded_once_and_may_be_asked_for_first_while_tracing():
    LOADED.clear()
    images, targets = _pair()
    loss = Perceptual(extractor=Slopes(factor=3.0), layers={"across": 1.0})
    value = jax.jit(lambda x, y: loss(x, y))
    first = value(images, targets)
    value(images[:1], targets[:1])  # traced again
    assert len(LOADED) == 1
    expected = 3 * jnp.abs(jnp.diff(images - targets, axis=2)).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(first, expected, rtol=1e-5)


def test_gradients_of_equal_images_are_finite(alex):
    images = _pair()[0]
    layers = {"relu2": 1.0, "relu5": 1.0}
    terms = [Perceptual(extractor=Trunk(net="alex"), layers=layers, distance=d) for d in ("l1", "l2")]
    first, second, third = jax.jit(
        lambda x, y: [jax.grad(lambda x, t=term: t(x, y).sum())(x) for term in (*terms, LPIPS(net="alex"))]
    )(images, images)
    assert np.isfinite(first).all()  # not 0: the features differ by their rounding
    np.testing.assert_allclose(second, 0.0, atol=1e-7)
    np.testing.assert_allclose(third, 0.0, atol=1e-7)


@pytest.fixture(scope="module")
def measured(alex):
    """A gray pair: features and LPIPS of it as RGB, and both losses of it as it is, compiled together."""
    trunk, loss = Trunk(net="alex"), Perceptual(extractor=Trunk(net="alex"), layers={"relu3": 1.0}, distance="l2")

    def measure(weights, images, targets):
        ours, theirs = (jnp.repeat(batch, 3, axis=-1) for batch in (images, targets))
        features = [trunk(weights, batch) for batch in (ours, theirs)]
        return features, lpips(ours, theirs, alex, "alex"), LPIPS(net="alex")(images, targets), loss(images, targets)

    return jax.jit(measure)(trunk.load(), *_pair(channels=1))


def test_the_trunk_is_the_one_of_lpips(measured):
    """The distance of unit vectors along the channels, with LPIPS's linear weights, is LPIPS."""
    (ours, theirs), metric, _, _ = measured
    total = 0.0
    for name, weights in zip(Trunk(net="alex").layers, linear_weights("alex"), strict=True):
        one, other = (np.asarray(features[name], np.float64) for features in (ours, theirs))
        one, other = (x / (np.linalg.norm(x, axis=-1, keepdims=True) + 1e-10) for x in (one, other))
        total += ((one - other) ** 2 * weights).sum(axis=-1).mean(axis=(1, 2))
    np.testing.assert_allclose(metric, total, rtol=1e-5)


def test_gray_images_count_as_three_equal_channels(measured):
    (ours, theirs), metric, loss, distance = measured
    np.testing.assert_allclose(loss, metric, rtol=1e-6)
    expected = np.square(np.asarray(ours["relu3"]) - np.asarray(theirs["relu3"])).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(distance, expected, rtol=1e-5)


@pytest.mark.parametrize("net", ["vgg", "alex", "squeeze"])
def test_every_trunk_names_the_layers_it_gives(net):
    assert len(Trunk(net=net).layers) == len(linear_weights(net))


def test_a_config_names_it_and_its_extractor():
    path = "jgr.losses.perceptual"
    extractor = dict(cls=f"{path}.Trunk", net="squeeze")
    config = dict(cls=f"{path}.Perceptual", extractor=extractor, layers=dict(relu7=0.5), distance="l2")
    built = build(config, Loss, "config.task.loss", Context(trust=False))
    assert built == Perceptual(extractor=Trunk(net="squeeze"), layers={"relu7": 0.5}, distance="l2")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Perceptual(extractor=Slopes(), layers={}), "layers is empty"),
        (lambda: Perceptual(extractor=Slopes(), layers={"conv9": 1.0}), "layers.conv9 is unknown; there are across"),
        (lambda: Perceptual(extractor=Slopes(), layers={"plain": 0.0}), "layers.plain = 0.0 must be positive"),
        (lambda: LPIPS(net="squeeze")(*_pair()), "jgr weights lpips_squeeze"),
        (
            lambda: Perceptual(extractor=Trunk(net="squeeze"), layers={"relu1": 1.0})(*_pair()),
            "jgr weights lpips_squeeze",
        ),
    ],
)
def test_what_is_impossible_or_missing_is_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_images_too_small_for_a_trunk_are_refused(alex):
    with pytest.raises(ConfigError, match=r"LPIPS: .*needs at least 31 a side"):
        LPIPS(net="alex")(*_pair(side=16))
