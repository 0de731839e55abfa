import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jgr.errors import ConfigError
from jgr.models.ffdnet import VARIANTS, FFDNet

SMALL = dict(depth=3, width=8)


@pytest.mark.parametrize(("name", "count"), [("gray", 485_316), ("color", 852_108)])
def test_published_parameter_counts(num_parameters, name, count):
    network = FFDNet(**VARIANTS[name])
    assert num_parameters(network, network.channels + 1) == count


@pytest.mark.parametrize("channels", [1, 3])
def test_agrees_with_pytorch(twins, applied, channels):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    sizes = dict(channels=channels, depth=4, width=12)
    twin = twins.FFDNet(**sizes)
    images = np.random.default_rng(0).uniform(size=(2, 10, 14, channels + 1)).astype(np.float32)
    with torch.no_grad():
        theirs = twin(torch.from_numpy(images).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    ours = applied(FFDNet(**sizes), twins.as_variables(twin), images)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_learns_one_batch(overfit):
    clean = jax.random.uniform(jax.random.key(0), (2, 1, 1, 1)) * jnp.ones((2, 16, 16, 1))
    noise = 25 / 255 * jax.random.normal(jax.random.key(1), clean.shape)
    noise_map = jnp.full(clean.shape, 25 / 255)
    assert overfit(FFDNet(**SMALL), jnp.concatenate([clean + noise, noise_map], -1), clean) > 5


def test_radius_is_how_far_the_result_depends_on_the_input(reach):
    network = FFDNet(**SMALL)
    assert reach(network, 2) == network.radius == 7


def test_the_map_matters_and_bfloat16_gives_float32(initial, applied):
    images = jax.random.uniform(jax.random.key(0), (1, 8, 10, 2))
    variables = initial(FFDNet(**SMALL), images)
    restored = applied(FFDNet(**SMALL), variables, images)
    assert restored.shape == (1, 8, 10, 1)
    half = applied(FFDNet(**SMALL, dtype=jnp.bfloat16), variables, images)
    assert half.dtype == jnp.float32
    np.testing.assert_allclose(half, restored, atol=0.03 * abs(restored).max())
    louder = applied(FFDNet(**SMALL), variables, images.at[..., 1].add(0.5))
    assert abs(louder - restored).max() > 1e-3


def test_impossible_sizes_are_refused():
    with pytest.raises(ConfigError, match="width = 0 must be at least 1"):
        FFDNet(width=0)
    with pytest.raises(ConfigError, match="FFDNet: images of 8x9, but the sides must be multiples of 2"):
        FFDNet().init(jax.random.key(0), jnp.zeros((1, 8, 9, 2)), train=False)
    with pytest.raises(ConfigError, match='come without the map of the noise: let the task\'s inputs name "sigma"'):
        FFDNet().init(jax.random.key(0), jnp.zeros((1, 8, 8, 1)), train=False)
