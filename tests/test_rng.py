import zlib

import jax
import jax.numpy as jnp
import numpy as np

from jgr.rng import purpose_key, record_keys, step_key


def bits(keys):
    return np.asarray(jax.random.key_data(keys))


def test_keys_are_the_documented_fold_in():
    expected = jax.random.fold_in(jax.random.fold_in(jax.random.key(7), zlib.crc32(b"step")), 12)
    np.testing.assert_array_equal(bits(step_key(purpose_key(7, "step"), 12)), bits(expected))
    np.testing.assert_array_equal(bits(purpose_key(7, "step")), bits(jax.random.fold_in(jax.random.key(7), 0x43B9FE3C)))


def test_seeds_purposes_and_steps_have_keys_of_their_own():
    keys = [
        step_key(purpose_key(seed, purpose), step)
        for seed in (0, 1, 2**32 - 1)
        for purpose in ("init", "data", "step", "evaluation", "samples")
        for step in (0, 1, 2**20)
    ]
    assert len({bits(key).tobytes() for key in keys}) == len(keys) == 45


def test_a_traced_step_gives_the_key_of_the_same_number():
    traced = jax.jit(lambda step: jax.random.key_data(step_key(purpose_key(3, "step"), step)))
    np.testing.assert_array_equal(traced(jnp.int32(5)), bits(step_key(purpose_key(3, "step"), 5)))


def test_the_key_of_a_record_depends_on_its_position_only():
    key, positions = purpose_key(0, "data"), jnp.arange(24, dtype=jnp.uint32)
    whole = bits(record_keys(key, positions))
    np.testing.assert_array_equal(bits(record_keys(key, positions.reshape(2, 3, 4))).reshape(whole.shape), whole)
    np.testing.assert_array_equal(
        np.concatenate([bits(record_keys(key, positions[i : i + 6])) for i in range(0, 24, 6)]), whole
    )
    np.testing.assert_array_equal(bits(record_keys(key, positions[::-1]))[::-1], whole)
    for position in (0, 5, 23):
        np.testing.assert_array_equal(bits(jax.random.fold_in(key, position)), whole[position])
    assert len({row.tobytes() for row in whole}) == 24


def test_positions_reach_beyond_int32():
    high = record_keys(purpose_key(0, "data"), jnp.array([2**31, 2**32 - 1], jnp.uint32))
    expected = [jax.random.fold_in(purpose_key(0, "data"), np.uint32(position)) for position in (2**31, 2**32 - 1)]
    np.testing.assert_array_equal(bits(high), np.stack([bits(key) for key in expected]))
