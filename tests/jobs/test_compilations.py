"""All programs of a training are compiled in its first call; later calls wait for nothing."""

import itertools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jgr.config import load_config_file, resolve
from jgr.jobs.experiment import Experiment, open_experiment
from jgr.jobs.step import Step, abstract_state, initial_state, make_loader, make_step, trace_step
from jgr.state import TrainState

DIGITS = f"{Path(__file__).resolve().parents[2]}/configs/gan/dcgan_digits.py:smoke"


def opened(**train):
    config = load_config_file(DIGITS)
    config.mesh = dict(data=1)
    config.task.penalties = dict(r1=dict(cls="jgr.losses.penalties.R1", gamma=1.0, interval=3))
    config.train.num_steps = 12
    for name, value in train.items():
        config.train[name] = value
    return open_experiment(resolve(config, Experiment, []))


@pytest.fixture
def compiled():
    """Names of the events of compilations, as they happen."""
    events = []

    def listen(event, duration, **_):
        if event.endswith("backend_compile_duration"):
            events.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield events
    jax.monitoring.unregister_event_duration_listener(listen)


@pytest.mark.parametrize("steps_per_call", [1, 2])
def test_no_call_after_the_first_compiles(compiled, steps_per_call):
    cadences = dict.fromkeys(("log_every", "checkpoint_every", "sample_every"), 2)
    experiment = opened(steps_per_call=steps_per_call, **cadences)
    loader = make_loader(experiment)
    abstract = abstract_state(experiment, loader)
    step, state = make_step(experiment, loader, abstract), initial_state(experiment, loader, abstract)
    counts, penalties = [], []
    for call, batches in enumerate(loader.batches(0, 12)):
        before = len(compiled)
        state, metrics = step(state, loader.arrays, batches, call * steps_per_call)
        jax.block_until_ready(state)
        counts.append(len(compiled) - before)
        penalties += np.asarray(metrics["discriminator/r1"]).tolist()
    assert sum(counts[1:]) == 0
    # the value of a penalty stays until it is computed again, at every third step
    assert [later != earlier for earlier, later in itertools.pairwise(penalties)] == [
        number % 3 == 2 for number in range(11)
    ]


def test_operations_are_those_of_a_mean_step():
    def flops(penalties):
        config = load_config_file(DIGITS)
        config.task.penalties = penalties
        experiment = open_experiment(resolve(config, Experiment, []))
        loader = make_loader(experiment)
        return trace_step(experiment, loader, abstract_state(experiment, loader)).flops

    def r1(interval):
        return dict(r1=dict(cls="jgr.losses.penalties.R1", gamma=1.0, interval=interval))

    none, often, seldom = flops({}), flops(r1(2)), flops(r1(8))
    assert often > seldom > none
    assert seldom - none == pytest.approx((often - none) / 4, rel=1e-6)


def test_a_program_for_each_case_that_occurs():
    """Two steps a call and something due at every fourth: calls begin at even steps only, so there are two cases."""
    mesh, traced = opened().mesh, []

    def call(state, seed, arrays, host_batches, dues):
        traced.append(dues)
        return state, {}

    def due(start):
        return tuple((number % 4 == 0,) for number in (start, start + 1))

    state = TrainState(step=jnp.int32(0), params={}, model_state={}, opt_state={})
    abstract = mesh.with_shardings(jax.eval_shape(lambda: state))
    state = jax.device_put(state, jax.tree.map(lambda leaf: leaf.sharding, abstract))
    step = Step(call, 0, mesh, abstract, due, range(0, 4, 2))
    for start in range(0, 12, 2):
        state, _ = step(state, None, None, start)
    assert traced == [((True,), (False,)), ((False,), (False,))]
