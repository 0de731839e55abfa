import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jgr.errors import ConfigError
from jgr.models.vdvae import VDVAE, Pass, StochasticBlock

SMALL = {"width": 8, "bottleneck": 4, "latent_channels": 2}
DEEP = VDVAE(blocks=((1, 1), (2, 1), (4, 2)), patch=2, **SMALL)
KEYS = jax.random.split(jax.random.key(7), 4)
IMAGES = jax.random.uniform(jax.random.key(0), (4, 8, 8, 1))


def shapes_of(network, **labels):
    return jax.eval_shape(functools.partial(network.init, train=True, **labels), jax.random.key(0), IMAGES, KEYS)


def drawn(network, **labels):
    """Variables of which none is what it starts as: priors are no longer N(0, 1)."""
    rng = np.random.default_rng(0)

    def draw(leaf):
        fan_in = np.prod(leaf.shape[:-1]) if len(leaf.shape) > 1 else 16
        return jnp.asarray(rng.standard_normal(leaf.shape) / np.sqrt(fan_in), jnp.float32)

    return jax.tree.map(draw, shapes_of(network, **labels))


@functools.partial(jax.jit, static_argnums=0)
def passed(network, variables, images, keys, labels=None):
    return network.apply(variables, images, keys, labels=labels, train=True)


@functools.partial(jax.jit, static_argnums=(0, 3))
def generated(network, variables, keys, temperature=1.0, labels=None):
    return network.apply(variables, keys, temperature, labels=labels, method="generate")


@functools.partial(jax.jit, static_argnums=0)
def seen(network, variables, images, keys):
    """What every stochastic block returned: hidden, prior, posterior."""
    _, state = network.apply(
        variables,
        images,
        keys,
        train=True,
        capture_intermediates=lambda module, method: isinstance(module, StochasticBlock) and method == "__call__",
    )
    blocks = state["intermediates"]
    return [blocks[name]["__call__"][0] for name in sorted(blocks)]


@functools.cache
def drawn_deep():
    return drawn(DEEP)


def test_shapes_and_one_row_a_group():
    made = passed(DEEP, drawn_deep(), IMAGES, KEYS)
    assert isinstance(made, Pass)
    assert DEEP.num_groups == 4
    assert [part.shape for part in made] == [(4, 8, 8, 1), (4, 4), (4, 4)]
    assert generated(DEEP, drawn_deep(), KEYS).shape == (4, 8, 8, 1)


def test_the_divergence_of_one_group_is_that_from_its_prior():
    network = VDVAE(blocks=((8, 1),), **SMALL)
    variables = drawn(network)
    made = passed(network, variables, IMAGES, KEYS)
    ((_, prior, posterior),) = seen(network, variables, IMAGES, KEYS)
    np.testing.assert_allclose(made.divergence[0], posterior.divergence(prior).sum((1, 2, 3)), rtol=1e-5)
    assert float(jnp.abs(prior.mean).max()) > 0.1  # not N(0, 1), as it is at first:
    first = jax.jit(functools.partial(network.init, train=True))(jax.random.key(1), IMAGES, KEYS)
    ((_, _, posterior),) = seen(network, first, IMAGES, KEYS)
    expected = posterior.divergence().sum((1, 2, 3))
    np.testing.assert_allclose(passed(network, first, IMAGES, KEYS).divergence[0], expected, rtol=1e-5)


def test_log_ratios_average_to_minus_the_divergences():
    count = 3000
    images, keys = jnp.tile(IMAGES[:1], (count, 1, 1, 1)), jax.random.split(jax.random.key(3), count)
    made = passed(DEEP, drawn_deep(), images, keys)
    excess = np.asarray(made.log_ratio + made.divergence)
    error = excess.std(axis=1) / np.sqrt(count)
    assert (np.abs(excess.mean(axis=1)) < 4 * error).all()  # 4 standard errors
    assert float(made.divergence.sum(axis=0).mean()) > 20 * error.sum()  # a wrong sign or scale would be seen


def test_generation_is_the_same_decoder():
    """Where posteriors are made to be N(0, 1), as the priors are at first, images tell nothing."""
    first = jax.jit(functools.partial(DEEP.init, train=True))(jax.random.key(1), IMAGES, KEYS)

    def without_posterior(path, leaf):
        names = [part.key for part in path]
        return jnp.zeros_like(leaf) if names[-3:-1] == ["posterior", "last"] else leaf

    silent = jax.tree_util.tree_map_with_path(without_posterior, first)
    made = passed(DEEP, silent, IMAGES, KEYS)
    np.testing.assert_array_equal(made.divergence, np.zeros((4, 4)))
    np.testing.assert_allclose(made.outputs, generated(DEEP, silent, KEYS), atol=1e-5)
    assert float(jnp.abs(made.outputs - passed(DEEP, first, IMAGES, KEYS).outputs).max()) > 1e-3


@pytest.mark.slow
def test_what_blocks_add_at_first_shrinks_with_the_root_of_their_number():
    def hidden_after(count):
        network = VDVAE(blocks=((2, count),), patch=4, width=16, bottleneck=4, latent_channels=8)
        first = jax.jit(functools.partial(network.init, train=True))(jax.random.key(1), IMAGES, KEYS)
        return [jnp.zeros((4, 2, 2, 16)), *(hidden for hidden, _, _ in seen(network, first, IMAGES, KEYS))]

    def size(values):
        return float(jnp.sqrt(jnp.square(values).mean()))

    one, four = hidden_after(1), hidden_after(4)
    assert size(four[-1] - four[-2]) == pytest.approx(size(one[-1]) / 2, rel=0.3)
    assert size(four[-1]) == pytest.approx(size(one[-1]), rel=0.3)


def test_a_record_has_its_key_and_not_its_batch():
    together = passed(DEEP, drawn_deep(), IMAGES, KEYS)
    alone = passed(DEEP, drawn_deep(), IMAGES[2:3], KEYS[2:3])
    np.testing.assert_allclose(together.outputs[2:3], alone.outputs, atol=1e-4)
    np.testing.assert_allclose(together.divergence[:, 2:3], alone.divergence, rtol=1e-4)
    np.testing.assert_allclose(
        generated(DEEP, drawn_deep(), KEYS)[2:3], generated(DEEP, drawn_deep(), KEYS[2:3]), atol=1e-4
    )
    other = passed(DEEP, drawn_deep(), IMAGES, KEYS.at[2].set(KEYS[1]))
    np.testing.assert_array_equal(other.outputs[0], together.outputs[0])
    assert float(jnp.abs(other.outputs[2] - together.outputs[2]).max()) > 1e-3


def test_groups_draw_noise_of_their_own():
    """Two blocks of one resolution, neither of which sees the image, and both priors N(0, 1)."""
    first = jax.jit(functools.partial(DEEP.init, train=True))(jax.random.key(1), IMAGES, KEYS)
    silent = jax.tree.map(jnp.zeros_like, first)
    for name in ("down_2_0", "down_2_1"):
        silent["params"][name]["latents"]["kernel"] = jnp.eye(2, 8)
    blocks = seen(DEEP, silent, IMAGES, KEYS)
    noise = [np.asarray(values)[..., :2] for values in (blocks[2][0], blocks[3][0] - blocks[2][0])]
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.15  # 512 numbers: 0.04 is a deviation
    assert [part.std() for part in noise] == pytest.approx([1.0, 1.0], abs=0.15)


def test_without_temperature_every_image_is_the_same():
    cold = generated(DEEP, drawn_deep(), KEYS, 0.0)
    np.testing.assert_allclose(cold, jnp.broadcast_to(cold[:1], cold.shape), atol=1e-5)
    np.testing.assert_array_equal(cold, generated(DEEP, drawn_deep(), KEYS[::-1], 0.0))
    warm = generated(DEEP, drawn_deep(), KEYS)
    assert float(jnp.abs(warm - warm[::-1]).max()) > 0.1


def test_labels_change_outputs_and_no_two_alike():
    network = VDVAE(blocks=((1, 1), (8, 1)), num_classes=3, **SMALL)
    labels = jnp.array([0, 1, 2, 1])
    variables = drawn(network, labels=labels)
    cold = generated(network, variables, KEYS, 0.0, labels)
    differences = np.abs(np.asarray(cold[:, None] - cold[None])).max(axis=(2, 3, 4))
    assert ((differences > 1e-2) == (np.asarray(labels)[:, None] != np.asarray(labels)[None])).all()
    made = passed(network, variables, IMAGES, KEYS, labels)
    assert float(jnp.abs(made.outputs - passed(network, variables, IMAGES, KEYS, labels[::-1]).outputs).max()) > 1e-2
    with pytest.raises(ConfigError, match="num_classes = 3"):
        jax.eval_shape(functools.partial(network.init, train=True), jax.random.key(0), IMAGES, KEYS)
    with pytest.raises(ConfigError, match="num_classes = None"):
        shapes_of(DEEP, labels=labels)


def test_outputs_begin_near_the_brightness():
    network = VDVAE(blocks=((1, 1), (8, 1)), brightness=0.1, outputs=3, **SMALL)
    silent = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), shapes_of(network))
    outputs = passed(network, silent, IMAGES, KEYS).outputs
    assert outputs.shape == (4, 8, 8, 3)
    np.testing.assert_allclose(jax.nn.sigmoid(outputs), 0.1, rtol=1e-5)


def test_a_pixel_of_the_finest_resolution_is_a_square_of_the_images():
    network = VDVAE(blocks=((1, 1), (4, 1)), patch=2, **SMALL)
    silent = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), shapes_of(network))
    silent["params"]["bias_4"] = jnp.zeros((1, 4, 4, 8)).at[0, :, :, 0].set(jnp.arange(16.0).reshape(4, 4))
    silent["params"]["last"]["kernel"] = jnp.zeros((8, 4)).at[0].set(jnp.array([1.0, 2.0, 3.0, 4.0]))
    outputs = passed(network, silent, IMAGES, KEYS).outputs
    expected = np.kron(np.arange(16.0).reshape(4, 4), [[1.0, 2.0], [3.0, 4.0]])
    np.testing.assert_allclose(outputs[0, :, :, 0], expected, rtol=1e-6)
    made = passed(network, drawn(network), IMAGES, KEYS)
    moved = passed(network, drawn(network), IMAGES.at[0].set(1.0 - IMAGES[0]), KEYS)
    changed = np.abs(np.asarray(made.divergence - moved.divergence)) > 1e-4
    assert changed[:, 0].all()
    assert not changed[:, 1:].any()


def test_half_precision_gives_float32_outputs():
    network = VDVAE(blocks=((1, 1), (8, 1)), dtype=jnp.bfloat16, **SMALL)
    variables = drawn(network)
    half, full = (passed(net, variables, IMAGES, KEYS) for net in (network, network.clone(dtype=None)))
    assert half.outputs.dtype == half.divergence.dtype == jnp.float32
    np.testing.assert_allclose(half.divergence.sum(axis=0), full.divergence.sum(axis=0), rtol=0.1)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"blocks": ()}, "blocks"),
        ({"blocks": ((4, 0), (8, 1))}, r"blocks = \(\(4, 0\)"),
        ({"blocks": ((3, 1), (8, 1))}, "multiple of the one before"),
        ({"blocks": ((8, 1), (8, 1))}, "must rise"),
        ({"blocks": ((8, 1),), "width": 0}, "width = 0"),
        ({"blocks": ((8, 1),), "patch": 0}, "patch = 0"),
        ({"blocks": ((8, 1),), "brightness": 1.0}, "brightness = 1.0"),
    ],
)
def test_impossible_fields(fields, message):
    with pytest.raises(ConfigError, match=message):
        VDVAE(**fields)


@pytest.mark.parametrize("shape", [(4, 16, 16, 1), (4, 8, 8, 3), (4, 8, 4, 1)])
def test_images_that_do_not_fit(shape):
    with pytest.raises(ConfigError, match=r"images of \d+x\d+x\d.* blocks end with 4, patch = 2 and channels = 1"):
        jax.eval_shape(functools.partial(DEEP.init, train=True), jax.random.key(0), jnp.zeros(shape), KEYS)
