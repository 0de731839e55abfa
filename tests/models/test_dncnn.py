from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jgr.errors import ConfigError
from jgr.models.dncnn import VARIANTS, DnCNN

SMALL = dict(depth=4, width=8)


def released(test_data):
    """The released weights for sigma 25 as variables, by their names alone."""
    variables = {"params": {}, "batch_stats": {}}
    with np.load(test_data / "weights" / "dncnn_s25.npz") as file:
        for name in file.files:
            layer, leaf = name.split("/")
            collection = "batch_stats" if leaf in ("mean", "var") else "params"
            variables[collection].setdefault(layer, {})[leaf] = file[name]
    return variables


def noisy(path):
    """An image in [0, 1] and the same with the noise of the field's protocol, from seed 0 for each image."""
    image = np.asarray(Image.open(path), np.float32)[None, ..., None] / 255
    noise = np.random.RandomState(0).normal(0, 25 / 255, image.shape[1:3])
    return image, image + noise[None, ..., None].astype(np.float32)


def psnr(image, restored):
    """Of uint8 images, no border left out."""
    error = 255 * image - np.round(255 * np.clip(restored, 0, 1))
    return 10 * np.log10(255**2 / np.mean(error.astype(np.float64) ** 2))


@pytest.mark.parametrize(("name", "count"), [("s", 556_032), ("b", 667_008), ("color", 669_312)])
def test_published_parameter_counts(num_parameters, name, count):
    network = DnCNN(**VARIANTS[name])
    assert num_parameters(network, network.channels) == count


def test_released_weights_fit_by_name(test_data):
    images = jnp.zeros((1, 8, 8, 1))
    shapes = jax.eval_shape(lambda key: DnCNN().init(key, images, train=False), jax.random.key(0))
    assert jax.tree.map(np.shape, released(test_data)) == jax.tree.map(lambda leaf: leaf.shape, dict(shapes))


def test_released_weights_give_pytorchs_result(test_data, applied):
    folder, crop = test_data / "denoising" / "bsd68", np.s_[:, 100:164, 120:184]
    images, degraded = zip(*(noisy(folder / name) for name in ("test001.png", "test002.png")), strict=True)
    images, degraded = (np.concatenate([image[crop] for image in part]) for part in (images, degraded))
    noise = np.asarray(applied(DnCNN(), released(test_data), degraded))
    # `DnCNN` of experiments/torch_restoration_a.py with these weights on these crops, torch 2.13 on CPU, in float64
    expected = [
        [0.018626493, 0.136014324, 0.009668295, 0.154946232],
        [0.097557219, 0.198137359, -0.071896108, 0.173014255],
    ]
    np.testing.assert_allclose(noise[:, [0, 20, 63, 32], [0, 40, 32, 7], 0], expected, atol=1e-5)
    decibels = [psnr(*pair) for pair in zip(images, degraded - noise, strict=True)]
    np.testing.assert_allclose(decibels, [26.61867, 34.42089], atol=1e-3)


@pytest.mark.slow
def test_released_weights_score_the_published_psnr_on_bsd68(test_data):
    variables, denoise = released(test_data), jax.jit(lambda v, x: x - DnCNN().apply(v, x, train=False))
    pairs = [noisy(path) for path in sorted((test_data / "denoising" / "bsd68").glob("*.png"))]
    values = [psnr(image, np.asarray(denoise(variables, degraded))) for image, degraded in pairs]
    assert len(values) == 68
    assert np.mean(values) == pytest.approx(29.21, abs=0.005)  # the weights' authors: two decimals


@pytest.mark.parametrize("train", [False, True])
def test_agrees_with_pytorch(twins, train):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    twin = twins.DnCNN(channels=3, depth=5, width=40).train(train)  # wide enough for Winograd's convolution
    with torch.no_grad():
        for norm in twin.bn.values():
            norm.weight.normal_()
            norm.bias.normal_()
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
    variables = twins.as_variables(twin)
    images = np.random.default_rng(0).uniform(size=(2, 19, 23, 3)).astype(np.float32)
    with torch.no_grad():
        theirs = twin(torch.from_numpy(images).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    network = DnCNN(channels=3, depth=5, width=40)
    ours, changed = jax.jit(partial(network.apply, train=train, mutable=["batch_stats"]))(variables, images)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    if train:  # PyTorch's running variance is the unbiased one, Flax's is not: n = 2 * 19 * 23
        moved, before = twins.as_variables(twin)["batch_stats"], variables["batch_stats"]
        for layer, statistics in changed["batch_stats"].items():
            np.testing.assert_allclose(statistics["mean"], moved[layer]["mean"], atol=1e-5)
            kept = 0.9 * before[layer]["var"]
            unbiased = kept + (statistics["var"] - kept) * 874 / 873
            np.testing.assert_allclose(unbiased, moved[layer]["var"], rtol=1e-4)


def test_weights_start_as_the_authors(initial):
    params = initial(DnCNN(width=64, depth=4), jnp.zeros((1, 8, 8, 1)))["params"]
    spread = np.sqrt(2 / (9 * 64))
    for name in ("conv0", "conv1", "conv2", "conv3"):
        kernel = np.asarray(params[name]["kernel"])
        assert abs(kernel.std() - spread) < 5 * spread / np.sqrt(kernel.size)
    scales = np.concatenate([params["bn1"]["scale"], params["bn2"]["scale"]])
    assert abs(scales).min() == pytest.approx(0.025)
    assert 0.3 < (scales < 0).mean() < 0.7
    assert 0.1 < (abs(scales) == np.float32(0.025)).mean() < 0.6  # P(|N(0, 1)| < 0.025 / 0.0589) = 0.33


@pytest.mark.slow
def test_learns_one_batch(overfit):
    clean = jax.random.uniform(jax.random.key(0), (2, 1, 1, 1)) * jnp.ones((2, 16, 16, 1))
    noise = 25 / 255 * jax.random.normal(jax.random.key(1), clean.shape)
    assert overfit(DnCNN(**SMALL), clean + noise, noise) > 5


def test_radius_is_how_far_the_result_depends_on_the_input(reach):
    network = DnCNN(**SMALL)
    assert reach(network, 1) == network.radius == 4


def test_conditions_enter_and_bfloat16_gives_float32(initial, applied):
    images = jax.random.uniform(jax.random.key(0), (1, 9, 10, 2))
    variables = initial(DnCNN(**SMALL), images)
    noise = applied(DnCNN(**SMALL), variables, images)
    assert noise.shape == (1, 9, 10, 1)
    half = applied(DnCNN(**SMALL, dtype=jnp.bfloat16), variables, images)
    assert half.dtype == jnp.float32
    np.testing.assert_allclose(half, noise, atol=0.03 * abs(noise).max())
    assert abs(applied(DnCNN(**SMALL), variables, images.at[..., 1].add(0.5)) - noise).max() > 1e-4


def test_impossible_sizes_are_refused():
    with pytest.raises(ConfigError, match="depth = 1 must be at least 2"):
        DnCNN(depth=1)
    with pytest.raises(ConfigError, match="DnCNN: images of 1 channels, but channels = 3"):
        DnCNN(channels=3).init(jax.random.key(0), jnp.zeros((1, 8, 8, 1)), train=False)
