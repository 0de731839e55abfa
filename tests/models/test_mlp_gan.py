import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jgr.errors import ConfigError
from jgr.layers import heads
from jgr.models.mlp_gan import Discriminator, Generator


def num_parameters(module, inputs):
    shapes = jax.eval_shape(lambda key: module.init(key, inputs, train=True), jax.random.key(0))
    assert set(shapes) == {"params"}
    return sum(leaf.size for leaf in jax.tree.leaves(shapes))


def test_parameter_counts_at_28_pixels():
    generator = (100 * 256 + 256) + (256 * 512 + 512) + (512 * 1024 + 1024) + (1024 * 784 + 784)
    assert num_parameters(Generator(image_size=28), jnp.zeros((2, 100))) == generator == 1_486_352
    discriminator = (784 * 1024 + 1024) + (1024 * 512 + 512) + (512 * 256 + 256) + (256 + 1)
    assert num_parameters(Discriminator(image_size=28), jnp.zeros((2, 28, 28, 1))) == discriminator == 1_460_225


def test_colour_images_and_widths_are_fields():
    generator = Generator(image_size=5, channels=3, latent_dim=7, widths=(4,))
    latents = jax.random.normal(jax.random.key(0), (6, 7))
    images, variables = generator.init_with_output(jax.random.key(1), latents, train=True)
    assert images.shape == (6, 5, 5, 3)
    assert images.dtype == jnp.float32
    assert num_parameters(generator, latents) == (7 * 4 + 4) + (4 * 75 + 75)
    discriminator = Discriminator(image_size=5, channels=3, widths=(4,))
    assert discriminator.init_with_output(jax.random.key(1), images, train=False)[0].shape == (6,)

    saturated = generator.apply(jax.tree.map(lambda leaf: 1e4 * leaf, variables), latents, train=False)
    assert saturated.min() == 0.0
    assert saturated.max() == 1.0


def test_discriminator_is_odd_symmetric_about_middle_gray():
    # Inside it works in [-1, 1]: middle gray is zero, so that with zero biases the logit is zero.
    discriminator = Discriminator(image_size=4, widths=(8,))
    gray = jnp.full((1, 4, 4, 1), 0.5)
    logits, variables = discriminator.init_with_output(jax.random.key(0), gray, train=False)
    np.testing.assert_array_equal(logits, [0.0])
    assert discriminator.apply(variables, gray + 0.25, train=False)[0] != 0.0


@pytest.mark.parametrize("fields", [{"image_size": 0}, {"image_size": 8, "widths": (4, 0)}])
@pytest.mark.parametrize("module", [Generator, Discriminator])
def test_impossible_fields_are_named(module, fields):
    name, value = list(fields.items())[-1]
    with pytest.raises(ConfigError, match=name) as raised:
        module(**fields)
    assert str(value) in str(raised.value)


def test_inputs_of_another_size_are_refused():
    with pytest.raises(ConfigError, match="latents of length 3, but latent_dim = 100"):
        Generator(image_size=8).init(jax.random.key(0), jnp.zeros((2, 3)), train=True)
    with pytest.raises(ConfigError, match=r"images of \(4, 4, 1\), but image_size and channels say \(8, 8, 1\)"):
        Discriminator(image_size=8).init(jax.random.key(0), jnp.zeros((2, 4, 4, 1)), train=True)


def test_a_head_takes_the_place_of_the_last_matrix():
    images, labels = jax.random.uniform(jax.random.key(0), (2, 8, 8, 1)), jnp.array([0, 2], jnp.int32)
    discriminator = Discriminator(image_size=8, widths=(4,), head=heads.Projection(3))
    logits, variables = discriminator.init_with_output(jax.random.key(1), images, labels=labels, train=True)
    assert logits.shape == (2,)
    assert set(variables["params"]["head"]) == {"linear", "embedding"}
    other = discriminator.apply(variables, images, labels=labels.at[0].set(1), train=False)
    assert (jnp.abs(other - logits) > 1e-4).tolist() == [True, False]
    with pytest.raises(ConfigError, match="would not see the labels"):
        Discriminator(image_size=8, widths=(4,)).init(jax.random.key(1), images, labels=labels, train=True)
