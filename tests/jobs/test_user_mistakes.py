"""What a user's own code gets wrong is said in one line, before anything is lost."""

import dataclasses
import re

import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import jgr
from jgr.errors import ConfigError, DataError, MetricError, NonFiniteError, RunError
from jgr.metrics.distribution import FrechetDistance
from jgr.metrics.extractor import Pixels
from jgr.state import TrainState
from jgr.tasks.gan import GAN
from jgr.tasks.task import Task

HERE = __name__


class NoTrainArgument(nn.Module):
    image_size: int = 8
    latent_dim: int = 4

    @nn.compact
    def __call__(self, latents):
        return latents


class WideLogits(nn.Module):
    @nn.compact
    def __call__(self, images, *, train):
        return nn.Dense(1)(images.reshape(len(images), -1))


class VectorMetric(GAN):
    def step(self, state, batch, key):
        state, metrics = super().step(state, batch, key)
        return state, metrics | {"vector": jnp.zeros(3)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Diverging(Task):
    """A task from scratch that does not use `update`, and whose parameters stop being finite at step 3."""

    def init(self, key, batch):
        return TrainState(step=jnp.int32(0), params={"net": {"w": jnp.ones(2)}}, model_state={"net": {}}, opt_state={})

    def step(self, state, batch, key):
        weights = jnp.where(state.step >= 2, jnp.inf, state.params["net"]["w"])
        return state.replace(params={"net": {"w": weights}}), {"loss": jnp.float32(0)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoImages:
    name = "nothing-all"

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return {"picture": np.zeros((8, 8, 1), np.uint8)}


class Tenfold(FrechetDistance):
    def compute(self, reference, generated):
        return 10 * super().compute(reference, generated)


class Brighter(Pixels):
    def __call__(self, weights, images):
        return {"features": 2 * super().__call__(weights, images)["features"]}


class NotANumber(Pixels):
    name = "nan"

    def __call__(self, weights, images):
        return {"features": jnp.nan * super().__call__(weights, images)["features"]}


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        ({"task.generator.cls": f"{HERE}.NoTrainArgument"}, ConfigError, "its initialisation fails at .*: TypeError"),
        ({"task.discriminator.cls": f"{HERE}.WideLogits"}, ConfigError, r"gives \[2, 1\] for 2 images"),
        (
            {"task.cls": f"{HERE}.VectorMetric"},
            ConfigError,
            r"reports vector of shape \(3,\); a metric must",
        ),
        ({"data.source.cls": f"{HERE}.NoImages"}, DataError, "record 0 of nothing-all: has no 'image', only 'picture'"),
    ],
)
def test_before_anything_is_written(digits_config, tmp_path, overrides, error, message):
    with pytest.raises(error, match=message) as raised:
        jgr.train(digits_config(overrides), tmp_path / "run", quiet=True)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "run").exists()


def test_a_task_from_scratch_never_saves_what_is_not_finite(digits_config, tmp_path):
    config = digits_config({"train.num_steps": 4, "train.average.half_life": 0})
    config = config.copy_and_resolve_references().unlock()
    config.task = {"cls": f"{HERE}.Diverging"}
    with pytest.raises(NonFiniteError, match="step 3: not finite: net/parameters"):
        jgr.train(config, tmp_path / "run", quiet=True)
    assert jgr.load(tmp_path / "run", trust=True).steps() == [1, 2]


@pytest.mark.slow
def test_numbers_of_other_features_or_sizes_are_not_ranked(digits_config, tmp_path):
    size = {"data.resize": 16, "task.generator.image_size": 16, "task.discriminator.image_size": 16}
    tenfold = {"evaluation.metrics.fd_pixels.cls": f"{HERE}.Tenfold"}
    for name, overrides in (("plain", {}), ("large", size), ("tenfold", tenfold)):
        jgr.train(digits_config(overrides), tmp_path / name, quiet=True)
        jgr.evaluate(tmp_path / name, trust=True, quiet=True)
    for other in ("large", "tenfold"):
        table = jgr.compare([tmp_path / "plain", tmp_path / other])
        assert len(table.columns) == 2
        with pytest.raises(RunError, match="not comparable"):
            jgr.compare([tmp_path / "plain", tmp_path / other], rank="fd_pixels")
    brighter = [("metrics.fd_pixels.extractor.cls", f"{HERE}.Brighter")]
    (row,) = jgr.evaluate(tmp_path / "plain", overrides=brighter, seeds=[0], trust=True, quiet=True)
    assert re.fullmatch(r"fd_pixels@[0-9a-f]{6}", row["metric"])


def test_a_metric_without_a_value_does_not_lose_the_others(digits_config, tmp_path):
    bad = {"cls": "jgr.metrics.distribution.FrechetDistance", "extractor.cls": f"{HERE}.NotANumber"}
    config = digits_config({f"evaluation.metrics.bad.{key}": value for key, value in bad.items()})
    jgr.train(config, tmp_path / "run", quiet=True)
    with pytest.raises(MetricError, match=r"1 of 2 metrics failed, and 1 rows .* features of image 0 are not finite"):
        jgr.evaluate(tmp_path / "run", trust=True, quiet=True)
    assert [row["metric"] for row in jgr.load(tmp_path / "run", trust=True).results()] == ["fd_pixels"]
