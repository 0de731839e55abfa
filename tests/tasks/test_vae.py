import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from jgr.errors import ConfigError, DataError
from jgr.losses.gaussian import DiagonalGaussian
from jgr.losses.likelihoods import Bernoulli, DiscretizedLogisticMixture, Gaussian
from jgr.losses.variational import ELBO, ImportanceWeighted
from jgr.mesh import Mesh
from jgr.models.latent_priors import GaussianMixture
from jgr.models.mlp_vae import Decoder, Encoder
from jgr.optim import Optimizer
from jgr.rng import record_keys
from jgr.tasks.task import DensityModel, LatentModel, LatentSampler, Reconstructor, Sampler
from jgr.tasks.vae import VAE, Aggregate

SIDE = 4


def vae(**fields):
    encoder = fields.pop("encoder", Encoder(latent_dim=3, widths=(16,), num_classes=fields.get("num_classes")))
    decoder = fields.pop(
        "decoder", Decoder(image_size=SIDE, latent_dim=3, widths=(16,), num_classes=fields.get("num_classes"))
    )
    return VAE(encoder=encoder, decoder=decoder, **fields)


def batch_of(count=8, seed=0):
    draw = np.random.default_rng(seed)
    return {
        "image": jnp.asarray(draw.integers(0, 256, (count, SIDE, SIDE, 1)) / 255, jnp.float32),
        "label": jnp.arange(count) % 3,
        "index": jnp.arange(count),
        "position": jnp.arange(count, dtype=jnp.uint32),
    }


def in_step(batch):
    return {name: value[None] for name, value in batch.items()}


def trained(task, steps, batch):
    state = task.init(jax.random.key(0), batch)
    step = jax.jit(task.step)
    for number in range(steps):
        state, metrics = step(state, in_step(batch), jax.random.key(number))
    return state, metrics


def keys_of(count, seed=0):
    return record_keys(jax.random.key(seed), jnp.arange(count))


@pytest.fixture(scope="module")
def fitted():
    task = vae()
    return task, trained(task, 3, batch_of())[0]


def test_it_says_what_it_can_do(fitted):
    for protocol in (Sampler, LatentSampler, DensityModel, LatentModel, Reconstructor):
        assert isinstance(fitted[0], protocol)


@pytest.mark.parametrize(
    "objective", [ELBO(), ELBO(beta=4.0), ImportanceWeighted(num_samples=4, doubly_reparameterized=True)]
)
def test_training_raises_the_elbo(objective):
    task, batch = vae(objective=objective, likelihood=Bernoulli(binarisation="threshold")), batch_of()
    _, before = trained(task, 1, batch)
    _, after = trained(task, 150, batch)
    assert after["vae/elbo"] > before["vae/elbo"] + 1.0
    np.testing.assert_allclose(after["vae/elbo"], after["vae/reconstruction"] - after["vae/kl"], rtol=1e-5)
    assert 0 <= after["vae/largest_kl"] <= after["vae/kl"]


@pytest.mark.parametrize(
    "objective", [ELBO(free_bits=0.05), ImportanceWeighted(num_samples=4, doubly_reparameterized=True)]
)
def test_a_batch_over_four_devices_gives_the_same(objective):
    """Free bits are of the whole batch's mean, noise of each record, wherever it lies."""
    task = vae(objective=objective, optimizer=Optimizer(rule=optax.sgd, learning_rate=0.1), num_classes=3)
    batch, mesh = batch_of(), Mesh()
    state = task.init(jax.random.key(0), batch)
    whole, metrics = jax.jit(task.step)(state, in_step(batch), jax.random.key(1))
    with mesh.entered():
        cut = jax.device_put(in_step(batch), mesh.batch(axis=1))
        after, reported = jax.jit(task.step, out_shardings=mesh.replicated)(
            jax.device_put(state, mesh.replicated), cut, jax.random.key(1)
        )
    assert cut["image"].sharding.shard_shape(cut["image"].shape)[1] == 2
    for ours, theirs in ((after.params, whole.params), (reported, metrics)):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), ours, theirs)


def test_reported_elbo_is_that_of_the_posterior(fitted):
    """Against `log_likelihood` of one sample, over many keys."""
    task, state = fitted
    task = VAE(encoder=task.encoder, decoder=task.decoder, likelihood=Bernoulli(binarisation="threshold"))
    batch = batch_of()
    step = jax.jit(lambda key: task.step(state, in_step(batch), key)[1]["vae/elbo"])
    reported = [step(jax.random.key(number)) for number in range(200)]
    bounds = jax.vmap(lambda s: task.log_likelihood(state, batch, keys_of(8, s), 1).mean())(jnp.arange(400))
    assert np.mean(reported) == pytest.approx(float(bounds.mean()), abs=0.06)


def test_more_samples_bound_more_tightly(fitted):
    task, state = fitted
    batch = batch_of()
    one, many = (
        jax.vmap(lambda s, k=k: task.log_likelihood(state, batch, keys_of(8, s), k).mean())(jnp.arange(20)).mean()
        for k in (1, 64)
    )
    assert many > one


def test_bound_of_many_samples_is_the_likelihood_by_the_prior():
    """p(x) as the mean of p(x | z) over 4,000 latents of the prior: no posterior has a part in it."""
    task = vae()
    state = task.init(jax.random.key(0), batch_of())
    latents = task.latents(keys_of(4000))
    outputs = task.decoder.apply({"params": state.params["decoder"]}, latents, train=False).reshape(4000, -1)
    some = jnp.asarray(np.random.default_rng(0).integers(0, 2, (2, SIDE, SIDE, 1)), jnp.float32)
    flat = some.reshape(2, -1)
    log_prob = flat @ outputs.T - jax.nn.softplus(outputs).sum(axis=1)[None]
    exact = jax.nn.logsumexp(log_prob, axis=1) - np.log(4000)
    batch = batch_of(2) | {"image": some}
    bound = task.log_likelihood(state, batch, keys_of(2), 4000)
    np.testing.assert_allclose(bound, exact, atol=0.1)


def test_likelihood_does_not_depend_on_the_batch(fitted):
    task, state = fitted
    batch, keys = batch_of(), keys_of(8)
    whole = task.log_likelihood(state, batch, keys, 10)
    part = task.log_likelihood(state, {name: value[2:5] for name, value in batch.items()}, keys[2:5], 10)
    np.testing.assert_allclose(whole[2:5], part, rtol=1e-5)


def test_samples_are_one_a_key_and_made_of_their_latents(fitted):
    task, state = fitted
    images = task.sample(state, keys_of(6))
    assert images.shape == (6, SIDE, SIDE, 1)
    np.testing.assert_allclose(images[2:4], task.sample(state, keys_of(6)[2:4]), atol=1e-6)
    again = task.generate(state, task.latents(keys_of(6)), keys_of(6))
    np.testing.assert_array_equal(images, again)
    assert ((images >= 0) & (images <= 1)).all()


def test_reconstruction_comes_close_after_training():
    batch = batch_of() | {"image": jnp.round(batch_of()["image"])}
    task = vae(optimizer=Optimizer(learning_rate=1e-2))
    state, _ = trained(task, 400, batch)
    error = jnp.abs(task.reconstruct(state, batch) - batch["image"]).mean()
    assert error < 0.2
    assert jnp.abs(task.sample(state, keys_of(8)) - batch["image"]).mean() > 2 * error


def test_labels_reach_both_networks():
    task = vae(num_classes=3)
    state, _ = trained(task, 3, batch_of())
    batch = batch_of()
    other = batch | {"label": (batch["label"] + 1) % 3}
    assert (task.posterior_mean(state, batch) != task.posterior_mean(state, other)).any()
    one, two = (task.sample(state, keys_of(4), {"label": jnp.full(4, label)}) for label in (0, 1))
    assert (one != two).any()
    with pytest.raises(ValueError, match="this VAE is conditional, but was given no condition"):
        task.sample(state, keys_of(4))
    with pytest.raises(ValueError, match=r"this VAE is unconditional, but was given the condition \['label'\]"):
        vae().sample(state, keys_of(4), {"label": jnp.zeros(4, jnp.int32)})


def test_a_learned_scale_is_trained():
    task = vae(likelihood=Gaussian(learned=True))
    before = task.init(jax.random.key(0), batch_of()).params["likelihood"]["log_scale"]
    state, _ = trained(task, 5, batch_of())
    assert state.params["likelihood"]["log_scale"] != before


def test_the_aggregates_model_learns_from_the_autoencoder_and_never_teaches_it():
    batch = batch_of()
    plain, _ = trained(vae(), 5, batch)
    task = vae(aggregate=Aggregate(prior=GaussianMixture(latent_dim=3, num_components=2)))
    state, metrics = trained(task, 5, batch)
    for name in ("encoder", "decoder"):
        jax.tree.map(np.testing.assert_array_equal, state.params[name], plain.params[name])
    first = task.init(jax.random.key(0), batch).params["aggregate"]
    assert (state.params["aggregate"]["means"] != first["means"]).any()
    assert "aggregate/loss" in metrics
    np.testing.assert_array_equal(
        task.log_likelihood(state, batch, keys_of(8), 4), vae().log_likelihood(plain, batch, keys_of(8), 4)
    )
    assert (task.sample(state, keys_of(8)) != vae().sample(plain, keys_of(8))).any()


def test_collapse_is_told():
    task, batch = vae(objective=ELBO(beta=200.0)), batch_of(32)
    _, metrics = trained(task, 300, batch)
    concern = task.concern({name: float(value) for name, value in metrics.items()})
    assert concern is not None
    assert "posterior collapse" in concern
    assert "of 3 latents are active" in concern
    dear = {name: float(value) for name, value in metrics.items()} | {"vae/beta": 400.0}
    assert task.concern(dear) is None, "an annealing from above makes latents dear on purpose"
    black_and_white = batch | {"image": jnp.round(batch["image"])}
    _, healthy = trained(vae(optimizer=Optimizer(learning_rate=1e-2)), 300, black_and_white)
    assert vae().concern({name: float(value) for name, value in healthy.items()}) is None


def test_records_outside_the_support_are_refused():
    with pytest.raises(DataError, match="Bernoulli gives probabilities to 0 and 1; set likelihood"):
        vae(likelihood=Bernoulli(binarisation="none")).check_records({"image": np.full((2, 4, 4, 1), 0.3, np.float32)})
    vae().check_records({"image": np.full((2, 4, 4, 1), 0.3, np.float32)})


class Normed(nn.Module):
    """An encoder with batch norm."""

    latent_dim: int = 3

    @nn.compact
    def __call__(self, images, *, train):
        hidden = nn.BatchNorm(use_running_average=not train)(images.reshape(len(images), -1))
        return DiagonalGaussian.bounded(*jnp.split(nn.Dense(6)(hidden), 2, axis=-1))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"decoder": Decoder(image_size=5, latent_dim=3)},
            "config.task.decoder gives 5x5x1, but Bernoulli of the data's images needs 4x4x1",
        ),
        (
            {"likelihood": DiscretizedLogisticMixture(num_mixtures=5)},
            "config.task.decoder gives 4x4x1, but DiscretizedLogisticMixture .* needs 4x4x15",
        ),
        ({"encoder": Normed()}, "config.task.encoder: Normed keeps batch_stats besides parameters"),
    ],
)
def test_networks_that_do_not_fit(fields, words):
    with pytest.raises(ConfigError, match=words):
        vae(**fields).init(jax.random.key(0), batch_of())


def test_impossible_fields():
    with pytest.raises(ConfigError, match="num_classes = 1 must be at least 2"):
        vae(num_classes=1)
    with pytest.raises(ConfigError, match=r"^decoder\.latent_dim = 3, but encoder\.latent_dim = 4: set both alike"):
        vae(encoder=Encoder(latent_dim=4))
    with pytest.raises(ConfigError, match=r"^encoder\.num_classes = None, but num_classes = 3: set both alike"):
        vae(num_classes=3, encoder=Encoder(latent_dim=3))
    with pytest.raises(ConfigError, match=r"^decoder\.num_classes = 3, but num_classes = None: set both alike"):
        vae(decoder=Decoder(image_size=SIDE, latent_dim=3, num_classes=3))
    with pytest.raises(ConfigError, match=r"aggregate\.prior\.latent_dim = 5 must be that of the encoder, 3"):
        vae(aggregate=Aggregate(prior=GaussianMixture(latent_dim=5)))
    with pytest.raises(ConfigError, match="aggregate: a model of the latents of all classes"):
        vae(num_classes=3, aggregate=Aggregate(prior=GaussianMixture(latent_dim=3)))
    unlabelled = {name: value for name, value in batch_of().items() if name != "label"}
    with pytest.raises(ConfigError, match="a conditional VAE needs records with a label"):
        vae(num_classes=3).init(jax.random.key(0), unlabelled)
