import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jgr.errors import ConfigError
from jgr.images import from_signed
from jgr.models import dcgan, labelled, mlp_gan
from jgr.tasks.gan import GAN
from jgr.tasks.precision import computing_in

LABELS = jnp.array([2, 0, 1, 2], jnp.int32)


def mlp_generator(**fields):
    inner = mlp_gan.Generator(image_size=4, channels=3, latent_dim=11, widths=(8,))
    return labelled.Generator(generator=inner, num_classes=3, embedding_dim=5, **fields)


def mlp_discriminator(**fields):
    inner = mlp_gan.Discriminator(image_size=4, channels=5, widths=(8,))
    return labelled.Discriminator(discriminator=inner, num_classes=3, planes=2, **fields)


def test_the_generator_gets_the_latents_and_the_labels_row():
    module = mlp_generator()
    assert module.latent_dim == 6
    latents = jax.random.normal(jax.random.key(0), (4, 6))
    images, variables = module.init_with_output(jax.random.key(1), latents, labels=LABELS, train=True)
    table = variables["params"]["Embed_0"]["embedding"]
    assert table.shape == (3, 5)
    expected = module.generator.apply(
        {"params": variables["params"]["generator"]}, jnp.concatenate([latents, table[LABELS]], axis=1), train=True
    )
    np.testing.assert_allclose(images, expected, atol=1e-6)
    other = module.apply(variables, latents, labels=LABELS.at[1].set(1), train=False)
    assert (jnp.abs(other - images).max((1, 2, 3)) > 1e-3).tolist() == [False, True, False, False]


def test_the_discriminator_gets_the_image_and_the_labels_planes():
    module = mlp_discriminator()
    images = jax.random.uniform(jax.random.key(0), (4, 4, 4, 3))
    logits, variables = module.init_with_output(jax.random.key(1), images, labels=LABELS, train=True)
    table = variables["params"]["Embed_0"]["embedding"]
    assert abs(float(table.std()) - 1) < 0.3  # as strong as an image in [-1, 1]
    planes = from_signed(table)[LABELS].reshape(4, 4, 4, 2)
    expected = module.discriminator.apply(
        {"params": variables["params"]["discriminator"]}, jnp.concatenate([images, planes], axis=-1), train=True
    )
    np.testing.assert_allclose(logits, expected, atol=1e-6)
    other = module.apply(variables, images, labels=LABELS.at[3].set(0), train=False)
    assert (jnp.abs(other - logits) > 1e-3).tolist() == [False, False, False, True]


def test_convolutional_networks_keep_their_batch_statistics():
    module = labelled.Generator(generator=dcgan.Generator(image_size=8, width=4, latent_dim=20), num_classes=3)
    assert module.latent_dim == 4
    shapes = jax.eval_shape(
        lambda key: module.init(key, jnp.zeros((4, 4)), labels=LABELS, train=True), jax.random.key(0)
    )
    assert set(shapes) == {"params", "batch_stats"}


def test_a_conditional_gan_trains_both_tables():
    task = GAN(generator=mlp_generator(), discriminator=mlp_discriminator(), num_classes=3)
    batch = {
        "image": jax.random.uniform(jax.random.key(0), (1, 4, 4, 4, 3)),
        "label": LABELS[None],
        "position": jnp.arange(4, dtype=jnp.uint32)[None],
    }
    state = jax.jit(task.init)(jax.random.key(1), {name: value[0] for name, value in batch.items()})
    after, _ = jax.jit(task.step)(state, batch, jax.random.key(2))
    for network in ("generator", "discriminator"):
        before, now = (tree.params[network]["Embed_0"]["embedding"] for tree in (state, after))
        assert (jnp.abs(now - before).max(1) > 1e-6).all()


class Drawing(nn.Module):
    """A generator that draws from keys."""

    draws = True
    latent_dim: int = 6

    @nn.compact
    def __call__(self, latents, *, train, keys=None):
        noise = 0.0 if keys is None else jax.vmap(jax.random.uniform)(keys).reshape(-1, 1, 1, 1)
        return jnp.zeros((len(latents), 2, 2, 1)) + noise


def test_keys_reach_a_generator_that_draws():
    module = labelled.Generator(generator=Drawing(), num_classes=3, embedding_dim=2)
    assert module.draws
    assert not mlp_generator().draws
    latents = jnp.zeros((4, 4))
    images, variables = module.init_with_output(jax.random.key(0), latents, labels=LABELS, train=True)
    assert not images.any()
    drawn = module.apply(variables, latents, labels=LABELS, keys=jax.random.split(jax.random.key(1), 4), train=False)
    assert len(np.unique(drawn[:, 0, 0, 0])) == 4


def test_the_type_of_computation_reaches_the_network_inside():
    task = GAN(generator=mlp_generator(), discriminator=mlp_discriminator(), num_classes=3)
    half = computing_in("bfloat16", task, "config.train.dtype")
    assert half.generator.generator.dtype == half.discriminator.discriminator.dtype == jnp.bfloat16
    assert task.generator.generator.dtype is None
    with pytest.raises(ConfigError, match="Drawing has no field dtype"):
        labelled.Generator(generator=Drawing(), num_classes=3, embedding_dim=2, dtype=jnp.bfloat16)


def test_impossible_values_are_named():
    with pytest.raises(ConfigError, match=r"generator.latent_dim = 6 must exceed embedding_dim = 6"):
        labelled.Generator(generator=Drawing(), num_classes=3, embedding_dim=6)
    with pytest.raises(ConfigError, match="planes = 0"):
        labelled.Discriminator(discriminator=mlp_gan.Discriminator(image_size=4), num_classes=3, planes=0)
