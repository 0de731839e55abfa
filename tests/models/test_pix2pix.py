from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jgr.errors import ConfigError
from jgr.models.pix2pix import Discriminator, Generator
from jgr.rng import record_keys
from tests.models.networks import images_of

KEYS = record_keys(jax.random.key(5), jnp.arange(3, dtype=jnp.uint32))
SMALL = dict(width=4, levels=3)


def shapes(network, *shape):
    """Of the result and of the parameters."""
    return jax.eval_shape(lambda key: network.init_with_output(key, jnp.zeros(shape), train=True), jax.random.key(0))


def millions(network, *shape):
    _, variables = shapes(network, *shape)
    return round(sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) / 1e6, 3)


def test_published_parameter_counts():
    """As junyanz/pytorch-CycleGAN-and-pix2pix prints them; those of gray images in its issue 1152."""
    assert millions(Generator(), 1, 256, 256, 3) == 54.414
    assert millions(Generator(channels=1), 1, 256, 256, 1) == 54.408
    assert millions(Generator(channels=1, levels=6), 1, 64, 64, 1) == 29.238
    assert millions(Discriminator(), 1, 256, 256, 6) == 2.769
    assert millions(Discriminator(), 1, 256, 256, 2) == 2.765
    assert millions(Discriminator(layers=2), 1, 64, 64, 2) == 0.662
    assert millions(Generator(norm="instance"), 1, 256, 256, 3) == 54.414
    assert "batch_stats" not in shapes(Generator(norm="instance"), 1, 256, 256, 3)[1]


def test_patches_of_256_pixels():
    assert shapes(Discriminator(), 1, 256, 256, 6)[0].shape == (1, 30, 30)  # appendix 6.1.2 and the authors' code


@pytest.mark.parametrize(("layers", "patch"), [(1, 16), (2, 34), (3, 70)])
def test_receptive_field(layers, patch):
    """The paper's 16x16 and 70x70 PatchGAN (section 4.4), and the one between."""
    network = Discriminator(layers=layers, width=2)
    side = 2 * patch
    variables = drawn_for(network, 1, side, side, 1)

    @jax.jit
    def gradient(images):
        def logit(images):
            logits = network.apply(variables, images, train=False)
            return logits[0, logits.shape[1] // 2, logits.shape[2] // 2]

        return jax.grad(logit)(images)

    _, rows, columns, _ = np.nonzero(gradient(images_of(1, side, side, 1)))
    assert rows.max() - rows.min() + 1 == columns.max() - columns.min() + 1 == patch


def drawn_for(network, *shape):
    """Variables of which none is what it starts as."""
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        values = rng.standard_normal(leaf.shape).astype(np.float32)
        if path[-1].key == "kernel":
            return 0.5 * values / np.sqrt(np.prod(leaf.shape[:3], dtype=np.float32) / 4)
        return 1 + 0.2 * np.tanh(values) if path[-1].key in ("scale", "var") else 0.3 * values

    return jax.tree_util.tree_map_with_path(lambda *leaf: jnp.asarray(draw(*leaf)), shapes(network, *shape)[1])


class Torch:
    """The same networks in PyTorch's functions, on NCHW, from our parameters."""

    def __init__(self, params, norm):
        import torch

        self.f, self.cat, self.norm = torch.nn.functional, torch.cat, norm
        self.params = jax.tree.map(torch.tensor, jax.device_get(params))

    def conv(self, name, hidden, stride):
        layer = self.params[name]
        return self.f.conv2d(hidden, layer["kernel"].permute(3, 2, 0, 1), layer.get("bias"), stride, padding=1)

    def up(self, name, hidden):
        layer = self.params[name]
        kernel = layer["kernel"].flip(0, 1).permute(2, 3, 0, 1)
        return self.f.conv_transpose2d(hidden, kernel, layer.get("bias"), stride=2, padding=1)

    def normed(self, name, hidden):
        if name not in self.params:
            return hidden
        weight, bias = self.params[name]["scale"], self.params[name]["bias"]
        if self.norm == "instance":
            return self.f.instance_norm(hidden, weight=weight, bias=bias, eps=1e-5)
        return self.f.batch_norm(hidden, None, None, weight, bias, training=True, eps=1e-5)

    def generator(self, hidden, levels):
        hidden = 2 * hidden - 1
        skips = []
        for level in range(levels):
            hidden = self.f.leaky_relu(hidden, 0.2) if level else hidden
            hidden = self.normed(f"down_{level}_norm", self.conv(f"down_{level}", hidden, 2))
            skips.append(hidden)
        for level in reversed(range(levels)):
            skip = skips.pop()
            joined = skip if level == levels - 1 else self.cat([skip, hidden], 1)
            hidden = self.normed(f"up_{level}_norm", self.up(f"up_{level}", self.f.relu(joined)))
        return (hidden.tanh() + 1) / 2

    def discriminator(self, hidden, layers):
        hidden = 2 * hidden - 1
        for layer in range(layers + 1):
            hidden = self.conv(f"Conv_{layer}", hidden, 2 if layer < layers else 1)
            hidden = self.f.leaky_relu(self.normed(f"norm_{layer}", hidden), 0.2)
        return self.conv(f"Conv_{layers + 1}", hidden, 1)[:, 0]


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_agree_with_pytorch(norm):
    torch = pytest.importorskip("torch")
    images = images_of(3, 16, 24, 3)
    theirs = torch.tensor(np.asarray(images)).permute(0, 3, 1, 2)
    for network, method, size in (
        (Generator(**SMALL, norm=norm, channels=2), "generator", 3),
        (Discriminator(width=4, layers=2, norm=norm), "discriminator", 2),
    ):
        variables = drawn_for(network, *images.shape)
        expected = getattr(Torch(variables["params"], norm), method)(theirs, size)
        if method == "generator":
            expected = expected.permute(0, 2, 3, 1)
        got, _ = jax.jit(partial(network.apply, train=True, mutable=["batch_stats"]))(variables, images)
        assert expected.std() > 0.05
        np.testing.assert_allclose(got, expected, atol=2e-5 * float(abs(expected).max()))


def test_dropout_is_of_each_image_by_its_own_key():
    network = Generator(**SMALL, norm="instance")
    variables, images = drawn_for(network, 3, 8, 8, 3), jnp.repeat(images_of(1, 8, 8, 3), 3, axis=0)
    apply = jax.jit(network.apply, static_argnames="train")
    made = np.asarray(apply(variables, images, keys=KEYS, train=True))
    assert np.abs(made[0] - made[1]).max() > 0.01
    other = record_keys(jax.random.key(6), jnp.arange(3, dtype=jnp.uint32)).at[1].set(KEYS[0])
    np.testing.assert_array_equal(
        apply(variables, images, keys=other, train=True)[1],
        apply(variables, images, keys=KEYS.at[1].set(KEYS[0]), train=True)[1],
    )
    # To rounding: another place in a batch may round otherwise. Another draw would differ by more than 0.01.
    np.testing.assert_allclose(apply(variables, images, keys=other, train=True)[1], made[0], atol=1e-6)
    np.testing.assert_allclose(apply(variables, images, keys=KEYS, train=False), made, atol=1e-6)  # at test time, too
    fixed = jax.jit(partial(network.clone(dropout_at_test=False).apply, train=False))
    restored = np.asarray(fixed(variables, images, keys=KEYS))
    np.testing.assert_array_equal(fixed(variables, images, keys=other), restored)
    np.testing.assert_allclose(restored, restored[[1, 2, 0]], atol=1e-6)


def test_half_of_the_values_are_dropped():
    """Parameters that show what reaches the last layer: before dropout it is all 1."""
    network = Generator(width=4, levels=2, channels=1, norm="instance")
    images = images_of(3, 32, 32, 1)
    params = jax.tree.map(jnp.zeros_like, drawn_for(network, *images.shape)["params"])
    params["up_1_norm"]["bias"] += 1.0
    params["up_0"]["kernel"] = params["up_0"]["kernel"].at[1, 1, 4].set(0.25)  # after the 4 channels of the skip
    made = jax.jit(partial(network.apply, train=True))({"params": params}, images, keys=KEYS)
    shown = np.arctanh(2 * np.asarray(made, np.float64) - 1) / 0.25
    phases = [shown[:, row::2, column::2] for row in (0, 1) for column in (0, 1)]
    (values,) = (phase for phase in phases if np.abs(phase).max() > 0.1)  # the tap meets one pixel of every four
    np.testing.assert_allclose(np.unique(np.round(values, 3)), [0.0, 2.0])
    shares = (values > 1).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(shares, 0.5, atol=4 * 0.5 / 16)
    assert (values[0] != values[1]).mean() == pytest.approx(0.5, abs=4 * 0.5 / 16)


def test_the_discriminator_of_cyclegan_has_no_scale():
    _, variables = shapes(Discriminator(norm="instance", affine=False), 1, 256, 256, 3)
    assert not any("norm" in name for name in variables["params"])


@pytest.mark.parametrize("network", [Generator(width=4, levels=2), Discriminator(width=4, layers=1)])
def test_bfloat16_gives_float32(network):
    images = images_of(2, 12, 12, 3)
    variables = drawn_for(network, *images.shape)
    full, half = (
        jax.jit(partial(network.clone(dtype=dtype).apply, train=False))(variables, images)
        for dtype in (None, jnp.bfloat16)
    )
    assert half.dtype == jnp.float32
    assert 0 < float(jnp.abs(half - full).max()) < 0.1 * float(jnp.abs(full).max())


def test_impossible_values():
    for network in (Generator, Discriminator):
        with pytest.raises(ConfigError, match="norm = 'layer' must be batch or instance"):
            network(norm="layer")
        with pytest.raises(ConfigError, match="width = 0 must be at least 1"):
            network(width=0)
    with pytest.raises(ConfigError, match=r"dropout = 1\.0 must be at least 0 and below 1"):
        Generator(dropout=1.0)
    with pytest.raises(ConfigError, match="images of 64x60, but the sides must be multiples of 256"):
        shapes(Generator(), 1, 64, 60, 3)
    with pytest.raises(ConfigError, match=r"images of 23x64 are too small for layers = 3: .* at least 24"):
        shapes(Discriminator(), 1, 23, 64, 6)
