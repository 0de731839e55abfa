from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jgr.errors import ConfigError
from jgr.models.encoder_decoder import EncoderDecoder
from tests.models.networks import drawn, images_of, num_parameters, of_twin, shapes_of

SMALL = dict(patch_size=8, stride=4, widths=(4, 6), bottleneck=5)


def closed_form(inputs, channels, patch_size, widths, bottleneck):
    coarsest = (patch_size >> len(widths)) ** 2 * widths[-1]
    down = sum(9 * low * high + 2 * high for low, high in zip([inputs, *widths], widths, strict=False))
    up = sum(9 * low * high + 2 * high for low, high in zip([*widths[1:], widths[-1]], widths, strict=True))
    matrices = coarsest * bottleneck + bottleneck + bottleneck * coarsest + coarsest
    return down + matrices + up + 9 * widths[0] * channels + channels


def test_parameter_counts():
    # 4x4x128 to 256: 524,544 (the matrix that decides the size), and as many weights back
    assert closed_form(3, 3, 32, (32, 64, 128), 256) == 1_385_283
    assert num_parameters(EncoderDecoder()) == 1_385_283
    assert num_parameters(EncoderDecoder(channels=1)) == closed_form(1, 1, 32, (32, 64, 128), 256)
    assert num_parameters(EncoderDecoder(**SMALL)) == closed_form(3, 3, 8, (4, 6), 5)


@pytest.mark.parametrize("residual", [True, False])
def test_agrees_with_pytorch_on_a_patch(twins_b, residual):
    network, images = EncoderDecoder(**SMALL, residual=residual), images_of(2, 8, 8, 3)
    variables = drawn(network)
    twin = twins_b.EncoderDecoder(patch_size=8, widths=(4, 6), bottleneck=5, residual=residual)
    twins_b.load(twin, variables)
    expected = of_twin(twin.eval(), images)
    got = jax.jit(lambda variables: network.apply(variables, images, train=False))(variables)
    assert np.std(expected - np.asarray(images)) > 0.1
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5)


overlapping = EncoderDecoder(**SMALL, residual=False)
apply_overlapping = jax.jit(partial(overlapping.apply, train=False))  # compiled once for the patches of all sides


@pytest.mark.parametrize(("batch", "sides"), [(2, (12, 20)), (2, (9, 18)), (1, (5, 3))])
def test_larger_images_are_means_of_overlapping_patches(batch, sides):
    images, apply = images_of(batch, *sides, 3), partial(apply_overlapping, drawn(overlapping))
    rows, columns = (max(8, -(-side // 4) * 4) for side in sides)
    padded = np.pad(images, ((0, 0), (0, rows - sides[0]), (0, columns - sides[1]), (0, 0)), "reflect")
    total, number = np.zeros_like(padded), np.zeros((1, rows, columns, 1))
    for top in range(0, rows - 7, 4):
        for left in range(0, columns - 7, 4):
            where = (slice(None), slice(top, top + 8), slice(left, left + 8))
            total[where] += apply(jnp.asarray(padded[where]))
            number[where] += 1
    expected = (total / number)[:, : sides[0], : sides[1]]
    np.testing.assert_allclose(apply(images), expected, rtol=0, atol=1e-5)


def test_the_radius_is_how_far_a_pixel_is_seen():
    network = EncoderDecoder(**SMALL)
    variables, images = drawn(network), images_of(1, 8, 40, 3)
    apply = partial(jax.jit(partial(network.apply, train=False)), variables)
    start = apply(images)
    farthest = 0
    for column in (16, 19):  # the first and the last of a stride
        difference = np.abs(apply(images.at[:, :, column].add(0.5)) - start).max((0, 1, 3))
        farthest = max(farthest, np.abs(np.flatnonzero(difference > 1e-6) - column).max())
    assert farthest == network.radius == 7


@pytest.mark.slow
def test_overfits_one_batch():
    network, optimizer = EncoderDecoder(**SMALL | dict(widths=(16, 16), bottleneck=32)), optax.adam(1e-2)
    clean = images_of(2, 8, 8, 3)
    noisy = clean + 0.1 * jax.random.normal(jax.random.key(1), clean.shape)
    variables = jax.jit(lambda key: network.init(key, noisy, train=True))(jax.random.key(0))
    params, statistics = variables["params"], variables["batch_stats"]

    @jax.jit
    def step(params, statistics, state):
        def loss_fn(params):
            variables = {"params": params, "batch_stats": statistics}
            made, changed = network.apply(variables, noisy, train=True, mutable=["batch_stats"])
            return jnp.mean((made - clean) ** 2), changed["batch_stats"]

        (loss, changed), gradients = jax.value_and_grad(loss_fn, has_aux=True)(params)
        changes, state = optimizer.update(gradients, state)
        return optax.apply_updates(params, changes), changed, state, loss

    state = optimizer.init(params)
    for _ in range(300):
        params, statistics, state, loss = step(params, statistics, state)
    assert loss < 0.01 / 4  # a quarter of the noise's own


def test_conditions_and_bfloat16():
    network, images = EncoderDecoder(**SMALL), images_of(1, 8, 8, 4)
    variables = drawn(network, channels=4)
    restored, half = (
        jax.jit(partial(network.apply, train=False))(variables, images)
        for network in (network, network.clone(dtype=jnp.bfloat16))
    )
    assert restored.shape == (1, 8, 8, 3)
    assert half.dtype == jnp.float32
    assert 0 < float(jnp.abs(half - restored).max()) < 0.03 * float(jnp.abs(restored).max())


def test_impossible_sizes_are_refused():
    with pytest.raises(ConfigError, match="patch_size = 36 must be a multiple of 8"):
        EncoderDecoder(patch_size=36)
    with pytest.raises(ConfigError, match="stride = 12 must divide patch_size = 32"):
        EncoderDecoder(stride=12)
    with pytest.raises(ConfigError, match="1 channels, but channels = 3"):
        shapes_of(EncoderDecoder(), channels=1)
