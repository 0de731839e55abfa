from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jgr.errors import ConfigError
from jgr.models.cyclegan import Generator
from tests.models.networks import drawn, images_of, num_parameters, shapes_of

SMALL = dict(width=4, blocks=2)


@pytest.mark.parametrize(("blocks", "published"), [(9, 11_378_179), (6, 7_837_699)])
def test_parameters_are_the_authors_less_biases_that_instance_norm_takes_off(blocks, published):
    """The published counts: `ResnetGenerator` of 3 channels and 64 filters in the authors' networks.py."""
    cancelled = 64 + 128 + 256 + 2 * blocks * 256 + 128 + 64
    assert num_parameters(Generator(blocks=blocks)) == published - cancelled


def by_pytorch(params, images):
    """The authors' network, with PyTorch's own layers and, before instance norm, biases."""
    torch = pytest.importorskip("torch")
    rng, functional = np.random.default_rng(1), torch.nn.functional

    def reflected(hidden, border):
        return functional.pad(hidden, (border,) * 4, mode="reflect")

    def layer(module, hidden, weights, **options):
        bias = torch.tensor(rng.standard_normal(weights["kernel"].shape[-1]).astype(np.float32))
        kernel = np.asarray(weights["kernel"])
        if module is functional.conv_transpose2d:
            kernel = kernel[::-1, ::-1].transpose(2, 3, 0, 1)
        else:
            kernel = kernel.transpose(3, 2, 0, 1)
        return functional.instance_norm(module(hidden, torch.tensor(kernel.copy()), bias, **options), eps=1e-5)

    hidden = 2 * torch.tensor(np.asarray(images)).permute(0, 3, 1, 2) - 1
    hidden = layer(functional.conv2d, reflected(hidden, 3), params["first"]).relu()
    for level in (1, 2):
        hidden = layer(functional.conv2d, hidden, params[f"down_{level}"], stride=2, padding=1).relu()
    for number in range(SMALL["blocks"]):
        block = params[f"block_{number}"]
        made = layer(functional.conv2d, reflected(hidden, 1), block["conv_0"]).relu()
        hidden = hidden + layer(functional.conv2d, reflected(made, 1), block["conv_1"])
    for level in (1, 0):
        options = dict(stride=2, padding=1, output_padding=1)
        hidden = layer(functional.conv_transpose2d, hidden, params[f"up_{level}"], **options).relu()
    last = np.asarray(params["last"]["kernel"]).transpose(3, 2, 0, 1)
    bias = torch.tensor(np.asarray(params["last"]["bias"]))
    made = functional.conv2d(reflected(hidden, 3), torch.tensor(last.copy()), bias).tanh()
    return (0.5 * made + 0.5).permute(0, 2, 3, 1).numpy()


def test_agrees_with_pytorch():
    network, images = Generator(**SMALL), images_of(2, 16, 12, 3)
    variables = drawn(network)
    expected = by_pytorch(variables["params"], images)
    assert expected.std() > 0.1
    got = jax.jit(partial(network.apply, train=True))(variables, images)
    np.testing.assert_allclose(got, expected, rtol=0, atol=2e-5)


def test_an_image_depends_on_no_other():
    network, images = Generator(**SMALL), images_of(3, 8, 8, 3)
    variables = drawn(network)
    assert set(variables) == {"params"}
    apply = jax.jit(partial(network.apply, train=False))
    others = jnp.stack([1.0 - images[0], images[1], 0.5 * images[2]])
    np.testing.assert_array_equal(apply(variables, others)[1], apply(variables, images)[1])


def test_brightness_and_contrast_are_forgotten_unless_the_image_is_added():
    """The first layer is linear and its mean and deviation are taken off, so a x + b gives what x gives."""
    network, images = Generator(**SMALL), images_of(1, 8, 12, 3)
    variables = drawn(network)
    apply = jax.jit(lambda images: network.apply(variables, images, train=True))
    made = apply(images)
    np.testing.assert_allclose(apply(0.4 * images + 0.3), made, atol=1e-3)  # but for epsilon
    added = jax.jit(lambda images: network.clone(skip=True).apply(variables, images, train=True))(images)
    np.testing.assert_allclose(np.arctanh(2 * added - 1), np.arctanh(2 * made - 1) + 2 * images - 1, atol=1e-3)


def test_a_flat_image_is_no_division_by_zero():
    network = Generator(**SMALL)
    variables = drawn(network)

    @jax.jit
    def slope(images):
        return jax.value_and_grad(lambda images: network.apply(variables, images, train=True).sum())(images)

    value, gradient = slope(jnp.full((1, 8, 8, 3), 0.7))
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def test_channels_may_differ_and_bfloat16():
    network, images = Generator(**SMALL), images_of(1, 8, 8, 1)
    variables = drawn(network, channels=1)
    made, half = (
        jax.jit(partial(network.apply, train=False))(variables, images)
        for network in (network, network.clone(dtype=jnp.bfloat16))
    )
    assert made.shape == (1, 8, 8, 3)
    assert half.dtype == jnp.float32
    assert 0 < float(jnp.abs(half - made).mean()) < 0.05
    assert float(made.min()) >= 0
    assert float(made.max()) <= 1


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match=r"8x10.*multiples of 4"):
        jax.eval_shape(partial(Generator().init, train=True), jax.random.key(0), jnp.zeros((1, 8, 10, 3)))
    for name in ("channels", "width", "blocks"):
        with pytest.raises(ConfigError, match=f"{name} = 0 must be at least 1"):
            Generator(**{name: 0})
    with pytest.raises(ConfigError, match=r"skip = True needs .* channels = 3, not 1"):
        shapes_of(Generator(skip=True), channels=1)
    assert shapes_of(Generator(blocks=1))["params"]["last"]["kernel"].shape == (7, 7, 64, 3)
