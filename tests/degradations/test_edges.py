import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from jgr.degradations.blur import Blur
from jgr.degradations.degradation import Pipeline
from jgr.degradations.edges import Edges, slope
from jgr.degradations.kernels import GaussianKernel
from jgr.degradations.parameters import Uniform
from jgr.errors import ConfigError

IMAGE = np.random.default_rng(0).random((12, 15, 3)).astype(np.float32)
KEY = jax.random.key(0)


def test_slope_is_scipys_sobel():
    gray = IMAGE.astype(np.float64) @ [0.299, 0.587, 0.114]
    rows, columns = (scipy.ndimage.sobel(gray, axis=axis, mode="nearest") / 8 for axis in (0, 1))
    np.testing.assert_allclose(slope(jnp.asarray(IMAGE))[..., 0], np.hypot(rows, columns), atol=1e-6)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_ramps_slope_is_its_rise(axis):
    ramp = 0.03 * np.indices((6, 7))[axis].astype(np.float32)[..., None]
    np.testing.assert_allclose(slope(jnp.asarray(ramp))[1:-1, 1:-1], 0.03, rtol=1e-5)


def test_lines_are_dark_on_white():
    step = jnp.asarray((np.arange(10) >= 5).astype(np.float32).reshape(1, 10, 1) * np.ones((8, 1, 3), np.float32))
    hard, soft = jax.jit(lambda image: [Edges(black=b).apply({"image": image}, KEY)["image"] for b in (0.5, 1.0)])(step)
    drawn = np.asarray(hard)
    assert drawn.shape == (8, 10, 3)
    np.testing.assert_allclose(drawn[:, 4:6], 0.0, atol=1e-6)  # a step of 1 rises by a half on either side
    np.testing.assert_array_equal(np.delete(drawn, (4, 5), axis=1), 1.0)
    np.testing.assert_allclose(soft[:, 4:6], 0.5, atol=1e-6)


def test_the_gradient_is_finite_where_the_image_is_flat():
    gradient = jax.jit(jax.grad(lambda image: Edges().apply({"image": image}, KEY)["image"].sum()))
    flat_above = jnp.asarray(IMAGE).at[:6].set(0.5)
    np.testing.assert_array_equal(gradient(flat_above)[:4], 0.0)  # the slope of row 5 sees rows 4 to 6
    assert np.isfinite(gradient(flat_above)).all()
    assert np.abs(gradient(flat_above)[6:]).max() > 0


def test_what_is_no_longer_true_is_dropped():
    kernel = GaussianKernel(size=5, sigma=1.0)
    batch = {"image": jnp.asarray(IMAGE)[None], "index": jnp.arange(1)}
    made = jax.jit(Pipeline(steps=(Blur(kernel=kernel), Edges(black=Uniform(low=0.05, high=0.1)))))(batch, KEY[None])
    assert set(made) == {"image", "target", "index"}
    np.testing.assert_array_equal(made["target"], batch["image"])


def test_name_and_impossible_values():
    assert Edges(black=0.25).name == "edges-b0.25"
    with pytest.raises(ConfigError, match="black = 0 must be above 0"):
        Edges(black=0.0)
