import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.io
import scipy.special
from PIL import Image

from jgr.degradations.kernels import (
    CroppedKernel,
    DefocusKernel,
    GaussianKernel,
    KernelFile,
    MixedKernel,
    MotionKernel,
    SincKernel,
)
from jgr.degradations.parameters import Choice, Uniform
from jgr.errors import ConfigError

KEYS = jax.random.split(jax.random.key(0), 6)
ANY = Uniform(low=0.0, high=360.0)
GAUSSIAN = GaussianKernel(size=21, sigma=2.0)
KERNELS = [
    GaussianKernel(size=15, sigma=Uniform(low=0.2, high=3.0)),
    GaussianKernel(size=21, sigma=3.0, sigma_y=Uniform(low=0.5, high=2.0), angle=ANY),
    GaussianKernel(size=21, sigma=2.0, shape="generalised", beta=Uniform(low=0.5, high=4.0)),
    GaussianKernel(size=21, sigma=2.0, sigma_y=1.0, angle=ANY, shape="plateau", beta=Uniform(low=1.0, high=2.0)),
    MotionKernel(size=25, length=Uniform(low=0.0, high=24.0), angle=ANY),
    MotionKernel(size=25, length=24.0, angle=ANY, wander=30.0),
    DefocusKernel(size=15, radius=Uniform(low=0.0, high=7.0)),
    SincKernel(size=21, cutoff=Uniform(low=math.pi / 3, high=math.pi)),
    CroppedKernel(kernel=GAUSSIAN, size=Choice(values=(7.0, 21.0))),
    MixedKernel(kernels=(DefocusKernel(size=7, radius=2.0), GAUSSIAN), weights=(0.2, 0.8)),
]


def drawn(kernel):
    return np.asarray(jax.jit(jax.vmap(kernel))(KEYS), np.float64)


def offsets(size):
    return np.meshgrid(*[np.arange(size) - size // 2] * 2, indexing="ij")


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
def test_kernels_sum_to_one_about_their_middle(kernel):
    kernels = drawn(kernel)
    assert np.isfinite(kernels).all()
    np.testing.assert_allclose(kernels.sum(axis=(1, 2)), 1, atol=1e-5)
    assert kernels.shape[1] == kernels.shape[2]
    assert kernels.shape[1] % 2 == 1
    for axis in offsets(kernels.shape[1]):
        np.testing.assert_allclose((kernels * axis).sum(axis=(1, 2)), 0, atol=1e-4)


def test_gaussian_has_its_covariance():
    kernel = drawn(GaussianKernel(size=41, sigma=4.0, sigma_y=2.0, angle=30.0))[0]
    rows, columns = offsets(41)
    turn = np.array([[np.cos(np.pi / 6), -np.sin(np.pi / 6)], [np.sin(np.pi / 6), np.cos(np.pi / 6)]])
    expected = turn @ np.diag([16.0, 4.0]) @ turn.T  # of columns (x) and rows (y)
    measured = [[(kernel * a * b).sum() for b in (columns, rows)] for a in (columns, rows)]
    np.testing.assert_allclose(measured, expected, rtol=1e-4)


def test_shapes_of_real_esrgan():
    squared = sum(axis**2 for axis in offsets(9)) / 1.5**2
    for shape, expected in (
        ("generalised", np.exp(-0.5 * squared**0.7)),
        ("plateau", 1 / (1 + squared**0.7)),
    ):
        kernel = drawn(GaussianKernel(size=9, sigma=1.5, shape=shape, beta=0.7))[0]
        np.testing.assert_allclose(kernel, expected / expected.sum(), rtol=1e-5)


@pytest.mark.parametrize("size", [7, 21])
@pytest.mark.parametrize("cutoff", [0.6, math.pi])
def test_sinc_is_the_bessel_function(size, cutoff):
    distance = np.hypot(*offsets(size))
    distance[size // 2, size // 2] = 1
    expected = cutoff * scipy.special.j1(cutoff * distance) / (2 * np.pi * distance)
    expected[size // 2, size // 2] = cutoff**2 / (4 * np.pi)
    kernel = drawn(SincKernel(size=size, cutoff=cutoff))[0]
    np.testing.assert_allclose(kernel, expected / expected.sum(), atol=1e-6)


def test_straight_motion_is_a_line():
    kernel = drawn(MotionKernel(size=15, length=9.0, angle=0.0))[0]
    expected = np.zeros(15)
    expected[3:12] = 1 / 9
    np.testing.assert_allclose(kernel[7], expected, atol=0.02)
    assert kernel[7].sum() == pytest.approx(1, abs=1e-5)
    rows, columns = offsets(15)
    slanted = drawn(MotionKernel(size=15, length=12.0, angle=60.0))[0]
    main = np.linalg.eigh([[(slanted * a * b).sum() for b in (columns, rows)] for a in (columns, rows)])[1][:, -1]
    assert abs(math.degrees(math.atan2(main[1], main[0])) % 180 - 60) < 0.5
    # The variance of a uniform distribution over 12 pixels, and what bilinear weights add to it.
    assert (slanted * (rows**2 + columns**2)).sum() == pytest.approx(12**2 / 12, abs=0.5)


def test_motion_without_length_is_a_point():
    kernel = drawn(MotionKernel(size=5, length=0.0, angle=ANY, wander=30.0))
    np.testing.assert_allclose(kernel[:, 2, 2], 1)


def test_defocus_is_a_disk():
    kernel = drawn(DefocusKernel(size=15, radius=5.0))[0]
    assert 1 / kernel.max() == pytest.approx(np.pi * 25, rel=0.02)  # its area
    distance = np.hypot(*offsets(15))
    assert (kernel[distance > 5.5] == 0).all()
    assert np.ptp(kernel[distance < 4.5]) == 0


def test_cropped_kernel_is_the_smaller_one():
    cropped = drawn(CroppedKernel(kernel=GAUSSIAN, size=7.0))[0]
    np.testing.assert_allclose(cropped[7:14, 7:14], drawn(GaussianKernel(size=7, sigma=2.0))[0], rtol=1e-5)
    assert cropped.sum() == pytest.approx(1, abs=1e-6)


def test_mixture_draws_by_weight():
    mixed = MixedKernel(
        kernels=(DefocusKernel(size=3, radius=0.5), DefocusKernel(size=7, radius=3.0)), weights=(1.0, 3.0)
    )
    kernels = np.asarray(jax.jit(jax.vmap(mixed))(jax.random.split(KEYS[0], 2000)))
    sharp = kernels[:, 3, 3] > 0.9
    assert abs(sharp.mean() - 0.25) <= 4 * np.sqrt(0.25 * 0.75 / 2000)


def write(path, array):
    if path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix == ".npz":
        np.savez(path, kernel=array)
    elif path.suffix == ".mat":
        scipy.io.savemat(path, {"kernel": array})
    else:
        np.savetxt(path, array)
    return str(path)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".mat", ".txt"])
def test_kernel_files(tmp_path, suffix):
    array = np.random.default_rng(0).random((5, 5))
    array /= array.sum()
    kernel = KernelFile(path=write(tmp_path / f"mine{suffix}", array))
    np.testing.assert_allclose(kernel(KEYS[0]), array, rtol=1e-6)
    assert kernel.name.startswith("mine@")
    again = KernelFile(path=write(tmp_path / f"mine{suffix}", array[::-1]))
    assert again.name != kernel.name


def test_kernel_image_is_normalised(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (7, 7)).astype(np.uint8)
    path = str(tmp_path / "kernel.png")
    Image.fromarray(pixels).save(path)
    with pytest.raises(ConfigError, match=r"kernel.png: the kernel sums to .* divide it by its sum, or set normalise"):
        KernelFile(path=path)
    np.testing.assert_allclose(KernelFile(path=path, normalise=True)(KEYS[0]), pixels / pixels.sum(), rtol=1e-5)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((5, 5), 0.05), r"path = .*bad.npy: the kernel sums to 1.25, not to 1: .* divide it by its sum"),
        (np.full((4, 4), 1 / 16), r"bad.npy: the kernel is 4x4, but must be square and of odd size.* pad it"),
        (np.full((3, 5), 1 / 15), r"bad.npy: the kernel is 3x5, but must be square"),
        (np.full((3, 3, 1), 1 / 9), r"bad.npy: the kernel's shape \(3, 3, 1\) must have 2 axes"),
        (np.array([[np.nan, 0, 0], [0, 1, 0], [0, 0, 0]]), r"bad.npy: the kernel has 1 values that are not finite"),
        (np.array([[-0.5, 0, 0], [0, 1.5, 0], [0, 0, 0]]), r"bad.npy: the kernel's least value is -0.5"),
    ],
)
def test_bad_kernel_files(tmp_path, array, message):
    with pytest.raises(ConfigError, match=message):
        KernelFile(path=write(tmp_path / "bad.npy", array))


def test_unreadable_kernel_files(tmp_path):
    with pytest.raises(ConfigError, match=r"path = .*none.npy: there is no such file"):
        KernelFile(path=str(tmp_path / "none.npy"))
    (tmp_path / "bad.mat").write_bytes(b"no")
    with pytest.raises(ConfigError, match=r"bad.mat: not a readable kernel"):
        KernelFile(path=str(tmp_path / "bad.mat"))
    np.savez(tmp_path / "two.npz", a=np.eye(3) / 3, b=np.eye(3) / 3)
    with pytest.raises(ConfigError, match=r"two.npz: must hold one array of two axes, not 2 \(a, b\)"):
        KernelFile(path=str(tmp_path / "two.npz"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GaussianKernel(size=4, sigma=1.0), r"size = 4 must be odd and positive"),
        (lambda: GaussianKernel(size=5, sigma=0.0), r"sigma = 0 must be above 0"),
        (lambda: GaussianKernel(size=5, sigma=1.0, sigma_y=-1.0), r"sigma_y = -1 must be above 0"),
        (lambda: GaussianKernel(size=5, sigma=1.0, shape="square"), r"shape = 'square' must be gaussian, gen"),
        (lambda: GaussianKernel(size=5, sigma=1.0, beta=0.0), r"beta = 0 must be above 0"),
        (lambda: MotionKernel(size=9, length=9.0, angle=0.0), r"length = 9 must .* at most 8; .* size = 9"),
        (lambda: MotionKernel(size=9, length=5.0, angle=0.0, wander=-1.0), r"wander = -1 must be at least 0"),
        (lambda: DefocusKernel(size=9, radius=5.0), r"radius = 5 must .* at most 4.5; .* size = 9"),
        (lambda: SincKernel(size=9, cutoff=4.0), r"cutoff = 4 must be above 0 and at most 3.14159; .* radians"),
        (lambda: CroppedKernel(kernel=GAUSSIAN, size=0.0), r"size = 0 must be at least 1"),
        (lambda: MixedKernel(kernels=()), r"kernels is empty"),
        (lambda: MixedKernel(kernels=(GAUSSIAN,), weights=(1.0, 2.0)), r"weights .* one for each of the 1 kernels"),
    ],
)
def test_impossible_values(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_names():
    assert GAUSSIAN.name == "gaussian21-s2"
    assert KERNELS[1].name == "gaussian21-s3-s0.5..2-a0..360"
    assert KERNELS[3].name == "plateau21-s2-s1-a0..360-b1..2"
    assert KERNELS[4].name == "motion25-l0..24-a0..360"
    assert KERNELS[5].name == "motion25-l24-a0..360-w30"
    assert KERNELS[6].name == "defocus15-r0..7"
    assert KERNELS[7].name == "sinc21-c1.0472..3.14159"
    assert KERNELS[8].name == "gaussian21-s2-crop7|21"
    assert KERNELS[9].name == "(0.2:defocus7-r2|0.8:gaussian21-s2)"


def test_kernels_do_not_depend_on_the_batch():
    for kernel in (KERNELS[1], KERNELS[5], KERNELS[9]):
        np.testing.assert_allclose(drawn(kernel)[2], jax.jit(kernel)(KEYS[2]), atol=1e-6)
    assert jnp.any(drawn(KERNELS[5])[0] != drawn(KERNELS[5])[1])
