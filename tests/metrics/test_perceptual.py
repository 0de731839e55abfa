import functools
import inspect
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jgr.errors import DataError
from jgr.metrics.perceptual import from_torch, linear_weights, lpips

# [out, in, height, width] of the kernels of torchvision's alexnet, vgg16 and squeezenet1_1, without their classifiers.
_VGG = ((0, 64), (2, 64), (5, 128), (7, 128), (10, 256), (12, 256), (14, 256))
_VGG += ((17, 512), (19, 512), (21, 512), (24, 512), (26, 512), (28, 512))
_FIRES = ((3, 64, 16, 64), (4, 128, 16, 64), (6, 128, 32, 128), (7, 256, 32, 128))
_FIRES += ((9, 256, 48, 192), (10, 384, 48, 192), (11, 384, 64, 256), (12, 512, 64, 256))
SHAPES = {
    "alex": {
        "features.0": (64, 3, 11, 11),
        "features.3": (192, 64, 5, 5),
        "features.6": (384, 192, 3, 3),
        "features.8": (256, 384, 3, 3),
        "features.10": (256, 256, 3, 3),
    },
    "vgg": {
        f"features.{number}": (channels, 3 if number == 0 else _VGG[place - 1][1], 3, 3)
        for place, (number, channels) in enumerate(_VGG)
    },
    "squeeze": {"features.0": (64, 3, 3, 3)}
    | {
        f"features.{number}.{name}": shape
        for number, channels, squeezed, expanded in _FIRES
        for name, shape in (
            ("squeeze", (squeezed, channels, 1, 1)),
            ("expand1x1", (expanded, squeezed, 1, 1)),
            ("expand3x3", (expanded, squeezed, 3, 3)),
        )
    },
}
NETS = list(SHAPES)


def _weights(net):
    random, weights = np.random.RandomState(0), {}
    for name, shape in SHAPES[net].items():
        bound = np.sqrt(6 / np.prod(shape[1:]))
        weights[f"{name}.weight"] = ((2 * random.random_sample(shape) - 1) * bound).astype(np.float32)
        weights[f"{name}.bias"] = (random.random_sample(shape[0]) - 0.5).astype(np.float32)
    return weights


def _pair():
    random = np.random.RandomState(1)
    images = random.random_sample((2, 47, 40, 3)).astype(np.float32)
    other = random.random_sample(images.shape).astype(np.float32)
    return jnp.asarray(images), jnp.asarray(0.7 * images + 0.3 * other)


@pytest.fixture(scope="module", params=NETS)
def trunk(request):
    """A network with random weights: its name, jgr's parameters, the compiled distance."""
    params = from_torch(request.param, _weights(request.param))
    return request.param, params, functools.partial(jax.jit(lpips, static_argnames="net"), net=request.param)


def test_agrees_with_the_authors_package(trunk):
    net, params, distance = trunk
    torch = pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        package = pytest.importorskip("lpips")
        reference = package.LPIPS(net=net, pnet_rand=True, verbose=False).eval()
    weights = _weights(net)
    with torch.no_grad():
        for name, parameter in reference.net.named_parameters():  # slice1.0.weight is features.0.weight
            parameter.copy_(torch.from_numpy(weights["features." + name.split(".", 1)[1]]))
        pair = (torch.tensor(np.asarray(images)).permute(0, 3, 1, 2) * 2 - 1 for images in _pair())
        expected = reference(*pair).ravel().numpy()
    np.testing.assert_allclose(distance(*_pair(), params), expected, rtol=1e-5)


# lpips 0.1.4 with torch 2.15 on CPU in float64, with the weights and images of this file.
GOLDEN = {
    "alex": [0.018259534807387602, 0.017017120301900102],
    "vgg": [0.02476996232180602, 0.024624193063245828],
    "squeeze": [0.021040101338419288, 0.02425531891268825],
}


def test_values_of_the_authors_package(trunk):
    net, params, distance = trunk
    np.testing.assert_allclose(distance(*_pair(), params), GOLDEN[net], rtol=1e-5)


def test_equal_images_have_distance_0_and_a_distance_is_symmetric(trunk):
    images, targets = _pair()
    _, params, distance = trunk
    np.testing.assert_array_equal(distance(images, images, params), 0.0)
    np.testing.assert_allclose(distance(images, targets, params), distance(targets, images, params), rtol=1e-6)


def test_each_pair_is_measured_alone(trunk):
    images, targets = _pair()
    _, params, distance = trunk
    changed = distance(images, targets.at[0].set(0.5), params)
    assert changed[0] != distance(images, targets, params)[0]
    np.testing.assert_array_equal(changed[1], distance(images, targets, params)[1])


def test_a_trunk_of_zeros_sees_nothing(trunk):
    _, params, distance = trunk
    np.testing.assert_array_equal(distance(*_pair(), jax.tree.map(np.zeros_like, params)), 0.0)


def test_the_gradient_is_finite_where_no_channel_is_active():
    images, targets = (images[:, :31, :31] for images in _pair())
    zeros = jax.tree.map(np.zeros_like, from_torch("alex", _weights("alex")))
    gradient = jax.jit(jax.grad(lambda images: lpips(images, targets, zeros).sum()))(images)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize(
    ("net", "sizes"),
    [
        ("alex", [64, 192, 384, 256, 256]),
        ("vgg", [64, 128, 256, 512, 512]),
        ("squeeze", [64, 128, 256, 384, 384, 512, 512]),
    ],
)
def test_the_linear_weights_are_the_published_ones(net, sizes):
    weights = linear_weights(net)
    assert [len(layer) for layer in weights] == sizes
    assert all((layer >= 0).all() for layer in weights)
    # Sums over the first and the last layer of lpips/weights/v0.1, read with torch.
    first_last = {"alex": (2.3495323, 20.3171771), "vgg": (6.9259917, 47.0348538), "squeeze": (5.6901008, 17.5905528)}
    np.testing.assert_allclose((weights[0].sum(), weights[-1].sum()), first_last[net], rtol=1e-6)


def test_inputs_that_cannot_be_compared_are_named():
    images, targets = _pair()
    for arguments, message in (
        ((images, targets, {}, "resnet"), "'resnet' must be one of alex, vgg, squeeze"),
        ((images, targets[:, 1:], {}), r"shape \(2, 47, 40, 3\), but targets of \(2, 46, 40, 3\)"),
        (((images * 255).astype(jnp.uint8), targets, {}), r"images in \[0, 1\], not uint8"),
        ((images[:, :20], targets[:, :20], {}), "needs at least 31 a side"),
    ):
        with pytest.raises(ValueError, match=message):
            inspect.unwrap(lpips)(*arguments)  # without the tests' own check of shapes


def test_weights_that_do_not_fit_are_named():
    weights = _weights("squeeze")
    assert set(from_torch("squeeze", weights | {"classifier.1.weight": np.zeros((1000, 512, 1, 1))}))
    for change, message in (
        ({"features.3.squeeze.bias": None}, "lack features.3.squeeze.bias"),
        ({"features.13.weight": np.zeros(3)}, "hold what the trunk has not: features.13.weight"),
        ({"features.0.weight": np.zeros((96, 3, 7, 7))}, r"features.0.weight has shape \(96, 3, 7, 7\)"),
    ):
        changed = {key: value for key, value in (weights | change).items() if value is not None}
        with pytest.raises(DataError, match=message):
            from_torch("squeeze", changed)
