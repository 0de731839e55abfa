import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from flax import linen as nn
from sklearn.datasets import load_digits

from jgr.data.digits import Digits
from jgr.data.loader import Data
from jgr.errors import ConfigError
from jgr.images import to_uint8
from jgr.jobs.experiment import Evaluation
from jgr.jobs.score import Scorer
from jgr.mesh import Mesh
from jgr.metrics.frechet import PixelFrechetDistance
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


def make_state(seed=0):
    return Toy().init(jax.random.key(seed), {})


def evaluation(num_samples=90, batch_size=32, **fields):
    metrics = {"mine": PixelFrechetDistance()}
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
    assert row["value"] == pytest.approx(distance(real, samples(make_state(), 90, seed)), rel=1e-5)
    assert row["value"] > 1  # it is not trained


def test_a_row_says_what_was_measured():
    row = score(make_state())
    assert row.pop("value") > 0
    assert row.pop("dataset").startswith("digits-test@")
    assert row == {"metric": "fd_pixels", "protocol": "fd_pixels_u8_n90_test", "n": 90}
    assert score(make_state(), data=TRAIN)["protocol"] == "fd_pixels_u8_n90_train"


def test_batches_do_not_change_the_numbers():
    """90 in batches of 7, 32 and 90: the tail of the first two is filled up, and its fillings do not count."""
    rows = [score(make_state(), batch_size=size) for size in (7, 32, 90, 1000)]
    assert [row["n"] for row in rows] == [90] * 4
    np.testing.assert_allclose([row["value"] for row in rows], rows[0]["value"], rtol=1e-6)


def test_seeds_decide_the_latents():
    values = [score(make_state(), seed)["value"] for seed in (0, 1, 0)]
    assert values[0] == values[2] != values[1]


def test_the_average_is_scored_where_there_is_one():
    averaging = with_average(make_state(1), ("generator",)).replace(params=make_state(0).params)
    assert score(averaging, weights="ema")["value"] == score(make_state(1))["value"]
    assert score(averaging, weights="raw")["value"] == score(make_state(0))["value"]
    assert score(make_state(0), weights="ema")["value"] == score(make_state(0))["value"]


def test_real_images_are_read_once():
    scorer, done = Scorer(Toy(), evaluation(), TEST, ONE_DEVICE), []
    first = scorer.score(make_state(), 0, "raw", done.append)
    assert sum(done) == 360 + 90
    assert scorer.score(make_state(), 0, "raw", done.append) == first
    assert sum(done) == 360 + 90 + 90


def test_a_task_that_generates_nothing_is_told_which_metric_cannot_be():
    with pytest.raises(ConfigError, match=r"fd_pixels needs a task that generates images, and Blind has no method"):
        Scorer(Blind(), evaluation(), TEST, ONE_DEVICE)
    assert Scorer(Blind(), Evaluation(), TEST, ONE_DEVICE).score(make_state(), 0, "raw") == []
