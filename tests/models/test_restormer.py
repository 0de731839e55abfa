from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jgr.errors import ConfigError
from jgr.models.restormer import VARIANTS, Restormer
from tests.models.networks import drawn, images_of, num_parameters, of_twin, shapes_of

SMALL = dict(width=4, blocks=(1, 1), refinement_blocks=1, heads=(1, 2))


@pytest.mark.parametrize(
    ("variant", "count"),
    [("deblurring", 26_126_644), ("gray-denoising", 26_109_076), ("colour-denoising", 26_111_668)],  # the authors'
)
def test_parameter_counts_of_the_variants(variant, count):
    network = Restormer(**VARIANTS[variant])
    assert num_parameters(network) == count
    assert network.multiple == 8
    assert network.radius is None


@pytest.mark.parametrize("bias_free", [True, False])
def test_agrees_with_pytorch(twins_b, bias_free):
    network, images = Restormer(**SMALL, bias_free=bias_free), images_of(2, 12, 8, 3)
    variables, twin = drawn(network), twins_b.Restormer(**SMALL, bias_free=bias_free)
    twins_b.load(twin, variables)
    expected = of_twin(twin, images)
    assert np.std(expected - np.asarray(images)) > 0.1
    got = jax.jit(lambda variables: network.apply(variables, images, train=True))(variables)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.slow
def test_overfits_one_batch():
    network, optimizer = Restormer(**SMALL | dict(width=8)), optax.adam(1e-2)
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


def test_remat_changes_no_gradient_and_a_flat_image_has_finite_ones():
    network = Restormer(**dict(width=4, blocks=(1,), refinement_blocks=0, heads=(2,)))
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
    flat = plain(variables, 0 * images)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(flat))


def test_conditions_and_bfloat16():
    network, images = Restormer(**SMALL), images_of(1, 8, 8, 4)
    variables = drawn(network, channels=4)
    assert variables["params"]["first"]["kernel"].shape == (3, 3, 4, 4)
    restored, half = (
        jax.jit(partial(network.apply, train=False))(variables, images)
        for network in (network, network.clone(dtype=jnp.bfloat16))
    )
    assert restored.shape == (1, 8, 8, 3)
    assert half.dtype == jnp.float32
    assert 0 < float(jnp.abs(half - restored).max()) < 0.05 * float(jnp.abs(restored).max())


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match=r"8x12.*multiples of 8"):
        Restormer().init(jax.random.key(0), jnp.zeros((1, 8, 12, 3)), train=True)
    with pytest.raises(ConfigError, match="heads = 5 must divide the 48 channels"):
        shapes_of(Restormer(heads=(5, 2, 4, 8)))
    with pytest.raises(ConfigError, match="one for each level"):
        Restormer(heads=(1, 2))
    with pytest.raises(ConfigError, match="width = 7 must be even"):
        Restormer(width=7)
