from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jgr.errors import ConfigError
from jgr.layers import heads
from jgr.losses.adversarial import hinge
from jgr.models.resnet_gan import VARIANTS, Discriminator, Generator
from jgr.tasks.gan import GAN

LABELS = jnp.array([0, 1], jnp.int32)
SMALL = dict(image_size=8, channels=3, latent_dim=6, widths=(8, 8, 16))


def shapes(module, inputs, **labels):
    return jax.eval_shape(lambda key: module.init_with_output(key, inputs, **labels, train=True), jax.random.key(0))


def num_parameters(module, inputs, **labels):
    return sum(leaf.size for leaf in jax.tree.leaves(shapes(module, inputs, **labels)[1]["params"]))


def made_by(module, variables, inputs, train=False, **labels):
    apply = jax.jit(partial(module.apply, train=train, mutable=["batch_stats", "spectral"] if train else False))
    made = apply(variables, inputs, **labels)
    return made[0] if train else made


def initial(module, inputs, **labels):
    return jax.jit(partial(module.init, train=True))(jax.random.key(1), inputs, **labels)


def convolution(inputs, outputs):
    return 9 * inputs * outputs + outputs


@pytest.mark.parametrize(("variant", "width"), [("sngan", 256), ("biggan", 384)])
def test_parameter_counts_of_the_generators_at_32_pixels(variant, width):
    fields = VARIANTS[variant][0]
    block = 2 * convolution(width, width) - width + width * width + width  # no bias before batch norm
    count = 3 * block + 2 * width + convolution(width, 3)
    if variant == "sngan":  # kwotsin/mimicry's 4,276,739, with 3 biases before batch norm more
        count += 128 * 16 * width + 16 * width + 3 * 2 * 2 * width
        assert count == 4_276_739 - 3 * width
        generator, labels = Generator(image_size=32, channels=3, **fields), {}
    else:  # PyTorch-StudioGAN prints 9.4M
        count += 20 * 16 * width + 16 * width + 10 * 128
        count += 3 * 2 * 2 * (128 + 20) * width  # two batch norms a block, scale and bias of class and latent each
        count += 2 * width * width // 8 + 2 * width * width // 2 + 1
        assert round(count / 1e6, 1) == 9.4
        generator, labels = Generator(image_size=32, channels=3, num_classes=10, **fields), {"labels": LABELS}
    assert num_parameters(generator, jnp.zeros((2, generator.latent_dim)), **labels) == count


@pytest.mark.parametrize(("variant", "width"), [("sngan", 128), ("biggan", 192)])
def test_parameter_counts_of_the_discriminators_at_32_pixels(variant, width):
    images, fields = jnp.zeros((2, 32, 32, 3)), VARIANTS[variant][1]
    count = convolution(3, width) + 7 * convolution(width, width)
    count += 3 * width + width + width * width + width  # the shortcuts of the two blocks that halve
    if variant == "biggan":
        count += 2 * width * width // 8 + 2 * width * width // 2 + 1
    count += width + 1
    assert num_parameters(Discriminator(image_size=32, channels=3, **fields), images) == count
    conditional = Discriminator(image_size=32, channels=3, head=heads.Projection(10, True), **fields)
    assert num_parameters(conditional, images, labels=LABELS) == count + 10 * width
    # PyTorch-StudioGAN prints these for its conditional ones
    assert f"{(count + 10 * width) / 1e6:.2f}" == {"sngan": "1.06", "biggan": "2.42"}[variant]


def weights_of(torch, params):
    """Functions that take a layer's weights by its path."""

    def leaf(*path):
        place = params
        for name in path:
            place = place[name]
        return torch.tensor(np.asarray(place))

    def conv(hidden, *path):
        bias = leaf(*path, "bias") if "bias" in params[path[0]][path[1]] else None
        return torch.nn.functional.conv2d(hidden, leaf(*path, "kernel").permute(3, 2, 0, 1), bias, padding=1)

    def pointwise(hidden, *path):
        kernel = leaf(*path, "kernel").T[:, :, None, None]
        return torch.nn.functional.conv2d(hidden, kernel, leaf(*path, "bias"))

    return leaf, conv, pointwise


def test_generator_is_pytorchs():
    torch = pytest.importorskip("torch")
    f, module = torch.nn.functional, Generator(**SMALL, num_classes=3)
    latents, labels = jax.random.normal(jax.random.key(0), (4, 6)), np.array([0, 2, 1, 2], np.int32)
    variables = initial(module, latents, labels=labels)
    made = made_by(module, variables, latents, train=True, labels=labels)
    leaf, conv, pointwise = weights_of(torch, {"top": variables["params"], **variables["params"]})

    def activated(hidden, *path):
        rows = torch.tensor(labels, dtype=torch.int64)
        scale, bias = (leaf(*path, name, "kernel")[rows][:, :, None, None] for name in ("scale", "bias"))
        return (f.batch_norm(hidden, None, None, training=True) * (1 + scale) + bias).relu()

    hidden = torch.tensor(np.asarray(latents)) @ leaf("Dense_0", "kernel") + leaf("Dense_0", "bias")
    hidden = hidden.reshape(4, 2, 2, 8).permute(0, 3, 1, 2)
    for block in ("GeneratorBlock_0", "GeneratorBlock_1"):
        residual = f.interpolate(activated(hidden, block, "ConditionalBatchNorm_0"), scale_factor=2)
        residual = activated(conv(residual, block, "Conv_0"), block, "ConditionalBatchNorm_1")
        shortcut = pointwise(f.interpolate(hidden, scale_factor=2), block, "Pointwise_0")
        hidden = conv(residual, block, "Conv_1") + shortcut
    hidden = f.batch_norm(hidden, None, None, leaf("BatchNorm_0", "scale"), leaf("BatchNorm_0", "bias"), training=True)
    expected = (conv(hidden.relu(), "top", "Conv_0").tanh() + 1) / 2
    assert expected.std() > 0.1
    np.testing.assert_allclose(made, expected.permute(0, 2, 3, 1).numpy(), atol=1e-4)


def test_discriminator_is_pytorchs():
    torch = pytest.importorskip("torch")
    f = torch.nn.functional
    module = Discriminator(
        image_size=8, channels=3, widths=(8, 12, 12), num_down=2, spectral_norm=False, head=heads.Linear()
    )
    images = jax.random.uniform(jax.random.key(0), (3, 8, 8, 3))
    variables = initial(module, images)
    assert set(variables) == {"params"}
    leaf, conv, pointwise = weights_of(torch, variables["params"])
    hidden = torch.tensor(np.asarray(images)).permute(0, 3, 1, 2) * 2 - 1
    for number in range(3):
        block = f"DiscriminatorBlock_{number}"
        residual = conv(hidden.relu() if number else hidden, block, "Conv_0")
        residual, shortcut = conv(residual.relu(), block, "Conv_1"), hidden
        if number < 2:
            residual = f.avg_pool2d(residual, 2)
            shortcut = f.avg_pool2d(pointwise(hidden, block, "Pointwise_0"), 2)  # the matrix first, as published
        hidden = residual + shortcut
    expected = hidden.relu().sum((2, 3)) @ leaf("head", "linear", "kernel") + leaf("head", "linear", "bias")
    np.testing.assert_allclose(made_by(module, variables, images), expected[:, 0].numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("fields", [dict(), dict(embedding_dim=5), dict(embedding_dim=5, split_latents=True)])
def test_labels_reach_the_image(fields):
    module = Generator(**SMALL, num_classes=2, **fields)
    latents = jnp.repeat(jax.random.normal(jax.random.key(0), (1, 6)), 2, axis=0)
    variables = initial(module, latents, labels=LABELS)
    images = made_by(module, variables, latents, labels=LABELS)
    assert float(jnp.abs(images[0] - images[1]).max()) > 1e-4


def test_each_part_of_a_split_latent_has_its_block():
    module = Generator(**SMALL, split_latents=True)  # without classes, blocks depend on the latent alone
    latents = jnp.repeat(jax.random.normal(jax.random.key(0), (1, 6)), 4, axis=0)
    variables = initial(module, latents)
    assert variables["params"]["Dense_0"]["kernel"].shape == (2, 2 * 2 * 8)
    assert variables["params"]["GeneratorBlock_1"]["ConditionalBatchNorm_0"]["scale"]["kernel"].shape == (2, 8)
    # nothing for the parts of the blocks to act through: only the first part matters then
    silent = jax.tree_util.tree_map_with_path(
        lambda path, leaf: 0 * leaf if "ConditionalBatchNorm" in jax.tree_util.keystr(path) else leaf,
        variables["params"],
    )
    moved = latents + jnp.eye(4)[:, :3].repeat(2, axis=1)  # image i has another part i, the last none
    apply = jax.jit(lambda params: module.apply({**variables, "params": params}, moved, train=False))
    for params, expected in ((variables["params"], [True, True, True]), (silent, [True, False, False])):
        images = apply(params)
        assert [bool(jnp.abs(image - images[3]).max() > 1e-4) for image in images[:3]] == expected


def test_attention_lies_at_its_level_and_starts_without_effect():
    images = jax.random.uniform(jax.random.key(0), (2, 16, 16, 3))
    plain = Discriminator(image_size=16, channels=3, widths=(8, 16, 16), num_down=1)
    attentive = plain.clone(attention_side=8)
    variables = initial(attentive, images)
    assert variables["params"]["SelfAttention_0"]["query"]["kernel"].shape == (8, 1)  # after the first of three with 8
    assert "SelfAttention_1" not in variables["params"]
    evaluated = [made_by(discriminator, variables, images) for discriminator in (attentive, plain)]
    np.testing.assert_allclose(*evaluated, atol=1e-5)
    generator = Generator(**SMALL, attention_side=4, spectral_norm=True)
    _, variables = shapes(generator, jnp.zeros((2, 6)))
    assert variables["params"]["SelfAttention_0"]["query"]["kernel"].shape == (8, 1)
    assert set(variables) == {"params", "batch_stats", "spectral"}


def test_biggan_passes_through_the_task():
    fields = dict(SMALL, latent_dim=9, embedding_dim=4, split_latents=True, spectral_norm=True, attention_side=4)
    task = GAN(
        generator=Generator(num_classes=2, **fields),
        discriminator=Discriminator(
            image_size=8, channels=3, widths=(8, 8), attention_side=4, head=heads.Projection(2, True)
        ),
        loss=hinge,
        num_classes=2,
    )
    batch = {
        "image": jax.ShapeDtypeStruct((1, 2, 8, 8, 3), jnp.float32),
        "label": jax.ShapeDtypeStruct((1, 2), jnp.int32),
        "position": jax.ShapeDtypeStruct((1, 2), jnp.uint32),
    }
    first = {name: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype) for name, leaf in batch.items()}
    state = jax.eval_shape(task.init, jax.random.key(0), first)
    assert {name: set(kept) for name, kept in state.model_state.items()} == {
        "generator": {"batch_stats", "spectral"},
        "discriminator": {"spectral"},
    }
    after, _ = jax.eval_shape(task.step, state, batch, jax.random.key(1))
    assert jax.tree.map(lambda leaf: leaf.shape, after) == jax.tree.map(lambda leaf: leaf.shape, state)


def test_bfloat16_changes_little():
    images = jax.random.uniform(jax.random.key(0), (2, 8, 8, 3))
    module = Discriminator(image_size=8, channels=3, widths=(8, 8), head=heads.Projection(2, True))
    variables = initial(module, images, labels=LABELS)
    exact, half = (
        made_by(discriminator, variables, images, labels=LABELS)
        for discriminator in (module, module.clone(dtype=jnp.bfloat16))
    )
    assert half.dtype == jnp.float32
    assert 0 < float(jnp.abs(half - exact).max()) < 0.05 * float(jnp.abs(exact).max())


@pytest.mark.parametrize(
    ("module", "fields", "message"),
    [
        (Generator, dict(image_size=12), "image_size = 12 must be a multiple of 8"),
        (Generator, dict(image_size=32, widths=(8, 0)), r"widths = \(8, 0\)"),
        (Generator, dict(image_size=32, num_classes=0), "num_classes = 0"),
        (Generator, dict(image_size=32, embedding_dim=4), "embedding_dim = 4 needs num_classes"),
        (Generator, dict(image_size=32, latent_dim=81, split_latents=True), "latent_dim = 81 must be a multiple of 4"),
        (Generator, dict(image_size=32, attention_side=4), r"attention_side = 4 must be one of \[8, 16, 32\]"),
        (Discriminator, dict(image_size=30), "image_size = 30 must be a multiple of 4"),
        (Discriminator, dict(image_size=32, num_down=5), "num_down = 5 must be 0 to 4"),
        (Discriminator, dict(image_size=32, attention_side=32), r"attention_side = 32 must be one of \[8, 16\]"),
        (Discriminator, dict(image_size=32, spectral_norm=False), r"head.spectral_norm = True"),
    ],
)
def test_impossible_values_are_named(module, fields, message):
    with pytest.raises(ConfigError, match=message):
        module(**fields)


def test_inputs_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match="latents of length 3, but latent_dim = 6"):
        shapes(Generator(**SMALL), jnp.zeros((2, 3)))
    with pytest.raises(ConfigError, match=r"images of \(4, 4, 1\)"):
        shapes(Discriminator(image_size=8), jnp.zeros((2, 4, 4, 1)))
    with pytest.raises(ConfigError, match="num_classes = 2 needs labels"):
        shapes(Generator(**SMALL, num_classes=2), jnp.zeros((2, 6)))
    with pytest.raises(ConfigError, match="it was given labels"):
        shapes(Generator(**SMALL), jnp.zeros((2, 6)), labels=LABELS)
