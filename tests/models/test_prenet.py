from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jaxtyping import TypeCheckError

from jgr.errors import ConfigError
from jgr.models.prenet import VARIANTS, PReNet
from tests.models.networks import drawn, images_of, num_parameters, of_twin, shapes_of

SMALL = dict(width=4, stages=2, blocks=2)


@pytest.mark.parametrize(
    ("variant", "count"),
    [  # the authors' networks
        ("PReNet", 168_963),
        ("PReNet_GRU", 150_499),
        ("PReNet_r", 94_979),
        ("PRN", 95_107),
        ("PRN_r", 21_123),
    ],
)
def test_parameter_counts_of_the_variants(variant, count):
    assert num_parameters(PReNet(**VARIANTS[variant], stages=1)) == count  # all stages share the layers


@pytest.mark.parametrize("variant", VARIANTS)
def test_all_stages_agree_with_pytorch_and_the_last_is_the_result(twins_b, variant):
    network, images = PReNet(**SMALL | VARIANTS[variant]), images_of(2, 9, 7, 3)
    variables, twin = drawn(network), twins_b.PReNet(**SMALL | VARIANTS[variant])
    twins_b.load(twin, variables)
    expected = of_twin(twin, images)
    assert np.std(expected[1] - expected[0]) > 0.01

    @jax.jit
    def both(variables):
        stages = network.apply(variables, images, train=True, method="all_stages")
        return stages, network.apply(variables, images, train=True)

    got, result = both(variables)
    assert got.shape == (2, 2, 9, 7, 3)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    np.testing.assert_array_equal(result, got[-1])


@pytest.mark.parametrize("variant", ["PReNet", "PReNet_GRU", "PRN"])
def test_the_radius_is_how_far_a_pixel_is_seen(variant):
    network = PReNet(**SMALL | VARIANTS[variant])
    radius, variables = network.radius, drawn(network)
    images = images_of(1, 3, 2 * radius + 11, 3)
    centre = radius + 5

    def pixel(images, variables):
        return network.apply(variables, images, train=False)[:, :, centre].sum()

    columns = np.flatnonzero(np.abs(jax.jit(jax.grad(pixel))(images, variables)).max((0, 1, 3)))
    assert (columns.min(), columns.max()) == (centre - radius, centre + radius)


@pytest.mark.slow
def test_overfits_one_batch():
    network, optimizer = PReNet(**SMALL | dict(width=8)), optax.adam(1e-2)
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
    for _ in range(200):
        variables, state, loss = step(variables, state)
    assert loss < 0.01 / 4  # a quarter of the noise's own


@pytest.mark.slow
def test_remat_changes_no_gradient():
    network = PReNet(**SMALL | dict(blocks=1))
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


def test_conditions_and_bfloat16():
    network, images = PReNet(**SMALL), images_of(1, 8, 8, 4)
    variables = drawn(network, channels=4)
    assert variables["params"]["first"]["kernel"].shape == (3, 3, 4 + 3, 4)
    restored, half = (
        jax.jit(partial(network.apply, train=False))(variables, images)
        for network in (network, network.clone(dtype=jnp.bfloat16))
    )
    assert restored.shape == (1, 8, 8, 3)
    assert half.dtype == jnp.float32
    assert 0 < float(jnp.abs(half - restored).max()) < 0.03 * float(jnp.abs(restored).max())


def test_impossible_settings_are_refused():
    with pytest.raises(ConfigError, match="stages = 0 must be at least 1"):
        PReNet(stages=0)
    with pytest.raises((ConfigError, TypeCheckError), match="rnn"):  # the latter where types are checked, as in tests
        PReNet(cell="rnn")
    with pytest.raises(ConfigError, match="1 channels, but channels = 3"):
        shapes_of(PReNet(), channels=1)
