import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jgr.degradations.parameters import Uniform
from jgr.degradations.protocols import Seeded
from jgr.degradations.tint import Tint
from jgr.errors import ConfigError, DataError

IMAGE = np.random.default_rng(0).random((5, 6, 3)).astype(np.float32)


def test_each_channel_has_its_factor():
    record = {"image": jnp.asarray(IMAGE), "sigma": jnp.float32(0.1)}
    out = Tint(factors=(1.0, 0.7, 0.4)).apply(record, jax.random.key(0))
    assert set(out) == {"image"}
    np.testing.assert_allclose(out["image"], IMAGE * np.float32([1.0, 0.7, 0.4]), rtol=1e-6)


def test_factors_are_drawn_by_record_and_channel():
    batch = {"image": jnp.ones((200, 1, 1, 2))}
    drawn = Tint(factors=(Uniform(low=0.5, high=1.0),) * 2)(batch, jax.random.split(jax.random.key(0), 200))["image"]
    drawn = np.asarray(drawn).reshape(200, 2)
    assert 0.5 <= drawn.min() < 0.52
    assert 0.98 < drawn.max() <= 1
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.3


def test_names_and_impossible_values():
    assert Tint(factors=(1.0, Uniform(low=0.5, high=0.75))).name == "tint-1-0.5..0.75"
    with pytest.raises(ConfigError, match=r"factors\[1\] = 0 must be above 0 and at most 1"):
        Tint(factors=(1.0, 0.0))
    with pytest.raises(DataError, match="one for each of the 1 channels"):
        Seeded(degradation=Tint(factors=(1.0, 0.7, 0.4)))(np.zeros((2, 2, 1), np.uint8))
