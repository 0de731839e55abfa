"""Random keys derived from (seed, purpose, step), so that no key needs to be stored or restored."""

import zlib

import jax
from jaxtyping import Array, Int, Key, UInt32


def purpose_key(seed: int | Array, purpose: str) -> Key[Array, ""]:
    """Key of one purpose, such as "init" or "step", under a run's seed.

    Args:
        seed: The run's seed, from 0 to 2**32 - 1.
        purpose: Name of what the key is for; two purposes never share a stream.
    """
    return jax.random.fold_in(jax.random.key(seed), zlib.crc32(purpose.encode()))


def step_key(key: Key[Array, ""], step: Int[Array, ""] | int) -> Key[Array, ""]:
    """Key of one step under a purpose's key: in all, `fold_in(fold_in(key(seed), crc32(purpose)), step)`."""
    return jax.random.fold_in(key, step)


def folded(keys: Key[Array, "*shape"], purpose: int) -> Key[Array, "*shape"]:
    """Keys of one purpose, made of keys of all: a draw for it tells nothing about the others'.

    Args:
        keys: Of any shape.
        purpose: A number of the purpose's own.
    """
    flat = jax.vmap(lambda key: jax.random.fold_in(key, purpose))(keys.reshape(-1))
    return flat.reshape(keys.shape)


def record_keys(key: Key[Array, ""], positions: UInt32[Array, "*batch"] | Int[Array, "*batch"]) -> Key[Array, "*batch"]:
    """One key a record, `fold_in(key, position)`, so that a record's randomness does not depend on its batch."""
    flat = jax.vmap(lambda position: jax.random.fold_in(key, position))(positions.reshape(-1))
    return flat.reshape(positions.shape)
