import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jgr.errors import ConfigError
from jgr.models.burst import ShotSet, aligned
from jgr.models.unet import DRUNet

TRUNK = DRUNet(channels=1, width=4, levels=2, blocks=1)
SHOTS = jnp.asarray(np.random.default_rng(0).random((2, 8, 6, 4)), jnp.float32)


def network(pooling):
    return ShotSet(TRUNK, width=8, depth=2, pooling=pooling, heads=2)


@pytest.fixture(scope="module", params=["attention", "mean"])
def used(request):
    """A network and its function of shots."""
    own = network(request.param)
    variables = jax.jit(lambda key: own.init(key, SHOTS, train=True))(jax.random.key(0))
    return own, jax.jit(lambda shots: own.apply(variables, shots, train=False))


def test_the_order_of_the_others_does_not_matter_and_the_first_does(used):
    own, apply = used
    assert (own.channels, own.scale, own.multiple) == (1, 1, 2)
    made = apply(SHOTS)
    assert made.shape == (2, 8, 6, 1)
    assert made.dtype == jnp.float32
    np.testing.assert_allclose(apply(SHOTS[..., jnp.array([0, 3, 1, 2])]), made, atol=1e-6)
    assert np.abs(apply(SHOTS[..., jnp.array([1, 0, 2, 3])]) - made).max() > 1e-3


def test_every_shot_counts_and_any_number_is_taken(used):
    _, apply = used
    made = apply(SHOTS)
    for number in range(1, 4):
        assert np.abs(apply(SHOTS.at[..., number].mul(0.5)) - made).max() > 1e-5
    # A set in which each has come twice is the same set, for means and for attention alike.
    np.testing.assert_allclose(apply(jnp.concatenate([SHOTS, SHOTS], axis=-1)), made, atol=1e-5)
    assert apply(SHOTS[..., :1]).shape == made.shape


def test_channels_of_colour_shots_stay_together():
    own = ShotSet(DRUNet(channels=3, width=4, levels=2, blocks=1), width=8, depth=1, pooling="mean")
    shots = jnp.asarray(np.random.default_rng(1).random((1, 4, 4, 9)), jnp.float32)
    variables = own.init(jax.random.key(0), shots, train=True)
    made = own.apply(variables, shots, train=False)
    swapped = own.apply(variables, shots[..., jnp.array([0, 1, 2, 6, 7, 8, 3, 4, 5])], train=False)
    np.testing.assert_allclose(swapped, made, atol=1e-6)
    with pytest.raises(ConfigError, match="ShotSet: 8 channels are no shots of 3"):
        own.apply(variables, shots[..., :8], train=False)


@pytest.mark.parametrize(("down", "right"), [(0, 0), (2, -1), (-3, 3)])
def test_shots_are_moved_back(down, right):
    rng = np.random.default_rng(abs(down))
    scene = rng.random((50, 44, 3)).cumsum(axis=0).cumsum(axis=1)
    scene = (scene - scene.mean()) / scene.std() * 0.2 + 0.5 + 0.1 * rng.standard_normal(scene.shape)
    noise = 0.05 * rng.standard_normal((40, 34, 3))
    shot = scene[5 - down : 45 - down, 5 - right : 39 - right] + noise  # down and right by so many
    moved = np.asarray(jax.jit(aligned, static_argnums=2)(jnp.asarray(scene[5:-5, 5:-5]), jnp.asarray(shot), 3))
    expected = scene[5:-5, 5:-5] + np.roll(noise, (-down, -right), (0, 1))
    np.testing.assert_allclose(moved[3:-3, 3:-3], expected[3:-3, 3:-3], atol=1e-6)
    for column in range(1, right + 1):
        np.testing.assert_array_equal(moved[:, -column], moved[:, -right - 1])  # repeats the border


def test_a_network_that_aligns_sees_a_still_burst(used):
    own, _ = used
    rng = np.random.default_rng(3)
    scene = jnp.asarray(rng.random((1, 26, 26, 1)), jnp.float32)
    still = jnp.concatenate([scene[:, 3:-3, 3:-3]] * 2, axis=-1)
    shaken = jnp.concatenate([scene[:, 3:-3, 3:-3], scene[:, 2:-4, 4:-2]], axis=-1)
    align = own.clone(align=2)
    variables = jax.jit(lambda key: align.init(key, still, train=True))(jax.random.key(0))
    apply = jax.jit(lambda shots: align.apply(variables, shots, train=False))
    far = slice(9, 11)  # from the borders, which a moved shot lacks
    np.testing.assert_allclose(apply(shaken)[:, far, far], apply(still)[:, far, far], atol=1e-5)
    with pytest.raises(ConfigError, match=r"align = 2: images of 4x20 must be larger"):
        apply(still[:, :4])


def test_impossible_settings():
    with pytest.raises(ConfigError, match="align = -1 must be at least 0"):
        ShotSet(TRUNK, align=-1)
    with pytest.raises(ConfigError, match="depth = 0 must be at least 1"):
        ShotSet(TRUNK, depth=0)
    with pytest.raises(ConfigError, match="width = 6 must be a multiple of heads = 4"):
        ShotSet(TRUNK, width=6)
