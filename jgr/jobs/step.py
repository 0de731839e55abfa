"""The compiled training step: batch, the task's step, step counter, average."""

from collections.abc import Callable
from typing import Any

import jax

from jgr.data.loader import Loader
from jgr.jobs.experiment import Experiment
from jgr.rng import purpose_key, step_key
from jgr.state import TrainState, advance_average

Step = Callable[[TrainState, Any, Any], tuple[TrainState, dict[str, Any]]]
"""(state, the loader's arrays, host part of a batch) -> (state, metrics); the state is donated."""


def make_loader(experiment: Experiment) -> Loader:
    """The training data in the order that the seed decides."""
    return Loader(
        experiment.data,
        seed=experiment.seed,
        batch_size=experiment.train.batch_size,
        batches_per_step=experiment.task.batches_per_step,
    )


def make_step(experiment: Experiment, loader: Loader) -> Step:
    """The jitted step. Its randomness follows from the seed and `state.step` alone."""
    # Arguments of the compiled function, so that another seed does not compile it again.
    keys = {purpose: purpose_key(experiment.seed, purpose) for purpose in ("data", "step")}

    def step(state: TrainState, keys: Any, arrays: Any, host_batch: Any) -> tuple[TrainState, dict[str, Any]]:
        batch = loader.assemble(arrays, host_batch, keys["data"])
        state, metrics = experiment.task.step(state, batch, step_key(keys["step"], state.step))
        state = state.replace(step=state.step + 1)
        average = experiment.train.average
        return advance_average(state, average.half_life, average.ramp_up), metrics

    compiled = jax.jit(step, donate_argnums=0)
    return lambda state, arrays, host_batch: compiled(state, keys, arrays, host_batch)


def abstract_state(experiment: Experiment, loader: Loader) -> TrainState:
    """Shapes and types of the state, by `jax.eval_shape`: nothing is computed.

    Raises:
        ConfigError: If the networks do not fit the data.
    """
    one_batch = {name: jax.ShapeDtypeStruct(spec.shape[1:], spec.dtype) for name, spec in loader.batch_spec().items()}
    state: TrainState = jax.eval_shape(experiment.init, jax.random.key(0), one_batch)
    return state


def abstract_metrics(experiment: Experiment, loader: Loader, state: TrainState) -> dict[str, Any]:
    """Shapes of what a step reports, by `jax.eval_shape`: a step that cannot be traced fails here."""
    _, metrics = jax.eval_shape(experiment.task.step, state, loader.batch_spec(), jax.random.key(0))
    return dict(metrics)


def initial_state(experiment: Experiment, loader: Loader) -> TrainState:
    """The state before the first step."""
    shapes = loader.batch_spec()

    def init(key: jax.Array) -> TrainState:
        batch = {name: jax.numpy.zeros(spec.shape[1:], spec.dtype) for name, spec in shapes.items()}
        return experiment.init(key, batch)

    state: TrainState = jax.jit(init)(purpose_key(experiment.seed, "init"))
    return state
