import itertools
import zlib
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from jgr.data.order import random_bits, random_crop_corners, record_index


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 7, 9, 10, 31, 64, 97, 100, 1000, 1437, 1797, 4096, 60000, 60013])
def test_every_epoch_visits_every_record_once(size):
    order = record_index(3, np.arange(2 * size) + 5 * size, size).reshape(2, size)
    np.testing.assert_array_equal(np.sort(order, axis=1), np.broadcast_to(np.arange(size), (2, size)))


def test_index_depends_on_its_position_alone():
    whole = record_index(0, np.arange(5000), 97)
    asked = np.random.default_rng(0).permutation(5000).reshape(50, 100)
    np.testing.assert_array_equal(record_index(0, asked, 97), whole[asked])
    np.testing.assert_array_equal(record_index(0, asked.astype(np.uint32), 97), whole[asked])


def test_order_is_that_of_whole_number_arithmetic():
    """The same network in Python's integers, so that no version of NumPy can change a run that is to be continued."""
    golden, limit = 0x9E3779B97F4A7C15, 2**64

    def mix(value):
        value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 % limit
        value = (value ^ value >> 27) * 0x94D049BB133111EB % limit
        return value ^ value >> 31

    assert mix(golden) == 0xE220A8397B1DCDAF  # the first number of Vigna's splitmix64.c from state 0

    def index(seed, position, size, rows, columns):
        epoch, cell = divmod(position, size)
        key = mix(mix(mix(seed) ^ zlib.crc32(b"order")) ^ epoch)
        while True:
            row, column = divmod(cell, columns)
            for i in range(6):
                row = (row + mix((column + key + (2 * i + 1) * golden) % limit)) % rows
                column = (column + mix((row + key + (2 * i + 2) * golden) % limit)) % columns
            cell = row * columns + column
            if cell < size:
                return cell

    expected = [index(42, position, 97, 7, 14) for position in range(300)]
    assert record_index(42, np.arange(300), 97).tolist() == expected
    assert record_index(42 + limit, np.arange(300), 97).tolist() == expected


def test_epochs_and_seeds_differ():
    orders = [tuple(record_index(seed, np.arange(100) + 100 * epoch, 100)) for seed in range(20) for epoch in range(20)]
    assert len(set(orders)) == 400
    assert record_index(-1, np.arange(100), 100).tolist() != list(orders[0])
    # Two random permutations of n agree in one place on average, with variance one.
    agreements = [np.sum(np.equal(a, b)) for a, b in itertools.combinations(orders[:60], 2)]
    assert np.mean(agreements) == pytest.approx(1.0, abs=4 / np.sqrt(len(agreements)))


@pytest.mark.parametrize("size", [2, 3, 4, 5])
def test_small_orders_are_uniform(size):
    epochs = 20_000
    orders = record_index(11, np.arange(size * epochs), size).reshape(epochs, size)
    counts = Counter(map(tuple, orders))
    observed = [counts[order] for order in itertools.permutations(range(size))]
    assert stats.chisquare(observed).pvalue > 1e-4


def test_places_are_uniform():
    size, epochs = 37, 8000
    orders = record_index(5, np.arange(size * epochs), size).reshape(epochs, size)
    table = np.zeros((size, size))
    np.add.at(table, (np.broadcast_to(np.arange(size), orders.shape), orders), 1)
    statistic = ((table - epochs / size) ** 2 / (epochs / size)).sum()
    assert 1e-4 < stats.chi2.sf(statistic, (size - 1) ** 2) < 1 - 1e-4


@pytest.mark.parametrize("size", [1797, 50_000, 60_013])
def test_neighbours_are_uncorrelated(size):
    order = record_index(1, np.arange(size), size)
    for lag in (1, 2, 128):
        assert abs(np.corrcoef(order[:-lag], order[lag:])[0, 1]) < 4 / np.sqrt(size)
    steps = np.diff(order) % size  # of a random permutation no step between neighbours is common
    assert np.bincount(steps).max() < 15


def test_streams_of_random_bits_are_independent():
    values = np.arange(4000)
    streams = [random_bits(seed, purpose, values) for seed, purpose in [(0, "order"), (0, "crop"), (1, "order")]]
    for bits in streams:
        ones = np.unpackbits(bits.view(np.uint8)).mean()
        assert ones == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(64 * 4000))
    for a, b in itertools.combinations(streams, 2):
        agree = 1 - np.unpackbits((a ^ b).view(np.uint8)).mean()
        assert agree == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(64 * 4000))


def test_crop_corners_are_uniform_over_those_that_fit():
    count = 30_000
    sizes = np.broadcast_to([10, 12], (count, 2))
    corners = random_crop_corners(0, np.arange(count), sizes, 8)
    assert corners.min(axis=0).tolist() == [0, 0]
    assert corners.max(axis=0).tolist() == [2, 4]
    observed = np.bincount(corners[:, 0] * 5 + corners[:, 1], minlength=15)
    assert stats.chisquare(observed).pvalue > 1e-4
    np.testing.assert_array_equal(random_crop_corners(0, np.arange(9), np.full((9, 2), 8), 8), np.zeros((9, 2)))
