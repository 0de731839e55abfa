import math

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jgr.config import Clock, Context, build, resolve
from jgr.errors import ConfigError
from jgr.optim import Optimizer, Schedule


def rates(schedule, peak, steps):
    learning_rate = schedule.learning_rate(peak)
    return [float(learning_rate(step)) for step in steps]


def test_linear_decay_after_a_linear_rise():
    schedule = Schedule(decay="linear", warmup=10, steps=110, end=0.2)
    expected = [0.0, 0.5, 1.0, 0.8, 0.6, 0.2, 0.2]  # from 1 to 0.2 within 100 steps, then constant
    np.testing.assert_allclose(rates(schedule, 2.0, [0, 5, 10, 35, 60, 110, 500]), 2.0 * np.array(expected), rtol=1e-6)


def test_cosine_decay_is_loshchilov_and_hutter_equation_5():
    steps = np.arange(0, 301, 25)
    for end in (0.0, 0.1):
        low, high = 3.0 * end, 3.0
        expected = [low + (high - low) / 2 * (1 + math.cos(math.pi * min(step, 200) / 200)) for step in steps]
        schedule = Schedule(decay="cosine", steps=200, end=end)
        np.testing.assert_allclose(rates(schedule, 3.0, steps), expected, rtol=1e-6, atol=1e-6)


def test_cosine_decay_after_a_rise_ends_with_the_training():
    found = rates(Schedule(decay="cosine", warmup=100, steps=200), 1.0, [50, 100, 150, 200])
    np.testing.assert_allclose(found, [0.5, 1.0, 0.5, 0.0], atol=1e-7)


@pytest.mark.parametrize(("decay", "middle"), [("linear", 0.75), ("cosine", 0.5 + math.sqrt(0.125))])
def test_decay_after_a_hold(decay, middle):
    """CycleGAN's rate: the peak for half of the training, then a fall to 0."""
    schedule = Schedule(decay=decay, warmup=10, hold=90, steps=200)
    found = rates(schedule, 1.0, [5, 10, 60, 100, 125, 150, 200, 300])
    np.testing.assert_allclose(found, [0.5, 1.0, 1.0, 1.0, middle, 0.5, 0.0, 0.0], atol=1e-6)


def test_constant_with_and_without_a_rise():
    assert rates(Schedule(), 0.3, [0, 10**6]) == pytest.approx([0.3, 0.3])
    assert rates(Schedule(warmup=4), 1.0, [0, 1, 2, 4, 99]) == pytest.approx([0.0, 0.25, 0.5, 1.0, 1.0])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (dict(end=1.5), "end = 1.5"),
        (dict(end=-0.1), "end = -0.1"),
        (dict(decay="cosine"), "steps = '100%'"),
        (dict(decay="linear", warmup=10, steps=10), "warmup = 10 steps leaves nothing of the 10 steps"),
        (dict(decay="linear", warmup=4, hold=6, steps=10), "warmup = 4 and hold = 6 steps leave nothing of the 10"),
    ],
)
def test_impossible_schedules(fields, message):
    with pytest.raises(ConfigError, match=message):
        Schedule(**fields)


def test_impossible_optimizers():
    with pytest.raises(ConfigError, match="learning_rate = -1"):
        Optimizer(learning_rate=-1.0)
    with pytest.raises(ConfigError, match="clip_norm = 0"):
        Optimizer(clip_norm=0.0)


def changes(optimizer, gradients):
    transformation = optimizer.transformation()
    found, _ = transformation.update(gradients, transformation.init(gradients), gradients)
    return found


def test_gradients_are_clipped_by_their_norm_over_all_networks():
    gradients = {"g": {"w": jnp.array([3.0, 0.0])}, "d": {"w": jnp.array([[4.0]])}}  # norm 5
    clipped = changes(Optimizer(rule=optax.sgd, learning_rate=1.0, clip_norm=1.0), gradients)
    np.testing.assert_allclose(clipped["g"]["w"], [-0.6, 0.0], rtol=1e-6)
    np.testing.assert_allclose(clipped["d"]["w"], [[-0.8]], rtol=1e-6)
    small = changes(Optimizer(rule=optax.sgd, learning_rate=1.0, clip_norm=5.1), gradients)
    np.testing.assert_allclose(small["d"]["w"], [[-4.0]], rtol=1e-6)


def test_the_first_step_of_adam_is_the_learning_rate_whatever_the_gradient():
    # Kingma & Ba 2015, section 2.1: m_hat / sqrt(v_hat) is the gradient's sign at the first step
    found = changes(Optimizer(learning_rate=0.02), {"w": jnp.array([1e-3, -5.0, 200.0])})
    np.testing.assert_allclose(found["w"], [-0.02, 0.02, -0.02], rtol=1e-4)


def test_a_rule_with_its_own_arguments_from_a_config():
    config = resolve(
        {
            "rule": {"cls": "optax.adam", "b1": 0.5},
            "learning_rate": 0.1,
            "schedule": {"decay": "linear", "steps": "50%", "warmup": "20 examples"},
        },
        Optimizer,
    )
    clock = Clock(batch_size=10, num_records=lambda: 100, num_steps=40)
    optimizer = build(config, Optimizer, "config.optimizer", Context(clock=clock))
    assert (optimizer.schedule.steps, optimizer.schedule.warmup) == (20, 2)
    transformation, weight = optimizer.transformation(), {"w": jnp.zeros(1)}
    state, found = transformation.init(weight), []
    for gradient in (1.0, 2.0, -1.0):
        change, state = transformation.update({"w": jnp.array([gradient])}, state)
        found.append(float(change["w"][0]))
    first, second, expected = 0.0, 0.0, []
    for step, gradient in enumerate((1.0, 2.0, -1.0)):  # Adam as in the paper, b1 = 0.5
        first, second = 0.5 * first + 0.5 * gradient, 0.999 * second + 0.001 * gradient**2
        corrected = first / (1 - 0.5 ** (step + 1)), second / (1 - 0.999 ** (step + 1))
        expected.append(-0.1 * min(step / 2, 1.0) * corrected[0] / (math.sqrt(corrected[1]) + 1e-8))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-8)
