import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jgr.errors import ConfigError
from jgr.models.edsr import EDSR, VARIANTS, SRResNet

SMALL = dict(width=8, blocks=1)


@pytest.mark.parametrize(
    ("name", "scale", "count"),
    [
        ("baseline", 2, 1_369_859),
        ("baseline", 3, 1_554_499),
        ("baseline", 4, 1_517_571),
        ("large", 2, 40_729_603),
        ("large", 3, 43_680_003),
        ("large", 4, 43_089_923),
    ],
)
def test_published_parameter_counts(num_parameters, name, scale, count):
    assert num_parameters(EDSR(scale=scale, **VARIANTS[name]), 3) == count


def test_srresnet_has_the_published_count(num_parameters):
    assert num_parameters(SRResNet(), 3) == 1_549_462


@pytest.mark.parametrize(
    "sizes",
    [
        dict(scale=2, res_scale=0.1),
        dict(scale=3, bilinear_skip=True),
        dict(scale=4, channels=1, image_range=1.0),
        dict(scale=1, unshuffle=2),
    ],
)
def test_edsr_agrees_with_pytorch(twins, applied, sizes):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    sizes = dict(width=6, blocks=2) | sizes
    twin = twins.EDSR(**sizes)
    images = np.random.default_rng(0).uniform(size=(2, 8, 10, sizes.get("channels", 3))).astype(np.float32)
    with torch.no_grad():
        theirs = twin(torch.from_numpy(images).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    ours = applied(EDSR(**sizes), twins.as_variables(twin), images)
    assert ours.shape == (2, 8 * sizes["scale"], 10 * sizes["scale"], images.shape[-1])
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_srresnet_agrees_with_pytorch(twins, applied):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    twin = twins.SRResNet(width=6, blocks=2).eval()
    with torch.no_grad():
        for name, module in twin.named_modules():
            if name.endswith("norm"):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
    images = np.random.default_rng(0).uniform(size=(2, 5, 7, 3)).astype(np.float32)
    with torch.no_grad():
        theirs = twin(torch.from_numpy(images).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    ours = applied(SRResNet(width=6, blocks=2), twins.as_variables(twin), images)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_an_untrained_denoiser_changes_nothing_and_an_untrained_enlarger_is_bilinear(initial, applied):
    images = jax.random.uniform(jax.random.key(0), (1, 6, 8, 3))
    network = EDSR(scale=1, channels=1, unshuffle=2, **SMALL)  # one channel, two conditions
    restored = applied(network, initial(network, images), images)
    np.testing.assert_array_equal(restored, images[..., :1])

    steps = jnp.asarray([0.0, 1.0]).reshape(1, 1, 2, 1)
    network = EDSR(channels=1, bilinear_skip=True, **SMALL)
    enlarged = applied(network, initial(network, steps), steps)
    np.testing.assert_allclose(enlarged[0, :, :, 0], [[0, 0.25, 0.75, 1]] * 2, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "num_steps", "factor"),
    [
        (EDSR(scale=1, channels=1, unshuffle=2, **SMALL), 160, 3),  # starts near the target: with the noisy image
        (EDSR(channels=1, **SMALL), 40, 5),
        (SRResNet(2, channels=1, **SMALL), 40, 5),
    ],
)
def test_learn_one_batch(overfit, network, num_steps, factor):
    clean = jax.random.uniform(jax.random.key(0), (2, 1, 1, 1)) * jnp.ones((2, 16, 16, 1))
    noise = 25 / 255 * jax.random.normal(jax.random.key(1), clean.shape)
    targets = jnp.repeat(jnp.repeat(clean, network.scale, 1), network.scale, 2)
    assert overfit(network, clean + noise, targets, num_steps) > factor


@pytest.mark.parametrize(
    ("network", "radius"),
    [
        (EDSR(scale=1, channels=1, unshuffle=2, **SMALL), 11),
        (EDSR(scale=3, channels=1, **SMALL), 6),
        (EDSR(scale=4, channels=1, **SMALL), 6),
        (SRResNet(2, channels=1, **SMALL), 10),
    ],
)
def test_radius_is_how_far_the_result_depends_on_the_input(reach, network, radius):
    assert reach(network, 1) == network.radius == radius


@pytest.mark.parametrize("network", [EDSR, SRResNet])
def test_bfloat16_gives_float32(initial, applied, network):
    images = jax.random.uniform(jax.random.key(0), (1, 6, 5, 3))
    variables = initial(network(scale=2, **SMALL), images)
    restored = applied(network(scale=2, **SMALL), variables, images)
    half = applied(network(scale=2, **SMALL, dtype=jnp.bfloat16), variables, images)
    assert half.dtype == jnp.float32
    np.testing.assert_allclose(half, restored, atol=0.03 * abs(restored).max())


def test_impossible_sizes_are_refused():
    for network in (EDSR, SRResNet):
        with pytest.raises(ConfigError, match=r"scale = 6 must be (1, )?3 or a power of two"):
            network(scale=6)
    with pytest.raises(ConfigError, match="scale = 1 must be 3 or a power of two above 1"):
        SRResNet(scale=1)
    with pytest.raises(ConfigError, match="unshuffle = 2 must be 1 with scale = 2"):
        EDSR(unshuffle=2)
    with pytest.raises(ConfigError, match="bilinear_skip = True must be False with scale = 1"):
        EDSR(scale=1, bilinear_skip=True)
    with pytest.raises(ConfigError, match="EDSR: images of 9x8, but the sides must be multiples of 4"):
        EDSR(scale=1, unshuffle=4).init(jax.random.key(0), jnp.zeros((1, 9, 8, 3)), train=False)
