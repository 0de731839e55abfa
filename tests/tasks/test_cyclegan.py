"""With networks of one number each, whose losses and gradients can be written down, and once with the real ones."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from jgr.checkpoint import Checkpointer
from jgr.errors import ConfigError
from jgr.losses import adversarial
from jgr.mesh import Mesh
from jgr.models.cyclegan import Generator
from jgr.optim import Optimizer
from jgr.rng import record_keys
from jgr.state import checksums
from jgr.tasks.cyclegan import DISCRIMINATORS, GENERATORS, CycleGAN
from jgr.tasks.task import Restorer
from jgr.tasks.update import FINITE


class Scale(nn.Module):
    """Images times a number: a generator, and a discriminator of pixels."""

    start: float
    channels: int = 1

    @nn.compact
    def __call__(self, images, *, train):
        factor = self.param("factor", nn.initializers.constant(self.start), ())
        return jnp.repeat(factor * images.mean(-1, keepdims=True), self.channels, axis=-1)


class Judge(nn.Module):
    """A logit for every pixel."""

    start: float

    @nn.compact
    def __call__(self, images, *, train):
        return self.param("factor", nn.initializers.constant(self.start), ()) * images.mean(-1)


A, B, P, Q = 0.8, 0.9, 0.3, 0.6  # forward, backward, discriminators of images and of targets
RATE = 0.1


def sgd(rate=RATE):
    return Optimizer(rule=optax.sgd, learning_rate=rate)


def make_task(**fields):
    return CycleGAN(
        **{
            "forward": Scale(A),
            "backward": Scale(B),
            "image_discriminator": Judge(P),
            "target_discriminator": Judge(Q),
            "generator_optimizer": sgd(),
            "discriminator_optimizer": sgd(),
            "pool_size": 3,
        }
        | fields
    )


def batch_of(seed, count=2, channels=(1, 1), sides=(4, 4)):
    """A step's batch; images and targets are told apart by their brightness."""
    keys = jax.random.split(jax.random.key(seed))
    image, target = (
        jax.random.uniform(key, (1, count, *sides, number), minval=low, maxval=low + 0.5)
        for key, number, low in zip(keys, channels, (0.1, 0.5), strict=True)
    )
    position = jnp.arange(count, dtype=jnp.uint32)[None] + 100 * seed
    return {"image": image, "target": target, "position": position}


def init(task, batch):
    records = {name: value[0] for name, value in batch.items()}
    return jax.jit(task.init)(jax.random.key(0), records)


def factors(state):
    return {name: float(params["factor"]) for name, params in state.params.items()}


@pytest.fixture(scope="module")
def stepped():
    """State before, after, and what was reported, of one step."""
    task, batch = make_task(), batch_of(1)
    state = init(task, batch)
    return state, *jax.jit(task.step)(state, batch, jax.random.key(1))


def by_hand(batch):
    """Reported values, and the gradient of the factors, from the paper's equations.

    Generators are judged by the discriminators before the step, discriminators by what the generators made before it.
    """
    x, t = (np.asarray(batch[name], np.float64).ravel() for name in ("image", "target"))
    terms = {
        "generator/adversarial_target": 0.5 * np.mean((Q * A * x - 1) ** 2),
        "generator/adversarial_image": 0.5 * np.mean((P * B * t - 1) ** 2),
        "generator/cycle_image": 2 * np.mean(np.abs(A * B * x - x)),
        "generator/cycle_target": 2 * np.mean(np.abs(A * B * t - t)),
        "generator/identity_image": 2 * np.mean(np.abs(B * x - x)),
        "generator/identity_target": 2 * np.mean(np.abs(A * t - t)),
    }
    weights = (2, 2, 10, 10, 5, 5)
    terms["generator/loss"] = sum(w * value for w, value in zip(weights, terms.values(), strict=True))
    terms["discriminator/loss"] = 0.5 * (
        np.mean((P * x - 1) ** 2) + np.mean((P * B * t) ** 2) + np.mean((Q * t - 1) ** 2) + np.mean((Q * A * x) ** 2)
    )
    both = x.mean() + t.mean()
    slopes = {  # all distances are of what is too dark
        "forward": 2 * np.mean((Q * A * x - 1) * Q * x) - 10 * 2 * B * both - 5 * 2 * t.mean(),
        "backward": 2 * np.mean((P * B * t - 1) * P * t) - 10 * 2 * A * both - 5 * 2 * x.mean(),
        "image_discriminator": np.mean((P * x - 1) * x) + np.mean(P * (B * t) ** 2),
        "target_discriminator": np.mean((Q * t - 1) * t) + np.mean(Q * (A * x) ** 2),
    }
    return terms, slopes


def test_losses_are_the_papers(stepped):
    _, _, metrics = stepped
    expected, _ = by_hand(batch_of(1))
    assert {name for name in expected if name.startswith("generator")} <= set(metrics)
    for name, value in expected.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-5, err_msg=name)
    assert all(bool(value) for name, value in metrics.items() if name.startswith(FINITE))


def test_generators_are_first_and_discriminators_see_what_they_made_before(stepped):
    _, after, _ = stepped
    _, slopes = by_hand(batch_of(1))
    start = {"forward": A, "backward": B, "image_discriminator": P, "target_discriminator": Q}
    expected = {name: start[name] - RATE * slope for name, slope in slopes.items()}
    assert factors(after) == pytest.approx(expected, rel=1e-5)
    assert abs(expected["forward"] - A) > 0.1  # later discriminators, or fakes made after, would have been seen


def test_each_optimizer_moves_its_own_networks_only():
    """With one learning rate at 0, its two networks stay bit for bit: the other's gradient reaches none of them."""
    batch = batch_of(1)
    for still, owned, others in (
        ("generator", GENERATORS, DISCRIMINATORS),
        ("discriminator", DISCRIMINATORS, GENERATORS),
    ):
        task = make_task(**{f"{still}_optimizer": sgd(0.0)})
        before = init(task, batch)
        after, _ = jax.jit(task.step)(before, batch, jax.random.key(1))
        for name in owned:
            assert factors(after)[name] == factors(before)[name]
        for name in others:
            assert factors(after)[name] != factors(before)[name]


def test_one_optimizer_owns_two_networks(stepped):
    state = init(make_task(generator_optimizer=Optimizer(), discriminator_optimizer=Optimizer()), batch_of(1))
    assert set(state.opt_state) == {"generator", "discriminator"}
    for name, owned in (("generator", GENERATORS), ("discriminator", DISCRIMINATORS)):
        adam = state.opt_state[name][0]
        assert set(adam.mu) == set(owned)


def test_the_pools_hold_what_generators_made_before_their_update(stepped):
    _, after, _ = stepped
    batch = batch_of(1)
    for name, made in (("target_pool", A * batch["image"][0]), ("image_pool", B * batch["target"][0])):
        pool = after.extra[name]
        assert int(pool.count) == 2
        np.testing.assert_allclose(pool.images[:2], made, rtol=1e-6)
        assert not pool.images[2].any()


def test_discriminators_see_the_pools_choice():
    """With generators that stay, logits of fakes over many steps are those of older images half of the time."""
    task = make_task(generator_optimizer=sgd(0.0), discriminator_optimizer=sgd(0.0), pool_size=1)
    step = jax.jit(task.step)
    state, old = init(task, batch_of(0, count=1)), {"image": 0, "target": 0}
    for seed in range(24):
        batch = batch_of(seed, count=1)
        state, metrics = step(state, batch, jax.random.key(seed))
        for kind, factor in (("image", P * B * batch["target"]), ("target", Q * A * batch["image"])):
            seen, current = metrics[f"discriminator/{kind}_fake_logits"], factor.mean()
            old[kind] += not np.isclose(seen, current, rtol=1e-5)
    assert 4 < old["image"] < 19  # of 23: mean 11.5, deviation 2.4
    assert 4 < old["target"] < 19


def test_neither_devices_nor_micro_batches_change_a_step():
    """Over two devices the pools still take a batch's images in their order."""

    def after_steps(task, mesh):
        with mesh.entered():
            step = jax.jit(task.step)
            state = jax.device_put(init(task, batch_of(0, count=4)), mesh.replicated)
            for seed in range(3):
                batch = jax.device_put(batch_of(seed, count=4), mesh.batch(axis=1))
                state, _ = step(state, batch, jax.random.key(seed))
        return state

    task = make_task(generator_optimizer=sgd(0.01), pool_size=6)
    plain = after_steps(task, Mesh(data=1))
    parts = dataclasses.replace(task.generator_optimizer, micro_batches=2)
    cut = after_steps(dataclasses.replace(task, generator_optimizer=parts), Mesh(data=2))
    assert factors(cut) == pytest.approx(factors(plain), rel=1e-5)
    assert int(plain.extra["image_pool"].count) == 6
    for name in ("image_pool", "target_pool"):
        np.testing.assert_allclose(cut.extra[name].images, plain.extra[name].images, rtol=1e-5)


def test_without_a_pool_discriminators_see_the_newest():
    task = make_task(pool_size=0, generator_optimizer=sgd(0.0), discriminator_optimizer=sgd(0.0))
    step, state = jax.jit(task.step), init(task, batch_of(0))
    for seed in range(3):
        batch = batch_of(seed)
        state, metrics = step(state, batch, jax.random.key(seed))
        np.testing.assert_allclose(
            metrics["discriminator/target_fake_logits"], (Q * A * batch["image"]).mean(), rtol=1e-5
        )


def test_a_step_keeps_the_states_form_and_a_checkpoint_the_pools(stepped, tmp_path):
    before, after, _ = stepped
    assert jax.tree.structure(before) == jax.tree.structure(after)
    form = [jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), state) for state in (before, after)]
    assert form[0] == form[1]
    with Checkpointer(tmp_path) as checkpointer:
        checkpointer.save(1, after, position=2)
        checkpointer.wait()
        restored, _ = checkpointer.restore(1, jax.eval_shape(lambda: after))
    assert checksums(restored) == checksums(after)


def test_identity_needs_equal_channels():
    fields = dict(forward=Scale(A, channels=3), backward=Scale(B, channels=1))
    batch = batch_of(1, channels=(1, 3))
    with pytest.raises(ConfigError, match=r"identity_weight = 0.5 must be 0: images have 1 channels and targets 3"):
        init(make_task(**fields), batch)
    task = make_task(**fields, identity_weight=0.0)
    state = init(task, batch)
    after, metrics = jax.jit(task.step)(state, batch, jax.random.key(1))
    assert after.extra["target_pool"].images.shape == (3, 4, 4, 3)
    assert after.extra["image_pool"].images.shape == (3, 4, 4, 1)
    assert "generator/identity_image" not in metrics
    assert np.isfinite(metrics["generator/loss"])


def test_a_loss_of_pairs_sees_real_images_too():
    task = make_task(loss=adversarial.relativistic, adversarial_weight=1.0)
    batch = batch_of(1)
    _, metrics = jax.jit(task.step)(init(task, batch), batch, jax.random.key(1))
    x, t = (np.asarray(batch[name], np.float64) for name in ("image", "target"))
    expected = np.log1p(np.exp(Q * t - Q * A * x)).mean()
    np.testing.assert_allclose(metrics["generator/adversarial_target"], expected, rtol=1e-5)


def test_restores_forward_an_image_by_itself_and_of_any_size():
    generator = Generator(width=4, blocks=1)
    task, batch = make_task(forward=generator, backward=generator), batch_of(1, channels=(3, 3), sides=(10, 13))
    state = init(task, batch)
    after, _ = jax.eval_shape(task.step, state, batch, jax.random.key(1))
    assert after.extra["target_pool"].images.shape == (3, 10, 13, 3)
    assert isinstance(task, Restorer)
    assert (task.network.multiple, task.network.channels) == (4, 3)  # what `jgr restore` asks for
    restore, apply = jax.jit(task.restore), jax.jit(lambda *inputs: generator.apply(*inputs, train=False))
    images, keys = batch["image"][0], record_keys(jax.random.key(2), jnp.arange(2, dtype=jnp.uint32))
    restored = restore(state, {"image": images}, keys)
    assert restored.shape == (2, 10, 13, 3)
    other = restore(state, {"image": images.at[1].set(0.0)}, keys)
    np.testing.assert_allclose(other[0], restored[0], atol=1e-6)
    padded = jnp.asarray(np.pad(images, ((0, 0), (0, 2), (0, 3), (0, 0)), "reflect"))
    made = apply({"params": state.params["forward"]}, padded)
    np.testing.assert_allclose(restored, made[:, :10, :13], atol=1e-6)
    assert set(task.averaged_networks) == set(GENERATORS)


def test_what_does_not_fit_together_is_named():
    batch = batch_of(1)
    records = {name: value[0] for name, value in batch.items()}

    def shapes(task, records=records):
        jax.eval_shape(task.init, jax.random.key(0), records)

    with pytest.raises(ConfigError, match="no target"):
        shapes(make_task(), {"image": records["image"]})
    with pytest.raises(ConfigError, match=r"config.task.backward makes images of 4x4x3 of 4x4x1.* give 1 channels"):
        shapes(make_task(backward=Scale(B, channels=3)))
    with pytest.raises(ConfigError, match=r"config.task.target_discriminator gives \[2, 4, 4, 1\] for 2 images"):
        shapes(make_task(target_discriminator=Scale(Q)))
    for field, value in (("adversarial_weight", 0.0), ("cycle_weight", -1.0), ("identity_weight", -0.1)):
        with pytest.raises(ConfigError, match=f"{field} = {value}"):
            make_task(**{field: value})
    with pytest.raises(ConfigError, match="pool_size = -1"):
        dataclasses.replace(make_task(), pool_size=-1)
