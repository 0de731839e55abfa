from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jgr.errors import ConfigError
from jgr.layers.local_mean import local_mean
from jgr.models.nafnet import VARIANTS, NAFNet
from tests.models.networks import drawn, images_of, num_parameters, of_twin, shapes_of

SMALL = dict(width=4, encoder_blocks=(1,), middle_blocks=1, decoder_blocks=(1,))


@pytest.mark.parametrize(
    ("variant", "count"),
    [  # the authors' models
        ("gopro-width32", 17_111_907),
        pytest.param("gopro-width64", 67_888_835, marks=pytest.mark.slow),
        ("sidd-width32", 29_159_715),
        pytest.param("sidd-width64", 115_982_915, marks=pytest.mark.slow),
    ],
)
def test_parameter_counts_of_the_variants(variant, count):
    network = NAFNet(**VARIANTS[variant])
    assert num_parameters(network) == count
    assert network.multiple == 16
    assert network.radius is None


def test_agrees_with_pytorch(twins_b):
    network, images = NAFNet(**SMALL), images_of(2, 12, 8, 3)
    variables, twin = drawn(network), twins_b.NAFNet(**SMALL)
    twins_b.load(twin, variables)
    expected = of_twin(twin, images)
    assert np.std(expected - np.asarray(images)) > 0.1
    got = jax.jit(lambda variables: network.apply(variables, images, train=True))(variables)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_blocks_start_as_the_identity():
    network = NAFNet(**SMALL)
    with_blocks = drawn(network)
    for name, block in with_blocks["params"].items():
        if "beta" in block:
            with_blocks["params"][name] |= {"beta": 0 * block["beta"], "gamma": 0 * block["gamma"]}
    fewer = network.clone(encoder_blocks=(0,), middle_blocks=0, decoder_blocks=(0,))
    without = {"params": {name: with_blocks["params"][name] for name in shapes_of(fewer)["params"]}}
    images = images_of(1, 8, 8, 3)
    got = jax.jit(lambda variables: network.apply(variables, images, train=True))(with_blocks)
    expected = jax.jit(lambda variables: fewer.apply(variables, images, train=True))(without)
    np.testing.assert_array_equal(got, expected)
    start = jax.jit(lambda key: network.init(key, images, train=True))(jax.random.key(0))["params"]
    assert not start["middle_0"]["beta"].any()
    assert not start["middle_0"]["gamma"].any()


@pytest.mark.slow
def test_overfits_one_batch():
    network, optimizer = NAFNet(**SMALL | dict(width=8)), optax.adam(1e-2)
    clean = images_of(2, 8, 8, 3)
    noisy = clean + 0.1 * jax.random.normal(jax.random.key(1), clean.shape)

    @jax.jit
    def step(variables, state):
        def loss(variables):
            return jnp.mean((network.apply(variables, noisy, train=True) - clean) ** 2)

        value, gradients = jax.value_and_grad(loss)(variables)
        changes, state = optimizer.update(gradients, state)
        return optax.apply_updates(variables, changes), state, value

    variables = jax.jit(lambda key: network.init(key, noisy, train=True))(jax.random.key(0))
    state = optimizer.init(variables)
    for _ in range(100):
        variables, state, loss = step(variables, state)
    assert loss < 0.01 / 4  # a quarter of the noise's own


@pytest.mark.slow
def test_remat_changes_no_gradient():
    network = NAFNet(**dict(width=4, encoder_blocks=(), middle_blocks=1, decoder_blocks=()))
    images, variables = images_of(1, 8, 8, 3), drawn(network)

    def gradients_of(network):
        return jax.jit(
            jax.grad(lambda variables, images: jnp.square(network.apply(variables, images, train=True)).mean())
        )

    plain, again = gradients_of(network), gradients_of(network.clone(remat=True))
    gradients = plain(variables, images)
    largest = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(gradients))
    assert largest > 1e-3
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5 * largest),
        again(variables, images),
        gradients,
    )


def brute_force_mean(images, window):
    """Every window by itself, then the border repeated."""
    for axis in (1, 2):
        side = images.shape[axis]
        size = min(window, side)
        means = [images.take(range(start, start + size), axis).mean(axis) for start in range(side - size + 1)]
        low = (side - len(means)) // 2
        images = np.stack([means[min(max(i - low, 0), len(means) - 1)] for i in range(side)], axis)
    return images


@pytest.mark.parametrize("window", [1, 4, 5, 13, 40])
def test_local_means_are_the_means_of_the_windows(window):
    images = np.asarray(images_of(2, 12, 17, 3), np.float64)
    got = np.broadcast_to(local_mean(jnp.asarray(images, jnp.float32), window), images.shape)
    np.testing.assert_allclose(got, brute_force_mean(images, window), rtol=0, atol=1e-6)


def test_local_means_stay_exact_on_a_long_image():
    images = np.random.default_rng(0).uniform(size=(1, 2, 3000, 1)) + 100
    got = np.broadcast_to(local_mean(jnp.asarray(images, jnp.float32), 384), images.shape)
    np.testing.assert_allclose(got, brute_force_mean(images, 384), rtol=2e-7)


def test_local_pool_acts_at_test_time_only_and_is_global_where_it_covers_the_image():
    network = NAFNet(**SMALL)
    variables, images = drawn(network), images_of(1, 16, 24, 3)

    def restored(local_pool, train):
        return jax.jit(partial(network.clone(local_pool=local_pool).apply, train=train))(variables, images)

    whole = restored(None, False)
    np.testing.assert_allclose(restored(24, False), whole, atol=1e-5 * float(jnp.abs(whole).max()))
    np.testing.assert_array_equal(restored(8, True), whole)
    assert float(jnp.abs(restored(8, False) - whole).max()) > 1e-3


def test_with_local_pool_far_pixels_do_not_matter():
    # Three blocks whose windows reach at most 8 pixels from a pixel near the border, and a few convolutions.
    network = NAFNet(**SMALL, local_pool=8)
    variables, images = drawn(network), images_of(1, 8, 128, 3)
    apply = partial(jax.jit(partial(network.apply, train=False)), variables)
    difference = np.abs(apply(images.at[:, :, 0].add(0.5)) - apply(images)).max((0, 1, 3))
    assert difference[0] > 1e-2
    assert difference[64:].max() < 1e-4 * difference[0]


def test_conditions_and_bfloat16():
    network, images = NAFNet(**SMALL), images_of(1, 8, 8, 4)
    variables = drawn(network, channels=4)
    assert variables["params"]["first"]["kernel"].shape == (3, 3, 4, 4)
    restored, half = (
        jax.jit(partial(network.apply, train=False))(variables, images)
        for network in (network, network.clone(dtype=jnp.bfloat16))
    )
    assert restored.shape == (1, 8, 8, 3)
    assert half.dtype == jnp.float32
    assert 0 < float(jnp.abs(half - restored).max()) < 0.03 * float(jnp.abs(restored).max())


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match=r"8x10.*multiples of 16"):
        NAFNet().init(jax.random.key(0), jnp.zeros((1, 8, 10, 3)), train=True)
    with pytest.raises(ConfigError, match="1 channels, but channels = 3"):
        shapes_of(NAFNet(), channels=1)
    with pytest.raises(ConfigError, match="as many levels"):
        NAFNet(encoder_blocks=(1, 1), decoder_blocks=(1,))
    with pytest.raises(ConfigError, match="local_pool = 8 must be at least 16"):
        NAFNet(local_pool=8)
