"""What a GAN may have besides two networks and a loss."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from jgr.augmentations.augmentation import Augmentation
from jgr.errors import ConfigError
from jgr.losses.adversarial import hinge, non_saturating, relativistic, wasserstein
from jgr.losses.path_length import PathLength
from jgr.losses.penalties import R1, R2, GradientPenalty
from jgr.optim import Optimizer
from jgr.rng import record_keys
from jgr.tasks.gan import GAN, Auxiliary

KEY = jax.random.key(1)
SGD = Optimizer(rule=optax.sgd, learning_rate=0.1)
FROZEN = Optimizer(rule=optax.sgd, learning_rate=0.0)
ADAM = Optimizer(rule=partial(optax.adam, b1=0.0, b2=0.99), learning_rate=0.01)


class Painter(nn.Module):
    """Latents to 4x4 images by a matrix, brighter by a number for each class."""

    latent_dim: int = 3

    @nn.compact
    def __call__(self, latents, *, labels=None, train):
        brightness = 0.0 if labels is None else nn.Embed(5, 1, name="class")(labels)
        return (nn.Dense(16, name="matrix")(latents) + brightness).reshape(-1, 4, 4, 1)


class Critic(nn.Module):
    """Images to a logit by a matrix, and a number for each class."""

    classes: int | None = None

    @nn.compact
    def __call__(self, images, *, labels=None, train):
        flat = images.reshape(len(images), -1)
        logits = nn.Dense(1, name="matrix")(flat)[:, 0]
        if labels is not None:
            logits += nn.Embed(5, 1, name="class")(labels)[:, 0]
        return logits if self.classes is None else (logits, nn.Dense(self.classes, name="classifier")(flat))


class NormedCritic(nn.Module):
    """A logit that depends on the other images of the batch."""

    @nn.compact
    def __call__(self, images, *, train):
        return nn.Dense(1)(nn.BatchNorm(not train)(images.reshape(len(images), -1)))[:, 0]


class StylePainter(nn.Module):
    """Latents to two styles, styles to images; a running mean of styles; noise on top."""

    latent_dim: int = 3
    draws = True

    def setup(self):
        self.mapping, self.matrix = nn.Dense(3), nn.Dense(16)
        self.mean = self.variable("styles", "mean", jnp.zeros, 3)

    def map(self, latents, *, labels=None, train=False):
        return jnp.repeat(self.mapping(latents)[:, None], 2, axis=1)

    def mean_style(self):
        return self.mean.value

    def synthesise(self, styles, *, keys=None, train=False):
        images = self.matrix(styles.mean(axis=1)).reshape(-1, 4, 4, 1)
        if keys is None:
            return images
        return images + 0.01 * jax.vmap(lambda key: jax.random.normal(key, (4, 4, 1)))(keys)

    def __call__(self, latents, *, labels=None, keys=None, train):
        styles = self.map(latents)
        if train and self.is_mutable_collection("styles"):
            self.mean.value = styles.mean(axis=(0, 1))
        return self.synthesise(styles, keys=keys)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Brighter(Augmentation):
    """Adds the strength, which grows by a tenth a step where the discriminator is sure."""

    def __call__(self, images, keys, strength):
        return images + strength

    def init(self):
        return {"strength": jnp.float32(0.5)}

    def strength(self, state):
        return state["strength"]

    def adapt(self, state, real_sign, num_images, step):
        return {"strength": state["strength"] + 0.1 * real_sign * num_images / 4}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Noisy(Augmentation):
    """Adds noise, drawn anew for each image."""

    def __call__(self, images, keys, strength):
        return images + jax.vmap(lambda key: jax.random.normal(key, images.shape[1:]))(keys)

    def init(self):
        return {}

    def strength(self, state):
        return jnp.float32(1.0)

    def adapt(self, state, real_sign, num_images, step):
        return state


def make(**fields):
    defaults = {"generator": Painter(), "discriminator": Critic(), "loss": wasserstein}
    return GAN(**{**defaults, "generator_optimizer": SGD, "discriminator_optimizer": SGD, **fields})


def batch(num=4, updates=1, seed=0):
    image = jax.random.uniform(jax.random.key(seed), (updates, num, 4, 4, 1))
    position = jnp.arange(updates * num, dtype=jnp.uint32).reshape(updates, num)
    return {"image": image, "label": (position % 5).astype(jnp.int32), "position": position}


def started(task):
    return task.init(jax.random.key(0), {name: value[0] for name, value in batch().items()})


def stepped(task, state=None, **options):
    return jax.jit(partial(task.step, **options))(started(task) if state is None else state, batch(), KEY)


def moved(before, after, network):
    return jax.tree.map(lambda a, b: np.asarray(b - a), before.params[network], after.params[network])


def test_labels_reach_both_networks():
    task = make(num_classes=5)
    before = started(task)
    after, _ = stepped(task, before)
    seen = np.arange(5) < 4  # the labels of the batch
    for network in ("generator", "discriminator"):
        change = moved(before, after, network)["class"]["embedding"][:, 0]
        if network == "discriminator":  # a class counts alike for real and generated images: their parts cancel
            np.testing.assert_allclose(change, 0, atol=1e-7)
        else:
            assert (change[seen] != 0).all()
            assert (change[~seen] == 0).all()


def test_samples_are_of_the_labels_asked_for():
    task = make(num_classes=5)
    state, keys = started(task), record_keys(KEY, jnp.arange(3))
    zero, one = (task.sample(state, keys, {"label": jnp.full(3, label, jnp.int32)}) for label in (0, 1))
    brightness = state.params["generator"]["class"]["embedding"]
    np.testing.assert_allclose(one - zero, np.broadcast_to(brightness[1] - brightness[0], one.shape), atol=1e-6)
    with pytest.raises(ValueError, match="this GAN is conditional, but was given no condition"):
        task.sample(state, keys)


def test_auxiliary_classifier():
    """Each network's cross-entropy has its weight; that of generated images is the discriminator's only by choice."""
    fields = {"num_classes": 5, "discriminator": Critic(classes=5)}
    losses = {}
    for on_fakes in (False, True):
        task = make(**fields, auxiliary=Auxiliary(discriminator=2.0, generator=0.5, on_fakes=on_fakes))
        _, metrics = stepped(task)
        losses[on_fakes] = float(metrics["discriminator/class_loss"])
        adversarial = float(metrics["discriminator/fake_logits"] - metrics["discriminator/real_logits"])
        np.testing.assert_allclose(metrics["discriminator/loss"], adversarial + 2 * losses[on_fakes], rtol=1e-5)
    assert losses[True] > losses[False] + 0.5
    still = make(**fields, auxiliary=Auxiliary(), discriminator_optimizer=FROZEN)
    state = started(still)
    _, metrics = stepped(still, state)
    keys = record_keys(jax.random.split(KEY, 2)[1], batch()["position"][0])
    images = still.sample(state, keys, {"label": batch()["label"][0]})
    _, classes = still.discriminator.apply(
        {"params": state.params["discriminator"]}, images, labels=batch()["label"][0], train=False
    )
    wanted = optax.softmax_cross_entropy_with_integer_labels(classes, batch()["label"][0]).mean()
    np.testing.assert_allclose(metrics["generator/class_loss"], wanted, rtol=1e-5)


def test_a_penalty_at_interval_1_is_part_of_the_loss():
    plain, penalised = stepped(make())[1], stepped(make(penalties={"r1": R1(gamma=4.0)}))[1]
    weights = started(make()).params["discriminator"]["matrix"]["kernel"]
    r1 = 2 * float(jnp.square(weights / 2).sum())
    np.testing.assert_allclose(penalised["discriminator/r1"], r1, rtol=1e-5)
    np.testing.assert_allclose(penalised["discriminator/loss"], plain["discriminator/loss"] + r1, rtol=1e-5)


def test_a_lazy_penalty_is_an_update_of_its_own():
    """Where due it moves the discriminator by its interval times the gradient, besides the loss's update."""
    fields = {"discriminator_optimizer": dataclasses.replace(ADAM, rule=sgd_with_decays), "generator_optimizer": FROZEN}
    lazy = make(penalties={"r1": R1(gamma=0.5, interval=4)}, **fields)
    assert lazy.intervals == (4,)
    before = started(lazy)
    on, metrics = stepped(lazy, before, due=(True,))
    off, silent = stepped(lazy, before, due=(False,))
    kernels = [np.asarray(state.params["discriminator"]["matrix"]["kernel"]) for state in (on, off)]
    # R1 of a matrix w is gamma / 2 |w / 2|^2, its gradient gamma / 4 w; the rate is 4 / 5 of the optimiser's
    np.testing.assert_allclose(kernels[0], kernels[1] * (1 - 0.01 * 0.8 * 4 * 0.5 / 4), rtol=1e-5)
    np.testing.assert_allclose(metrics["discriminator/r1"], 0.25 * np.square(kernels[1] / 2).sum(), rtol=1e-5)
    assert float(silent["discriminator/r1"]) == 0  # none was computed yet
    _, remembered = stepped(lazy, on, due=(False,))
    assert float(remembered["discriminator/r1"]) == float(metrics["discriminator/r1"])


def sgd_with_decays(learning_rate, b1=0.0, b2=0.99):
    return optax.sgd(learning_rate)


def test_what_is_due_may_be_traced():
    task = make(penalties={"r1": R1(gamma=0.5, interval=2)}, discriminator_optimizer=ADAM)
    state = started(task)
    for number in range(3):
        state = state.replace(step=jnp.int32(number))
        static, _ = stepped(task, state, due=(number % 2 == 0,))
        traced, _ = stepped(task, state)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), static.params, traced.params)


def test_penalties_see_generated_images_too():
    task = make(penalties={"gp": GradientPenalty(), "r2": R2(gamma=1.0)}, loss=hinge)
    _, metrics = stepped(task)
    slope = float(jnp.linalg.norm(started(task).params["discriminator"]["matrix"]["kernel"])) / 2
    np.testing.assert_allclose(metrics["discriminator/gp"], 10 * (slope - 1) ** 2, rtol=1e-4)
    np.testing.assert_allclose(metrics["discriminator/r2"], slope**2 / 2, rtol=1e-5)


def test_the_augmentation_is_of_all_images_and_adapts():
    task = make(augmentation=Brighter(), generator_optimizer=FROZEN)
    before = started(task)
    after, metrics = stepped(task, before)
    _, plain = stepped(make(generator_optimizer=FROZEN), before.replace(extra={}))
    shift = 0.5 * float(before.params["discriminator"]["matrix"]["kernel"].sum())
    for name in ("real_logits", "fake_logits"):
        np.testing.assert_allclose(metrics[f"discriminator/{name}"] - plain[f"discriminator/{name}"], shift, rtol=1e-4)
    assert float(metrics["discriminator/augmentation"]) == 0.5
    assert abs(float(after.extra["augmentation"]["strength"]) - 0.5) <= 0.1 + 1e-6
    assert "discriminator/real_sign" not in metrics


def test_every_step_augments_anew():
    """The same networks and images in two steps: what is drawn for real and generated images is drawn again."""
    task = make(augmentation=Noisy(), generator_optimizer=FROZEN, discriminator_optimizer=FROZEN)
    state, step = started(task), jax.jit(task.step)
    (_, first), (_, again), (_, second) = (step(state, batch(), jax.random.key(seed)) for seed in (1, 1, 2))
    for name in ("discriminator/real_logits", "discriminator/fake_logits", "generator/loss"):
        assert float(first[name]) == float(again[name]) != float(second[name])


@pytest.mark.parametrize("num", [1, 2, 7])
def test_penalties_do_not_depend_on_the_batchs_size(num):
    """Means over records: of a matrix, whose slope is the same everywhere, the same whatever their number."""
    task = make(penalties={"gp": GradientPenalty(), "r1": R1(gamma=2.0)})
    slope = float(jnp.linalg.norm(started(task).params["discriminator"]["matrix"]["kernel"])) / 2
    _, metrics = jax.jit(task.step)(started(task), batch(num), KEY)
    np.testing.assert_allclose(metrics["discriminator/gp"], 10 * (slope - 1) ** 2, rtol=1e-4)
    np.testing.assert_allclose(metrics["discriminator/r1"], slope**2, rtol=1e-5)


@pytest.mark.parametrize(("loss", "matters"), [(hinge, True), (relativistic, False)])
def test_with_a_loss_of_pairs_the_augmentation_adapts_to_differences(loss, matters):
    """A number that is added to every logit decides their signs, and not those of differences."""
    task = make(augmentation=Brighter(), loss=loss)
    before, found = started(task), []
    for added in (-100.0, 100.0):
        params = before.params["discriminator"] | {
            "matrix": before.params["discriminator"]["matrix"] | {"bias": jnp.full(1, added)}
        }
        after, _ = stepped(task, before.replace(params=before.params | {"discriminator": params}))
        found.append(float(after.extra["augmentation"]["strength"]))
    if matters:
        assert found == [pytest.approx(0.4), pytest.approx(0.6)]
    else:
        assert found[0] == found[1]


def test_the_generator_may_see_more_images():
    """With 3 images a record its loss is a mean over as many, of which the first of a record is another."""
    task, multiple = (make(discriminator_optimizer=FROZEN, generator_multiple=n) for n in (1, 3))
    state = started(task)
    one, three = (float(stepped(t, state)[1]["generator/loss"]) for t in (task, multiple))
    assert one != three
    text = str(jax.make_jaxpr(multiple.step)(state, batch(), KEY))
    assert "12,4,4,1" in text


def test_pairs_compare_with_the_batch():
    task = make(loss=relativistic, discriminator_optimizer=FROZEN)
    state = started(task)
    _, metrics = stepped(task, state)
    fakes = task.sample(state, record_keys(jax.random.split(KEY, 2)[1], batch()["position"][0]))
    judge = partial(task.discriminator.apply, {"params": state.params["discriminator"]}, train=False)
    wanted = np.log1p(np.exp(np.asarray(judge(batch()["image"][0]) - judge(fakes), np.float64))).mean()
    np.testing.assert_allclose(metrics["generator/loss"], wanted, rtol=1e-5)
    with pytest.raises(ConfigError, match="generator_multiple = 2"):
        make(loss=relativistic, generator_multiple=2)


def test_styles():
    task = make(generator=StylePainter())
    state, keys = started(task), record_keys(KEY, jnp.arange(3))
    assert task.has_styles
    latents = task.latents(keys)
    styles = task.styles(state, latents)
    assert styles.shape == (3, 2, 3)
    np.testing.assert_array_equal(task.synthesise(state, styles, keys), task.sample(state, keys))
    np.testing.assert_array_equal(task.generate(state, latents, keys), task.sample(state, keys))
    assert task.mean_style(state).shape == (3,)
    assert not make().has_styles


@pytest.mark.parametrize("interval", [1, 2])
def test_path_length(interval):
    """Its mean moves by the decay towards the lengths, and its penalty moves the generator."""
    rule = PathLength(interval=interval, decay=0.5, shrink=2)
    fields = {"generator": StylePainter(), "discriminator_optimizer": FROZEN, "generator_optimizer": ADAM}
    task, plain = make(path_length=rule, **fields), make(**fields)
    before = started(task)
    after, _ = stepped(task, before, **({"due": (True,)} if interval > 1 else {}))
    assert float(after.extra["path_length"]) > 0
    without, _ = stepped(plain, before.replace(extra={}))
    assert not np.allclose(
        after.params["generator"]["matrix"]["kernel"], without.params["generator"]["matrix"]["kernel"]
    )
    if interval > 1:
        skipped, _ = stepped(task, before, due=(False,))
        assert float(skipped.extra["path_length"]) == 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_classes": 1}, "num_classes = 1 must be at least 2"),
        ({"auxiliary": Auxiliary()}, "a classifier needs num_classes"),
        ({"generator_multiple": 0}, "generator_multiple = 0 must be at least 1"),
        ({"path_length": PathLength()}, "path_length: Painter has no styles"),
        ({"penalties": {"wrong_logits": R1(gamma=1.0)}}, r"penalties\.wrong_logits: .* is reported already"),
        ({"penalties": {"loss": R1(gamma=1.0)}}, r"penalties\.loss: discriminator/loss is reported already"),
        ({"penalties": {"r1": R1(gamma=1.0, interval=2)}}, r"discriminator_optimizer\.rule has no b1 and b2"),
    ],
)
def test_impossible_settings(fields, message):
    with pytest.raises(ConfigError, match=message):
        make(**fields)
    with pytest.raises(ConfigError, match=r"generator = -1\.0 must not be negative"):
        Auxiliary(generator=-1.0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_classes": 5, "auxiliary": Auxiliary()}, r"must give logits and those of the classes, \[2, 5\]"),
        ({"num_classes": 5, "discriminator": Critic(classes=5)}, "say their weight by auxiliary"),
        (
            {"num_classes": 5, "discriminator": nn.Dense(1)},
            r"task\.discriminator: Dense takes no labels.*jgr\.models\.labelled",
        ),
        ({"discriminator": Painter()}, r"gives \[32, 4, 4, 1\] for 2 images"),
        (
            {"discriminator": NormedCritic(), "penalties": {"gp": GradientPenalty()}},
            r"penalties: gp needs a discriminator that judges each image by itself; take batch norm out",
        ),
    ],
)
def test_networks_that_do_not_fit(fields, message):
    with pytest.raises(ConfigError, match=message):
        started(make(**fields))


def test_records_without_labels():
    image = batch()["image"][0]
    with pytest.raises(ConfigError, match=r"num_classes = 5, but the records of config\.data have no label"):
        make(num_classes=5, loss=non_saturating).init(KEY, {"image": image})


def test_concerns():
    calm = {"discriminator/loss": 1.2, "generator/gradient_norm": 0.1}
    task = make(loss=hinge)
    assert task.concern(calm) is None
    assert "discriminator/loss is below 0.001" in task.concern(calm | {"discriminator/loss": 2e-4})
    assert "generator/gradient_norm is below" in task.concern(calm | {"generator/gradient_norm": 1e-9})
    assert make(loss=wasserstein).concern(calm | {"discriminator/loss": 1e-4}) is None  # its loss has no bound
    assert task.concern(calm | {"discriminator/loss": -3.0}) is None  # nor has one of a user's that is negative
