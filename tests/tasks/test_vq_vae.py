import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from sklearn.datasets import load_digits

from jgr.errors import ConfigError, DataError
from jgr.losses.likelihoods import Bernoulli, DiscretizedLogisticMixture
from jgr.mesh import Mesh
from jgr.models.pixelcnn import PixelCNN
from jgr.models.vq_vae import Codebook, Decoder, Encoder
from jgr.optim import Optimizer
from jgr.rng import record_keys
from jgr.state import advance_average, averaged, with_average
from jgr.tasks.task import DensityModel, Reconstructor, Sampler
from jgr.tasks.update import FINITE
from jgr.tasks.vq_vae import VQVAE

SGD = Optimizer(rule=optax.sgd, learning_rate=1.0)
STILL = Optimizer(rule=optax.sgd, learning_rate=0.0)
SMALL = dict(levels=1, width=4, num_blocks=1, block_width=3)


def make_task(**fields):
    """Images of 2x4 black and white pixels, 1x2 codes of three."""
    return VQVAE(
        **{
            "encoder": Encoder(embedding_dim=2, **SMALL),
            "decoder": Decoder(**SMALL),
            "prior": PixelCNN(grid=(1, 2), num_codes=3, width=4, num_blocks=1),
            "codebook": Codebook(num_codes=3, embedding_dim=2),
            "likelihood": Bernoulli(binarisation="none"),
            "optimizer": SGD,
            "prior_optimizer": SGD,
        }
        | fields
    )


ALL = jnp.array(list(itertools.product((0.0, 1.0), repeat=8))).reshape(-1, 2, 4, 1)  # images that there are
SOME = ALL[jax.random.permutation(jax.random.key(0), 256)[:8]]


def records(images):
    order = jnp.arange(len(images), dtype=jnp.int32)
    return {"image": images, "index": order, "position": order.astype(jnp.uint32)}


def batch(images):
    return {name: value[None] for name, value in records(images).items()}


def initial(task, images=SOME, **more):
    """A state whose codebook lies among the features, so that all codes are in use."""
    state = jax.jit(task.init)(jax.random.key(0), {"image": images, **more})
    features = task.encoder.apply({"params": state.params["encoder"]}, images, train=True)
    dims = task.codebook.embedding_dim
    embedding = features.reshape(-1, dims)[: task.codebook.num_codes]
    moving = state.model_state["codebook"]["moving"] | {
        "embedding": embedding,
        "counts": jnp.ones(len(embedding)),
        "sums": embedding,
    }
    return state.replace(model_state=state.model_state | {"codebook": {"moving": moving}})


@pytest.fixture(scope="module")
def task():
    return make_task()


@pytest.fixture(scope="module")
def state(task):
    return initial(task)


@pytest.fixture(scope="module")
def stepped(task, state):
    return jax.jit(task.step)(state, batch(SOME), jax.random.key(1))


def close(ours, theirs, rtol=1e-4, atol=1e-5):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=atol), ours, theirs)


def equal(a, b):
    return all(jax.tree.leaves(jax.tree.map(np.array_equal, a, b)))


def parts(task, state, images):
    """Features, the codes nearest to them by brute force, and these codes' vectors."""
    features = task.encoder.apply({"params": state.params["encoder"]}, images, train=True)
    embedding = state.model_state["codebook"]["moving"]["embedding"]
    distances = np.linalg.norm(np.asarray(features)[..., None, :] - np.asarray(embedding), axis=-1)
    codes = distances.argmin(axis=-1).astype(np.int32)
    return features, codes, embedding[codes]


def log_prob(images, logits):
    """Of images given a Bernoulli decoder's logits, by its definition."""
    of_pixels = jnp.where(images == 1.0, jax.nn.log_sigmoid(logits), jax.nn.log_sigmoid(-logits))
    return of_pixels.sum(axis=(1, 2, 3))


def test_the_encoders_gradient_is_the_decoders_at_the_codes_and_the_commitments(task, state, stepped):
    """With a learning rate of 1 a step of SGD is the gradient."""
    features, _, quantised = parts(task, state, SOME)

    def reconstruction(decoder, values):
        return -log_prob(SOME, task.decoder.apply({"params": decoder}, values, train=True)).mean()

    of_decoder, of_values = jax.jit(jax.grad(reconstruction, argnums=(0, 1)))(state.params["decoder"], quantised)
    of_values += 0.25 * 2.0 * (features - quantised) / len(SOME)
    assert jnp.abs(features - quantised).max() > 0.01
    apply = lambda params: task.encoder.apply({"params": params}, SOME, train=True)  # noqa: E731
    (of_encoder,) = jax.jit(lambda params, values: jax.vjp(apply, params)[1](values))(
        state.params["encoder"], of_values
    )
    after, _ = stepped
    for name, gradient in (("encoder", of_encoder), ("decoder", of_decoder)):
        moved = jax.tree.map(jnp.subtract, state.params[name], after.params[name])
        close(moved, gradient)
        assert optax.tree.norm(gradient) > 0.01


def test_the_codebook_follows_the_features_before_the_step(task, state, stepped):
    features, codes, _ = parts(task, state, SOME)
    before, after = state.model_state["codebook"]["moving"], stepped[0].model_state["codebook"]["moving"]
    flat, codes = np.asarray(features).reshape(-1, 2), codes.reshape(-1)
    counts = 0.99 * np.asarray(before["counts"]) + 0.01 * np.bincount(codes, minlength=3)
    assert (counts > 0.02 * len(flat) / 3).all()  # none is revived
    np.testing.assert_allclose(after["counts"], counts, rtol=1e-6)
    for code in range(3):
        total = 0.99 * np.asarray(before["sums"][code]) + 0.01 * flat[codes == code].sum(axis=0)
        np.testing.assert_allclose(after["embedding"][code], total / counts[code], rtol=1e-4)


def test_each_update_changes_what_it_owns_only(task, state, stepped):
    whole, _ = stepped
    assert whole.params.keys() == {"encoder", "decoder", "likelihood", "prior"}
    assert not equal(whole.model_state["codebook"], state.model_state["codebook"])
    for still, others in (("optimizer", ["prior"]), ("prior_optimizer", ["encoder", "decoder"])):
        after, _ = jax.jit(make_task(**{still: STILL}).step)(state, batch(SOME), jax.random.key(1))
        for name in ("encoder", "decoder", "prior"):
            assert equal(after.params[name], state.params[name]) == (name not in others)
            if name in others:  # as if the rest moved too: neither learns from the other
                close(after.params[name], whole.params[name])
        close(after.model_state, whole.model_state)


def test_metrics_are_those_of_the_batch(task, state, stepped):
    _, metrics = stepped
    features, codes, quantised = parts(task, state, SOME)
    assert all(bool(value) for name, value in metrics.items() if name.startswith(FINITE))
    logits = task.decoder.apply({"params": state.params["decoder"]}, quantised, train=True)
    np.testing.assert_allclose(metrics["vae/reconstruction"], log_prob(SOME, logits).mean(), rtol=1e-5)
    squares = np.square(features - quantised).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(metrics["vae/commitment"], squares.mean(), rtol=1e-4)
    logits = task.prior.apply({"params": state.params["prior"]}, jnp.asarray(codes), train=True)
    nats = -np.take_along_axis(np.asarray(jax.nn.log_softmax(logits)), codes[..., None], axis=-1).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(metrics["prior/loss"], nats.mean(), rtol=1e-5)
    shares = np.bincount(codes.reshape(-1), minlength=3) / codes.size
    np.testing.assert_allclose(metrics["vae/perplexity"], np.prod(shares**-shares), rtol=1e-5)
    assert metrics["vae/codes_in_use"] == (shares > 0).sum() == 3
    bounds = jax.jit(task.log_likelihood, static_argnums=3)(
        state, records(SOME), jax.random.split(jax.random.key(0), 8), 1
    )
    np.testing.assert_allclose(metrics["vae/elbo"], bounds.mean(), rtol=1e-5)


def test_the_bound_is_below_the_likelihood_which_sums_to_one(task, state, stepped):
    """The likelihood by summing over all 9 grids of codes, for all 256 images that there are."""
    state, _ = stepped
    keys = jax.random.split(jax.random.key(0), 256)
    bounds = np.asarray(jax.jit(task.log_likelihood, static_argnums=3)(state, records(ALL), keys, 1), np.float64)
    grids = jnp.array(list(itertools.product(range(3), repeat=2)), jnp.int32).reshape(-1, 1, 2)
    embedding = state.model_state["codebook"]["moving"]["embedding"]
    logits = task.decoder.apply({"params": state.params["decoder"]}, embedding[grids], train=True)
    of_codes = jax.nn.log_softmax(task.prior.apply({"params": state.params["prior"]}, grids, train=True))
    of_codes = np.take_along_axis(np.asarray(of_codes), np.asarray(grids)[..., None], axis=-1).sum(axis=(1, 2, 3))
    joint = np.stack([log_prob(ALL, jnp.broadcast_to(each, ALL.shape)) for each in logits]).astype(np.float64)
    joint += of_codes[:, None]
    np.testing.assert_allclose(np.exp(joint).sum(), 1.0, rtol=1e-5)
    assert (bounds < np.log(np.exp(joint).sum(axis=0))).all()
    assert 0.05 < np.exp(bounds).sum() < 1.0
    _, codes, _ = parts(task, state, ALL)
    chosen = 3 * codes[:, 0, 0] + codes[:, 0, 1]
    np.testing.assert_allclose(bounds, joint[chosen, np.arange(256)], rtol=1e-5)


def test_micro_batches_change_nothing(state, stepped):
    parted = make_task(optimizer=Optimizer(rule=optax.sgd, learning_rate=1.0, micro_batches=2))
    after, metrics = jax.jit(parted.step)(state, batch(SOME), jax.random.key(1))
    close(after.params, stepped[0].params)
    close(after.model_state, stepped[0].model_state)
    close(metrics["vae/elbo"], stepped[1]["vae/elbo"])


def test_a_batch_over_four_devices_gives_the_same(task, state):
    """Sums of the codebook are those of all devices, and so is the draw of features for dead codes."""
    moving = state.model_state["codebook"]["moving"]
    moving = moving | {"embedding": moving["embedding"].at[1].set(1e3), "counts": moving["counts"].at[1].set(0.0)}
    state, mesh = state.replace(model_state=state.model_state | {"codebook": {"moving": moving}}), Mesh()
    whole, metrics = jax.jit(task.step)(state, batch(SOME), jax.random.key(1))
    assert whole.model_state["codebook"]["moving"]["counts"][1] == pytest.approx(0.02 * 16 / 3)
    with mesh.entered():
        cut = jax.device_put(batch(SOME), mesh.batch(axis=1))
        after, reported = jax.jit(task.step, out_shardings=mesh.replicated)(
            jax.device_put(state, mesh.replicated), cut, jax.random.key(1)
        )
    assert cut["image"].sharding.shard_shape(cut["image"].shape)[1] == 2
    close(after.params, whole.params)
    close(after.model_state, whole.model_state)
    close(reported, metrics)


def test_samples_are_one_a_key_and_of_the_priors_codes(task, stepped):
    state, _ = stepped
    keys = record_keys(jax.random.key(3), jnp.arange(200, dtype=jnp.uint32))
    sample = jax.jit(task.sample)
    images = sample(state, keys)
    assert images.shape == (200, 2, 4, 1)
    assert (images.min() > 0.0) & (images.max() < 1.0)
    np.testing.assert_allclose(images[20:23], sample(state, keys[20:23]), rtol=1e-5)
    grids = jnp.array(list(itertools.product(range(3), repeat=2)), jnp.int32).reshape(-1, 1, 2)
    known = np.asarray(task.decode(state, grids)).reshape(9, -1)
    distances = np.abs(np.asarray(images).reshape(200, 1, -1) - known[None]).max(axis=-1)
    assert distances.min(axis=1).max() < 1e-5
    shares = np.bincount(distances.argmin(axis=1), minlength=9) / 200
    logits = task.prior.apply({"params": state.params["prior"]}, grids, train=True)
    codes = np.take_along_axis(np.asarray(jax.nn.softmax(logits)), np.asarray(grids)[..., None], axis=-1)
    np.testing.assert_allclose(shares, codes.prod(axis=(1, 2, 3)), atol=0.12)  # 3.4 standard deviations at most
    assert isinstance(task, Sampler)
    assert isinstance(task, DensityModel)
    assert isinstance(task, Reconstructor)


def test_reconstructions_are_decoded_codes(task, state):
    _, _, quantised = parts(task, state, SOME)
    logits = task.decoder.apply({"params": state.params["decoder"]}, quantised, train=True)
    np.testing.assert_allclose(task.reconstruct(state, records(SOME)), jax.nn.sigmoid(logits), rtol=1e-5)


def test_labels_go_to_the_prior():
    prior = PixelCNN(grid=(1, 2), num_codes=3, width=4, num_blocks=1, num_classes=2)
    task = make_task(prior=prior, num_classes=2)
    labels = jnp.array([0, 1] * 4, jnp.int32)
    state = initial(task, label=labels)
    after, metrics = jax.jit(task.step)(state, batch(SOME) | {"label": labels[None]}, jax.random.key(1))
    assert not equal(after.params["prior"]["label"], state.params["prior"]["label"])
    keys = jax.random.split(jax.random.key(0), 8)
    bound = jax.jit(task.log_likelihood, static_argnums=3)
    bounds = bound(state, records(SOME) | {"label": labels}, keys, 1)
    np.testing.assert_allclose(metrics["vae/elbo"], bounds.mean(), rtol=1e-5)
    assert jnp.abs(bound(state, records(SOME) | {"label": 1 - labels}, keys, 1) - bounds).min() > 0
    assert task.sample(state, keys, {"label": labels}).shape == (8, 2, 4, 1)
    with pytest.raises(ValueError, match="is conditional, but was given no condition"):
        task.sample(state, keys)
    with pytest.raises(ValueError, match="is unconditional, but was given the condition"):
        make_task().sample(state, keys, {"label": labels})
    with pytest.raises(
        ConfigError, match=r"config\.task\.num_classes = 2: a conditional prior needs records with a label"
    ):
        jax.eval_shape(task.init, jax.random.key(0), {"image": SOME})


def test_training_on_digits_raises_the_bound():
    digits = jnp.asarray(load_digits().images[:256] / 16.0, jnp.float32)[..., None]
    sizes = dict(levels=1, width=16, num_blocks=1, block_width=8)
    adam = Optimizer(rule=optax.adam, learning_rate=5e-3)
    task = make_task(
        encoder=Encoder(embedding_dim=4, **sizes),
        decoder=Decoder(**sizes),
        prior=PixelCNN(grid=(4, 4), num_codes=8, width=16, num_blocks=3),
        codebook=Codebook(num_codes=8, embedding_dim=4),
        likelihood=Bernoulli(binarisation="threshold"),
        optimizer=adam,
        prior_optimizer=adam,
    )
    state = jax.jit(task.init)(jax.random.key(0), {"image": digits})
    state, step, told = with_average(state, task.averaged_networks), jax.jit(task.step), []
    for number in range(60):
        images = digits[64 * (number % 4) :][:64]
        state, metrics = step(state, batch(images), jax.random.key(number))
        state = advance_average(state.replace(step=state.step + 1), half_life=10, ramp_up=0.05)
        told.append(float(metrics["vae/elbo"]))
    assert told[0] < -60.0  # 64 ln 2 + 16 ln 8 = 78 nats is to know nothing
    assert np.mean(told[-4:]) > told[0] + 20.0
    assert metrics["vae/perplexity"] > 3.0
    averages = averaged(state)
    assert equal(averages.model_state["codebook"], state.model_state["codebook"])
    assert not equal(averages.params["prior"], state.params["prior"])


def test_a_collapsed_codebook_is_told():
    concern = make_task().concern({"vae/perplexity": 1.02, "vae/codes_in_use": 2.0})
    assert "codebook collapse: vae/perplexity is 1.02, 2 of 3 codes are in use" in concern
    assert make_task().concern({"vae/perplexity": 2.5, "vae/codes_in_use": 3.0}) is None
    alone = make_task(codebook=Codebook(num_codes=1, embedding_dim=2))
    assert alone.concern({"vae/perplexity": 1.0, "vae/codes_in_use": 1.0}) is None


def test_images_outside_the_support_are_refused():
    with pytest.raises(DataError, match=r"0\.5 .*Bernoulli"):
        make_task().check_records({"image": np.full((2, 2, 4, 1), 0.5, np.float32)})


class Normed(nn.Module):
    @nn.compact
    def __call__(self, images, *, train):
        return nn.BatchNorm(not train)(Encoder(embedding_dim=2, **SMALL)(images, train=train))


class Unlabelled(PixelCNN):
    def __call__(self, codes, *, train):
        return super().__call__(codes, train=train)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"encoder": Encoder(embedding_dim=5, **SMALL)},
            r"config\.task\.encoder gives 1x2x5, but config\.task\.codebook\.embedding_dim = 2",
        ),
        ({"decoder": Decoder(outputs=2, **SMALL)}, r"config\.task\.decoder gives 2x4x2, but Bernoulli .* needs 2x4x1"),
        (
            {"decoder": Decoder(**SMALL | {"levels": 2})},
            r"config\.task\.decoder gives 4x8x1, but Bernoulli .* needs 2x4x1",
        ),
        (
            {"likelihood": DiscretizedLogisticMixture(num_mixtures=2)},
            r"config\.task\.decoder gives 2x4x1, but DiscretizedLogisticMixture .* needs 2x4x6",
        ),
        (
            {"prior": PixelCNN(grid=(1, 2), num_codes=4)},
            r"config\.task\.prior gives 1x2x4, but the encoder's codes are 1x2 and .*codebook\.num_codes = 3",
        ),
        ({"prior": PixelCNN(grid=(2, 2), num_codes=3)}, r"prior: codes of \(1, 2\), but grid = \(2, 2\)"),
        ({"encoder": Normed()}, r"config\.task\.encoder: Normed keeps batch_stats besides parameters"),
        ({"num_classes": 2}, "num_classes = None of the prior, but it was given labels"),
        (
            {"num_classes": 2, "prior": Unlabelled(grid=(1, 2), num_codes=3)},
            r"config\.task\.prior: Unlabelled takes no labels, but num_classes = 2",
        ),
    ],
)
def test_what_does_not_fit_is_named(fields, message):
    with pytest.raises(ConfigError, match=message):
        jax.eval_shape(make_task(**fields).init, jax.random.key(0), {"image": SOME, "label": jnp.zeros(8, jnp.int32)})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"commitment": -1.0}, "commitment = -1.0 must not be negative"),
        ({"num_classes": 1}, "num_classes = 1 must be at least 2"),
        ({"prior": Decoder()}, "prior: Decoder needs a method sample"),
    ],
)
def test_impossible_settings(fields, message):
    with pytest.raises(ConfigError, match=message):
        make_task(**fields)
