import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from jgr.degradations.degradation import Degradation, Pipeline
from jgr.degradations.masks import Mask, RandomPixels
from jgr.degradations.noise import GaussianNoise
from jgr.degradations.parameters import Uniform
from jgr.errors import ConfigError
from jgr.losses.adversarial import relativistic
from jgr.losses.restoration import FFT, L2, Loss, Term, Weighted
from jgr.optim import Optimizer
from jgr.state import TrainState
from jgr.tasks.restoration import Adversarial, Restoration
from jgr.tasks.task import Restorer

KEY = jax.random.key(0)
KEYS = jax.random.split(KEY, 4)


class Filter(nn.Module):
    """One convolution of the image and its maps."""

    channels: int = 1
    scale: int = 1
    multiple: int = 1
    stages: int = 1

    @nn.compact
    def __call__(self, images, *, train):
        if images.shape[1] % self.multiple or images.shape[2] % self.multiple:
            raise ConfigError("not padded")
        made = nn.Conv(self.channels * self.scale**2, (3, 3), use_bias=False, name="conv")(images)
        batch, height, width, _ = made.shape
        made = made.reshape(batch, height, width, self.scale, self.scale, self.channels)
        return made.transpose(0, 1, 3, 2, 4, 5).reshape(batch, height * self.scale, width * self.scale, self.channels)

    def all_stages(self, images, *, train):
        restored = self(images, train=train)
        return jnp.stack([restored * share for share in (0.5, 1.0)])


class Judge(nn.Module):
    @nn.compact
    def __call__(self, images, *, train):
        return nn.Dense(1)(nn.BatchNorm(use_running_average=not train)(images).mean(axis=(1, 2)))[:, 0]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Halved(Degradation):
    """Every second pixel."""

    name = "halved"

    def apply(self, record, key):
        return {**record, "image": record["image"][::2, ::2]}


def make_batch(size=8, count=4, channels=1):
    images = jax.random.uniform(jax.random.key(1), (count, size, size, channels))
    return {"image": images, "position": jnp.arange(count, dtype=jnp.uint32)}


def make_task(**fields):
    fields = {"network": Filter(), "degradation": GaussianNoise(sigma=0.1), "loss": L2()} | fields
    return Restoration(**fields, optimizer=Optimizer(rule=optax.adam, learning_rate=1e-2))


def one_step(task, batch, state=None):
    state = task.init(KEY, batch) if state is None else state
    return jax.jit(task.step)(state, {name: value[None] for name, value in batch.items()}, KEY)


def with_kernel(kernel, task, batch):
    """A state whose convolution has a kernel."""
    state = task.init(KEY, batch)
    return state.replace(params={"network": {"conv": {"kernel": jnp.asarray(kernel, jnp.float32)}}})


def centred(*rows):
    """A 3x3 kernel that only looks at its own pixel: what each channel adds to each."""
    return np.pad(np.array(rows, np.float32)[None, None], ((1, 1), (1, 1), (0, 0), (0, 0)))


def test_a_step_is_that_of_the_paper():
    """The residual network's loss is the squared error between the noise and what is predicted (DnCNN, equation 1)."""
    task, batch = make_task(residual=True), make_batch()
    state = with_kernel(centred([0.25]), task, batch)
    seen = {}

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Watching(L2):
        def __call__(self, images, targets):
            jax.debug.callback(lambda images, targets: seen.update(images=images, targets=targets), images, targets)
            return super().__call__(images, targets)

    _, metrics = one_step(dataclasses.replace(task, loss=Watching()), batch, state)
    jax.effects_barrier()
    noisy = np.asarray(seen["images"]) / 0.75  # y - 0.25 y
    noise = noisy - np.asarray(batch["image"])
    assert 0.08 < noise.std() < 0.12
    assert float(metrics["network/loss"]) == pytest.approx(np.mean((0.25 * noisy - noise) ** 2), rel=1e-5)


def test_each_record_and_step_is_degraded_anew():
    task, batch = make_task(degradation=GaussianNoise(sigma=Uniform(low=0.0, high=0.2))), make_batch(count=3)
    batch = {**batch, "image": jnp.repeat(batch["image"][:1], 3, axis=0)}
    pair = task.degrade(batch, jax.random.split(KEY, 3))
    assert len({float(sigma) for sigma in pair["sigma"]}) == 3
    np.testing.assert_array_equal(pair["target"], batch["image"])
    alone = task.degrade({name: value[1:2] for name, value in batch.items()}, jax.random.split(KEY, 3)[1:2])
    np.testing.assert_allclose(alone["image"], pair["image"][1:2], atol=1e-6)


def test_what_it_is_told_becomes_maps():
    task, batch = make_task(inputs=("sigma",)), make_batch()
    state = with_kernel(centred([1.0], [2.0]), task, batch)
    sigma = jnp.array([0.0, 0.1, 0.2, 0.3])
    restored = task.restore(state, {**batch, "sigma": sigma}, KEYS)
    np.testing.assert_allclose(restored, batch["image"] + 2 * sigma.reshape(-1, 1, 1, 1), atol=1e-6)
    mask = jnp.round(batch["image"])
    task = dataclasses.replace(task, inputs=("mask",))
    np.testing.assert_allclose(task.restore(state, {**batch, "mask": mask}, KEYS), batch["image"] + 2 * mask, atol=1e-6)
    with pytest.raises(ConfigError, match="names 'sigma', which the degraded images do not come with"):
        make_task(inputs=("sigma",), degradation=Pipeline(steps=())).init(KEY, batch)
    with pytest.raises(ConfigError, match=r"'kernel' of shape .* makes no map"):
        dataclasses.replace(task, inputs=("kernel",)).restore(state, {**batch, "kernel": jnp.ones((4, 3, 3))}, KEYS)


def test_known_pixels_stay():
    """They are those of the degraded image, in training too; the network's gradient comes from the holes alone."""
    task = make_task(degradation=Mask(generator=RandomPixels(keep=0.5)), keep_known=True)
    batch = make_batch()
    state = with_kernel(centred([3.0]), task, batch)
    mask = jnp.zeros((4, 8, 8, 1)).at[:, :4].set(1.0)
    restored = task.restore(state, {**batch, "mask": mask}, KEYS)
    np.testing.assert_array_equal(restored[:, :4], batch["image"][:, :4])
    np.testing.assert_allclose(restored[:, 4:], 3 * batch["image"][:, 4:], rtol=1e-6)
    shown = dataclasses.replace(task, degradation=Mask(generator=RandomPixels(keep=1.0)))
    _, metrics = one_step(shown, batch, state)
    assert float(metrics["network/loss"]) == float(metrics["network/gradient_norm"]) == 0.0
    with pytest.raises(ConfigError, match="keep_known = True, but the degraded images do not come with a mask"):
        task.restore(state, batch, KEYS)
    with pytest.raises(ConfigError, match="keep_known=True does not go with a network that enlarges"):
        make_task(network=Filter(scale=2), keep_known=True)


def test_any_size_is_padded_to_the_multiple_and_cropped():
    task = make_task(network=Filter(multiple=4))
    batch = make_batch(size=8)
    state = with_kernel(centred([1.0]), task, batch)
    images = jax.random.uniform(KEY, (4, 5, 7, 1))
    np.testing.assert_allclose(task.restore(state, {"image": images}, KEYS), images, atol=1e-6)


def test_super_resolution_and_its_sizes():
    task, batch = make_task(network=Filter(scale=2), degradation=Halved()), make_batch()
    assert task.scale == 2
    state, metrics = one_step(task, batch)
    assert np.isfinite(metrics["network/psnr"])
    assert task.restore(state, {"image": batch["image"][:, :3]}, KEYS).shape == (4, 6, 16, 1)
    with pytest.raises(ConfigError, match="makes images of 4x4x1 of degraded ones of 4x4x1, but clean ones are 8x8x1"):
        make_task(degradation=Halved()).init(KEY, batch)
    with pytest.raises(ConfigError, match="residual=True does not go with a network that enlarges"):
        make_task(network=Filter(scale=2), residual=True)


def test_early_stages_count():
    batch = make_batch()
    last, all_of_them = (one_step(make_task(stage_weight=weight), batch)[1] for weight in (0.0, 0.5))
    assert float(all_of_them["network/loss"]) > float(last["network/loss"])
    assert float(all_of_them["network/psnr"]) == pytest.approx(float(last["network/psnr"]), abs=1e-4)
    with pytest.raises(ConfigError, match="Judge has no method all_stages"):
        make_task(network=Judge(), stage_weight=1.0)


def test_terms_are_logged():
    loss = Weighted(terms={"l2": Term(loss=L2()), "fft": Term(loss=FFT(), weight=0.1)})
    _, metrics = one_step(make_task(loss=loss), make_batch())
    parts = metrics["network/l2"] + metrics["network/fft"]
    assert float(metrics["network/loss"]) == pytest.approx(float(parts), rel=1e-6)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeanOfAll(Loss):
    """What other frameworks call a loss."""

    def __call__(self, images, targets):
        return jnp.abs(images - targets).mean()


def test_a_loss_of_the_whole_batch_is_refused():
    task = make_task(loss=MeanOfAll())
    with pytest.raises(ConfigError, match=r"config\.task\.loss gives an array of shape \(\) for 4 records: it must"):
        one_step(task, make_batch(count=4))


def test_adversarial_term():
    task, batch = make_task(adversarial=Adversarial(discriminator=Judge(), weight=0.5)), make_batch()
    before = task.init(KEY, batch)
    after, metrics = one_step(task, batch, before)
    assert set(after.params) == {"network", "discriminator"}
    assert set(metrics) >= {"network/adversarial", "discriminator/loss", "discriminator/real_logits"}
    for name in after.params:
        changed = jax.tree.map(lambda a, b: bool(jnp.any(a != b)), before.params[name], after.params[name])
        assert any(jax.tree.leaves(changed)), name
    alone = make_task()
    _, plain = one_step(
        alone,
        batch,
        TrainState(
            0,
            {"network": before.params["network"]},
            {"network": {}},
            {"network": alone.optimizer.transformation().init({"network": before.params["network"]})},
        ),
    )
    assert float(metrics["network/loss"]) > float(plain["network/loss"])
    with pytest.raises(ConfigError, match=r"weight = 0\.0 must be positive"):
        Adversarial(discriminator=Judge(), weight=0.0)


class Patches(nn.Module):
    """Logits of 4x4 patches: weighted means of the channels, weights 1, 2, …"""

    @nn.compact
    def __call__(self, images, *, train):
        shift = self.param("shift", nn.initializers.zeros_init(), ())
        batch, height, width, channels = images.shape
        blocks = images.reshape(batch, height // 4, 4, width // 4, 4, channels).mean(axis=(2, 4))
        return (blocks * (1.0 + jnp.arange(channels)).reshape(1, 1, 1, -1)).sum(axis=-1) + shift


def paired(size=8):
    batch = make_batch(size)
    return {**batch, "target": batch["image"] ** 2}


def logits_of(*channels):
    """What `Patches` gives."""
    means = [np.asarray(c)[..., 0].reshape(4, 2, 4, 2, 4).mean(axis=(2, 4)) for c in channels]
    return sum((place + 1) * mean for place, mean in enumerate(means))


@pytest.mark.parametrize("conditional", [False, True])
def test_a_conditional_discriminator_sees_the_degraded_image_too(conditional):
    task = make_task(
        degradation=None, adversarial=Adversarial(discriminator=Patches(), weight=0.25, conditional=conditional)
    )
    batch = paired()
    state = task.init(KEY, batch)
    state = state.replace(params=state.params | {"network": {"conv": {"kernel": jnp.asarray(centred([0.5]))}}})
    after, metrics = one_step(task, batch, state)
    degraded = [batch["image"]] if conditional else []
    real, fake = logits_of(*degraded, batch["target"]), logits_of(*degraded, 0.5 * batch["image"])
    assert float(metrics["discriminator/real_logits"]) == pytest.approx(real.mean(), rel=1e-5)
    assert float(metrics["discriminator/fake_logits"]) == pytest.approx(fake.mean(), rel=1e-5)
    loss = np.log1p(np.exp(-real)).mean() + np.log1p(np.exp(fake)).mean()
    assert float(metrics["discriminator/loss"]) == pytest.approx(loss, rel=1e-5)
    fooled = np.log1p(np.exp(-fake - float(after.params["discriminator"]["shift"]))).mean()
    assert float(metrics["network/adversarial"]) == pytest.approx(fooled, rel=1e-5)  # of the updated discriminator
    squared = np.mean((0.5 * np.asarray(batch["image"]) - np.asarray(batch["target"])) ** 2)
    assert float(metrics["network/loss"]) == pytest.approx(squared + 0.25 * fooled, rel=1e-5)


def test_a_relativistic_term_sees_clean_images_too():
    task = make_task(degradation=None, adversarial=Adversarial(discriminator=Patches(), loss=relativistic))
    batch = paired()
    state = task.init(KEY, batch)
    state = state.replace(params=state.params | {"network": {"conv": {"kernel": jnp.asarray(centred([0.5]))}}})
    _, metrics = one_step(task, batch, state)
    ahead = logits_of(batch["target"]) - logits_of(0.5 * batch["image"])
    assert float(metrics["network/adversarial"]) == pytest.approx(np.log1p(np.exp(ahead)).mean(), rel=1e-5)


class Mean(nn.Module):
    @nn.compact
    def __call__(self, images, *, train):
        return self.param("shift", nn.initializers.zeros_init(), ()) + images.mean()


def test_what_a_discriminator_cannot_be_given_is_refused():
    sizes = r"joins degraded images of 4x4x1 to clean ones of 8x8x1: they must be of one size"
    conditional = Adversarial(discriminator=Patches(), conditional=True)
    with pytest.raises(ConfigError, match=sizes):
        make_task(network=Filter(scale=2), degradation=Halved(), adversarial=conditional).init(KEY, make_batch())
    with pytest.raises(ConfigError, match=r"adversarial\.discriminator gives \[\] for 2 images"):
        make_task(adversarial=Adversarial(discriminator=Mean())).init(KEY, make_batch())


class Jitter(nn.Module):
    """Adds a number to each image, drawn from its key."""

    draws = True

    @nn.compact
    def __call__(self, images, *, train, keys=None):
        scale = self.param("scale", nn.initializers.ones_init(), ())
        if keys is None:
            return scale * images
        return scale * images + jax.vmap(lambda key: jax.random.normal(key, (1, 1, 1)))(keys)


def test_a_network_that_draws_gets_a_key_for_each_image():
    task, batch = make_task(network=Jitter(), degradation=GaussianNoise(sigma=0.1)), make_batch()
    state = task.init(KEY, batch)
    shifts = np.asarray(task.restore(state, batch, KEYS) - batch["image"])
    np.testing.assert_allclose(shifts, np.broadcast_to(shifts[:, :1, :1], shifts.shape), atol=1e-6)
    assert len(np.unique(np.round(shifts[:, 0, 0, 0], 4))) == 4
    alone = task.restore(state, {name: value[1:2] for name, value in batch.items()}, KEYS[1:2])
    np.testing.assert_allclose(alone - batch["image"][1:2], shifts[1:2], atol=1e-6)
    other_draws = [jax.random.normal(key, (1, 1, 1)) for key in KEYS]  # such as a degradation's
    assert not np.isclose(shifts[:, 0, 0, 0], np.ravel(other_draws)).any()
    step, records = jax.jit(task.step), {name: value[None] for name, value in batch.items()}
    losses = [float(step(state, records, key)[1]["network/loss"]) for key in KEYS[:2]]
    assert losses[0] != losses[1]
    assert min(losses) > 0.02  # the noise alone has .01


def test_records_may_bring_their_own_target():
    task, batch = make_task(degradation=None), make_batch()
    _, metrics = one_step(task, {**batch, "target": batch["image"] * 0.5})
    assert np.isfinite(metrics["network/loss"])
    with pytest.raises(ConfigError, match=r"degradation is None, and the records of config\.data have no target"):
        task.init(KEY, batch)


def test_it_is_a_restorer():
    assert isinstance(make_task(), Restorer)
