import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import lax

from jgr.errors import ConfigError
from jgr.layers import Conv, ConvTranspose, conv_transpose
from jgr.layers.conv import _enlarge_by_dilation, conv

# kernel, strides, sides: DCGAN, odd, kernel equal to, below and well above the stride, no stride, axes that differ
GEOMETRIES = [
    ((4, 4), (2, 2), (7, 7)),
    ((3, 3), (2, 2), (4, 5)),
    ((5, 5), (2, 2), (5, 4)),
    ((2, 2), (2, 2), (3, 3)),
    ((2, 2), (3, 3), (3, 4)),
    ((7, 7), (2, 2), (4, 4)),
    ((3, 3), (1, 1), (5, 5)),
    ((1, 4), (2, 3), (5, 3)),
]

# kernel, strides, sides, channels, features, groups: depthwise, several results a channel, groups that are joined to
# one block, to several, and are blocks themselves; minimal filtering of 3x3 kernels with sides that are and are not
# whole tiles
FORMS = [
    ((1, 1), (1, 1), (5, 4), 6, 6, 6),
    ((3, 3), (1, 1), (6, 5), 6, 6, 6),
    ((5, 5), (2, 2), (9, 6), 6, 6, 6),
    ((7, 7), (1, 1), (8, 9), 5, 10, 5),
    ((3, 5), (2, 3), (7, 8), 4, 4, 4),
    ((11, 1), (1, 1), (12, 3), 3, 3, 3),
    ((3, 3), (1, 1), (5, 6), 8, 12, 4),
    ((3, 3), (2, 2), (6, 5), 24, 24, 3),
    ((4, 4), (2, 2), (6, 6), 16, 24, 8),
    ((3, 3), (1, 1), (18, 16), 32, 32, 1),
    ((3, 3), (1, 1), (26, 19), 32, 48, 1),
    ((3, 3), (1, 1), (17, 18), 64, 64, 2),
]


def lax_conv(images, kernel, strides, padding, groups=1):
    return lax.conv_general_dilated(
        images, kernel, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=groups
    )


def arrays(sides, kernel_size, channels=3, features=2):
    keys = jax.random.split(jax.random.key(0))
    return jax.random.normal(keys[0], (2, *sides, channels)), jax.random.normal(
        keys[1], (*kernel_size, channels, features)
    )


def assert_close(tree, expected, tolerance=1e-5):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * np.abs(b).max()), tree, expected
    )


@pytest.mark.parametrize(("ours", "reference"), [(conv, lax_conv), (conv_transpose, lax.conv_transpose)])
@pytest.mark.parametrize(("kernel_size", "strides", "sides"), GEOMETRIES)
def test_value_and_gradients_equal_those_of_lax(ours, reference, kernel_size, strides, sides):
    wide = tuple(max(side, k) for side, k in zip(sides, kernel_size, strict=True))
    inputs = {"SAME": arrays(sides, kernel_size), "VALID": arrays(wide if ours is conv else sides, kernel_size)}

    @jax.jit  # one program: compiling is what takes the time
    def both(inputs):
        def loss(images, kernel, function, padding):
            result = function(images, kernel, strides, padding)
            return jnp.sum(jnp.sin(result)), result  # a loss whose derivative depends on the result

        gradient = jax.grad(loss, argnums=(0, 1), has_aux=True)
        return tuple(
            {padding: gradient(*pair, function, padding) for padding, pair in inputs.items()}
            for function in (ours, reference)
        )

    assert_close(*both(inputs))


@pytest.mark.parametrize(("kernel_size", "strides", "sides", "channels", "features", "groups"), FORMS)
def test_every_form_has_the_value_and_gradients_of_lax_on_cpu_and_elsewhere(
    monkeypatch, kernel_size, strides, sides, channels, features, groups
):
    images, kernel = arrays(sides, kernel_size, channels, features)
    kernel = kernel[:, :, : channels // groups] / np.sqrt(np.prod(kernel_size) * channels // groups)

    def value_and_gradients(function):
        def loss(images, kernel, padding):
            result = function(images, kernel, strides, padding, groups)
            return jnp.sum(jnp.sin(result)), result

        both = {
            padding: jax.grad(functools.partial(loss, padding=padding), argnums=(0, 1), has_aux=True)
            for padding in ("SAME", "VALID")
        }
        return jax.jit(lambda *arguments: {name: gradient(*arguments) for name, gradient in both.items()})(
            images, kernel
        )

    expected = value_and_gradients(lax_conv)
    assert_close(value_and_gradients(conv), expected)
    monkeypatch.setattr("jgr.layers.conv._dispatch", lambda cpu, default, *arguments: default(*arguments))
    assert_close(value_and_gradients(lambda *arguments: conv(*arguments)), expected)


@pytest.mark.parametrize(
    ("channels", "features", "groups", "strides"), [(4, 8, 4, (1, 1)), (8, 8, 4, (2, 2)), (32, 32, 1, (1, 1))]
)
def test_penalty_gradient_of_every_form_equals_that_of_lax(channels, features, groups, strides):
    images, kernel = arrays((16, 16), (3, 3), channels, features)
    kernel = kernel[:, :, : channels // groups] / np.sqrt(9 * channels // groups)

    def gradients(function):
        def loss(images, kernel):
            return jnp.sum(jnp.sin(function(images, kernel, strides, "SAME", groups)))

        def penalty(images, kernel):
            return sum(jnp.sum(gradient**2) for gradient in jax.grad(loss, argnums=(0, 1))(images, kernel))

        return jax.jit(jax.grad(penalty, argnums=(0, 1)))(images, kernel)

    assert_close(gradients(conv), gradients(lax_conv))


@pytest.mark.parametrize(("channels", "features", "groups"), [(6, 6, 6), (8, 12, 4), (32, 32, 1)])
def test_bfloat16_rounds_once(channels, features, groups):
    images, kernel = arrays((26, 24), (3, 3), channels, features)
    images, kernel = images.astype(jnp.bfloat16), kernel[:, :, : channels // groups].astype(jnp.bfloat16)

    above = jax.random.normal(jax.random.key(1), (*images.shape[:3], features), jnp.bfloat16)

    def everything(function, images, kernel):
        result, pull = jax.vjp(lambda x, k: function(x, k, (1, 1), "SAME", groups), images, kernel)
        return result, *pull(above.astype(result.dtype))

    ours = everything(conv, images, kernel)
    exact = everything(lax_conv, images.astype(jnp.float32), kernel.astype(jnp.float32))
    assert {array.dtype.name for array in ours} == {"bfloat16"}
    assert_close([array.astype(jnp.float32) for array in ours], list(exact), tolerance=2**-7)


@pytest.mark.parametrize(("ours", "reference"), [(conv, lax_conv), (conv_transpose, lax.conv_transpose)])
@pytest.mark.parametrize(("kernel_size", "strides", "padding"), [((4, 4), (2, 2), "SAME"), ((2, 2), (3, 3), "VALID")])
def test_gradient_of_a_gradient_penalty_equals_that_of_lax(ours, reference, kernel_size, strides, padding):
    images, kernel = arrays((5, 4), kernel_size)

    def gradients(function):
        def loss(images, kernel):
            return jnp.sum(jnp.sin(function(images, kernel, strides, padding)))

        def penalty(images, kernel):
            return sum(jnp.sum(gradient**2) for gradient in jax.grad(loss, argnums=(0, 1))(images, kernel))

        return jax.jit(jax.grad(penalty, argnums=(0, 1)))(images, kernel)

    assert_close(gradients(ours), gradients(reference), tolerance=1e-4)


@pytest.mark.parametrize(("kernel_size", "strides", "sides"), GEOMETRIES)
def test_accelerators_form_equals_the_cpus(monkeypatch, kernel_size, strides, sides):
    images, kernel = arrays(sides, kernel_size)

    def both():
        return jax.jit(
            lambda *pair: {padding: conv_transpose(*pair, strides, padding) for padding in ("SAME", "VALID")}
        )(images, kernel)

    expected = both()
    monkeypatch.setattr("jgr.layers.conv._enlarge_by_phases", _enlarge_by_dilation)
    assert_close(both(), expected)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_transposed_kernel_makes_it_the_adjoint_of_conv(padding):
    large, kernel = arrays((8, 6), (4, 4))
    small = conv(large, kernel, (2, 2), padding)
    weights = jax.random.normal(jax.random.key(1), small.shape)
    adjoint = conv_transpose(weights, kernel[::-1, ::-1].swapaxes(2, 3), (2, 2), padding)
    np.testing.assert_allclose(jnp.vdot(adjoint, large), jnp.vdot(weights, small), rtol=1e-5)


def test_same_with_kernel_4_and_stride_2_is_pytorchs_padding_1():
    # ConvTranspose2d: pixel i adds its weighted kernel at 2 i - 1, and what falls outside is cropped.
    images, kernel = arrays((3, 2), (4, 4))
    weight = np.asarray(kernel).transpose(2, 3, 0, 1)[:, :, ::-1, ::-1]  # [in, out, height, width]
    expected = np.zeros((2, 2 * 3 + 2, 2 * 2 + 2, 2), np.float32)
    for row in range(3):
        for column in range(2):
            stamp = np.einsum("bi,iohw->bhwo", images[:, row, column], weight)
            expected[:, 2 * row : 2 * row + 4, 2 * column : 2 * column + 4] += stamp
    np.testing.assert_allclose(conv_transpose(images, kernel, (2, 2)), expected[:, 1:-1, 1:-1], atol=1e-5)


def test_vmap_over_kernels_and_images():
    images, kernel = arrays((3, 3), (4, 4))
    kernels = jnp.stack([kernel, 2 * kernel, -kernel])
    expected = conv_transpose(images, kernel, (2, 2))
    each_kernel = jax.vmap(lambda k: conv_transpose(images, k, (2, 2)))(kernels)
    np.testing.assert_allclose(each_kernel, jnp.stack([expected, 2 * expected, -expected]), atol=1e-5)
    each_image = jax.vmap(
        jax.grad(lambda k, image: jnp.sum(conv_transpose(image[None], k, (2, 2)) ** 2)), in_axes=(None, 0)
    )
    together = jax.grad(lambda k: jnp.sum(conv_transpose(images, k, (2, 2)) ** 2))(kernel)
    assert_close(each_image(kernel, images).sum(0), together)


def test_sharded_batch_gives_the_same_gradients():
    images, kernel = arrays((4, 4), (4, 4))
    images = jnp.concatenate([images, images + 1])
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    split = jax.device_put(images, jax.NamedSharding(mesh, jax.P("data")))
    gradients = jax.jit(jax.grad(lambda x, k: jnp.sum(conv_transpose(x, k, (2, 2)) ** 2), argnums=(0, 1)))
    sharded = gradients(split, jax.device_put(kernel, jax.NamedSharding(mesh, jax.P())))
    assert_close(jax.device_get(sharded), jax.device_get(gradients(images, kernel)))


@pytest.mark.parametrize(("side", "channels", "groups"), [(8, 8, 8), (8, 8, 4), (16, 32, 1)])
def test_sharded_batch_stays_where_it_is(side, channels, groups):
    images, kernel = arrays((side, side), (3, 3), channels, channels)
    images, kernel = jnp.concatenate([images, images + 1]), kernel[:, :, : channels // groups]
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    split = jax.device_put(images, jax.NamedSharding(mesh, jax.P("data")))
    everywhere = jax.device_put(kernel, jax.NamedSharding(mesh, jax.P()))
    gradients = jax.jit(
        jax.grad(lambda x, k: jnp.sum(conv(x, k, feature_group_count=groups) ** 2), argnums=(0, 1)),
    )
    compiled = gradients.lower(split, everywhere).compile()
    moves = {name for name in ("all-gather", "all-to-all", "collective-permute") if f" {name}" in compiled.as_text()}
    assert not moves
    assert_close(jax.device_get(compiled(split, everywhere)), jax.device_get(gradients(images, kernel)))


@pytest.mark.parametrize("groups", [4, 8])
def test_grouped_layer_takes_the_parameters_of_flaxs(groups):
    images, _ = arrays((6, 5), (3, 3), channels=8)
    layer = Conv(16, (3, 3), feature_group_count=groups)
    result, variables = layer.init_with_output(jax.random.key(0), images)
    expected = nn.Conv(16, (3, 3), feature_group_count=groups).apply(variables, images)
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_groups_that_do_not_divide_the_channels_are_named():
    images, _ = arrays((4, 4), (3, 3), channels=6)
    with pytest.raises(ConfigError, match=r"feature_group_count = 4 must divide features = 8 and the 6 channels"):
        Conv(8, (3, 3), feature_group_count=4).init(jax.random.key(0), images)


@pytest.mark.parametrize(("layer", "reference"), [(Conv, nn.Conv), (ConvTranspose, nn.ConvTranspose)])
@pytest.mark.parametrize("use_bias", [True, False])
def test_layer_takes_the_parameters_of_flaxs(layer, reference, use_bias):
    images, _ = arrays((6, 5), (4, 4))
    layer = layer(4, (4, 4), (2, 2), use_bias=use_bias, bias_init=nn.initializers.normal(1.0))
    reference = reference(4, (4, 4), (2, 2), use_bias=use_bias)
    result, variables = layer.init_with_output(jax.random.key(0), images)
    assert set(variables["params"]) == ({"kernel", "bias"} if use_bias else {"kernel"})
    np.testing.assert_allclose(result, reference.apply(variables, images), atol=1e-5)


def test_layer_computes_in_bfloat16_with_float32_parameters():
    images, _ = arrays((4, 4), (4, 4))
    layer = ConvTranspose(4, (4, 4), (2, 2), dtype=jnp.bfloat16)
    result, variables = layer.init_with_output(jax.random.key(0), images)
    gradient = jax.grad(lambda p: jnp.sum(layer.apply({"params": p}, images).astype(jnp.float32) ** 2))(
        variables["params"]
    )
    exact = ConvTranspose(4, (4, 4), (2, 2)).apply(variables, images)
    assert result.dtype == jnp.bfloat16
    assert {leaf.dtype.name for leaf in jax.tree.leaves((variables, gradient))} == {"float32"}
    np.testing.assert_allclose(result.astype(jnp.float32), exact, atol=0.02 * float(jnp.abs(exact).max()))  # 8 bits


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"padding": "FULL"}, 'padding = \'FULL\' must be "SAME" or "VALID"'),
        ({"strides": (2, 0)}, r"strides = \(2, 0\) must be at least 1"),
        ({"features": 0}, "features = 0 must be at least 1"),
        ({"feature_group_count": 2}, "feature_group_count = 2: ConvTranspose has no groups, it must be 1"),
    ],
)
def test_impossible_fields_are_named(fields, message):
    with pytest.raises(ConfigError, match=message):
        ConvTranspose(**{"features": 4, "kernel_size": (4, 4)} | fields)
