from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jgr.errors import ConfigError
from jgr.layers import heads
from jgr.models.dcgan import Discriminator, Generator


def init_shapes(module, inputs):
    return jax.eval_shape(lambda key: module.init_with_output(key, inputs, train=True), jax.random.key(0))


def num_parameters(module, inputs):
    return sum(leaf.size for leaf in jax.tree.leaves(init_shapes(module, inputs)[1]["params"]))


def sizes(tree):
    return {"/".join(entry.key for entry in path): leaf.shape for path, leaf in jax.tree.leaves_with_path(tree)}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("image_size", [8, 10, 12, 14, 28, 32, 48, 64, 256])
def test_images_and_logits_have_the_configs_shapes(image_size, channels):
    images, _ = init_shapes(Generator(image_size=image_size, channels=channels, latent_dim=16), jnp.zeros((2, 16)))
    assert images.shape == (2, image_size, image_size, channels)
    assert images.dtype == jnp.float32
    logits, variables = init_shapes(Discriminator(image_size=image_size, channels=channels), jnp.zeros(images.shape))
    assert logits.shape == (2,)
    assert set(variables) == {"params"}


def test_parameter_counts_at_28_pixels():
    # 7x7x128 -> 14x14x64 -> 28x28x1, two parameters a channel of batch norm, a bias only at the end
    generator = 100 * 7 * 7 * 128 + 2 * 128 + 4 * 4 * 128 * 64 + 2 * 64 + 4 * 4 * 64 * 1 + 1
    assert num_parameters(Generator(image_size=28), jnp.zeros((2, 100))) == generator
    ends = (4 * 4 * 1 * 64 + 64) + (7 * 7 * 128 + 1)
    images = jnp.zeros((2, 28, 28, 1))
    assert num_parameters(Discriminator(image_size=28), images) == ends + 4 * 4 * 64 * 128 + 128
    # batch norm: two parameters a channel in place of the bias
    assert num_parameters(Discriminator(image_size=28, batch_norm=True), images) == ends + 4 * 4 * 64 * 128 + 2 * 128


def test_parameter_counts_of_the_papers_64_pixel_networks():
    # figure 1: 4x4x1024, 8x8x512, 16x16x256, 32x32x128, 64x64x3
    levels = [1024, 512, 256, 128]
    generator = 100 * 4 * 4 * 1024 + 16 * (1024 * 512 + 512 * 256 + 256 * 128 + 128 * 3) + 3 + 2 * sum(levels)
    module = Generator(image_size=64, channels=3, width=128, max_width=1024)
    assert num_parameters(module, jnp.zeros((2, 100))) == generator


def test_max_width_bounds_the_coarse_levels():
    _, variables = init_shapes(Discriminator(image_size=64, width=8, max_width=20), jnp.zeros((2, 64, 64, 1)))
    kernels = {name: shape for name, shape in sizes(variables["params"]).items() if name.endswith("kernel")}
    assert kernels == {
        "Conv_0/kernel": (4, 4, 1, 8),
        "Conv_1/kernel": (4, 4, 8, 16),
        "Conv_2/kernel": (4, 4, 16, 20),
        "Conv_3/kernel": (4, 4, 20, 20),
        "Dense_0/kernel": (4 * 4 * 20, 1),
    }


def test_weights_start_normal_with_standard_deviation_002():
    params = Generator(image_size=16, width=16).init(jax.random.key(0), jnp.zeros((2, 100)), train=True)["params"]
    params |= Discriminator(image_size=16, width=16).init(jax.random.key(1), jnp.zeros((2, 16, 16, 1)), train=True)[
        "params"
    ]
    for path, leaf in jax.tree.leaves_with_path(params):
        kind = path[-1].key
        if kind == "bias":
            np.testing.assert_array_equal(leaf, 0)
            continue
        tolerance = 5 * 0.02 / np.sqrt(leaf.size)  # five standard errors
        assert abs(leaf.mean() - (1.0 if kind == "scale" else 0.0)) < tolerance, path
        assert abs(leaf.std() - 0.02) < tolerance, path


def test_batch_statistics_change_in_training_only():
    generator = Generator(image_size=8, width=4)
    latents = jax.random.normal(jax.random.key(0), (5, 100))
    variables = generator.init(jax.random.key(1), latents, train=True)
    np.testing.assert_array_equal(variables["batch_stats"]["BatchNorm_0"]["mean"], 0)
    images, updated = generator.apply(variables, latents, train=True, mutable=["batch_stats"])
    projected = (latents @ variables["params"]["Dense_0"]["kernel"]).reshape(-1, 4)
    np.testing.assert_allclose(updated["batch_stats"]["BatchNorm_0"]["mean"], 0.1 * projected.mean(0), atol=1e-6)
    np.testing.assert_allclose(updated["batch_stats"]["BatchNorm_0"]["var"], 0.9 + 0.1 * projected.var(0), rtol=1e-5)

    one_by_one = [generator.apply(variables, latent[None], train=False)[0] for latent in latents]
    together = generator.apply(variables, latents, train=False)
    np.testing.assert_allclose(together, jnp.stack(one_by_one), atol=1e-6)
    assert jnp.abs(together - images).max() > 1e-3


def test_images_fill_zero_to_one():
    generator = Generator(image_size=8, width=4)
    latents = jax.random.normal(jax.random.key(0), (8, 100))
    variables = generator.init(jax.random.key(1), latents, train=True)
    steep = jax.tree.map(lambda leaf: 1e4 * leaf, variables["params"])
    images, _ = generator.apply(variables | {"params": steep}, latents, train=True, mutable=["batch_stats"])
    assert images.min() == 0.0
    assert images.max() == 1.0


def test_a_logit_depends_on_its_batch_with_batch_norm_only():
    images = jax.random.uniform(jax.random.key(0), (6, 16, 16, 3))
    for batch_norm in (False, True):
        discriminator = Discriminator(image_size=16, channels=3, width=8, batch_norm=batch_norm)
        variables = discriminator.init(jax.random.key(1), images, train=True)
        assert ("batch_stats" in variables) == batch_norm
        logits, _ = discriminator.apply(variables, images, train=True, mutable=["batch_stats"])
        half, _ = discriminator.apply(variables, images[:3], train=True, mutable=["batch_stats"])
        assert bool(jnp.abs(half - logits[:3]).max() > 1e-6) == batch_norm
        evaluated = discriminator.apply(variables, images, train=False)
        np.testing.assert_allclose(discriminator.apply(variables, images[:3], train=False), evaluated[:3], atol=1e-6)


@pytest.mark.parametrize("module", [Generator, Discriminator])
@pytest.mark.parametrize(
    ("image_size", "nearest"), [(30, "28 or 32"), (9, "8 or 10"), (7, "8"), (-3, "8"), (63, "56 or 64")]
)
def test_impossible_image_sizes_name_the_nearest(module, image_size, nearest):
    with pytest.raises(ConfigError, match=rf"^image_size = {image_size} .* take {nearest}$"):
        module(image_size=image_size)


def test_impossible_fields_and_inputs_of_another_size_are_refused():
    with pytest.raises(ConfigError, match="width = 0 must be at least 1"):
        Generator(image_size=8, width=0)
    with pytest.raises(ConfigError, match="latents of length 3, but latent_dim = 100"):
        Generator(image_size=8).init(jax.random.key(0), jnp.zeros((2, 3)), train=True)
    with pytest.raises(ConfigError, match=r"images of \(8, 8, 1\), but image_size and channels say \(8, 8, 3\)"):
        Discriminator(image_size=8, channels=3).init(jax.random.key(0), jnp.zeros((2, 8, 8, 1)), train=True)


def test_remat_gives_the_same_and_takes_less_memory():
    images = jax.random.uniform(jax.random.key(1), (16, 32, 32, 3))
    gradients, taken = {}, {}
    for remat in (False, True):
        network = Discriminator(image_size=32, channels=3, width=32, batch_norm=True, remat=remat)
        variables = network.init(jax.random.key(0), images, train=True)

        def loss(params, network=network, variables=variables):
            logits, changed = network.apply(
                {**variables, "params": params}, images, train=True, mutable=["batch_stats"]
            )
            return (logits**2).mean(), changed

        compiled = jax.jit(jax.grad(loss, has_aux=True)).lower(variables["params"]).compile()
        gradients[remat], taken[remat] = compiled(variables["params"]), compiled.memory_analysis().temp_size_in_bytes
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), *gradients.values())
    if jax.__version_info__ >= (0, 12):  # before, XLA's CPU backend undid it
        assert taken[True] < 0.8 * taken[False]


def test_a_head_takes_the_place_of_the_last_matrix():
    images, labels = jax.random.uniform(jax.random.key(0), (2, 8, 8, 1)), jnp.array([0, 2], jnp.int32)
    discriminator = Discriminator(image_size=8, width=4, head=heads.Projection(3))
    logits, variables = discriminator.init_with_output(jax.random.key(1), images, labels=labels, train=True)
    assert logits.shape == (2,)
    assert set(variables["params"]["head"]) == {"linear", "embedding"}
    other = discriminator.apply(variables, images, labels=labels.at[0].set(1), train=False)
    assert (jnp.abs(other - logits) > 1e-4).tolist() == [True, False]
    with pytest.raises(ConfigError, match="would not see the labels"):
        Discriminator(image_size=8, width=4).init(jax.random.key(1), images, labels=labels, train=True)


def test_a_modulated_batch_norm_has_scale_and_shift_of_the_latents():
    plain = Generator(image_size=24, channels=2, latent_dim=3, width=4)
    modulated = plain.clone(modulated=True)
    latents = jax.random.normal(jax.random.key(0), (5, 3))
    variables = jax.jit(partial(modulated.init, train=True))(jax.random.key(1), latents)
    params, kept = variables["params"], {"batch_stats": variables["batch_stats"]}

    @partial(jax.jit, static_argnums=0)
    def made(module, params):
        return module.apply({"params": params, **kept}, latents, train=False)

    images = made(modulated, params)
    for row, latent in enumerate(latents):  # to a generator whose batch norms have what this latent says
        own = {name: leaves for name, leaves in params.items() if not name.startswith("Fusion")}
        for name in ("Fusion_0", "Fusion_1"):
            scale, shift = (latent @ params[name][k]["kernel"] + params[name][k]["bias"] for k in ("scale", "shift"))
            own[name.replace("Fusion", "BatchNorm")] = {"scale": 1 + scale, "bias": shift}
        np.testing.assert_allclose(made(plain, own)[row], images[row], atol=1e-6)
