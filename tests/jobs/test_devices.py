"""The same training on one device and on four."""

import jax
import numpy as np
import optax
import pytest
from flax import linen as nn

import jgr
from jgr.config import load_config_file, resolve
from jgr.errors import ConfigError
from jgr.jobs.experiment import Experiment, open_experiment
from jgr.jobs.step import abstract_state, initial_state, make_loader, make_step
from jgr.rng import purpose_key, record_keys, step_key
from jgr.state import checksums

SGD = {
    f"task.{network}_optimizer.{key}": value
    for network in ("generator", "discriminator")
    for key, value in (("rule.cls", "optax.sgd"), ("learning_rate", 0.1))
}
FOUR = {"mesh.data": 4}
TOGETHER = {f"train.{name}": 3 for name in ("log_every", "checkpoint_every", "sample_every", "steps_per_call")}


def trained(digits_config, steps, overrides):
    """State and metrics after some steps."""
    return taken(open_experiment(digits_config({"train.num_steps": steps} | overrides)), steps)


def taken(experiment, steps):
    loader = make_loader(experiment)
    abstract = abstract_state(experiment, loader)
    step_fn, state = make_step(experiment, loader, abstract), initial_state(experiment, loader, abstract)
    metrics = []
    for call, batches in enumerate(loader.batches(0, steps)):
        state, reported = step_fn(state, loader.arrays, batches, call * loader.steps_per_call)
        metrics.append(jax.device_get(reported))
    return state, metrics


def distance(a, b):
    """Relative L2 distance of two trees."""
    a, b = (np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(jax.device_get(tree))]) for tree in (a, b))
    return np.linalg.norm(a - b) / np.linalg.norm(a)


@pytest.mark.parametrize(("overrides", "bound"), [(SGD, 1e-5), ({}, 2e-3)], ids=["sgd", "adam"])
def test_twenty_steps_are_the_same(digits_config, overrides, bound):
    one, reported = trained(digits_config, 20, overrides)
    four, again = trained(digits_config, 20, overrides | FOUR)
    for network in one.params:
        assert 0 < distance(one.params[network], four.params[network]) < bound
    assert int(four.step) == 20
    assert reported[0].keys() == again[0].keys()
    assert len(four.params["generator"]["Dense_0"]["kernel"].addressable_shards) == 4


def keeping_gradients(learning_rate):
    """An optimiser whose state is the gradient."""
    return optax.trace(decay=0.0)


def test_the_first_gradients_are_the_same(digits_config):
    rule = {
        f"task.{network}_optimizer.rule.cls": f"{__name__}.keeping_gradients"
        for network in ("generator", "discriminator")
    }
    one, four = (trained(digits_config, 1, rule | mesh)[0] for mesh in ({}, FOUR))
    for name, state in one.opt_state.items():
        assert distance(state, four.opt_state[name]) < 1e-5


def test_records_and_noise_are_the_same_bit_for_bit(digits_config):
    def drawn(mesh, step):
        experiment = open_experiment(digits_config({"data.augment.flip": True, "data.augment.pad": 1} | mesh))
        loader = make_loader(experiment)

        @jax.jit
        def draw(arrays, host_batch):
            batch = loader.assemble(arrays, host_batch, purpose_key(0, "data"))
            keys = record_keys(step_key(purpose_key(0, "step"), step), batch["position"][0])
            return batch, experiment.task.latents(keys)

        (batches,) = loader.batches(step, step + 1)
        return jax.device_get(draw(loader.arrays, {name: array[0] for name, array in batches.items()}))

    for step in (0, 300):
        jax.tree.map(np.testing.assert_array_equal, drawn({}, step), drawn(FOUR, step))


def test_no_device_computes_the_whole_batch(digits_config):
    """Between devices travel sums of gradients and statistics, never images."""
    experiment = open_experiment(digits_config(FOUR | {"train.batch_size": 32}))
    loader = make_loader(experiment)
    abstract = abstract_state(experiment, loader)
    state, (batches,) = initial_state(experiment, loader, abstract), loader.batches(0, 1)
    text = make_step(experiment, loader, abstract).lower(state, loader.arrays, batches).compile().as_text()
    assert "all-reduce" in text
    gathered = [line for line in text.splitlines() if "all-gather(" in line or "all-to-all(" in line]
    assert gathered == []


def test_steps_in_one_call_are_the_steps_one_by_one(digits_config):
    one, singly = trained(digits_config, 6, {})
    three, together = trained(digits_config, 6, TOGETHER)
    for network in one.params:
        assert distance(one.params[network], three.params[network]) < 1e-5
    for name, values in together[0].items():
        assert values.shape == (3,)
        np.testing.assert_allclose(values, [metrics[name][0] for metrics in singly[:3]], rtol=1e-4, atol=1e-6)


def test_steps_in_one_call_must_fit_all_cadences(digits_config, tmp_path):
    for name in ("num_steps", "log_every", "checkpoint_every", "sample_every"):
        fitting = dict.fromkeys(
            ("train.num_steps", "train.log_every", "train.checkpoint_every", "train.sample_every"), 6
        )
        config = digits_config(fitting | {f"train.{name}": 8, "train.steps_per_call": 3})
        with pytest.raises(ConfigError, match=rf"config\.train\.{name} = 8 must be a multiple of steps_per_call = 3"):
            open_experiment(config)


@pytest.mark.slow
def test_a_run_of_several_steps_a_call_goes_on_bit_for_bit(digits_config, tmp_path):
    def train(steps, workdir):
        overrides = TOGETHER | {"train.num_steps": steps, "train.sample_every": 0}
        jgr.train(digits_config(overrides), tmp_path / workdir, quiet=True)

    train(12, "straight")
    train(6, "twice")
    train(12, "twice")
    straight, twice = (jgr.load(tmp_path / name) for name in ("straight", "twice"))
    assert checksums(straight.state) == checksums(twice.state)
    assert [row["step"] for row in twice.metrics()] == [3, 6, 9, 12]


def test_bfloat16_computes_and_float32_stays(digits_config):
    full, _ = trained(digits_config, 2, SGD)
    half, metrics = trained(digits_config, 2, SGD | {"train.dtype": "bfloat16"})
    assert {leaf.dtype for leaf in jax.tree.leaves((half.params, half.model_state))} == {np.dtype("float32")}
    for network in full.params:
        assert 1e-6 < distance(full.params[network], half.params[network]) < 2e-2
    assert metrics[0]["generator/loss"].dtype == np.float32


def test_bfloat16_needs_networks_that_can(digits_config):
    config = digits_config({"train.dtype": "bfloat16", "task.generator.cls": f"{__name__}.Plain"})
    with pytest.raises(ConfigError, match=r"Plain, config\.task\.generator, has no field dtype"):
        open_experiment(config)


class Plain(nn.Module):
    image_size: int = 8
    channels: int = 1
    width: int = 8
    latent_dim: int = 4


@pytest.mark.parametrize(
    ("scale", "count"), [(8, 0.4e6), pytest.param(1, 30e6, marks=pytest.mark.slow)], ids=["small", "large"]
)
def test_fsdp_keeps_a_quarter_of_the_state_on_each_device(scale, count):
    """Bytes, and losses, of a network of at least so many parameters."""
    wide, narrow = ([width // scale for width in widths] for widths in ((2048, 4096, 4608), (2048, 1024)))
    config = load_config_file("configs/gan/mlp_gan_mnist.py:smoke")
    config.data.source = dict(cls="jgr.data.digits.Digits")
    config.evaluation.metrics = {}
    config.task.generator = dict(cls="jgr.models.mlp_gan.Generator", image_size=8, widths=wide)
    config.task.discriminator = dict(cls="jgr.models.mlp_gan.Discriminator", image_size=8, widths=narrow)
    config.train.update(num_steps=2, batch_size=16)
    config.mesh = dict(data=1)
    _, reported = taken(open_experiment(resolve(config, Experiment)), 2)
    config.mesh.fsdp = 4
    state, again = taken(open_experiment(resolve(config, Experiment)), 2)
    assert sum(leaf.size for leaf in jax.tree.leaves(state.params)) > count
    shards = [shard for leaf in jax.tree.leaves(state) for shard in leaf.addressable_shards]
    held = sum(shard.data.nbytes for shard in shards if shard.device == jax.devices()[0])
    assert held <= 0.3 * sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    for one, four in zip(reported, again, strict=True):
        for loss in ("generator/loss", "discriminator/loss"):
            np.testing.assert_allclose(four[loss], one[loss], rtol=1e-5)
