"""The compiled training step: batch, the task's step, step counter, average."""

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import flax
import jax
import jax.numpy as jnp
import optax

from jgr.data.loader import Loader
from jgr.errors import ConfigError, JgrError
from jgr.jobs.experiment import Experiment
from jgr.rng import purpose_key, step_key
from jgr.state import TrainState, advance_average, leaves_by_name
from jgr.tasks.update import FINITE

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
        metrics = {**metrics, **_finite_checks(state, metrics)}
        state = state.replace(step=state.step + 1)
        average = experiment.train.average
        return advance_average(state, average.half_life, average.ramp_up), metrics

    compiled = jax.jit(step, donate_argnums=0)
    return lambda state, arrays, host_batch: compiled(state, keys, arrays, host_batch)


def _finite_checks(state: TrainState, metrics: dict[str, Any]) -> dict[str, Any]:
    """Whether all parameters and reported losses are finite, also of a task that does not use `update`."""
    checks = {
        f"{FINITE}{network}/parameters": jnp.all(
            jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(params)])
        )
        for network, params in state.params.items()
    }
    losses = {name: value for name, value in metrics.items() if name.endswith("loss") and not name.startswith(FINITE)}
    return checks | {f"{FINITE}{name}": jnp.isfinite(value) for name, value in losses.items()}


def abstract_state(experiment: Experiment, loader: Loader) -> TrainState:
    """Shapes and types of the state, by `jax.eval_shape`: nothing is computed.

    Raises:
        ConfigError: If the networks do not fit the data.
    """
    one_batch = {name: jax.ShapeDtypeStruct(spec.shape[1:], spec.dtype) for name, spec in loader.batch_spec().items()}
    with _task_errors("initialisation"):
        state: TrainState = jax.eval_shape(experiment.init, jax.random.key(0), one_batch)
    return state


def abstract_metrics(experiment: Experiment, loader: Loader, state: TrainState) -> dict[str, Any]:
    """Shapes of what a step reports, by `jax.eval_shape`.

    Raises:
        ConfigError: If the step cannot be traced, changes the form of the state, or reports what is no scalar.
    """
    with _task_errors("step"):
        after, metrics = jax.eval_shape(experiment.task.step, state, loader.batch_spec(), jax.random.key(0))
    form, changed = ({n: (x.shape, x.dtype) for n, x in leaves_by_name(s).items()} for s in (state, after))
    for name in sorted(form.keys() | changed.keys()):
        if form.get(name) != changed.get(name):
            raise ConfigError(f"config.task: its step turns {name} from {form.get(name)} into {changed.get(name)}")
    for name, value in metrics.items():
        if value.shape:
            raise ConfigError(f"config.task: its step reports {name} of shape {value.shape}; a metric must be a scalar")
    return dict(metrics)


@contextmanager
def _task_errors(part: str) -> Iterator[None]:
    """Turns what a task or a network raises while it is traced into one line that says where."""
    try:
        yield
    except JgrError:
        raise
    except Exception as error:
        libraries = tuple(str(Path(str(library.__file__)).parent) for library in (jax, flax, optax))
        frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(libraries)]
        where = f"{frames[-1].filename}:{frames[-1].lineno}"
        reason = next(iter(str(error).strip().splitlines()), "")
        raise ConfigError(f"config.task: its {part} fails at {where}: {type(error).__name__}: {reason}") from error


def initial_state(experiment: Experiment, loader: Loader) -> TrainState:
    """The state before the first step."""
    shapes = loader.batch_spec()

    def init(key: jax.Array) -> TrainState:
        batch = {name: jax.numpy.zeros(spec.shape[1:], spec.dtype) for name, spec in shapes.items()}
        return experiment.init(key, batch)

    state: TrainState = jax.jit(init)(purpose_key(experiment.seed, "init"))
    return state
