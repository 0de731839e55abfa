import jax
import jax.numpy as jnp
import pytest
from jax import lax

from jgr.flops import count_flops, peak_flops
from jgr.layers import Conv, ConvTranspose


def counted(function, *shapes):
    return count_flops(jax.make_jaxpr(function)(*(jnp.zeros(shape) for shape in shapes)).jaxpr)


def test_matrix_products():
    assert counted(lambda a, b: a @ b, (3, 4), (4, 5)) == 2 * 3 * 4 * 5
    assert counted(lambda a, b: jnp.einsum("nij,njk->nik", a, b), (7, 3, 4), (7, 4, 5)) == 7 * 2 * 3 * 4 * 5
    product_and_gradients = jax.value_and_grad(lambda a, b: (a @ b).sum(), argnums=(0, 1))
    assert counted(product_and_gradients, (3, 4), (4, 5)) == 3 * 2 * 3 * 4 * 5


@pytest.mark.parametrize("groups", [1, 4])
def test_a_convolution_and_its_gradients_take_the_same(groups):
    def convolve(images, kernel):
        return lax.conv_general_dilated(
            images, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=groups
        )

    shapes = (2, 10, 10, 8), (3, 3, 8 // groups, 16)
    forward = 2 * 9 * (8 // groups) * 16 * 2 * 10 * 10
    assert counted(convolve, *shapes) == forward
    assert counted(jax.grad(lambda *a: convolve(*a).sum(), argnums=(0, 1)), *shapes) == 3 * forward


def test_inserted_zeros_are_no_work():
    """A transposed convolution is the gradient of a strided one, and takes as much."""
    down, up = Conv(6, (4, 4), (2, 2), use_bias=False), ConvTranspose(3, (4, 4), (2, 2), use_bias=False)
    strided = counted(lambda x, k: down.apply({"params": {"kernel": k}}, x), (1, 16, 16, 3), (4, 4, 3, 6))
    transposed = counted(lambda x, k: up.apply({"params": {"kernel": k}}, x), (1, 8, 8, 6), (4, 4, 6, 3))
    assert strided == 2 * 16 * 3 * 6 * 64
    assert transposed == strided


def test_a_form_for_one_platform_does_not_count():
    """Grouped convolutions are dense blocks on CPU, of more operations than the network has."""
    layer = Conv(16, (3, 3), feature_group_count=4, use_bias=False)
    count = counted(lambda x, k: layer.apply({"params": {"kernel": k}}, x), (2, 8, 8, 16), (3, 3, 4, 16))
    assert count == 2 * 9 * 4 * 16 * 2 * 64


def test_loops_count_every_turn_and_branches_the_largest():
    def loop(a):
        return lax.scan(lambda carry, _: (carry @ a, None), a, None, length=5)[0]

    assert counted(loop, (4, 4)) == 5 * 2 * 4**3
    assert counted(jax.jit(loop), (4, 4)) == 5 * 2 * 4**3
    branch = lambda a: lax.cond(a[0, 0] > 0, lambda a: a @ a @ a, lambda a: a @ a, a)  # noqa: E731
    assert counted(branch, (4, 4)) == 2 * 2 * 4**3
    twice = jax.grad(jax.checkpoint(lambda a: jnp.sin(a @ a).sum()))
    assert counted(twice, (4, 4)) > counted(jax.grad(lambda a: jnp.sin(a @ a).sum()), (4, 4))


def test_no_peak_is_made_up():
    assert peak_flops(jax.devices()[0], "float32") is None
