import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage.metrics import structural_similarity

from jgr.config import Context, build
from jgr.errors import ConfigError
from jgr.losses.restoration import (
    FFT,
    L1,
    L2,
    PSNR,
    SSIM,
    Charbonnier,
    Loss,
    MultiScaleSSIM,
    Term,
    TotalVariation,
    Weighted,
)
from jgr.metrics import ms_ssim, psnr

LEAST = {L1(): 0.0, L2(): 0.0, Charbonnier(epsilon=0.05): 0.05, SSIM(): 0.0, FFT(): 0.0, PSNR(): -80.0}


def _pair(height=20, width=17, channels=3, batch=2):
    """Smooth images and noisy ones, some pixels beyond [0, 1]."""
    random = np.random.RandomState(0)
    rows, columns = np.mgrid[:height, :width]
    targets = 0.5 + 0.4 * np.sin(rows / 3 + columns[None] / 4 + np.arange(batch)[:, None, None])
    targets = np.repeat(targets[..., None], channels, axis=-1).astype(np.float32)
    images = targets + 0.1 * random.standard_normal(targets.shape).astype(np.float32)
    return jnp.asarray(images), jnp.asarray(targets)


def _spectral(x, y):
    spectrum = np.fft.fft2(x - y, axes=(1, 2))
    return np.stack([np.abs(spectrum.real), np.abs(spectrum.imag)]).mean(axis=(0, 2, 3, 4))


@functools.cache
def _compiled(loss):
    def total(images, targets):
        values = loss(images, targets)
        return values.sum(), values

    return jax.jit(jax.value_and_grad(total, has_aux=True))


def _values_and_gradient(loss, images, targets):
    (_, values), gradient = _compiled(loss)(images, targets)
    return values, np.asarray(gradient)


def _name(loss):
    return type(loss).__name__


@pytest.mark.parametrize(
    ("loss", "expected"),
    [  # of images that are 0.1 above their targets everywhere, 5 x 4 pixels
        (L1(), 0.1),
        (L2(), 0.01),
        (Charbonnier(epsilon=1e-3), math.sqrt(0.01 + 1e-6)),
        (Charbonnier(epsilon=0.1), math.sqrt(0.02)),
        (PSNR(), -20.0),
        (FFT(), 0.1 / 2),  # a constant's only coefficient is 20 times it, among 2 * 20 numbers
        (TotalVariation(), 0.0),
    ],
    ids=_name,
)
def test_closed_forms_of_a_constant_error(loss, expected):
    targets = jnp.full((3, 5, 4, 2), 0.5)
    np.testing.assert_allclose(loss(targets + 0.1, targets), np.full(3, expected), rtol=2e-6, atol=1e-7)


def test_total_variation_counts_the_steps_between_neighbours():
    image = np.zeros((1, 4, 6, 1), np.float32)
    image[0, 1:3, 2:5] = 0.5  # a block of 2 x 3: a border of 10 steps of 0.5
    flat = jnp.zeros(image.shape)
    np.testing.assert_allclose(TotalVariation()(jnp.asarray(image), flat), 10 * 0.5 / 24, rtol=1e-6)
    np.testing.assert_allclose(TotalVariation()(jnp.ones((1, 1, 1, 1)), jnp.zeros((1, 1, 1, 1))), 0.0)


@pytest.mark.parametrize("size", [(20, 17), (9, 8), (1, 5), (6, 1)])
def test_fft_is_the_mean_over_the_whole_spectrum(size):
    images, targets = _pair(*size)
    expected = _spectral(np.asarray(images, np.float64), np.asarray(targets, np.float64))
    np.testing.assert_allclose(FFT()(images, targets), expected, rtol=1e-5)


@pytest.mark.slow  # PyTorch takes seconds to load
def test_agrees_with_pytorch():
    torch = pytest.importorskip("torch")
    images, targets = _pair()

    def spectrum(x):
        return torch.view_as_real(torch.fft.fft2(x.permute(0, 3, 1, 2)))

    references = {
        L1(): torch.nn.L1Loss(),
        L2(): torch.nn.MSELoss(),
        FFT(): lambda x, y: torch.nn.functional.l1_loss(spectrum(x), spectrum(y)),
    }
    for loss, reference in references.items():
        x = torch.tensor(np.asarray(images, np.float64), requires_grad=True)
        value = reference(x, torch.tensor(np.asarray(targets, np.float64)))
        value.backward()
        values, gradient = _values_and_gradient(loss, images, targets)
        np.testing.assert_allclose(values.mean(), value.item(), rtol=1e-5)
        np.testing.assert_allclose(gradient / 2, x.grad.numpy(), rtol=1e-4, atol=1e-7)


def test_psnr_is_the_negative_of_the_metric():
    images, targets = _pair()
    values, _ = _values_and_gradient(PSNR(), images, targets)
    np.testing.assert_allclose(values, -psnr(images, targets), rtol=1e-6)


def _total_variation(x, y):
    return (np.abs(np.diff(x, axis=1)).sum() + np.abs(np.diff(x, axis=2)).sum()) / x[0].size


REFERENCES = {  # in float64, summed over the batch
    L1(): lambda x, y: np.abs(x - y).mean(axis=(1, 2, 3)).sum(),
    L2(): lambda x, y: ((x - y) ** 2).mean(axis=(1, 2, 3)).sum(),
    Charbonnier(epsilon=0.05): lambda x, y: np.hypot(x - y, 0.05).mean(axis=(1, 2, 3)).sum(),
    FFT(): lambda x, y: _spectral(x, y).sum(),
    PSNR(): lambda x, y: 10 * np.log10(((x - y) ** 2).mean(axis=(1, 2, 3)) + 1e-8).sum(),
    TotalVariation(): _total_variation,
}


@pytest.mark.parametrize("loss", REFERENCES, ids=_name)
def test_values_and_gradients_are_those_of_float64_and_finite_differences(loss):
    images, targets = _pair()
    reference, x, y = REFERENCES[loss], np.asarray(images, np.float64), np.asarray(targets, np.float64)
    values, gradient = _values_and_gradient(loss, images, targets)
    assert float(values.sum()) == pytest.approx(reference(x, y), rel=1e-5)
    for place in np.random.RandomState(1).randint(0, x.shape, (100, 4)):
        step = np.zeros_like(x)
        step[tuple(place)] = 1e-7
        slope = (reference(x + step, y) - reference(x - step, y)) / 2e-7
        assert gradient[tuple(place)] == pytest.approx(slope, rel=1e-4, abs=1e-6)


def test_ssim_and_its_gradient_are_those_of_scikit_image():
    images, targets = _pair()
    settings = dict(channel_axis=-1, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False)

    def reference(image):
        return 1.0 - structural_similarity(image, np.asarray(targets[0], np.float64), **settings)

    image = np.asarray(images[0], np.float64)
    values, gradients = _values_and_gradient(SSIM(), images, targets)
    np.testing.assert_allclose(values[0], reference(image), rtol=1e-5)
    for place in [(6, 7, 0), (0, 0, 1), (19, 3, 2), (5, 16, 0)]:
        step = np.zeros_like(image)
        step[place] = 1e-5
        slope = (reference(image + step) - reference(image - step)) / 2e-5
        assert float(gradients[0][place]) == pytest.approx(slope, rel=1e-3, abs=1e-7)


def test_multi_scale_ssim_is_one_less_the_metric():
    images, targets = _pair(161, 163, 1, batch=1)
    np.testing.assert_allclose(MultiScaleSSIM()(images, targets), 1.0 - ms_ssim(images, targets), atol=1e-6)


@pytest.mark.slow
def test_the_gradient_of_multi_scale_ssim_is_finite_for_equal_images():
    targets = _pair(161, 163, 1, batch=1)[1]
    assert np.isfinite(_values_and_gradient(MultiScaleSSIM(), targets, targets)[1]).all()


@pytest.mark.parametrize(("loss", "least"), LEAST.items(), ids=_name)
@pytest.mark.parametrize("flat", [False, True])
def test_equal_images_have_the_least_value_and_the_gradient_zero(loss, least, flat):
    targets = jnp.full((2, 20, 17, 3), 0.5) if flat else _pair()[1]
    values, gradient = _values_and_gradient(loss, targets, targets)
    np.testing.assert_allclose(values, least, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(gradient, 0.0, atol=1e-9)


def test_a_flat_image_has_no_gradient_of_total_variation():
    targets = jnp.full((2, 20, 17, 3), 0.5)
    assert not _values_and_gradient(TotalVariation(), targets, targets)[1].any()


@pytest.mark.parametrize("loss", [*LEAST, TotalVariation()], ids=_name)
def test_a_records_value_does_not_depend_on_its_batch(loss):
    images, targets = _pair()
    values, _ = _values_and_gradient(loss, images, targets)
    others, _ = _values_and_gradient(loss, images.at[0].set(0.0), targets.at[0].set(1.0))
    assert values.shape == (2,)
    assert values[1] == others[1]


def test_a_weighted_sum_and_its_parts():
    images, targets = _pair()
    loss = Weighted(terms={"l1": Term(loss=L1()), "fft": Term(loss=FFT(), weight=0.1)})
    parts = loss.parts(images, targets)
    assert list(parts) == ["l1", "fft"]
    np.testing.assert_allclose(parts["l1"], L1()(images, targets), rtol=1e-6)
    np.testing.assert_allclose(parts["fft"], 0.1 * FFT()(images, targets), rtol=1e-6)
    np.testing.assert_allclose(loss(images, targets), parts["l1"] + parts["fft"], rtol=1e-6)


def test_a_config_names_losses_by_their_paths():
    path = "jgr.losses.restoration"
    terms = dict(
        a=dict(loss=dict(cls=f"{path}.Charbonnier", epsilon=0.01)), b=dict(loss=dict(cls=f"{path}.L1"), weight=2.0)
    )
    built = build(dict(cls=f"{path}.Weighted", terms=terms), Loss, "config.task.loss", Context(trust=False))
    assert built == Weighted(terms={"a": Term(loss=Charbonnier(epsilon=0.01)), "b": Term(loss=L1(), weight=2.0)})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Charbonnier(epsilon=0.0), r"epsilon = 0.0 must be positive"),
        (lambda: Term(loss=L1(), weight=-1.0), r"weight = -1.0 must be positive"),
        (lambda: Term(loss=L1(), weight=math.nan), r"weight = nan must be positive"),
        (lambda: Weighted(terms={}), "terms is empty"),
        (lambda: SSIM()(*_pair(10, 20)), "SSIM: SSIM with a window of 11 needs images of at least 11x11, not 10x20"),
        (lambda: MultiScaleSSIM()(*_pair(32, 32)), "MS-SSIM needs images of at least 161x161, not 32x32"),
    ],
)
def test_impossible_values_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
