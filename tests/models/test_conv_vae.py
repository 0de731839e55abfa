import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jgr.errors import ConfigError
from jgr.losses.likelihoods import Bernoulli, DiscretizedLogisticMixture
from jgr.models.conv_vae import Decoder, Encoder
from jgr.optim import Optimizer
from jgr.tasks.vae import VAE

ENCODER = Encoder(latent_dim=5, widths=(4, 6))
DECODER = Decoder(image_size=12, channels=2, latent_dim=5, widths=(4, 6))
IMAGES = jax.random.uniform(jax.random.key(0), (3, 12, 12, 2))
LATENTS = jax.random.normal(jax.random.key(1), (3, 5))
LABELS = jnp.array([0, 1, 2])


def drawn(network, inputs, **labels):
    """Variables with biases that are not 0."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(functools.partial(network.init, train=True, **labels), jax.random.key(0), inputs)
    return jax.tree.map(lambda leaf: jnp.asarray(0.2 * rng.standard_normal(leaf.shape), jnp.float32), shapes)


@functools.partial(jax.jit, static_argnums=0)
def applied(network, variables, inputs, labels=None):
    return network.apply(variables, inputs, labels=labels, train=True)


def torch_kernel(leaf):
    import torch

    return torch.tensor(np.asarray(leaf)).permute(3, 2, 0, 1)


def test_the_encoder_is_pytorchs():
    torch = pytest.importorskip("torch")
    variables = drawn(ENCODER, IMAGES)
    params = variables["params"]
    hidden = torch.tensor(np.asarray(IMAGES)).permute(0, 3, 1, 2) * 2 - 1
    for name in ("Conv_0", "Conv_1"):
        bias = torch.tensor(np.asarray(params[name]["bias"]))
        hidden = torch.relu(
            torch.nn.functional.conv2d(hidden, torch_kernel(params[name]["kernel"]), bias, stride=2, padding=1)
        )
    flat = hidden.permute(0, 2, 3, 1).reshape(3, -1).numpy()
    outputs = flat @ np.asarray(params["Dense_0"]["kernel"]) + np.asarray(params["Dense_0"]["bias"])
    posterior = applied(ENCODER, variables, IMAGES)
    np.testing.assert_allclose(posterior.mean, outputs[:, :5], atol=1e-4)
    np.testing.assert_allclose(posterior.log_variance, 10 * np.tanh(outputs[:, 5:] / 10), atol=1e-4)


def test_the_decoder_is_pytorchs():
    torch = pytest.importorskip("torch")
    variables = drawn(DECODER, LATENTS)
    params = variables["params"]
    flat = np.asarray(LATENTS) @ np.asarray(params["Dense_0"]["kernel"]) + np.asarray(params["Dense_0"]["bias"])
    hidden = torch.relu(torch.tensor(flat.reshape(3, 3, 3, 6))).permute(0, 3, 1, 2)
    for name in ("ConvTranspose_0", "ConvTranspose_1"):
        kernel = torch.tensor(np.asarray(params[name]["kernel"])[::-1, ::-1].copy()).permute(2, 3, 0, 1)
        bias = torch.tensor(np.asarray(params[name]["bias"]))
        hidden = torch.nn.functional.conv_transpose2d(
            hidden if name == "ConvTranspose_0" else torch.relu(hidden), kernel, bias, stride=2, padding=1
        )
    np.testing.assert_allclose(applied(DECODER, variables, LATENTS), hidden.permute(0, 2, 3, 1), atol=1e-4)


def test_a_modulated_decoder_scales_features_by_latents():
    torch = pytest.importorskip("torch")
    network = DECODER.clone(modulated=True)
    variables = drawn(network, LATENTS)
    params = jax.tree.map(np.asarray, variables["params"])

    def dense(leaves, told):
        return told @ leaves["kernel"] + leaves["bias"]

    def modulated(name, hidden):  # [n, features, height, width]
        scale, shift = (dense(params[name][part], np.asarray(LATENTS))[..., None, None] for part in ("scale", "shift"))
        return hidden * (1 + torch.tensor(scale)) + torch.tensor(shift)

    def enlarged(name, hidden):
        kernel = torch.tensor(params[name]["kernel"][::-1, ::-1].copy()).permute(2, 3, 0, 1)
        return torch.nn.functional.conv_transpose2d(
            hidden, kernel, torch.tensor(params[name]["bias"]), stride=2, padding=1
        )

    coarsest = torch.tensor(dense(params["Dense_0"], np.asarray(LATENTS)).reshape(3, 3, 3, 6)).permute(0, 3, 1, 2)
    hidden = modulated("Fusion_0", torch.relu(coarsest))
    hidden = modulated("Fusion_1", torch.relu(enlarged("ConvTranspose_0", hidden)))
    outputs = enlarged("ConvTranspose_1", hidden).permute(0, 2, 3, 1)
    np.testing.assert_allclose(applied(network, variables, LATENTS), outputs, atol=1e-4)


@pytest.mark.parametrize(("side", "widths"), [(28, (4, 6)), (24, (4, 6, 8)), (2, (3,))])
def test_any_side_that_can_be_halved(side, widths):
    encoder = Encoder(latent_dim=5, widths=widths)
    decoder = Decoder(image_size=side, channels=7, latent_dim=5, widths=widths)
    made = jax.eval_shape(
        lambda key, x: encoder.init_with_output(key, x, train=True)[0], jax.random.key(0), jnp.zeros((2, side, side, 3))
    )
    outputs = jax.eval_shape(
        lambda key, z: decoder.init_with_output(key, z, train=True)[0], jax.random.key(0), jnp.zeros((2, 5))
    )
    assert made.mean.shape == made.log_variance.shape == (2, 5)
    assert outputs.shape == (2, side, side, 7)


def test_labels_reach_latents_and_pixels():
    encoder, decoder = ENCODER.clone(num_classes=3), DECODER.clone(num_classes=3)
    images, latents = jnp.tile(IMAGES[:1], (3, 1, 1, 1)), jnp.tile(LATENTS[:1], (3, 1))
    of_images = applied(encoder, drawn(encoder, images, labels=LABELS), images, LABELS)
    of_latents = applied(decoder, drawn(decoder, latents, labels=LABELS), latents, LABELS)
    for made in (of_images.mean, of_latents.reshape(3, -1)):
        for one, other in ((0, 1), (0, 2), (1, 2)):
            assert float(jnp.abs(made[one] - made[other]).max()) > 0.05
    for network, inputs in ((encoder, images), (decoder, latents)):
        with pytest.raises(ConfigError, match=r"num_classes = 3 .* given no labels"):
            drawn(network, inputs)
    with pytest.raises(ConfigError, match=r"num_classes = None .* given labels"):
        drawn(ENCODER, images, labels=LABELS)


def test_outputs_begin_near_the_brightness():
    decoder = DECODER.clone(brightness=0.13)
    variables = jax.jit(functools.partial(decoder.init, train=True))(jax.random.key(0), LATENTS)
    outputs = applied(decoder, variables, jnp.zeros_like(LATENTS))
    np.testing.assert_allclose(jax.nn.sigmoid(outputs), 0.13, rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Encoder(widths=(4, 0)), r"widths = \(4, 0\)"),
        (lambda: Encoder(latent_dim=0), "latent_dim = 0"),
        (lambda: Decoder(image_size=30), "image_size = 30 must be a multiple of 4"),
        (lambda: Decoder(image_size=28, widths=()), "widths"),
        (lambda: Decoder(image_size=28, brightness=0.0), "brightness = 0.0"),
        (lambda: drawn(ENCODER, jnp.zeros((2, 12, 10, 1))), r"widths = .* 12x10 must be multiples of 4"),
        (lambda: drawn(DECODER, jnp.zeros((2, 4))), "latents of length 4, but latent_dim = 5"),
    ],
)
def test_impossible_sizes(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def batch_of(images):
    count = len(images)
    return {"image": images, "index": jnp.arange(count), "position": jnp.arange(count)}


def test_a_vae_of_them_learns_digits():
    from sklearn.datasets import load_digits

    images = jnp.asarray(load_digits().images[:64, ..., None] / 16, jnp.float32)
    task = VAE(
        encoder=Encoder(latent_dim=4, widths=(8, 16)),
        decoder=Decoder(image_size=8, latent_dim=4, widths=(8, 16), brightness=0.3),
        likelihood=Bernoulli(),
        optimizer=Optimizer(rule=optax.adam, learning_rate=5e-3),
    )
    batch = batch_of(images)
    state = jax.jit(task.init)(jax.random.key(0), batch)
    step = jax.jit(task.step)
    records, elbos = {name: value[None] for name, value in batch.items()}, []
    for number in range(200):
        state, metrics = step(state, records, jax.random.key(number))
        elbos.append(float(metrics["vae/elbo"]))
    means = np.asarray(images).mean(axis=0).clip(1e-6, 1 - 1e-6)
    without_latents = (means * np.log(means) + (1 - means) * np.log(1 - means)).sum()
    assert elbos[0] < without_latents  # what pixels without anything in common reach at best
    assert np.mean(elbos[-10:]) > without_latents + 1.0


def test_colour_images_of_a_mixture_fit_together():
    task = VAE(
        encoder=Encoder(latent_dim=4, widths=(4,)),
        decoder=Decoder(image_size=8, channels=20, latent_dim=4, widths=(4,)),
        likelihood=DiscretizedLogisticMixture(num_mixtures=2),
    )
    batch = batch_of(jnp.round(jax.random.uniform(jax.random.key(0), (2, 8, 8, 3)) * 255) / 255)
    assert set(jax.eval_shape(task.init, jax.random.key(0), batch).params) == {"encoder", "decoder", "likelihood"}
    wrong = dataclasses.replace(task, likelihood=DiscretizedLogisticMixture(num_mixtures=3))
    with pytest.raises(ConfigError, match=r"config.task.decoder gives 8x8x20, .* needs 8x8x30"):
        jax.eval_shape(wrong.init, jax.random.key(0), batch)
