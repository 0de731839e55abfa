from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jgr.errors import ConfigError
from jgr.models.r3gan import VARIANTS, Discriminator, Generator, ResidualBlock
from tests.models.networks import images_of

# Three levels of different widths, 4 to 16 pixels; 3x3 convolutions of several groups.
SMALL = dict(image_size=16, widths=(16, 16, 8), blocks=1, group_channels=8)
LATENTS = np.random.default_rng(0).standard_normal((3, 64)).astype(np.float32)
LABELS = jnp.array([0, 4, 2])


def init_shapes(network):
    size = network.image_size
    inputs = jnp.zeros((2, 64)) if isinstance(network, Generator) else jnp.zeros((2, size, size, network.channels))
    labels = {} if network.num_classes is None else {"labels": jnp.zeros(2, jnp.int32)}
    return jax.eval_shape(lambda key: network.init_with_output(key, inputs, train=True, **labels), jax.random.key(0))


def num_parameters(network):
    return sum(leaf.size for leaf in jax.tree.leaves(init_shapes(network)[1]["params"]))


def drawn(network):
    """Parameters of which none is what it starts as."""
    rng = np.random.default_rng(1)

    def draw(leaf):
        fan_in = np.prod(leaf.shape[:-1]) if len(leaf.shape) > 1 else 10
        return jnp.asarray(rng.standard_normal(leaf.shape) / np.sqrt(fan_in), jnp.float32)

    return {"params": jax.tree.map(draw, init_shapes(network)[1]["params"])}


def applied(network, variables, inputs, train=True, **labels):
    return jax.jit(partial(network.apply, train=train))(variables, inputs, **labels)


def initial(network, inputs):
    return jax.jit(partial(network.init, train=True))(jax.random.key(2), inputs)


@pytest.mark.parametrize(
    ("fields", "generator", "discriminator"),
    [  # table 9, in millions
        (VARIANTS["cifar10"] | dict(num_classes=None), 20.73, 20.68),  # Stacked MNIST
        (VARIANTS["cifar10"], 20.78, 21.28),
        (VARIANTS["ffhq64"], 22.43, 22.38),
        (VARIANTS["ffhq256"], 23.058, 23.010),  # table 2
        pytest.param(VARIANTS["imagenet32"], 82.91, 86.55, marks=pytest.mark.slow),
        pytest.param(VARIANTS["imagenet64"], 103.57, 107.21, marks=pytest.mark.slow),
    ],
)
def test_parameter_counts_of_the_paper(fields, generator, discriminator):
    for network, millions in ((Generator(**fields), generator), (Discriminator(**fields), discriminator)):
        digits = 3 if fields == VARIANTS["ffhq256"] else 2
        assert round(num_parameters(network) / 1e6, digits) == millions


def test_parameter_counts_for_cifar10_by_hand():
    # Eight blocks: 768 x 1536 twice, 96 groups of 16 x 16 3x3 kernels, two biases. Maps, and a last or first layer.
    both = 8 * (2 * 768 * 1536 + 96 * 16 * 16 * 9 + 2 * 1536) + 4 * 4 * 768 + 3 * 768
    # Vectors of the classes, as long as the latents and as the features; the layer after.
    generator = num_parameters(Generator(**VARIANTS["cifar10"]))
    assert generator == both + 10 * 64 + (64 + 64) * 768 == 20_781_952
    discriminator = num_parameters(Discriminator(**VARIANTS["cifar10"]))
    assert discriminator == both + 10 * 768 + 768 * 768 == 21_280_512


@pytest.mark.parametrize(("size", "channels", "levels"), [(32, 3, 4), (32, 1, 2), (28, 1, 3), (4, 3, 1)])
def test_images_and_logits_have_the_configs_shapes(size, channels, levels):
    fields = dict(image_size=size, channels=channels, widths=(16,) * levels)
    images, variables = init_shapes(Generator(**fields))
    assert (images.shape, images.dtype) == ((2, size, size, channels), jnp.float32)
    assert set(variables) == {"params"}
    assert variables["params"]["basis"].shape == (size >> levels - 1, size >> levels - 1, 16)
    logits, variables = init_shapes(Discriminator(**fields))
    assert (logits.shape, logits.dtype) == ((2,), jnp.float32)
    assert set(variables) == {"params"}


class Twin:
    """The same networks by PyTorch's functions, with the change of size as a (transposed) convolution."""

    def __init__(self, params):
        torch = pytest.importorskip("torch")
        self.torch, self.functional = torch, torch.nn.functional
        self.params = jax.tree.map(lambda leaf: torch.tensor(np.asarray(leaf)), params)
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
        self.filter = torch.outer(taps, taps)[None, None]

    def one_by_one(self, hidden, name):
        kernel = self.params[name]["kernel"] if isinstance(name, str) else name["kernel"]
        return self.functional.conv2d(hidden, kernel.T[:, :, None, None])

    def block(self, hidden, name):
        params, activated = self.params[name], partial(self.functional.leaky_relu, negative_slope=0.2)
        made = activated(self.one_by_one(hidden, params["enlarge"]) + params["enlarge"]["bias"][:, None, None])
        kernel = params["grouped"]["kernel"].permute(3, 2, 0, 1)
        made = self.functional.conv2d(made, kernel, params["grouped"]["bias"], padding=1, groups=len(kernel) // 8)
        return hidden + self.one_by_one(activated(made), params["shrink"])

    def resampled(self, hidden, up):
        channels = hidden.shape[1]
        kernel, options = self.filter.repeat(channels, 1, 1, 1), dict(stride=2, padding=1, groups=channels)
        if up:
            return self.functional.conv_transpose2d(hidden, 4 * kernel, **options)
        return self.functional.conv2d(hidden, kernel, **options)

    def classes(self, labels):
        return self.params["classes"]["embedding"][self.torch.tensor(np.asarray(labels), dtype=self.torch.long)]

    def generate(self, latents, labels):
        latents = self.torch.cat([self.torch.tensor(latents), self.classes(labels)], 1)
        weights = latents @ self.params["weights"]["kernel"]
        hidden = self.block(self.params["basis"].permute(2, 0, 1)[None] * weights[:, :, None, None], "level_0_0")
        hidden = self.block(self.resampled(hidden, up=True), "level_1_0")
        hidden = self.block(self.resampled(self.one_by_one(hidden, "level_2_width"), up=True), "level_2_0")
        return (self.one_by_one(hidden, "images").permute(0, 2, 3, 1) + 1) / 2

    def judge(self, images, labels):
        hidden = self.one_by_one(2 * self.torch.tensor(np.asarray(images)).permute(0, 3, 1, 2) - 1, "images")
        hidden = self.one_by_one(self.resampled(self.block(hidden, "level_2_0"), up=False), "level_2_width")
        hidden = self.block(self.resampled(self.block(hidden, "level_1_0"), up=False), "level_0_0")
        depthwise = self.params["basis"].permute(2, 0, 1)[:, None]
        features = self.functional.conv2d(hidden, depthwise, groups=len(depthwise))[:, :, 0, 0]
        return (features @ self.params["logits"]["kernel"] * self.classes(labels)).sum(1)


def test_agrees_with_pytorch():
    generator, discriminator = Generator(**SMALL, num_classes=5), Discriminator(**SMALL, num_classes=5)
    variables = drawn(generator)
    images = applied(generator, variables, LATENTS, labels=LABELS)
    expected = np.asarray(Twin(variables["params"]).generate(LATENTS, LABELS))
    assert np.std(expected) > 0.1
    np.testing.assert_allclose(images, expected, rtol=0, atol=1e-5 * np.abs(expected).max())

    variables, images = drawn(discriminator), images_of(3, 16, 16, 3)
    logits = applied(discriminator, variables, images, labels=LABELS)
    expected = np.asarray(Twin(variables["params"]).judge(images, LABELS))
    assert np.std(expected) > 0.1
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_blocks_start_as_the_identity():
    network = Generator(**SMALL)
    start = initial(network, LATENTS)
    other = drawn(network)["params"]
    inner = {
        name: other[name] | {"shrink": params["shrink"]} if name.startswith("level") and "shrink" in params else params
        for name, params in start["params"].items()
    }
    assert not np.array_equal(
        inner["level_1_0"]["grouped"]["kernel"], start["params"]["level_1_0"]["grouped"]["kernel"]
    )
    images = applied(network, start, LATENTS)
    np.testing.assert_array_equal(applied(network, {"params": inner}, LATENTS), images)
    changed = inner | {"level_1_0": other["level_1_0"]}
    assert np.abs(applied(network, {"params": changed}, LATENTS) - images).max() > 1e-2


@pytest.mark.parametrize("num_blocks", [1, 16])
def test_a_branch_starts_with_its_share_of_the_variance(num_blocks):
    block = ResidualBlock(group_channels=16, num_blocks=num_blocks)
    hidden = jax.random.normal(jax.random.key(0), (2, 8, 8, 128))
    init, branch = jax.jit(block.init), jax.jit(lambda params: block.apply({"params": params}, hidden) - hidden)
    powers = []
    for key in jax.random.split(jax.random.key(1), 12):
        params = dict(init(key, hidden)["params"])
        assert not params["shrink"]["kernel"].any()
        # Were the last layer one that keeps the variance, all branches together would add as much as the stream has.
        params["shrink"] = {"kernel": jax.random.normal(key, (256, 128)) / 16}
        powers.append(np.square(branch(params)[:, 1:-1, 1:-1]).mean())  # at the border, 3x3 convolutions see zeros
    assert np.mean(powers) == pytest.approx(1 / num_blocks, rel=0.06)


def test_images_are_clipped_outside_training_only():
    network = Generator(**SMALL)
    variables = jax.tree.map(lambda leaf: 10 * leaf, drawn(network))
    free, clipped = (applied(network, variables, LATENTS, train) for train in (True, False))
    assert free.min() < -1
    assert free.max() > 2
    np.testing.assert_array_equal(clipped, np.clip(free, 0, 1))


def test_bfloat16_gives_float32_near_the_same():
    images = images_of(3, 16, 16, 3)
    for network, inputs in ((Generator(**SMALL), LATENTS), (Discriminator(**SMALL), images)):
        variables = drawn(network)
        full, half = (applied(net, variables, inputs) for net in (network, network.clone(dtype=jnp.bfloat16)))
        assert half.dtype == jnp.float32
        assert 0 < float(jnp.abs(half - full).max()) < 0.03 * float(jnp.abs(full).max())


@pytest.mark.slow
def test_second_order_gradients_are_finite_with_and_without_remat():
    network, images = Discriminator(**SMALL), images_of(2, 16, 16, 3)
    variables = drawn(network)

    def penalty(variables, network):
        slope = jax.grad(lambda x: network.apply(variables, x, train=True).sum())(images)
        return jnp.square(slope).sum()

    plain, again = (
        jax.jit(jax.grad(partial(penalty, network=n)))(variables) for n in (network, network.clone(remat=True))
    )
    largest = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(plain))
    assert 1e-3 < largest < np.inf
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * largest), plain, again)


def test_impossible_values_are_refused():
    for cls in (Generator, Discriminator):
        with pytest.raises(ConfigError, match=r"image_size = 30 must be a multiple of 8: widths = .* has 4 levels"):
            cls(image_size=30)
        with pytest.raises(ConfigError, match=r"widths = \(\) must have one number"):
            cls(image_size=32, widths=())
        with pytest.raises(ConfigError, match="group_channels = 16 must divide 24, twice the width"):
            cls(image_size=8, widths=(16, 12))
        with pytest.raises(ConfigError, match="blocks = 0 must be at least 1"):
            cls(image_size=32, blocks=0)
        with pytest.raises(ConfigError, match="num_classes = 0 must be at least 1, or None"):
            cls(image_size=32, num_classes=0)


def test_inputs_that_do_not_fit_are_refused():
    key = jax.random.key(0)
    with pytest.raises(ConfigError, match="latents of length 3, but latent_dim = 64"):
        Generator(image_size=32).init(key, jnp.zeros((2, 3)), train=True)
    with pytest.raises(ConfigError, match=r"images of \(8, 8, 3\), but image_size and channels say \(32, 32, 3\)"):
        Discriminator(image_size=32).init(key, jnp.zeros((2, 8, 8, 3)), train=True)
    with pytest.raises(ConfigError, match="generator: no labels given, but num_classes = 10"):
        Generator(image_size=32, num_classes=10).init(key, jnp.zeros((2, 64)), train=True)
    with pytest.raises(ConfigError, match="discriminator: labels given, but num_classes = None"):
        Discriminator(image_size=32).init(key, jnp.zeros((3, 32, 32, 3)), train=True, labels=LABELS)
