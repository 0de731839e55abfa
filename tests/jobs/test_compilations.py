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

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
DIGITS = f"{CONFIGS}/gan/dcgan_digits.py:smoke"
ENLARGED = {"data.source.cls": "jgr.data.digits.Digits", "data.source.split": "all", "data.resize": 28}
MODELS = {  # of each what else its smoke argument is given
    "gan/stylegan2_cifar10.py": {"task.penalties.r1.interval": 2},
    "gan/r3gan_cifar10.py": {},
    "gan/sngan_resnet_cifar10.py": {},
    "image_to_image/cyclegan_horse2zebra.py": {},
    "vae/vae_digits.py": {"task.objective.annealing.steps": 3},
    "vae/vq_vae_mnist.py": ENLARGED,
    "vae/hierarchical_vae_mnist.py": ENLARGED,
}
QUICK = ("vae/vae_digits.py",)


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


def compilations(experiment, num_steps, compiled):
    """How many programs each call of a training compiled, and its metrics."""
    loader = make_loader(experiment)
    abstract = abstract_state(experiment, loader)
    step, state = make_step(experiment, loader, abstract), initial_state(experiment, loader, abstract)
    counts, metrics = [], []
    for call, batches in enumerate(loader.batches(0, num_steps)):
        before = len(compiled)
        state, reported = step(state, loader.arrays, batches, call * loader.steps_per_call)
        jax.block_until_ready(state)
        counts.append(len(compiled) - before)
        metrics.append(reported)
    return counts, metrics


@pytest.mark.parametrize(
    "model", [model if model in QUICK else pytest.param(model, marks=pytest.mark.slow) for model in MODELS]
)
def test_a_model_is_compiled_in_the_first_call_once_for_each_case(compiled, model):
    """One program, and one more where a penalty is due at some steps only."""
    config = load_config_file(f"{CONFIGS / model}:smoke")
    config.mesh = dict(data=1)
    config.train.num_steps = 4
    config.evaluation.metrics = {}
    overrides = [(name, str(value)) for name, value in MODELS[model].items()]
    experiment = open_experiment(resolve(config, Experiment, overrides))
    counts, _ = compilations(experiment, 4, compiled)
    assert counts == [1 + len(experiment.task.intervals), 0, 0, 0]


@pytest.mark.parametrize("steps_per_call", [1, 2])
def test_no_call_after_the_first_compiles(compiled, steps_per_call):
    cadences = dict.fromkeys(("log_every", "checkpoint_every", "sample_every"), 2)
    counts, metrics = compilations(opened(steps_per_call=steps_per_call, **cadences), 12, compiled)
    penalties = [value for reported in metrics for value in np.asarray(reported["discriminator/r1"]).tolist()]
    assert counts[0] > 0
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
