import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jgr.norm import squared_norm


@pytest.mark.parametrize("sizes", [[], [7], [1, 40_000], [3, 50_000, 2, 33_000]])
def test_it_is_that_of_all_values(sizes):
    values = np.random.default_rng(0).normal(size=sum(sizes)).astype(np.float32)
    parts = np.split(values, np.cumsum(sizes)[:-1]) if sizes else []
    tree = {str(number): jnp.asarray(part) for number, part in enumerate(parts)}
    np.testing.assert_allclose(jax.jit(squared_norm)(tree), np.linalg.norm(values.astype(np.float64)) ** 2, rtol=1e-6)


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("size", [4, 40_000])
def test_a_value_that_is_not_finite_is_seen(bad, size):
    assert not np.isfinite(squared_norm({"other": jnp.ones(3), "bad": jnp.zeros(size).at[size // 2].set(bad)}))


def test_of_half_precision_it_is_a_float32_and_differentiable():
    tree = {"half": jnp.full((2, 2), 3.0, jnp.bfloat16), "single": jnp.ones(5)}
    value, gradient = jax.value_and_grad(squared_norm)(tree)
    assert value == 41.0
    assert value.dtype == jnp.float32
    np.testing.assert_array_equal(gradient["single"], np.full(5, 2.0))


def test_an_optimisers_squares_are_not_written_for_it():
    def step(gradient, second):
        return squared_norm(gradient), 0.9 * second + 0.1 * gradient**2

    zeros = jnp.zeros((300, 400))
    text = jax.jit(step).lower(zeros, zeros).compile().as_text()
    entry = text[text.index("ENTRY") :]
    # Nothing of the arrays' size but the second moment is made.
    assert entry.count("f32[300,400]{1,0} fusion(") <= 1
