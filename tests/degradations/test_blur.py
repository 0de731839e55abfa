import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import scipy.signal

from jgr.degradations.blur import Blur, convolve
from jgr.degradations.kernels import DefocusKernel, GaussianKernel, MotionKernel
from jgr.degradations.parameters import Uniform

RNG = np.random.default_rng(0)
IMAGE = jnp.asarray(RNG.random((24, 31, 3)), jnp.float32)
KERNEL = jnp.asarray(RNG.random((7, 7)) / 24.5, jnp.float32)
SCIPY = {"reflect": "mirror", "symmetric": "reflect", "replicate": "nearest", "wrap": "wrap", "zero": "constant"}


@pytest.mark.parametrize("boundary", list(SCIPY))
def test_convolve_equals_scipy(boundary):
    expected = scipy.ndimage.convolve(
        np.asarray(IMAGE, np.float64), np.asarray(KERNEL, np.float64)[..., None], mode=SCIPY[boundary]
    )
    result = jax.jit(convolve, static_argnums=2)(IMAGE, KERNEL, boundary)
    np.testing.assert_allclose(result, expected, atol=2e-6)


@pytest.mark.parametrize("boundary", list(SCIPY))
def test_gradient_is_the_adjoint(boundary):
    weights = RNG.random(IMAGE.shape).astype(np.float32)
    blurred, pull = jax.jit(lambda x: jax.vjp(lambda x: convolve(x, KERNEL, boundary), x))(IMAGE)
    (back,) = pull(weights)
    assert np.vdot(blurred, weights) == pytest.approx(np.vdot(IMAGE, back), rel=1e-5)


def test_gradient_of_the_kernel_is_a_finite_difference():
    def loss(kernel):
        return (convolve(IMAGE, kernel) * jnp.roll(IMAGE, 3, axis=0)).sum()

    direction = jnp.asarray(RNG.standard_normal(KERNEL.shape), jnp.float32)
    slope = np.vdot(jax.jit(jax.grad(loss))(KERNEL), direction)
    # The loss is linear in the kernel: any step is exact.
    difference = loss(KERNEL + direction) - loss(KERNEL)
    assert slope == pytest.approx(float(difference), rel=1e-3)


def test_a_point_becomes_the_kernel():
    point = jnp.zeros((15, 15, 1)).at[7, 7].set(1.0)
    np.testing.assert_allclose(convolve(point, KERNEL)[4:11, 4:11, 0], KERNEL, atol=1e-6)


def test_kernels_larger_than_the_image():
    kernel = jnp.full((11, 11), 1 / 121)
    small = IMAGE[:4, :5]
    expected = scipy.ndimage.convolve(np.asarray(small, np.float64), np.asarray(kernel)[..., None], mode="mirror")
    np.testing.assert_allclose(convolve(small, kernel), expected, atol=2e-6)


def test_each_record_has_its_own_kernel():
    blur = Blur(kernel=MotionKernel(size=9, length=8.0, angle=Uniform(low=0.0, high=180.0)), boundary="wrap")
    keys = jax.random.split(jax.random.key(1), 4)
    images = jnp.stack([IMAGE] * 4)
    out = jax.jit(blur)({"image": images, "label": jnp.arange(4)}, keys)
    assert out["kernel"].shape == (4, 9, 9)
    np.testing.assert_array_equal(out["label"], np.arange(4))
    for image, kernel in zip(out["image"], out["kernel"], strict=True):
        expected = scipy.ndimage.convolve(np.asarray(IMAGE, np.float64), np.asarray(kernel)[..., None], mode="wrap")
        np.testing.assert_allclose(image, expected, atol=2e-6)
    single = jax.jit(blur.apply)({"image": images[2]}, keys[2])
    np.testing.assert_allclose(single["image"], out["image"][2], atol=2e-6)
    assert not np.allclose(out["kernel"][0], out["kernel"][1])


def test_kernels_of_two_blurs_are_convolved():
    first = Blur(kernel=DefocusKernel(size=5, radius=2.0), boundary="wrap")
    second = Blur(kernel=GaussianKernel(size=7, sigma=1.0, sigma_y=2.0, angle=20.0), boundary="wrap")
    key = jax.random.key(0)
    once = jax.jit(first.apply)({"image": IMAGE}, key)
    twice = jax.jit(second.apply)(once, key)
    expected = scipy.signal.convolve2d(once["kernel"], second.kernel(key))
    np.testing.assert_allclose(twice["kernel"], expected, atol=1e-6)
    np.testing.assert_allclose(convolve(IMAGE, twice["kernel"], "wrap"), twice["image"], atol=3e-6)


def test_name():
    assert Blur(kernel=GaussianKernel(size=15, sigma=2.0)).name == "blur-gaussian15-s2-reflect"
