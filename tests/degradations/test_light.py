import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jgr.degradations.light import ContrastLoss, LowLight
from jgr.degradations.parameters import Uniform
from jgr.errors import ConfigError

IMAGE = np.random.default_rng(0).random((5, 6, 3)).astype(np.float32)
KEY = jax.random.key(0)


def test_low_light():
    out = LowLight(exposure=0.4, gamma=2.2).apply({"image": jnp.asarray(IMAGE)}, KEY)["image"]
    np.testing.assert_allclose(out, 0.4 * IMAGE**2.2, rtol=1e-5)


def test_low_light_is_differentiable_down_to_black():
    gradient = jax.grad(lambda x: LowLight(exposure=0.5, gamma=2.0).apply({"image": x}, KEY)["image"].sum())
    np.testing.assert_allclose(gradient(jnp.asarray(IMAGE)), IMAGE, rtol=1e-5)  # 0.5 * 2 * x
    np.testing.assert_array_equal(gradient(jnp.full((1, 2, 1), -0.1)), 0)
    assert np.isfinite(gradient(jnp.zeros((1, 2, 1)))).all()


def test_contrast_loss_keeps_the_mean():
    out = np.asarray(ContrastLoss(factor=0.3).apply({"image": jnp.asarray(IMAGE)}, KEY)["image"])
    assert out.mean() == pytest.approx(IMAGE.mean(), rel=1e-5)
    assert out.std() == pytest.approx(0.3 * IMAGE.std(), rel=1e-4)


def test_each_record_draws_its_own():
    batch = {"image": jnp.ones((200, 1, 1, 1))}
    exposures = LowLight(exposure=Uniform(low=0.1, high=0.5))(batch, jax.random.split(KEY, 200))["image"].ravel()
    assert 0.1 <= exposures.min() < 0.13
    assert 0.47 < exposures.max() <= 0.5


def test_names_and_impossible_values():
    assert LowLight(exposure=0.5, gamma=Uniform(low=2.0, high=3.0)).name == "lowlight-e0.5-g2..3"
    assert ContrastLoss(factor=0.5).name == "contrast-f0.5"
    with pytest.raises(ConfigError, match=r"exposure = 0 must be above 0 and at most 1"):
        LowLight(exposure=0.0)
    with pytest.raises(ConfigError, match=r"gamma = 0.5 must be at least 1"):
        LowLight(exposure=0.5, gamma=0.5)
    with pytest.raises(ConfigError, match=r"factor = 2 must be above 0 and at most 1"):
        ContrastLoss(factor=2.0)
