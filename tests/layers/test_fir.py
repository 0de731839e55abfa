import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import upfirdn

from jgr.errors import ConfigError
from jgr.layers.conv import conv_transpose
from jgr.layers.fir import conv_downsampled, conv_upsampled, downsampled, filtered, upsampled

# StyleGAN2's, an odd one, a box, one that is not symmetric
TAPS = [(1.0, 3.0, 3.0, 1.0), (1.0, 2.0, 1.0), (1.0, 1.0), (2.0, -1.0, 5.0, 1.0, 0.5)]


def images_of(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


def resampled(images, taps, up, down, gain, first, sides):
    """SciPy's full convolution of each row and column, of which `sides` values count from `first` on.

    SciPy turns the filter around; the value at n is then the sum of f[k] z[n + k - len(f) + 1].
    """
    taps = gain * np.asarray(taps, np.float64)[::-1] / np.sum(taps)
    for axis, side in zip((1, 2), sides, strict=True):
        images = np.asarray(images, np.float64)
        images = np.concatenate([images, np.zeros_like(images)], axis)  # so that the tail is long enough
        full = upfirdn(taps, images, up, 1, axis=axis)
        images = np.take(full, first + down * np.arange(side), axis)
    return images


@pytest.mark.parametrize("taps", TAPS)
def test_equals_scipys_upfirdn(taps):
    images, length = images_of(2, 6, 8, 3), len(taps)
    got = jax.jit(lambda x: (filtered(x, taps), downsampled(x, taps), upsampled(x, taps)))(images)
    expected = (
        resampled(images, taps, 1, 1, 1, length - 1 - length // 2, (6, 8)),
        resampled(images, taps, 1, 2, 1, length - 1 - (length - 1) // 2, (3, 4)),
        resampled(images, taps, 2, 1, 2, length - 1 - (length + 1) // 2, (12, 16)),
    )
    for ours, scipys in zip(got, expected, strict=True):
        assert ours.shape == scipys.shape
        np.testing.assert_allclose(ours, scipys, atol=1e-5)


def test_mean_stays_away_from_the_border():
    flat = jnp.full((1, 8, 8, 2), 3.0)
    for made in jax.jit(lambda x: (filtered(x), downsampled(x), upsampled(x)))(flat):
        np.testing.assert_allclose(made[:, 2:-2, 2:-2], 3.0, rtol=1e-6)


def test_upsampling_is_bilinear_and_downsampling_its_adjoint():
    small, large = images_of(2, 5, 4, 3), images_of(2, 10, 8, 3, seed=1)
    expected = jax.image.resize(small, (2, 10, 8, 3), "bilinear")
    np.testing.assert_allclose(upsampled(small)[:, 1:-1, 1:-1], expected[:, 1:-1, 1:-1], atol=1e-6)
    # four times: upsampling spreads a pixel over four
    np.testing.assert_allclose(jnp.vdot(upsampled(small), large), 4 * jnp.vdot(small, downsampled(large)), rtol=1e-4)


@pytest.mark.parametrize(("taps", "side"), [*((taps, 3) for taps in TAPS), (TAPS[0], 1), (TAPS[0], 5), (TAPS[3], 5)])
def test_convolutions_see_what_the_filter_spreads_beyond_the_border(taps, side):
    """On images in a frame of zeros there is no border, and the parts do it one after another."""
    kernel, margin = images_of(side, side, 3, 4, seed=1), 8
    images = images_of(2, 6, 4, 3)
    framed = jnp.pad(images, ((0, 0), (margin, margin), (margin, margin), (0, 0)))

    def convolved(images, stride):
        return jax.lax.conv_general_dilated(
            images, kernel, (stride, stride), [(side // 2, side // 2)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    # `downsampled` filters around 2 i, `filtered` an even filter half a pixel to the other side: one pixel further on
    shift = (len(taps) - 1) % 2

    @jax.jit
    def both(images, framed):
        upwards = convolved(upsampled(framed, taps), 1)[:, 2 * margin : -2 * margin, 2 * margin : -2 * margin]
        beside = jnp.roll(framed, -shift, (1, 2))
        downwards = convolved(filtered(beside, taps), 2)[:, margin // 2 : -margin // 2, margin // 2 : -margin // 2]
        return (conv_upsampled(images, kernel, taps), upwards), (conv_downsampled(images, kernel, taps), downwards)

    for got, expected in both(images, framed):
        np.testing.assert_allclose(got, expected, atol=1e-4)


def test_upsampling_first_equals_filtering_a_transposed_convolution():
    """The authors' order: a transposed convolution without cropping, then the filter, four times as strong."""
    images, kernel = images_of(2, 5, 6, 3), images_of(3, 3, 3, 4, seed=1)

    @jax.jit
    def both(images):
        spread = jnp.pad(conv_transpose(images, kernel, (2, 2), "VALID"), ((0, 0), (1, 1), (1, 1), (0, 0)))
        rows = sum(weight / 4 * spread[:, tap : tap + 10] for tap, weight in enumerate(TAPS[0]))
        return conv_upsampled(images, kernel), sum(
            weight / 4 * rows[:, :, tap : tap + 12] for tap, weight in enumerate(TAPS[0])
        )

    np.testing.assert_allclose(*both(images), atol=1e-4)


def test_bfloat16_is_summed_in_float32():
    images = jnp.asarray(images_of(1, 8, 8, 2), jnp.bfloat16)
    both = jax.jit(lambda x: [(f(x), f(x.astype(jnp.float32))) for f in (filtered, downsampled, upsampled)])
    for got, exact in both(images):
        assert got.dtype == jnp.bfloat16
        np.testing.assert_allclose(got.astype(jnp.float32), exact, atol=2**-7 * float(jnp.abs(exact).max()))


@pytest.mark.parametrize(
    ("shape", "taps", "message"), [((5, 4), (1.0, 1.0), r"5x4 .* even"), ((4, 4), (1.0, -1.0), "taps")]
)
def test_what_cannot_be_is_refused(shape, taps, message):
    with pytest.raises(ConfigError, match=message):
        downsampled(jnp.zeros((1, *shape, 1)), taps)
