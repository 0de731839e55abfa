"""The order of records, as a pure function of (seed, position).

Position p of a run over n records lies in epoch p // n at offset p % n, and every epoch visits every record once, in an
order of its own. The order is a keyed permutation computed for the asked positions only, in 64-bit integer arithmetic
that wraps: it needs no table, no state and no particular version of NumPy, so a run continues anywhere.
"""

import functools
import math
import zlib

import numpy as np
from jaxtyping import Int, Int64, Integer, UInt64

# Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators": SplitMix64's increment and finaliser.
_GOLDEN = 0x9E3779B97F4A7C15
_MULTIPLIER_1, _MULTIPLIER_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_SHIFT_1, _SHIFT_2, _SHIFT_3 = np.uint64(30), np.uint64(27), np.uint64(31)

_ROUNDS = 6  # pairs of Feistel rounds: the orders of 3, 4 and 5 records are uniform to chi-square over 20,000 epochs


def random_bits(seed: int, purpose: str, values: Integer[np.ndarray, "n"]) -> UInt64[np.ndarray, "n"]:
    """64 random bits for each value, under a run's seed.

    Args:
        seed: The run's seed; any integer, taken modulo 2**64.
        purpose: What the bits are for; two purposes never share a stream.
        values: What the bits belong to, such as positions.
    """
    key = _mix(np.array([seed % 2**64], np.uint64))
    key = _mix(key ^ np.uint64(zlib.crc32(purpose.encode())))
    return _mix(key ^ values.astype(np.uint64))


def record_index(seed: int, position: Integer[np.ndarray, "*shape"], num_records: int) -> Int64[np.ndarray, "*shape"]:
    """Indices of the records at given positions of a shuffled run.

    A Feistel network over the smallest rows × columns rectangle that holds `num_records` cells, walked along its cycles
    until it falls on a record (Black and Rogaway 2002, "Ciphers with arbitrary finite domains", sections 3 and 4).

    Args:
        seed: The run's seed.
        position: Positions, at least 0: how many records the run has taken before.
        num_records: Number of records in the source, at least 1.

    Returns:
        Indices in [0, num_records). Within an epoch each occurs once.
    """
    epoch, offset = np.divmod(position.reshape(-1).astype(np.uint64), np.uint64(num_records))
    keys = random_bits(seed, "order", epoch)
    rows, columns = _rectangle(num_records)
    index = _permute(offset, keys, rows, columns)
    while (outside := np.flatnonzero(index >= np.uint64(num_records))).size:
        index[outside] = _permute(index[outside], keys[outside], rows, columns)
    return index.astype(np.int64).reshape(position.shape)


def random_crop_corners(
    seed: int, position: Integer[np.ndarray, "n"], sizes: Int[np.ndarray, "n 2"], crop: int
) -> Int64[np.ndarray, "n 2"]:
    """Top left corners of random crops, uniform over those that fit.

    Args:
        seed: The run's seed.
        position: Positions of the records.
        sizes: Height and width of each image, at least `crop`.
        crop: Height and width of the crops.
    """
    bits = random_bits(seed, "crop", position)
    halves = np.stack([bits >> np.uint64(32), bits & np.uint64(2**32 - 1)], axis=1)
    choices = (sizes - crop + 1).astype(np.uint64)
    return ((halves * choices) >> np.uint64(32)).astype(np.int64)


def _mix(values: UInt64[np.ndarray, "n"]) -> UInt64[np.ndarray, "n"]:
    values = (values ^ (values >> _SHIFT_1)) * _MULTIPLIER_1
    values = (values ^ (values >> _SHIFT_2)) * _MULTIPLIER_2
    return values ^ (values >> _SHIFT_3)


def _permute(
    cells: UInt64[np.ndarray, "n"], keys: UInt64[np.ndarray, "n"], rows: np.uint64, columns: np.uint64
) -> UInt64[np.ndarray, "n"]:
    row, column = np.divmod(cells, columns)
    for i in range(_ROUNDS):
        even, odd = (np.uint64((2 * i + half + 1) * _GOLDEN % 2**64) for half in (0, 1))
        row = (row + _mix(column + (keys + even))) % rows
        column = (column + _mix(row + (keys + odd))) % columns
    return row * columns + column


@functools.lru_cache(maxsize=64)
def _rectangle(num_records: int) -> tuple[np.uint64, np.uint64]:
    """Sides of a nearly square rectangle with few cells over `num_records`, so that walks are short."""
    side = math.isqrt(num_records)
    rows = np.arange(max(2, side // 2), max(2, side) + 1)  # one row alone could only be rotated
    columns = -(-num_records // rows)
    best = len(rows) - 1 - np.argmin((rows * columns - num_records)[::-1])
    return np.uint64(rows[best]), np.uint64(columns[best])
