"""One optimiser's update: gradient, clipping, the optimiser, and the check that all is finite."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Key

from jgr.optim import Optimizer
from jgr.state import TrainState, Tree

FINITE = "finite/"
"""Prefix of the metrics that say whether a term is finite; the job stops where one is not."""

LossFn = Callable[
    [dict[str, Tree], dict[str, Tree], Mapping[str, Array], Key[Array, ""]],
    tuple[Float[Array, ""], tuple[dict[str, Tree], dict[str, Float[Array, ""]]]],
]
"""(params of the optimiser's networks, model state of all networks, batch, key) -> (loss, (model states to keep,
metrics))"""


def update(
    state: TrainState,
    name: str,
    optimizer: Optimizer,
    loss_fn: LossFn,
    batch: Mapping[str, Array],
    key: Key[Array, ""],
    networks: Sequence[str],
) -> tuple[TrainState, dict[str, Any]]:
    """One step of one optimiser on the networks it owns; every other network is a constant.

    Args:
        state: The state before.
        name: The optimiser's name in `state.opt_state`, and the prefix of its metrics.
        optimizer: What to apply to the gradient.
        loss_fn: See `LossFn`. Of the model states it returns, those named are kept; the others stay as they are.
        batch: `[batch, …]`.
        key: Randomness of the loss.
        networks: Names in `state.params` that it trains.

    Returns:
        The state after, and metrics: the loss, the gradient's L2 norm before clipping, those of `loss_fn`, and whether
        loss, gradients and new parameters are finite (under `FINITE`).
    """
    params = {network: state.params[network] for network in networks}
    (loss, (model_state, metrics)), gradients = jax.value_and_grad(loss_fn, has_aux=True)(
        params, state.model_state, batch, key
    )
    changes, opt_state = optimizer.transformation().update(gradients, state.opt_state[name], params)
    params = optax.apply_updates(params, changes)
    reported = {
        f"{name}/loss": loss,
        f"{name}/gradient_norm": optax.tree.norm(gradients),
        **{f"{name}/{metric}": value for metric, value in metrics.items()},
        f"{FINITE}{name}/loss": jnp.isfinite(loss),
        f"{FINITE}{name}/gradients": _all_finite(gradients),
        f"{FINITE}{name}/parameters": _all_finite(params),
    }
    state = state.replace(
        params=state.params | params,
        model_state=state.model_state | model_state,
        opt_state=state.opt_state | {name: opt_state},
    )
    return state, reported


def _all_finite(tree: Tree) -> Bool[Array, ""]:
    return jnp.all(jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]))
