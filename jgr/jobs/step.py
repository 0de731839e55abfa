"""The compiled training steps: batch, the task's step, step counter, average."""

import dataclasses
import functools
import math
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jgr.data.loader import Loader
from jgr.errors import ConfigError, JgrError
from jgr.flops import count_flops
from jgr.jobs.experiment import Experiment
from jgr.mesh import Mesh
from jgr.norm import squared_norm
from jgr.rng import purpose_key, step_key
from jgr.scan import scan
from jgr.state import TrainState, advance_average, leaves_by_name
from jgr.tasks.lazy import due_at
from jgr.tasks.task import Due
from jgr.tasks.update import FINITE

Dues = tuple[tuple[bool, ...], ...]
"""What is due in each step of a call."""


class Step:
    """The compiled steps of one call. Their randomness follows from the seed and `state.step` alone.

    Args:
        call: What to compile: (state, seed, the loader's arrays, an element of its batches, what is due) -> (state,
            metrics).
        seed: The run's.
        mesh: The devices.
        abstract: Where the state lies.
        due: What is due in a call, by the steps done before it; a program is compiled for each case.
        starts: Steps between the first call and each, itself among them, until what is due repeats.
    """

    def __init__(
        self,
        call: Callable[..., Any],
        seed: int,
        mesh: Mesh,
        abstract: TrainState,
        due: Callable[[int], Dues],
        starts: range,
    ) -> None:
        shardings = (jax.tree.map(lambda leaf: leaf.sharding, abstract), mesh.replicated)
        self._compiled = jax.jit(call, donate_argnums=0, out_shardings=shardings, static_argnums=4)
        # An argument of the compiled function, so that another seed does not compile it again.
        self._seed, self._mesh = np.uint32(seed), mesh
        self._due, self._starts, self._is_first = due, starts, True

    def __call__(
        self, state: TrainState, arrays: Any, host_batches: Any, start: int
    ) -> tuple[TrainState, dict[str, Any]]:
        """The state after the call, the one before being donated, and metrics, each [steps_per_call].

        Args:
            state: The state.
            arrays: The loader's.
            host_batches: An element of its batches.
            start: Steps done before: `state.step`, which lies on the devices.
        """
        with self._mesh.entered():
            if self._is_first and len(self._starts) > 1:  # all programs now, so that no later call has to wait
                for case in dict.fromkeys(self._due(start + later) for later in self._starts):
                    self._compiled.lower(state, self._seed, arrays, host_batches, case).compile()
            self._is_first = False
            return self._compiled(state, self._seed, arrays, host_batches, self._due(start))

    def lower(self, state: TrainState, arrays: Any, host_batches: Any) -> jax.stages.Lowered:
        """The program of the first call before it is compiled, of arrays or of their shapes."""
        with self._mesh.entered():
            return self._compiled.lower(state, self._seed, arrays, host_batches, self._due(0))


def make_loader(experiment: Experiment) -> Loader:
    """The training data in the order that the seed decides."""
    return Loader(
        experiment.data,
        seed=experiment.seed,
        batch_size=experiment.train.batch_size,
        batches_per_step=experiment.task.batches_per_step,
        steps_per_call=experiment.train.steps_per_call,
        mesh=experiment.mesh,
    )


def make_step(experiment: Experiment, loader: Loader, abstract: TrainState) -> Step:
    """The steps of a training.

    Args:
        experiment: What to train.
        loader: What `make_loader` gives.
        abstract: What `abstract_state` gives.
    """
    task: Any = experiment.task
    mesh, train = experiment.mesh, experiment.train
    # On CPU neither a loop nor a branch may hold a convolution, so a case has a program, and its steps are unrolled.
    is_scanned = train.steps_per_call > 1 and (not task.intervals or jax.default_backend() != "cpu")

    def due(start: int) -> Dues:
        if is_scanned or not task.intervals:
            return ()
        return tuple(due_at(start + number, task.intervals) for number in range(train.steps_per_call))

    def call(
        state: TrainState, seed: Any, arrays: Any, host_batches: Any, dues: Dues
    ) -> tuple[TrainState, dict[str, Any]]:
        def step(state: TrainState, host_batch: Any, due: tuple[Due, ...]) -> tuple[TrainState, dict[str, Any]]:
            batch = loader.assemble(arrays, host_batch, purpose_key(seed, "data"))
            batch = jax.lax.with_sharding_constraint(batch, mesh.batch(axis=1))
            key = step_key(purpose_key(seed, "step"), state.step)
            state, metrics = task.step(state, batch, key, due) if task.intervals else task.step(state, batch, key)
            metrics = {**metrics, **_finite_checks(state, metrics)}
            state = state.replace(step=state.step + 1)
            # A weak type would be another program's argument: the next call would compile again.
            state = jax.tree.map(lambda leaf: jax.lax.convert_element_type(leaf, leaf.dtype), state)
            return advance_average(state, train.average.half_life, train.average.ramp_up), metrics

        if is_scanned:
            return scan(lambda carry, one: step(carry, one, due_at(carry.step, task.intervals)), state, host_batches)
        reported = []
        for number in range(train.steps_per_call):
            batch = jax.tree.map(lambda array, number=number: array[number], host_batches)
            state, metrics = step(state, batch, dues[number] if dues else ())
            reported.append(metrics)
        return state, jax.tree.map(lambda *values: jnp.stack(values), *reported)

    per_call = train.steps_per_call
    starts = range(0, math.lcm(per_call, *task.intervals) if due(0) else per_call, per_call)
    return Step(call, experiment.seed, mesh, abstract, due, starts)


def _finite_checks(state: TrainState, metrics: dict[str, Any]) -> dict[str, Any]:
    """Whether all parameters and reported losses are finite, also of a task that does not use `update`.

    Parameters by the sum of their squares, which on CPU is several times faster than a look at every element; it
    overflows where one is beyond 1e19.
    """
    checks = {
        f"{FINITE}{network}/parameters": jnp.isfinite(squared_norm(params)) for network, params in state.params.items()
    }
    losses = {name: value for name, value in metrics.items() if name.endswith("loss") and not name.startswith(FINITE)}
    return checks | {f"{FINITE}{name}": jnp.isfinite(value) for name, value in losses.items()}


def abstract_state(experiment: Experiment, loader: Loader) -> TrainState:
    """Shapes, types and shardings of the state, by `jax.eval_shape`: nothing is computed.

    Raises:
        ConfigError: If the networks do not fit the data, or the batch not the devices.
    """
    if experiment.train.num_steps:
        experiment.mesh.check_batch_size(experiment.train.batch_size, "config.train.batch_size")
    state: TrainState = experiment.mesh.with_shardings(state_shapes(experiment, loader))
    return state


def state_shapes(experiment: Experiment, loader: Loader) -> TrainState:
    """Shapes and types of the state, whatever devices there are.

    Raises:
        ConfigError: If the networks do not fit the data.
    """
    return state_shapes_from(experiment, one_batch(loader))


def one_batch(loader: Loader) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes and types of one batch of a training."""
    return {name: jax.ShapeDtypeStruct(spec.shape[1:], spec.dtype) for name, spec in loader.batch_spec().items()}


def state_shapes_from(experiment: Experiment, batch: Mapping[str, jax.ShapeDtypeStruct]) -> TrainState:
    """`state_shapes` from the shapes of a batch, where the training data is not at hand.

    Raises:
        ConfigError: If the networks do not fit the batch.
    """
    with _task_errors("initialisation"):
        state: TrainState = jax.eval_shape(experiment.init, jax.random.key(0), dict(batch))
    return state


@dataclasses.dataclass(frozen=True)
class TracedStep:
    """What a step does, as its trace tells.

    Attributes:
        metrics: Shapes of what it reports.
        flops: Operations of its matrix products and convolutions, see `jgr.flops.count_flops`; what is not due in
            every step counts by its share of them.
    """

    metrics: dict[str, Any]
    flops: int


def trace_step(experiment: Experiment, loader: Loader, state: TrainState) -> TracedStep:
    """Traces a step, computing nothing.

    Raises:
        ConfigError: If the step cannot be traced, changes the form of the state, or reports what is no scalar.
    """
    task: Any = experiment.task
    arguments = (state, loader.batch_spec(), jax.random.key(0))

    def traced(due: tuple[bool, ...]) -> Any:
        step = functools.partial(task.step, due=due) if due else task.step
        return jax.make_jaxpr(step, return_shape=True)(*arguments)

    with _task_errors("step"):
        jaxpr, (after, metrics) = traced(tuple(True for _ in task.intervals))
    form, changed = ({n: (x.shape, x.dtype) for n, x in leaves_by_name(s).items()} for s in (state, after))
    for name in sorted(form.keys() | changed.keys()):
        if form.get(name) != changed.get(name):
            raise ConfigError(f"config.task: its step turns {name} from {form.get(name)} into {changed.get(name)}")
    for name, value in metrics.items():
        if value.shape:
            raise ConfigError(f"config.task: its step reports {name} of shape {value.shape}; a metric must be a scalar")
    flops = every = count_flops(jaxpr.jaxpr)
    for place, interval in enumerate(task.intervals):
        without, _ = traced(tuple(other != place for other in range(len(task.intervals))))
        flops -= round((every - count_flops(without.jaxpr)) * (1 - 1 / interval))
    return TracedStep(metrics=dict(metrics), flops=flops)


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


def initial_state(experiment: Experiment, loader: Loader, abstract: TrainState) -> TrainState:
    """The state before the first step, each array where `abstract` says."""
    shapes = loader.batch_spec()

    def init(seed: Any) -> TrainState:
        batch = {name: jnp.zeros(spec.shape[1:], spec.dtype) for name, spec in shapes.items()}
        return experiment.init(purpose_key(seed, "init"), batch)

    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract)
    state: TrainState = jax.jit(init, out_shardings=shardings)(np.uint32(experiment.seed))
    return state
