import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jgr.errors import ConfigError
from jgr.models.unet import DRUNet

SMALL = dict(width=8, levels=2, blocks=1)


@pytest.mark.parametrize(("channels", "count"), [(1, 32_638_656), (3, 32_640_960)])
def test_published_parameter_counts(num_parameters, channels, count):
    assert num_parameters(DRUNet(channels=channels), channels + 1) == count


def test_agrees_with_pytorch(twins, applied):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    sizes = dict(channels=3, width=6, levels=3, blocks=2)
    twin = twins.DRUNet(**sizes)
    images = np.random.default_rng(0).uniform(size=(2, 12, 20, 4)).astype(np.float32)
    with torch.no_grad():
        theirs = twin(torch.from_numpy(images).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    ours = applied(DRUNet(**sizes), twins.as_variables(twin), images)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_is_homogeneous(initial, applied):
    images = jax.random.uniform(jax.random.key(0), (1, 4, 6, 2))
    network = DRUNet(**SMALL)
    variables = initial(network, images)
    restored = applied(network, variables, images)
    np.testing.assert_allclose(applied(network, variables, 3 * images), 3 * restored, rtol=1e-5, atol=1e-7)


def test_learns_one_batch(overfit):
    clean = jax.random.uniform(jax.random.key(0), (2, 1, 1, 1)) * jnp.ones((2, 16, 16, 1))
    noise = 25 / 255 * jax.random.normal(jax.random.key(1), clean.shape)
    noise_map = jnp.full(clean.shape, 25 / 255)
    assert overfit(DRUNet(**SMALL), jnp.concatenate([clean + noise, noise_map], -1), clean) > 5


@pytest.mark.parametrize(("levels", "radius"), [(1, 4), (2, 11)])
def test_radius_is_how_far_the_result_depends_on_the_input(reach, levels, radius):
    network = DRUNet(width=8, levels=levels, blocks=1)
    assert reach(network, 1) == network.radius == radius


def test_bfloat16_gives_float32(initial, applied):
    images = jax.random.uniform(jax.random.key(0), (1, 8, 10, 2))
    variables = initial(DRUNet(**SMALL), images)
    restored = applied(DRUNet(**SMALL), variables, images)
    assert restored.shape == (1, 8, 10, 1)
    half = applied(DRUNet(**SMALL, dtype=jnp.bfloat16), variables, images)
    assert half.dtype == jnp.float32
    np.testing.assert_allclose(half, restored, atol=0.03 * abs(restored).max())


def test_impossible_sizes_are_refused():
    with pytest.raises(ConfigError, match="levels = 0 must be at least 1"):
        DRUNet(levels=0)
    with pytest.raises(ConfigError, match="DRUNet: images of 16x12, but the sides must be multiples of 8"):
        DRUNet().init(jax.random.key(0), jnp.zeros((1, 16, 12, 1)), train=False)
