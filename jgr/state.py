"""The state of a training: everything that a step reads and writes, and nothing else."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt32

Tree = Any  # a pytree of arrays


class TrainState(flax.struct.PyTreeNode):
    """A pytree. It holds no random key: keys are derived from the seed and the step (`jgr.rng`).

    Args:
        step: Steps done, int32.
        params: Parameters per network.
        model_state: What networks keep besides parameters (batch statistics, spectral-norm vectors), per network and
            then per Linen collection.
        opt_state: Optimiser state per optimiser; one optimiser may own several networks.
        ema: Averaged {"params", "model_state"} of the networks that are averaged; empty without averaging.
        extra: What a task keeps besides (an image pool, an augmentation strength).
    """

    # Anything may stand at a leaf: an array, a shape, a sharding. So no field is annotated more closely.
    step: Tree
    params: Tree
    model_state: Tree
    opt_state: Tree
    ema: Tree = flax.struct.field(default_factory=dict)
    extra: Tree = flax.struct.field(default_factory=dict)


def with_average(state: TrainState, networks: tuple[str, ...]) -> TrainState:
    """The state with an average that starts as a copy of the networks named."""
    return state.replace(
        ema={
            "params": {name: jax.tree.map(jnp.copy, state.params[name]) for name in networks},
            "model_state": {name: jax.tree.map(jnp.copy, state.model_state[name]) for name in networks},
        }
    )


def advance_average(state: TrainState, half_life: int, ramp_up: float) -> TrainState:
    """One step of the exponential moving average, after the state's step was advanced.

    The weight of the past is 0.5 ** (1 / h), h being the half-life in steps, at most `ramp_up` times the steps done, so
    that the initial weights are soon forgotten (Karras et al. 2020, StyleGAN2-ADA, training loop). Parameters and batch
    statistics are averaged; other collections, such as spectral-norm vectors, are copied.
    """
    if not state.ema:
        return state
    steps = jnp.minimum(jnp.float32(half_life), ramp_up * state.step.astype(jnp.float32))
    decay = jnp.exp2(-1.0 / steps)
    params = {
        name: jax.tree.map(lambda past, now: _blend(past, now, decay), past, state.params[name])
        for name, past in state.ema["params"].items()
    }
    model_state = {
        name: {
            collection: jax.tree.map(
                lambda past, now: _blend(past, now, decay), past, state.model_state[name][collection]
            )
            if collection == "batch_stats"
            else state.model_state[name][collection]
            for collection, past in collections.items()
        }
        for name, collections in state.ema["model_state"].items()
    }
    return state.replace(ema={"params": params, "model_state": model_state})


def _blend(past: Array, now: Array, decay: Float[Array, ""]) -> Array:
    return now + (past - now) * decay.astype(now.dtype)


def averaged(state: TrainState) -> TrainState:
    """The state with the averaged networks in place of the trained ones; unchanged where nothing is averaged."""
    if not state.ema:
        return state
    return state.replace(
        params=state.params | state.ema["params"], model_state=state.model_state | state.ema["model_state"]
    )


def leaves_by_name(tree: Tree) -> dict[str, Any]:
    """Leaves under names such as "params/generator/Dense_0/kernel"."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def checksums(tree: Tree) -> dict[str, int]:
    """A checksum of the bits of every leaf, by name: what a restored state is checked against.

    Computed where the arrays lie, in integers modulo 2^32, so it does not depend on how they are cut over devices or
    processes. A changed word always changes it.
    """
    # One after another: programs that wait for each other's devices at the same time can lock up on CPU.
    return {name: int(_checksum(leaf)) for name, leaf in leaves_by_name(tree).items()}


@jax.jit
def _checksum(leaf: Array) -> UInt32[Array, ""]:
    """The sum over all words of a bijection of the word that differs from place to place."""
    if leaf.dtype == jnp.bool_:
        leaf = leaf.astype(jnp.uint8)
    unsigned = jnp.dtype(f"uint{8 * leaf.dtype.itemsize}")
    words = jax.lax.bitcast_convert_type(leaf, unsigned).astype(jnp.uint32)
    place, stride = jnp.zeros(leaf.shape, jnp.uint32), 1
    for axis in reversed(range(leaf.ndim)):
        place += jax.lax.broadcasted_iota(jnp.uint32, leaf.shape, axis) * jnp.uint32(stride % 2**32)
        stride *= leaf.shape[axis]
    return jnp.sum(_mixed(words ^ _mixed(place + jnp.uint32(0x9E3779B9))), dtype=jnp.uint32)


def _mixed(words: UInt32[Array, "..."]) -> UInt32[Array, "..."]:
    """A bijection of 32-bit words (Wellons 2018, "Prospecting for hash functions": lowbias32)."""
    words = (words ^ (words >> 16)) * jnp.uint32(0x7FEB352D)
    words = (words ^ (words >> 15)) * jnp.uint32(0x846CA68B)
    return words ^ (words >> 16)
