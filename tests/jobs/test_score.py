import dataclasses
import re
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from flax import linen as nn
from sklearn.datasets import load_digits

from jgr.data.digits import Digits
from jgr.data.loader import Data
from jgr.data.pairs import UnpairedFolders
from jgr.errors import ConfigError
from jgr.images import to_uint8
from jgr.jobs.experiment import Evaluation
from jgr.jobs.reference import ReferenceCache
from jgr.jobs.score import Scorer
from jgr.mesh import Mesh
from jgr.metrics.distribution import (
    ClassifierAgreement,
    Coverage,
    Density,
    FrechetDistance,
    PerClassFrechetDistance,
    Precision,
    Recall,
)
from jgr.metrics.extractor import FeatureExtractor, Pixels
from jgr.metrics.features import FeatureSet
from jgr.metrics.pairs import PSNR, SSIM, PooledPSNR
from jgr.metrics.records import Accuracy, ActiveUnits, BitsPerDimension, LogLikelihood
from jgr.rng import purpose_key, record_keys
from jgr.state import TrainState, with_average
from jgr.tasks.task import Task

ONE_DEVICE = Mesh(data=1)
TEST, TRAIN = Data(source=Digits(split="test")), Data(source=Digits(split="train"))


class Spots(nn.Module):
    @nn.compact
    def __call__(self, latents):
        return nn.sigmoid(nn.Dense(64)(nn.tanh(nn.Dense(12)(latents)))).reshape(-1, 8, 8, 1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Blind(Task):
    """It learns nothing and generates nothing."""

    def init(self, key, batch):
        params = {"generator": Spots().init(key, jnp.zeros((1, 3)))["params"]}
        return TrainState(step=jnp.int32(0), params=params, model_state={"generator": {}}, opt_state={})

    def step(self, state, batch, key):
        return state, {}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Toy(Blind):
    def sample(self, state, keys, condition=None):
        latents = jax.vmap(lambda key: jax.random.normal(key, (3,)))(keys)
        return Spots().apply({"params": state.params["generator"]}, latents)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Handy(Toy):
    """It can all that metrics ask for; what it says of a record follows from the record alone."""

    def restore(self, state, batch, keys):
        noise = jax.vmap(lambda key: jax.random.normal(key, batch["image"].shape[1:]))(keys)
        return batch["image"] * 0.9 + 0.05 * noise

    def classify(self, state, batch):
        ranks = batch["image"].sum(axis=(1, 2, 3)).astype(jnp.int32)
        return jax.nn.one_hot(jnp.where(ranks % 2 == 0, batch["label"], 0), 10)

    def log_likelihood(self, state, batch, keys, num_samples):
        return -batch["image"].sum(axis=(1, 2, 3)) - 1.0 / num_samples

    def posterior_mean(self, state, batch):
        return batch["image"][:, :2, 3, 0] * jnp.array([[1.0, 0.0]])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Labelled(Toy):
    """Its image of label c is white where the c-th of 64 pixels is."""

    @property
    def num_classes(self):
        return 10

    def sample(self, state, keys, condition):
        return jax.nn.one_hot(condition["label"], 64).reshape(-1, 8, 8, 1)


class Brightest(FeatureExtractor):
    """A classifier that says which of the first ten pixels is the brightest."""

    name = "brightest"

    def __call__(self, weights, images):
        pixels = images.reshape(len(images), -1).astype(jnp.float32)
        return {"features": pixels[:, :12], "logits": pixels[:, :10]}


@dataclasses.dataclass(frozen=True, kw_only=True)
class OutOfRange(Toy):
    scale: float = 2.0

    def classify(self, state, batch):
        return jax.nn.one_hot(batch["label"], 10)

    def sample(self, state, keys, condition=None):
        return super().sample(state, keys) * self.scale - 1.0


class Counting(Pixels):
    calls = 0

    def load(self):
        Counting.calls += 1
        return


@dataclasses.dataclass(frozen=True, kw_only=True)
class Weightless(Pixels):
    def load(self):
        raise ConfigError("its weights are not there: run jgr weights")


def make_state(seed=0):
    return Toy().init(jax.random.key(seed), {})


def evaluation(num_samples=90, batch_size=32, **fields):
    metrics = {"mine": FrechetDistance()}
    return Evaluation(num_samples=num_samples, batch_size=batch_size, metrics=metrics, **fields)


def score(state, seed=0, weights="raw", training_data=TEST, **fields):
    (row,) = Scorer(Toy(), evaluation(**fields), training_data, ONE_DEVICE).score(state, seed, weights)
    return row


def distance(real, generated):
    """Heusel et al. 2017, equation 6, on uint8 images, all at once."""
    a, b = (np.asarray(images, np.float64).reshape(len(images), -1) / 255 for images in (real, generated))
    shift, covariances = a.mean(0) - b.mean(0), (np.cov(a.T), np.cov(b.T))
    cross = np.sqrt(np.clip(scipy.linalg.eigvals(covariances[0] @ covariances[1]).real, 0, None)).sum()
    return shift @ shift + np.trace(covariances[0] + covariances[1]) - 2 * cross


def samples(state, num, seed):
    keys = record_keys(purpose_key(seed, "evaluation"), jnp.arange(num, dtype=jnp.uint32))
    return to_uint8(Toy().sample(state, keys))


@pytest.mark.parametrize("seed", [0, 5])
def test_equals_numpy_on_the_same_images(seed):
    real = np.floor(load_digits().images[1437:] * (255 / 16) + 0.5)
    row = score(make_state(), seed)
    assert row.value == pytest.approx(distance(real, samples(make_state(), 90, seed)), rel=1e-5)
    assert row.value > 1  # it is not trained


def test_a_row_says_what_was_measured():
    row = score(make_state())
    assert row.value > 0
    assert row.dataset.startswith("digits-test@")
    assert (row.metric, row.protocol, row.n, row.better) == ("fd_pixels", "fd_pixels_u8_n90_test", 90, "lower")
    assert score(make_state(), data=TRAIN).protocol == "fd_pixels_u8_n90_train"


def test_batches_do_not_change_the_numbers():
    """90 in batches of 7, 32 and 90: the tail of the first two is filled up, and its fillings do not count."""
    rows = [score(make_state(), batch_size=size) for size in (7, 32, 90, 1000)]
    assert [row.n for row in rows] == [90] * 4
    np.testing.assert_allclose([row.value for row in rows], rows[0].value, rtol=1e-6)


def test_seeds_decide_the_latents():
    values = [score(make_state(), seed).value for seed in (0, 1, 0)]
    assert values[0] == values[2] != values[1]


def test_the_average_is_scored_where_there_is_one():
    averaging = with_average(make_state(1), ("generator",)).replace(params=make_state(0).params)
    assert score(averaging, weights="ema").value == score(make_state(1)).value
    assert score(averaging, weights="raw").value == score(make_state(0)).value
    assert score(make_state(0), weights="ema").value == score(make_state(0)).value


def test_real_images_are_read_once():
    scorer, done = Scorer(Toy(), evaluation(), TEST, ONE_DEVICE), []
    first = scorer.score(make_state(), 0, "raw", done.append)
    assert sum(done) == 360 + 90
    assert scorer.score(make_state(), 0, "raw", done.append) == first
    assert sum(done) == 360 + 90 + 90


def scores(task, metrics, mesh=ONE_DEVICE, data=TEST, cache=None, **fields):
    fields = {"num_samples": 90, "batch_size": 32} | fields
    scorer = Scorer(task, Evaluation(metrics=metrics, **fields), data, mesh, cache)
    return {score.metric: score for score in scorer.score(make_state(), 0, "raw")}, scorer


HANDY = {
    "psnr": PSNR(color="gray"),
    "pooled": PooledPSNR(color="gray", rounding=False),
    "accuracy": Accuracy(),
    "elbo": LogLikelihood(),
    "iw": LogLikelihood(num_samples=4),
    "bits": BitsPerDimension(scale=255.0),
    "units": ActiveUnits(),
}


def test_metrics_of_records():
    found, _ = scores(Handy(), HANDY)
    images = np.floor(load_digits().images[1437:] * (255 / 16) + 0.5)[..., None] / 255
    sums, labels = images.sum(axis=(1, 2, 3)), load_digits().target[1437:]
    assert {score.n for score in found.values()} == {360}
    assert found["accuracy"].value == pytest.approx(np.mean((sums.astype(int) % 2 == 0) | (labels == 0)), abs=0.02)
    assert found["elbo"].value == pytest.approx(-sums.mean() - 1, rel=1e-6)
    assert found["elbo"].std == pytest.approx(sums.std(), rel=1e-5)
    assert found["log_likelihood"].value == pytest.approx(-sums.mean() - 0.25, rel=1e-6)
    assert found["bits_per_dim"].value == pytest.approx((sums.mean() + 1) / (64 * np.log(2)) + np.log2(255), rel=1e-6)
    assert found["active_units"].value == 1
    assert found["log_likelihood"].protocol == "log_likelihood_iw4"
    assert found["psnr"].protocol == "psnr_gray_u8"
    assert found["psnr_pooled"].protocol == "psnr_pooled_gray_float"
    assert found["psnr_pooled"].values is None
    # noise of 0.05 and a tenth of the image missing
    assert found["psnr_pooled"].value == pytest.approx(-10 * np.log10(np.mean((images * 0.1) ** 2) + 0.05**2), abs=1.5)
    assert found["psnr"].values.shape == (360,)
    assert found["psnr"].values.mean() == pytest.approx(found["psnr"].value)


@pytest.mark.parametrize(
    ("mesh", "batch_size"),
    [pytest.param(ONE_DEVICE, 7, marks=pytest.mark.slow), (ONE_DEVICE, 360), (Mesh(data=4), 32)],
)
def test_neither_batches_nor_devices_change_the_numbers(mesh, batch_size):
    shares = {"precision": Precision(), "recall": Recall(), "density": Density(), "coverage": Coverage()}
    metrics = HANDY | shares | {"fd": FrechetDistance()}
    one, _ = scores(Handy(), metrics)
    other, _ = scores(Handy(), metrics, mesh, batch_size=batch_size)
    large = Data(source=Digits(split="test"), resize=16)  # SSIM needs 11 pixels
    one |= scores(Handy(), {"ssim": SSIM(color="gray")}, data=large)[0]
    other |= scores(Handy(), {"ssim": SSIM(color="gray")}, mesh, large, batch_size=batch_size)[0]
    assert one.keys() == other.keys()
    for name, score in one.items():
        assert (other[name].n, other[name].protocol) == (score.n, score.protocol)
        if name.partition("_")[0] in shares:
            assert abs(other[name].value - score.value) <= 2 / 90
        else:
            assert other[name].value == pytest.approx(score.value, rel=1e-5)


def test_a_restored_image_that_equals_its_target_has_infinite_psnr():
    class Perfect(Toy):
        def restore(self, state, batch, keys):
            return batch["image"]

    found, _ = scores(Perfect(), {"psnr": PSNR(color="gray"), "pooled": PooledPSNR(color="gray")})
    assert [score.value for score in found.values()] == [np.inf, np.inf]


def test_one_failing_metric_does_not_lose_the_others():
    class Faulty(Handy):
        def restore(self, state, batch, keys):
            return jnp.where(batch["index"][:, None, None, None] == 40, jnp.nan, batch["image"])

    metrics = {
        "psnr": PSNR(color="gray"),
        "ssim": SSIM(color="gray"),
        "colour": PSNR(),
        "missing": FrechetDistance(extractor=Weightless()),
        "agreement": ClassifierAgreement(),
        "fd": FrechetDistance(),
        "accuracy": Accuracy(),
    }
    found, scorer = scores(Faulty(), metrics)
    assert found.keys() == {"fd_pixels", "accuracy"}
    assert scorer.failures.keys() == {"psnr", "ssim", "colour", "missing", "agreement"}
    assert "1 of 360 records give NaN, the first of them record 40 of digits-test" in scorer.failures["psnr"]
    assert "at least 11x11" in scorer.failures["ssim"]
    assert "needs images of 3 channels, not 1; set color='gray'" in scorer.failures["colour"]
    assert "run jgr weights" in scorer.failures["missing"]
    assert "pixels is no classifier: it gives no logits" in scorer.failures["agreement"]


@pytest.mark.parametrize(("scale", "shown"), [(2.0, "values from -"), (jnp.nan, "values from nan to nan")])
def test_generated_images_beyond_their_range_are_an_error(scale, shown):
    task = OutOfRange(scale=float(scale))
    found, scorer = scores(task, {"fd": FrechetDistance(), "recall": Recall(), "accuracy": Accuracy()})
    assert found.keys() == {"accuracy"}
    assert scorer.failures.keys() == {"fd", "recall"}
    assert re.search(rf"sample \d+ has {shown}.*must generate images in \[0, 1\]", scorer.failures["fd"])


def test_the_first_labels_asked_for_are_of_all_classes():
    """Real images may come by class."""
    order = np.argsort(load_digits().target[1437:], kind="stable")

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Sorted(Digits):
        def __getitem__(self, index):
            return super().__getitem__(int(order[index]))

        def __getitems__(self, indices):
            return [self[index] for index in indices]

    sorted_digits = Data(source=Sorted(split="test"))
    metrics = {"agreement": ClassifierAgreement(extractor=Brightest()), "fd": FrechetDistance(extractor=Brightest())}
    scorer = Scorer(Labelled(), Evaluation(num_samples=80, metrics=metrics), sorted_digits, ONE_DEVICE)
    assert [score.n for score in scorer.score(make_state(), 0, "raw")] == [80, 80]
    generated = scorer._distributions._asked(np.sort(load_digits().target[1437:])).told[:80]
    assert set(generated) == set(range(10))


def test_a_conditional_task_is_asked_for_the_labels_of_the_real_images():
    brightest = Brightest()
    metrics = {
        "agreement": ClassifierAgreement(extractor=brightest),
        "real": ClassifierAgreement(extractor=brightest, judged="real"),
        "within": PerClassFrechetDistance(extractor=brightest),
    }
    scorer = Scorer(Labelled(), Evaluation(num_samples=400, metrics=metrics), TEST, ONE_DEVICE)
    agreement, real, within = scorer.score(make_state(), 0, "raw")
    assert not scorer.failures
    assert (agreement.value, agreement.n) == (1.0, 400)
    labels, images = load_digits().target[1437:], load_digits().images[1437:].reshape(360, -1)
    pixels = np.floor(images * (255 / 16) + 0.5)
    assert real.value == pytest.approx(np.mean(pixels[:, :10].argmax(1) == labels))
    assert "_real_" in real.protocol
    # Images of one label are all alike, so only the means and the real images' variances count.
    shifts = [
        np.sum((pixels[labels == c, :12].mean(0) - 255 * np.eye(12)[c]) ** 2)
        + np.trace(np.cov(pixels[labels == c, :12].T))
        for c in range(10)
    ]
    assert within.value == pytest.approx(np.mean(shifts), rel=1e-4)


def test_statistics_of_real_images_are_kept_and_made_again_where_damaged(tmp_path, caplog):
    cache, metrics = ReferenceCache(tmp_path), {"fd": FrechetDistance(), "precision": Precision()}
    first, _ = scores(Toy(), metrics, cache=cache)
    kept = sorted(tmp_path.glob("*.npz"))
    assert len(kept) == 2  # features are kept of a limited number only
    times = [path.stat().st_mtime_ns for path in kept]
    again, _ = scores(Toy(), metrics, cache=cache)
    assert again == first
    assert [path.stat().st_mtime_ns for path in kept] == times
    kept[0].write_bytes(kept[0].read_bytes()[:-100])
    assert scores(Toy(), metrics, cache=cache)[0] == first
    assert "is damaged and is made again" in caplog.text
    scores(Toy(), metrics, data=TRAIN, cache=cache)
    assert len(list(tmp_path.glob("*.npz"))) == 4


def test_a_task_that_generates_nothing_is_told_which_metric_cannot_be():
    with pytest.raises(ConfigError, match=r"fd_pixels needs a task that generates images, and Blind has no method"):
        Scorer(Blind(), evaluation(), TEST, ONE_DEVICE)
    assert Scorer(Blind(), Evaluation(), TEST, ONE_DEVICE).score(make_state(), 0, "raw") == []


def test_images_are_not_compared_with_those_of_another_thing():
    unpaired = Data(source=UnpairedFolders(images=Digits(split="test"), targets=Digits(split="train")))
    with pytest.raises(
        ConfigError, match=r"metric psnr compares .* in digits-test-x-digits-train that is another image"
    ):
        Scorer(Handy(), Evaluation(metrics={"psnr": PSNR(color="gray")}), unpaired, ONE_DEVICE)


def test_jobs_that_keep_the_same_statistics_at_once_leave_them_whole(tmp_path):
    features = FeatureSet.of(np.random.default_rng(0).normal(size=(500, 40)))
    key, cache = {"dataset": "a"}, ReferenceCache(tmp_path)
    with ThreadPoolExecutor(4) as threads:
        jobs = [threads.submit(cache.save, key, features) for _ in range(20)]
        found = [cache.load(key) for _ in range(20)]
        for job in jobs:
            job.result()
    assert len(list(tmp_path.iterdir())) == 1
    for kept in (*(kept for kept in found if kept is not None), cache.load(key)):
        np.testing.assert_array_equal(kept.features, features.features)
    assert ReferenceCache(None).load(key) is None
