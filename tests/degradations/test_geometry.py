import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from jgr.degradations.geometry import Affine, LensDistortion
from jgr.degradations.parameters import Uniform
from jgr.errors import ConfigError

IMAGE = scipy.ndimage.gaussian_filter(np.random.default_rng(0).random((20, 27, 2)), (2, 2, 0)).astype(np.float32)
KEY = jax.random.key(0)


def warped(degradation, image=IMAGE):
    return np.asarray(jax.jit(degradation.apply)({"image": jnp.asarray(image)}, KEY)["image"])


@pytest.mark.parametrize("degradation", [LensDistortion(k1=0.0), Affine()])
def test_nothing_asked_changes_nothing(degradation):
    np.testing.assert_allclose(warped(degradation), IMAGE, atol=1e-5)


def test_rotation_by_a_right_angle_is_counter_clockwise():
    square = IMAGE[:, :20]
    np.testing.assert_allclose(warped(Affine(rotation=90.0), square), np.rot90(square), atol=1e-5)


def test_affine_equals_scipy():
    angle, scale, shear = np.radians(7.0), 1.1, np.radians(4.0)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])  # of rows, columns
    forward = turn @ (scale * np.eye(2)) @ np.array([[1, 0], [np.tan(shear), 1]])
    inverse, centre = np.linalg.inv(forward), (np.array(IMAGE.shape[:2]) - 1) / 2
    moved = centre + 0.1 * np.array(IMAGE.shape[:2])
    expected = np.stack(
        [
            scipy.ndimage.affine_transform(
                channel.astype(np.float64), inverse, centre - inverse @ moved, order=1, mode="mirror"
            )
            for channel in np.moveaxis(IMAGE, -1, 0)
        ],
        axis=-1,
    )
    result = warped(Affine(rotation=7.0, scale=1.1, shear=4.0, translation=0.1))
    np.testing.assert_allclose(result, expected, atol=2e-5)


def test_lens_equals_scipy():
    height, width = IMAGE.shape[:2]
    rows, columns = np.mgrid[:height, :width] - np.array([(height - 1) / 2, (width - 1) / 2]).reshape(2, 1, 1)
    squared = (rows**2 + columns**2) / (((height - 1) / 2) ** 2 + ((width - 1) / 2) ** 2)
    factor = 1 + 0.2 * squared - 0.05 * squared**2
    places = [rows * factor + (height - 1) / 2, columns * factor + (width - 1) / 2]
    expected = scipy.ndimage.map_coordinates(IMAGE[..., 0].astype(np.float64), places, order=1, mode="mirror")
    np.testing.assert_allclose(warped(LensDistortion(k1=0.2, k2=-0.05))[..., 0], expected, atol=2e-5)


def test_positive_coefficients_give_a_barrel():
    line = np.zeros((41, 41, 1), np.float32)
    line[4] = 1  # a straight line near the upper border
    bent = warped(LensDistortion(k1=0.3), line)[..., 0]
    assert bent[:, 20].argmax() < bent[:, 4].argmax()  # its middle is further out than its ends


@pytest.mark.parametrize("degradation", [LensDistortion(k1=0.2), Affine(rotation=5.0, scale=0.95)])
def test_gradient_is_the_adjoint(degradation):
    weights = np.random.default_rng(1).random(IMAGE.shape).astype(np.float32)
    result, pull = jax.vjp(lambda x: degradation.apply({"image": x}, KEY)["image"], jnp.asarray(IMAGE))
    assert np.vdot(result, weights) == pytest.approx(np.vdot(IMAGE, pull(weights)[0]), rel=1e-5)


def test_records_do_not_depend_on_the_batch():
    affine = Affine(rotation=Uniform(low=-5.0, high=5.0), translation=Uniform(low=-0.1, high=0.1))
    keys = jax.random.split(KEY, 3)
    whole = jax.jit(affine)({"image": jnp.stack([jnp.asarray(IMAGE)] * 3)}, keys)["image"]
    single = jax.jit(affine.apply)({"image": jnp.asarray(IMAGE)}, keys[1])["image"]
    np.testing.assert_allclose(whole[1], single, atol=2e-5)
    assert not np.allclose(whole[0], whole[1], atol=1e-3)


def test_names_and_impossible_values():
    assert LensDistortion(k1=Uniform(low=0.1, high=0.2)).name == "lens-k0.1..0.2-k0"
    assert Affine(rotation=Uniform(low=-5.0, high=5.0), scale=0.9).name == "affine-r-5..5-z0.9-h0-t0"
    with pytest.raises(ConfigError, match=r"k1 = -0.4 with k2 = 0 must not fold the image"):
        LensDistortion(k1=-0.4)
    with pytest.raises(ConfigError, match=r"k1 = 2 must be"):
        LensDistortion(k1=2.0)
    with pytest.raises(ConfigError, match=r"scale = 0 must be above 0"):
        Affine(scale=0.0)
    with pytest.raises(ConfigError, match=r"shear = 90 must be"):
        Affine(shear=90.0)
    with pytest.raises(ConfigError, match=r"translation = 12 must .* share of the image's side"):
        Affine(translation=12.0)
