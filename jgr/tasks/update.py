"""One optimiser's update: gradient, clipping, the optimiser, and the check that all is finite."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key

from jgr.errors import ConfigError
from jgr.mesh import gathered
from jgr.norm import squared_norm
from jgr.optim import Optimizer
from jgr.rng import record_keys
from jgr.scan import scan
from jgr.state import TrainState, Tree

FINITE = "finite/"
"""Prefix of the metrics that say whether a term is finite; the job stops where one is not."""

LossFn = Callable[
    [dict[str, Tree], dict[str, Tree], Mapping[str, Array], Key[Array, "batch"]],
    tuple[Float[Array, ""], tuple[dict[str, Tree], dict[str, Float[Array, ""]]]],
]
"""(params of the optimiser's networks, model state of all networks, batch, one key a record) -> (loss, (model states to
keep, metrics)). The loss is a mean over records; so is every metric."""

Gradient = tuple[Float[Array, ""], dict[str, Tree], dict[str, Float[Array, ""]], Tree]
"""Loss, model states to keep, metrics, gradient."""


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
        optimizer: How to compute the gradient, and what to do with it.
        loss_fn: See `LossFn`. Of the model states it returns, those named are kept; the others stay as they are.
        batch: `[batch, …]`, with the records' `position`.
        key: Randomness of the loss. A record's own key follows from its position, so that it does not depend on how the
            batch is cut.
        networks: Names in `state.params` that it trains.

    Returns:
        The state after, and metrics: the loss, the gradient's L2 norm before clipping, those of `loss_fn`, and whether
        loss and gradients are finite (under `FINITE`). The job checks the new parameters.

    Raises:
        ConfigError: If the batch cannot be cut into the optimiser's micro-batches.
    """
    params = {network: state.params[network] for network in networks}
    keys = record_keys(key, batch["position"])
    loss, model_state, metrics, gradients = _accumulated(
        loss_fn, params, state.model_state, batch, keys, optimizer.micro_batches, name
    )
    norm = jnp.sqrt(squared_norm(gradients))
    changes, opt_state = optimizer.transformation().update(gradients, state.opt_state[name], params)
    params = optax.apply_updates(params, changes)
    reported = {
        f"{name}/loss": loss,
        f"{name}/gradient_norm": norm,
        **{f"{name}/{metric}": value for metric, value in metrics.items()},
        f"{FINITE}{name}/loss": jnp.isfinite(loss),
        # The norm is there anyway, and a look at every element costs as much again. It overflows from 1e19 on.
        f"{FINITE}{name}/gradients": jnp.isfinite(norm),
    }
    state = state.replace(
        params=state.params | params,
        model_state=state.model_state | model_state,
        opt_state=state.opt_state | {name: opt_state},
    )
    return state, reported


def _accumulated(
    loss_fn: LossFn,
    params: dict[str, Tree],
    model_state: dict[str, Tree],
    batch: Mapping[str, Array],
    keys: Key[Array, "batch"],
    parts: int,
    name: str,
) -> Gradient:
    """The gradient over a batch, part by part; model states pass from part to part."""

    def gradient(model_state: dict[str, Tree], batch: Mapping[str, Array], keys: Key[Array, "part"]) -> Gradient:
        def loss_of(params: dict[str, Tree]) -> Any:
            return loss_fn(gathered(params), model_state, batch, keys)

        (loss, (changed, metrics)), gradients = jax.value_and_grad(loss_of, has_aux=True)(params)
        return loss, changed, metrics, gradients

    if parts == 1:
        return gradient(model_state, batch, keys)
    size = keys.shape[0]
    if size % parts:
        raise ConfigError(f"config.train.batch_size = {size} must be a multiple of micro_batches = {parts} of {name}")

    def step(carry: tuple[Any, Any], part: tuple[Any, Any]) -> tuple[tuple[Any, Any], Any]:
        model_state, total = carry
        loss, changed, metrics, gradients = gradient(model_state, *part)
        return (model_state | changed, jax.tree.map(jnp.add, total, gradients)), (loss, metrics)

    # Record i goes to part i modulo `parts`: a batch that is cut over devices is not moved between them.
    pieces = jax.tree.map(lambda x: x.reshape(size // parts, parts, *x.shape[1:]).swapaxes(0, 1), (dict(batch), keys))
    changed = jax.eval_shape(gradient, model_state, *jax.tree.map(lambda piece: piece[0], pieces))[1]
    start = (model_state, jax.tree.map(jnp.zeros_like, params))
    (model_state, total), means = scan(step, start, pieces)
    loss, metrics = jax.tree.map(lambda value: value.mean(axis=0), means)
    gradients = jax.tree.map(lambda leaf: leaf / parts, total)
    return loss, {network: model_state[network] for network in changed}, metrics, gradients
