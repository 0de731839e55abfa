import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from jgr.errors import ConfigError
from jgr.losses.adversarial import AdversarialLoss, non_saturating
from jgr.models import dcgan, sngan
from jgr.optim import Optimizer
from jgr.rng import record_keys
from jgr.tasks.gan import GAN
from jgr.tasks.task import Sampler
from jgr.tasks.update import FINITE


def make_task(**fields):
    return GAN(
        **{
            "generator": dcgan.Generator(image_size=16, width=4, latent_dim=6),
            "discriminator": dcgan.Discriminator(image_size=16, width=4, batch_norm=True),
        }
        | fields
    )


def images(seed, *lead):
    return jax.random.uniform(jax.random.key(seed), (*lead, 16, 16, 1))


def batch(image):
    """A step's batch, at the start of a run."""
    position = jnp.arange(image.shape[0] * image.shape[1], dtype=jnp.uint32).reshape(image.shape[:2])
    return {"image": image, "position": position}


@pytest.fixture(scope="module")
def task():
    return make_task()


@pytest.fixture(scope="module")
def state(task):
    return jax.jit(task.init)(jax.random.key(0), {"image": images(0, 4)})


@pytest.fixture(scope="module")
def stepped(task, state):
    return jax.jit(task.step)(state, batch(images(1, 1, 4)), jax.random.key(1))


def equal(a, b):
    return all(jax.tree.leaves(jax.tree.map(np.array_equal, a, b)))


def test_each_network_is_moved_by_its_own_update_only(state):
    """With one learning rate at 0, the other network moves and this one's parameters stay bit for bit."""
    for still, moving in (("generator", "discriminator"), ("discriminator", "generator")):
        frozen = Optimizer(rule=optax.sgd, learning_rate=0.0)
        task = make_task(**{f"{still}_optimizer": frozen, f"{moving}_optimizer": Optimizer(rule=optax.sgd)})
        fresh = jax.jit(task.init)(jax.random.key(0), {"image": images(0, 4)})
        after, _ = jax.jit(task.step)(fresh, batch(images(1, 1, 4)), jax.random.key(1))
        assert equal(after.params[still], fresh.params[still])
        assert not equal(after.params[moving], fresh.params[moving])


def nothing(*logits):
    """A loss that is 0 whatever the networks do."""
    return 0.0 * logits[0].sum()


@pytest.mark.parametrize("still", ["generator", "discriminator"])
def test_no_gradient_of_ones_loss_reaches_the_other(state, still):
    """Where one's own loss is 0 its parameters stay, bit for bit, while the other's loss moves the other."""
    parts = {"generator": non_saturating.generator, "discriminator": non_saturating.discriminator}
    sgd = Optimizer(rule=optax.sgd, learning_rate=1.0)
    task = make_task(
        loss=AdversarialLoss(**parts | {still: nothing}), generator_optimizer=sgd, discriminator_optimizer=sgd
    )
    fresh = jax.jit(task.init)(jax.random.key(0), {"image": images(0, 4)})
    after, metrics = jax.jit(task.step)(fresh, batch(images(1, 1, 4)), jax.random.key(1))
    (moving,) = {"generator", "discriminator"} - {still}
    assert float(metrics[f"{still}/gradient_norm"]) == 0.0
    assert equal(after.params[still], fresh.params[still])
    assert float(metrics[f"{moving}/gradient_norm"]) > 0.0
    assert not equal(after.params[moving], fresh.params[moving])


def test_spectral_vectors_are_moved_by_the_discriminators_own_passes_only():
    """One power iteration for the real and one for the generated images, none for the generator's update."""
    task = make_task(
        generator=dcgan.Generator(image_size=8, width=4, latent_dim=6),
        discriminator=sngan.Discriminator(image_size=8, width=2),
    )
    reals = images(0, 4)[:, :8, :8]
    state = jax.jit(task.init)(jax.random.key(0), {"image": reals})
    after, _ = jax.jit(task.step)(state, batch(reals[None]), jax.random.key(1))
    variables = {"params": state.params["discriminator"], **state.model_state["discriminator"]}
    for _ in range(2):  # whatever the images are
        _, changed = task.discriminator.apply(variables, reals, train=True, mutable=["spectral"])
        variables |= changed
    assert_close(after.model_state["discriminator"], {"spectral": variables["spectral"]})
    assert not equal(after.model_state["discriminator"], state.model_state["discriminator"])


def test_batch_statistics_belong_to_the_network_that_is_updated(task, state, stepped):
    """The generator's statistics follow from its own update alone, the discriminator's from its real and fake pass."""
    after, _ = stepped
    d_key, g_key = jax.random.split(jax.random.key(1), 2)
    generate = lambda key: task.generator.apply(  # noqa: E731
        {"params": state.params["generator"], **state.model_state["generator"]},
        jax.vmap(lambda k: jax.random.normal(k, (6,)))(record_keys(key, jnp.arange(4, dtype=jnp.uint32))),
        train=True,
        mutable=["batch_stats"],
    )
    _, generator_state = generate(g_key)  # from the untouched statistics: the discriminator's update left no trace
    assert_close(after.model_state["generator"], generator_state)
    variables = {"params": state.params["discriminator"], **state.model_state["discriminator"]}
    for seen in (images(1, 4), generate(d_key)[0]):
        _, changed = task.discriminator.apply(variables, seen, train=True, mutable=["batch_stats"])
        variables = {**variables, **changed}
    assert_close(after.model_state["discriminator"], {"batch_stats": variables["batch_stats"]})


def assert_close(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=2e-4, atol=1e-6), a, b)


def test_losses_are_those_of_the_logits(task, stepped):
    _, metrics = stepped
    assert {name for name in metrics if not name.startswith(FINITE)} >= {
        "discriminator/loss",
        "discriminator/real_logits",
        "discriminator/fake_logits",
        "discriminator/gradient_norm",
        "generator/loss",
        "generator/gradient_norm",
    }
    assert all(bool(value) for name, value in metrics.items() if name.startswith(FINITE))
    assert 0.5 < float(metrics["discriminator/loss"]) < 3  # 2 ln 2 where logits are near 0
    assert 0.2 < float(metrics["generator/loss"]) < 2


def test_every_discriminator_update_sees_fresh_reals():
    """With 2 updates a step, both batches matter, and each has latents of its own."""
    task = make_task(num_d_steps=2)
    assert task.batches_per_step == 2
    state = jax.jit(task.init)(jax.random.key(0), {"image": images(0, 4)})
    step = jax.jit(task.step)
    reals = images(1, 2, 4)
    base = step(state, batch(reals), jax.random.key(1))[0].params["discriminator"]
    for changed in range(2):
        other = reals.at[changed].set(images(9, 4))
        assert not equal(base, step(state, batch(other), jax.random.key(1))[0].params["discriminator"])


def test_latents_differ_between_steps(task, state):
    step = jax.jit(task.step)
    losses = {float(step(state, batch(images(1, 1, 4)), jax.random.key(i))[1]["generator/loss"]) for i in range(3)}
    assert len(losses) == 3


def test_a_sample_depends_on_its_own_key_only(task, state):
    keys = record_keys(jax.random.key(3), jnp.arange(6, dtype=jnp.uint32))
    whole, part = task.sample(state, keys), task.sample(state, keys[2:4])
    assert whole.shape == (6, 16, 16, 1)
    assert float(whole.min()) >= 0
    assert float(whole.max()) <= 1
    np.testing.assert_allclose(whole[2:4], part, atol=1e-6)
    assert not np.allclose(whole[0], whole[1])
    assert isinstance(task, Sampler)


def test_what_is_not_finite_is_told_by_term(task, state):
    broken = images(1, 1, 4).at[0, 0, 0, 0, 0].set(jnp.nan)
    _, metrics = jax.jit(task.step)(state, batch(broken), jax.random.key(1))
    assert not metrics["finite/discriminator/loss"]
    assert not metrics["finite/discriminator/gradients"]


def test_a_mismatch_of_sizes_names_both():
    task = make_task(generator=dcgan.Generator(image_size=8, width=4))
    with pytest.raises(ConfigError, match=r"8x8x1.*16x16x1"):
        jax.eval_shape(task.init, jax.random.key(0), {"image": images(0, 4)})


def test_impossible_settings():
    with pytest.raises(ConfigError, match="num_d_steps = 0"):
        make_task(num_d_steps=0)
    with pytest.raises(ConfigError, match="latent_dim"):
        make_task(generator=nn.Dense(3))


def test_an_unconditional_gan_takes_no_condition(task, state):
    with pytest.raises(ValueError, match="unconditional"):
        task.sample(state, record_keys(jax.random.key(3), jnp.arange(1)), {"label": jnp.zeros(1, jnp.int32)})
