"""The L2 norm of a tree of arrays, as a training step computes it in passing."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

_SMALL = 2**15  # values; a program's step costs more than theirs


def squared_norm(tree: Any) -> Float[Array, ""]:
    """The sum of the squares of all values, in float32; 0 of no arrays.

    Small arrays are summed as one: on CPU each sum costs some microseconds besides its values. Behind the barrier XLA
    squares the values of large ones where it sums them. Without, an optimiser's squares of the same values are written
    to memory for both.

    Args:
        tree: Arrays of any shapes and floating types.
    """
    leaves = [leaf.astype(jnp.float32) for leaf in jax.tree.leaves(tree)]
    small = [leaf.ravel() for leaf in leaves if leaf.size <= _SMALL]
    sums = [jnp.square(leaf).sum() for leaf in jax.lax.optimization_barrier([x for x in leaves if x.size > _SMALL])]
    if small:
        sums.append(jnp.square(jnp.concatenate(small)).sum())
    return sum(sums, jnp.float32(0.0))
