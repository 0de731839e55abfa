import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jgr.rng import record_keys
from jgr.tasks.image_pool import ImagePool

SIZE, BATCH, STEPS = 8, 4, 1000


def numbered(first, count=BATCH):
    """Images of one pixel, each of its number."""
    return jnp.arange(first, first + count, dtype=jnp.float32).reshape(-1, 1, 1, 1)


def keys_of(first, count=BATCH, seed=0):
    return record_keys(jax.random.key(seed), jnp.arange(first, first + count, dtype=jnp.uint32))


exchange = jax.jit(ImagePool.exchange)


def given_by(pool, first, count=BATCH, seed=0):
    pool, given = exchange(pool, numbered(first, count), keys_of(first, count, seed))
    return pool, np.asarray(given).ravel()


@pytest.fixture(scope="module")
def history():
    """What was given for every image of a long training, and the pool at the end."""
    number = jnp.arange(BATCH * STEPS, dtype=jnp.float32).reshape(STEPS, BATCH, 1, 1, 1)
    keys = keys_of(0, BATCH * STEPS).reshape(STEPS, BATCH)
    pool, given = jax.jit(lambda pool: jax.lax.scan(lambda pool, x: pool.exchange(*x), pool, (number, keys)))(
        ImagePool.empty(SIZE, (1, 1, 1))
    )
    return np.asarray(given).ravel(), np.asarray(pool.images).ravel(), int(pool.count)


def test_while_it_fills_images_are_stored_and_given_back():
    pool = ImagePool.empty(SIZE, (1, 1, 1))
    for first in (0, 4):
        pool, given = given_by(pool, first)
        np.testing.assert_array_equal(given, np.arange(first, first + 4))
        assert int(pool.count) == first + 4
    np.testing.assert_array_equal(np.asarray(pool.images).ravel(), np.arange(8))


def test_a_batch_that_fills_it_goes_on_with_exchanges():
    """5 of 12 images arrive at a full pool: each stays, or takes a place."""
    changed = 0
    for seed in range(4):
        pool, given = given_by(ImagePool.empty(7, (1, 1, 1)), 0, 12, seed)
        np.testing.assert_array_equal(given[:7], np.arange(7))
        kept = np.asarray(pool.images).ravel()
        swapped = np.flatnonzero(given[7:] != np.arange(7, 12)) + 7
        assert sorted([*kept, *given[swapped]]) == [*range(7), *swapped]
        changed += len(swapped)
    assert 0 < changed < 20


def test_once_full_half_are_exchanged_for_older_ones(history):
    given, _, count = history
    assert count == SIZE
    current = np.arange(len(given))
    np.testing.assert_array_equal(given[:SIZE], current[:SIZE])
    assert (given <= current).all()
    old = (given != current)[SIZE:]
    assert abs(old.mean() - 0.5) < 4 * 0.5 / np.sqrt(len(old))  # four standard errors


def test_nothing_is_lost_and_nothing_given_twice(history):
    """An image is given at once, or later, or still lies in the pool; only the first ones are both."""
    given, kept, _ = history
    np.testing.assert_array_equal(np.sort(np.concatenate([given[SIZE:], kept])), np.arange(len(given)))


def test_a_stored_image_stays_twice_the_size_of_the_pool_on_average(history):
    """Each place is taken with probability 1 / (2 size) an image, so lifetimes are geometric."""
    given, _, _ = history
    current = np.arange(len(given))
    old = np.flatnonzero(given != current)
    ages = (current - given)[old[given[old] >= SIZE]]
    mean = 2 * SIZE
    assert abs(ages.mean() - mean) < 4 * mean / np.sqrt(len(ages))
    assert ages.min() == 1


def test_what_is_given_follows_from_keys_and_pool_alone():
    start, _ = given_by(ImagePool.empty(SIZE, (1, 1, 1)), 0, 8)
    saved = jax.tree.map(np.asarray, start)  # as a checkpoint has it

    def run(pool, seed=0):
        parts = []
        for first in (8, 12, 16, 20):
            pool, given = given_by(pool, first, seed=seed)
            parts += given.tolist()
        return parts

    assert run(start) == run(jax.tree.map(jnp.asarray, saved))
    assert run(start) != run(start, seed=1)


def test_an_image_is_exchanged_whatever_batch_it_is_in():
    start, _ = given_by(ImagePool.empty(SIZE, (1, 1, 1)), 0, 8)
    together, given = given_by(start, 8, 8)
    apart, first = given_by(start, 8, 4)
    apart, second = given_by(apart, 12, 4)
    np.testing.assert_array_equal(given, [*first, *second])
    np.testing.assert_array_equal(together.images, apart.images)


def test_a_pool_of_nothing_gives_all_back():
    pool, given = given_by(ImagePool.empty(0, (1, 1, 1)), 3)
    np.testing.assert_array_equal(given, [3, 4, 5, 6])
    assert pool.images.shape == (0, 1, 1, 1)
