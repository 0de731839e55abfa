from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jgr.errors import ConfigError
from jgr.layers import heads
from jgr.models.sngan import Discriminator, Generator


def shapes(module, inputs):
    return jax.eval_shape(lambda key: module.init_with_output(key, inputs, train=True), jax.random.key(0))


def initial(module, inputs):
    return jax.jit(partial(module.init, train=True))(jax.random.key(1), inputs)


def num_parameters(module, inputs):
    return sum(leaf.size for leaf in jax.tree.leaves(shapes(module, inputs)[1]["params"]))


def test_parameter_counts_at_32_pixels():
    # Miyato et al. 2018, table 3: 4x4x512 -> 8x8x256 -> 16x16x128 -> 32x32x64 -> 32x32x3, 4x4 kernels; batch norm
    # after all but the last, which alone has a bias
    generator = 128 * 4 * 4 * 512 + 16 * (512 * 256 + 256 * 128 + 128 * 64) + 2 * (512 + 256 + 128 + 64)
    generator += 9 * 64 * 3 + 3
    assert num_parameters(Generator(image_size=32, channels=3), jnp.zeros((2, 128))) == generator == 3_804_739
    # chainer-gan-lib's widths: 3x3 kernels keep 64, 128, 256, 512, 4x4 kernels double
    kept = 9 * (3 * 64 + 128 * 128 + 256 * 256 + 512 * 512) + 64 + 128 + 256 + 512
    doubled = 16 * (64 * 128 + 128 * 256 + 256 * 512) + 128 + 256 + 512
    discriminator = kept + doubled + 4 * 4 * 512 + 1
    module = Discriminator(image_size=32, channels=3)
    assert num_parameters(module, jnp.zeros((2, 32, 32, 3))) == discriminator == 5_860_865


@pytest.mark.parametrize("image_size", [8, 28, 48, 64])
def test_images_and_logits_have_the_configs_shapes(image_size):
    images, variables = shapes(Generator(image_size=image_size, latent_dim=16), jnp.zeros((2, 16)))
    assert images.shape == (2, image_size, image_size, 1)
    assert images.dtype == jnp.float32
    assert set(variables) == {"params", "batch_stats"}
    logits, variables = shapes(Discriminator(image_size=image_size), jnp.zeros(images.shape))
    assert logits.shape == (2,)
    assert set(variables) == {"params", "spectral"}


def test_generator_is_pytorchs():
    torch = pytest.importorskip("torch")
    f, module = torch.nn.functional, Generator(image_size=16, channels=3, latent_dim=6, width=4)
    latents = jax.random.normal(jax.random.key(0), (5, 6))
    variables = initial(module, latents)
    params = jax.tree.map(lambda leaf: 5 * leaf, variables["params"])  # 0.02 is too near to 0
    apply = jax.jit(partial(module.apply, train=True, mutable=["batch_stats"]))
    made, _ = apply({**variables, "params": params}, latents)

    def weight(name, leaf="kernel"):
        return torch.tensor(np.asarray(params[name][leaf]))

    def activated(hidden, number):
        name = f"BatchNorm_{number}"
        return f.batch_norm(hidden, None, None, weight(name, "scale"), weight(name, "bias"), training=True).relu()

    hidden = torch.tensor(np.asarray(latents)) @ weight("Dense_0")
    hidden = activated(hidden.reshape(5, 4, 4, 16).permute(0, 3, 1, 2), 0)
    for number in range(2):
        kernel = weight(f"ConvTranspose_{number}").flip(0, 1).permute(2, 3, 0, 1)
        hidden = activated(f.conv_transpose2d(hidden, kernel, stride=2, padding=1), number + 1)
    pixels = f.conv2d(hidden, weight("Conv_0").permute(3, 2, 0, 1), weight("Conv_0", "bias"), padding=1)
    expected = (pixels.tanh() + 1) / 2
    assert expected.std() > 0.1
    np.testing.assert_allclose(made, expected.permute(0, 2, 3, 1).numpy(), atol=1e-4)


def test_discriminator_is_pytorchs():
    torch = pytest.importorskip("torch")
    f, module = torch.nn.functional, Discriminator(image_size=16, channels=3, width=4)
    images = jax.random.uniform(jax.random.key(0), (3, 16, 16, 3))
    variables = initial(module, images)
    logits, changed = jax.jit(partial(module.apply, train=True, mutable=["spectral"]))(variables, images)

    def normed(place, name, stored):
        kernel = np.asarray(place[name]["kernel"])
        return torch.tensor(kernel / float(stored[f"{name}/kernel/sigma"])), torch.tensor(
            np.asarray(place[name]["bias"])
        )

    params, stored = variables["params"], changed["spectral"]
    hidden = torch.tensor(np.asarray(images)).permute(0, 3, 1, 2) * 2 - 1
    for number in range(5):
        kernel, bias = normed(params, f"Conv_{number}", stored[f"SpectralNorm_{number}"])
        stride = 1 + number % 2  # 3x3, then 4x4 and 3x3 for each level
        hidden = f.leaky_relu(f.conv2d(hidden, kernel.permute(3, 2, 0, 1), bias, stride, padding=1), 0.1)
    kernel, bias = normed(params["head"], "linear", stored["head"]["SpectralNorm_0"])
    expected = hidden.permute(0, 2, 3, 1).reshape(3, -1) @ kernel[:, 0] + bias
    assert expected.std() > 1e-4
    np.testing.assert_allclose(logits, expected.numpy(), atol=1e-5)


def test_spectral_vectors_move_in_training_only():
    module, images = Discriminator(image_size=8, width=4), jax.random.uniform(jax.random.key(0), (2, 8, 8, 1))
    variables = initial(module, images)
    (_, evaluated), (_, trained) = (
        jax.jit(partial(module.apply, train=train, mutable=["spectral"]))(variables, images) for train in (False, True)
    )
    for before, same, other in zip(
        *map(jax.tree.leaves, (variables["spectral"], evaluated["spectral"], trained["spectral"])), strict=True
    ):
        np.testing.assert_array_equal(before, same)
        assert before.shape == (1, 1) or not np.array_equal(before, other)


def test_head_and_normalisation_are_fields():
    module = Discriminator(image_size=8, width=4, spectral_norm=False, head=heads.Auxiliary(3))
    (logits, classes), variables = shapes(module, jnp.zeros((2, 8, 8, 1)))
    assert logits.shape == (2,)
    assert classes.shape == (2, 3)
    assert set(variables) == {"params"}
    with pytest.raises(ConfigError, match=r"head.spectral_norm = True"):
        Discriminator(image_size=8, spectral_norm=False)


@pytest.mark.parametrize("module", [Generator, Discriminator])
def test_impossible_values_are_named(module):
    with pytest.raises(ConfigError, match="image_size = 30"):
        module(image_size=30)
    with pytest.raises(ConfigError, match="image_size = 7"):
        module(image_size=7)
    with pytest.raises(ConfigError, match="width = 0"):
        module(image_size=8, width=0)


def test_inputs_of_another_size_are_refused():
    with pytest.raises(ConfigError, match="latents of length 3, but latent_dim = 128"):
        shapes(Generator(image_size=8), jnp.zeros((2, 3)))
    with pytest.raises(ConfigError, match=r"images of \(4, 4, 1\), but image_size and channels say \(8, 8, 1\)"):
        shapes(Discriminator(image_size=8), jnp.zeros((2, 4, 4, 1)))
