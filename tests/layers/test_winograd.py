import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jgr.layers.winograd import Winograd


@pytest.mark.parametrize("side", [8, 13])
def test_all_forms_are_nearly_as_exact_as_a_direct_sum(side):
    # The rounding error of a direct float32 sum of 9 * 64 products is about 3e-7 of the largest result.
    random = np.random.default_rng(0)
    large = random.standard_normal((2, side, side, 64))
    kernel = random.standard_normal((3, 3, 64, 32))
    small = random.standard_normal((2, side, side, 32))
    padded = np.pad(large, ((0, 0), (1, 1), (1, 1), (0, 0)))
    shrunk, enlarged, gradient = np.zeros_like(small), np.zeros_like(padded), np.zeros_like(kernel)
    for row in range(3):
        for column in range(3):
            window = (slice(None), slice(row, row + side), slice(column, column + side))
            shrunk += padded[window] @ kernel[row, column]
            enlarged[window] += small @ kernel[row, column].T
            gradient[row, column] = np.einsum("bhwc,bhwf->cf", padded[window], small)
    form = Winograd((side, side), ((1, 1), (1, 1)))
    large, kernel, small = (jnp.asarray(array, jnp.float32) for array in (large, kernel, small))
    for result, exact in (
        (jax.jit(form.shrink)(large, kernel), shrunk),
        (jax.jit(form.enlarge)(small, kernel), enlarged[:, 1:-1, 1:-1]),
        (jax.jit(form.filter)(large, small), gradient),
    ):
        np.testing.assert_allclose(result, exact, atol=3e-6 * np.abs(exact).max(), rtol=0)
