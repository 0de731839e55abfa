import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jgr.degradations.burst import Burst
from jgr.degradations.degradation import Pipeline
from jgr.degradations.noise import GaussianNoise
from jgr.degradations.parameters import Uniform
from jgr.errors import ConfigError

CLEAN = Pipeline(steps=())
NOISE = GaussianNoise(sigma=0.1)
IMAGES = jnp.asarray(np.random.default_rng(0).random((3, 12, 10, 3)), jnp.float32)
KEYS = jax.random.split(jax.random.key(0), 3)


def shots_of(batch):
    """[batch, shots but the first, height, width, channels]."""
    stacked = np.asarray(batch["shots"])
    return np.moveaxis(stacked.reshape(*stacked.shape[:3], -1, 3), 3, 1)


def test_shots_differ_by_whole_pixels_alone():
    batch = jax.jit(Burst(degradation=CLEAN, count=9, motion=2))({"image": IMAGES}, KEYS)
    np.testing.assert_array_equal(batch["image"], IMAGES)
    np.testing.assert_array_equal(batch["target"], IMAGES)
    ways = set()
    for image, shots in zip(np.asarray(IMAGES), shots_of(batch), strict=True):
        for shot in shots:
            found = [
                (down, right)
                for down in range(-2, 3)
                for right in range(-2, 3)
                if (shot[2:-2, 2:-2] == np.roll(image, (down, right), (0, 1))[2:-2, 2:-2]).all()
            ]
            assert len(found) == 1
            ways |= set(found)
    assert {down for down, _ in ways} == {right for _, right in ways} == {-2, -1, 0, 1, 2}


def test_beyond_the_border_the_image_is_reflected():
    batch = Burst(degradation=CLEAN, count=9, motion=2)({"image": IMAGES}, KEYS)
    padded = np.pad(np.asarray(IMAGES[0]), ((2, 2), (2, 2), (0, 0)), mode="reflect")
    cut = [padded[down : down + 12, right : right + 10] for down in range(5) for right in range(5)]
    for shot in shots_of(batch)[0]:
        assert any((shot == each).all() for each in cut)


def test_noise_is_of_each_shot_alone_and_sigma_that_of_the_first():
    noise = GaussianNoise(sigma=Uniform(low=0.1, high=0.2))
    image = {"image": jnp.full((1, 60, 60, 1), 0.5)}
    batch = jax.jit(Burst(degradation=noise, count=4))(image, KEYS[:1])
    shots = np.concatenate([batch["image"], batch["shots"]], axis=-1)[0].reshape(-1, 4) - 0.5
    np.testing.assert_allclose(np.corrcoef(shots.T), np.eye(4), atol=5 / 60)
    assert abs(shots[:, 0].std() - batch["sigma"][0]) < 5 * 0.2 / np.sqrt(2 * 3600)
    assert len({round(float(deviation), 3) for deviation in shots.std(axis=0)}) == 4


def test_a_burst_of_one_has_no_other_shots_and_a_record_does_not_know_its_batch():
    one = Burst(degradation=NOISE, count=1, motion=2)({"image": IMAGES}, KEYS)
    assert one["shots"].shape == (3, 12, 10, 0)
    burst = Burst(degradation=NOISE, count=3, motion=1)
    whole = burst({"image": IMAGES}, KEYS)
    alone = burst({"image": IMAGES[1:2]}, KEYS[1:2])
    for name in ("image", "shots", "sigma"):
        np.testing.assert_array_equal(alone[name], whole[name][1:2])
    assert burst.name == "burst3-m1-awgn-s25.5"


def test_impossible_numbers():
    with pytest.raises(ConfigError, match="count = 0 must be at least 1"):
        Burst(degradation=NOISE, count=0)
    with pytest.raises(ConfigError, match="motion = -1 must be at least 0"):
        Burst(degradation=NOISE, count=1, motion=-1)
    with pytest.raises(ConfigError, match="motion = 10: images of 12x10 must be larger"):
        Burst(degradation=NOISE, count=2, motion=10)({"image": IMAGES}, KEYS)
