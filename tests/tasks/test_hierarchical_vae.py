import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from jgr.errors import ConfigError, DataError
from jgr.losses.likelihoods import Bernoulli, DiscretizedLogisticMixture
from jgr.losses.variational import Annealing
from jgr.models.vdvae import VDVAE
from jgr.optim import Optimizer
from jgr.rng import record_keys
from jgr.tasks import hierarchical_vae
from jgr.tasks.hierarchical_vae import HierarchicalVAE
from jgr.tasks.task import DensityModel, LatentModel, Reconstructor, Sampler

NETWORK = VDVAE(blocks=((1, 2), (4, 1)), patch=2, width=16, bottleneck=8, latent_channels=4, brightness=0.3)
TASK = HierarchicalVAE(
    network=NETWORK, annealing=Annealing(steps=100), optimizer=Optimizer(rule=optax.adam, learning_rate=0.01)
)


@functools.cache
def digits():
    from sklearn.datasets import load_digits

    return batch_of(jnp.asarray(load_digits().images[:64, ..., None] / 16, jnp.float32))


def batch_of(images):
    count = len(images)
    return {"image": images, "index": jnp.arange(count), "position": jnp.arange(count)}


@functools.partial(jax.jit, static_argnums=0)
def initial(task, batch):
    return task.init(jax.random.key(0), batch)


@functools.partial(jax.jit, static_argnums=0)
def stepped(task, state, batch, key):
    return task.step(state, {name: value[None] for name, value in batch.items()}, key)


@functools.partial(jax.jit, static_argnums=(0, 4))
def log_likelihood(task, state, batch, keys, num_samples):
    return task.log_likelihood(state, batch, keys, num_samples)


@functools.partial(jax.jit, static_argnums=0)
def sampled(task, state, keys, condition=None):
    return task.sample(state, keys, condition)


@functools.partial(jax.jit, static_argnums=0)
def reconstructed(task, state, batch):
    return task.reconstruct(state, batch)


def floats(metrics):
    return {name: float(value) for name, value in metrics.items()}


@functools.cache
def trained():
    """The state after 220 steps, and the metrics of each."""
    state, metrics = initial(TASK, digits()), []
    for number in range(220):
        state, found = stepped(TASK, state, digits(), jax.random.key(number))
        state = state.replace(step=state.step + 1)
        metrics.append(floats(found))
    return state, metrics


def keys_of(number):
    return record_keys(jax.random.key(number), jnp.arange(64))


def test_training_learns_what_pixels_have_in_common():
    metrics = trained()[1]
    means = np.asarray(digits()["image"]).mean(axis=0).clip(1e-6, 1 - 1e-6)
    without_latents = (means * np.log(means) + (1 - means) * np.log(1 - means)).sum()
    assert metrics[0]["vae/elbo"] < without_latents  # what independent pixels reach at best
    assert np.mean([line["vae/elbo"] for line in metrics[-10:]]) > without_latents + 1.0
    assert metrics[-1]["vae/active_groups"] >= 1
    assert TASK.concern(metrics[-1]) is None


def test_metrics_are_parts_of_the_loss():
    line = trained()[1][-1]
    kls = [line[f"vae/kl/{group}"] for group in range(3)]
    assert line["vae/kl"] == pytest.approx(sum(kls), rel=1e-5)
    assert line["vae/elbo"] == pytest.approx(line["vae/reconstruction"] - line["vae/kl"], rel=1e-5)
    assert line["vae/loss"] == pytest.approx(-line["vae/elbo"], rel=1e-5)
    assert line["vae/active_groups"] == sum(kl > 0.1 for kl in kls)


@pytest.mark.parametrize(
    ("fields", "beta", "floor"),
    [
        ({"beta": 4.0, "free_bits": 2.0}, 4.0, 2.0),  # more than the KL of some groups, less than that of others
        ({"beta": 2.0, "annealing": Annealing(steps=880)}, 0.5, 0.0),  # 220 of 880 steps are done
    ],
)
def test_what_is_minimised(fields, beta, floor):
    _, metrics = stepped(dataclasses.replace(TASK, **fields), trained()[0], digits(), jax.random.key(0))
    cost = sum(max(float(metrics[f"vae/kl/{group}"]), floor) for group in range(3))
    assert float(metrics["vae/beta"]) == pytest.approx(beta)
    assert float(metrics["vae/loss"]) == pytest.approx(beta * cost - float(metrics["vae/reconstruction"]), rel=1e-5)


def test_one_sample_estimates_the_elbo_and_more_bound_tighter():
    state = trained()[0]
    elbos = np.stack([log_likelihood(TASK, state, digits(), keys_of(number), 1) for number in range(20)])
    bounds = np.stack([log_likelihood(TASK, state, digits(), keys_of(number), 16) for number in range(8)])
    analytic = [stepped(TASK, state, digits(), jax.random.key(number))[1]["vae/elbo"] for number in range(20)]
    error = elbos.mean(axis=1).std() / np.sqrt(20)
    assert elbos.mean() == pytest.approx(np.mean(analytic), abs=6 * error)  # both have this error, or less
    gains = bounds - elbos[:8]  # of the same binarised images
    assert gains.mean() > 4 * gains.std() / np.sqrt(gains.size)


def test_chunks_do_not_matter(monkeypatch):
    state, batch = trained()[0], {name: value[:4] for name, value in digits().items()}
    whole = log_likelihood(TASK, state, batch, keys_of(0)[:4], 5)
    monkeypatch.setattr(hierarchical_vae, "_CHUNK_VALUES", 2 * 4 * 4 * 4 * 16)  # two samples of the batch
    cut = jax.jit(lambda: TASK.log_likelihood(state, batch, keys_of(0)[:4], 5))()
    np.testing.assert_allclose(cut, whole, rtol=1e-5)


def test_records_stand_alone():
    state = trained()[0]
    one = {name: value[5:6] for name, value in digits().items()}
    alone = log_likelihood(TASK, state, one, keys_of(0)[5:6], 2)
    np.testing.assert_allclose(alone, log_likelihood(TASK, state, digits(), keys_of(0), 2)[5:6], rtol=1e-4)
    images = sampled(TASK, state, keys_of(1))
    np.testing.assert_allclose(images[2:3], sampled(TASK, state, keys_of(1)[2:3]), atol=1e-4)
    images = reconstructed(TASK, state, digits())
    np.testing.assert_allclose(images[5:6], reconstructed(TASK, state, one), atol=1e-4)


def test_reconstructions_are_nearer_than_the_mean_image():
    made, images = reconstructed(TASK, trained()[0], digits()), digits()["image"]
    assert made.shape == images.shape
    assert float(jnp.square(made - images).mean()) < 0.9 * float(images.var(axis=0).mean())


def test_samples_have_the_brightness_of_the_data():
    samples = sampled(TASK, trained()[0], keys_of(1))
    assert float(samples.min()) >= 0.0
    assert float(samples.max()) <= 1.0
    assert float(samples.mean()) == pytest.approx(float(digits()["image"].mean()), abs=0.08)
    cold = sampled(dataclasses.replace(TASK, temperature=0.0), trained()[0], keys_of(1)[:2])
    np.testing.assert_allclose(cold[0], cold[1], atol=1e-5)
    assert float(jnp.abs(samples[0] - samples[1]).max()) > 0.1


def test_protocols():
    assert all(isinstance(TASK, protocol) for protocol in (Sampler, DensityModel, Reconstructor))
    assert not isinstance(TASK, LatentModel)


@pytest.mark.slow
def test_labels_go_in():
    task = dataclasses.replace(TASK, network=NETWORK.clone(num_classes=10), num_classes=10)
    batch = digits() | {"label": jnp.arange(64) % 10}
    state = initial(task, batch)
    ones, twos = (sampled(task, state, keys_of(0)[:2], {"label": jnp.full(2, label)}) for label in (1, 2))
    assert float(jnp.abs(ones - twos).max()) > 1e-3
    other = batch | {"label": (jnp.arange(64) + 1) % 10}
    changed = [log_likelihood(task, state, records, keys_of(0), 1) for records in (batch, other)]
    assert float(jnp.abs(changed[0] - changed[1]).min()) > 0.0
    with pytest.raises(ValueError, match="this VAE is conditional, but was given no condition"):
        task.sample(state, keys_of(0))
    with pytest.raises(ValueError, match="unconditional"):
        TASK.sample(trained()[0], keys_of(0), {"label": jnp.zeros(64, jnp.int32)})
    with pytest.raises(ConfigError, match=r"config.task.num_classes = 10.* label"):
        jax.eval_shape(task.init, jax.random.key(0), digits())


def test_large_gradients_are_skipped():
    (last, lines), first = trained(), initial(TASK, digits())
    _, after = stepped(TASK, last, digits(), jax.random.key(0))
    norms = [lines[0]["vae/gradient_norm"], float(after["vae/gradient_norm"])]
    task = dataclasses.replace(TASK, skip_norm=sum(norms) / 2)
    for state, norm in zip((first, last), norms, strict=True):
        state = state.replace(extra={"skipped": jnp.int32(3)})
        now, metrics = stepped(task, state, digits(), jax.random.key(0))
        skipped = norm > task.skip_norm
        assert int(now.extra["skipped"]) == 3 + skipped
        assert float(metrics["vae/skipped"]) == pytest.approx((3 + skipped) / (int(state.step) + 1))
        changes = jax.tree.map(
            lambda a, b: bool((a != b).any()), (now.params, now.opt_state), (state.params, state.opt_state)
        )
        assert any(jax.tree.leaves(changes)) == (not skipped)


def line_of(*kls, beta=1.0):
    return {
        "vae/kl": sum(kls),
        "vae/beta": beta,
        "vae/active_groups": float(sum(kl > 0.1 for kl in kls)),
        **{f"vae/kl/{group}": kl for group, kl in enumerate(kls)},
    }


def test_collapse_is_told():
    assert TASK.concern(line_of(20.0, 0.0, 0.0)) is None  # silent lower groups are common
    assert "vae/kl is 0.34 nats, and 1 of 3 groups" in TASK.concern(line_of(0.3, 0.04, 0.0))
    assert "0 of 8 groups" in TASK.concern(line_of(*[0.09] * 8))
    assert TASK.concern(line_of(0.0, 0.0, beta=0.0)) is None


def test_a_threshold_that_skips_most_updates_is_told():
    task = dataclasses.replace(TASK, skip_norm=3.0)
    assert "60% of all updates were left out: skip_norm = 3.0" in task.concern(line_of(20.0) | {"vae/skipped": 0.6})
    assert task.concern(line_of(20.0) | {"vae/skipped": 0.1}) is None


class Normalised(nn.Module):
    """A network that keeps batch statistics."""

    network: nn.Module

    @nn.compact
    def __call__(self, images, keys, *, train):
        return self.network(nn.BatchNorm(use_running_average=not train)(images), keys, train=train)

    def encode(self, images):
        return self.network.encode(images)

    decode = generate = encode


@pytest.mark.parametrize(
    ("task", "shape", "message"),
    [
        (TASK, (16, 16, 1), "images of 16x16x1, but blocks end with 4"),
        (
            dataclasses.replace(TASK, likelihood=DiscretizedLogisticMixture(num_mixtures=2)),
            (8, 8, 1),
            r"config.task.network: VDVAE gives 8x8x1, .* needs 8x8x6 .* set outputs = 6",
        ),
        (dataclasses.replace(TASK, network=nn.Dense(1)), (8, 8, 1), "config.task.network: Dense has no method encode"),
        (
            dataclasses.replace(TASK, network=nn.Dense(1), num_classes=3),
            (8, 8, 1),
            "config.task.network: Dense takes no labels, but num_classes = 3",
        ),
        (dataclasses.replace(TASK, network=Normalised(NETWORK)), (8, 8, 1), "Normalised keeps batch_stats"),
    ],
)
def test_networks_that_do_not_fit(task, shape, message):
    batch = batch_of(jnp.zeros((2, *shape))) | {"label": jnp.zeros(2, jnp.int32)}
    with pytest.raises(ConfigError, match=message):
        jax.eval_shape(task.init, jax.random.key(0), batch)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"beta": -1.0}, "beta = -1.0"),
        ({"free_bits": -0.1}, "free_bits = -0.1"),
        ({"temperature": -0.5}, "temperature = -0.5"),
        ({"skip_norm": 0.0}, "skip_norm = 0.0"),
        ({"num_classes": 1}, "num_classes = 1"),
        ({"num_classes": 10}, r"^network\.num_classes = None, but num_classes = 10: set both alike"),
    ],
)
def test_impossible_fields(fields, message):
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(TASK, **fields)


def test_values_outside_the_support_are_refused():
    task = dataclasses.replace(TASK, likelihood=Bernoulli(binarisation="none"))
    with pytest.raises(DataError, match="0 and 1"):
        task.check_records({"image": np.asarray(digits()["image"])})
    TASK.check_records({"image": np.asarray(digits()["image"])})
