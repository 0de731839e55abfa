import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jgr.layers import Conv
from jgr.scan import scan


def line(carry, x):
    return carry @ x, carry.sum()


def convolving(carry, x):
    loss = lambda kernel: (Conv(1, (3, 3), use_bias=False).apply({"params": {"kernel": kernel}}, x) ** 2).sum()  # noqa: E731
    return carry - 0.01 * jax.grad(loss)(carry), loss(carry)


CASES = {
    "matrix products": (line, jnp.eye(3), jax.random.normal(jax.random.key(0), (4, 3, 3)), True),
    "convolutions": (convolving, jnp.ones((3, 3, 1, 1)), jax.random.normal(jax.random.key(0), (4, 2, 6, 6, 1)), False),
}


@pytest.mark.parametrize("name", CASES)
def test_convolutions_are_in_no_loop_on_cpu(name):
    body, carry, xs, loops = CASES[name]
    compiled = jax.jit(lambda carry, xs: scan(body, carry, xs)).lower(carry, xs).compile()
    assert ("while(" in compiled.as_text()) == loops
    last, seen = compiled(carry, xs)
    stepwise = []
    for x in xs:
        carry, value = body(carry, x)
        stepwise.append(value)
    np.testing.assert_allclose(last, carry, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(seen, stepwise, rtol=1e-5)
