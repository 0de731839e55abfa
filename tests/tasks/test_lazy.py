import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import optax
import pytest

from jgr.errors import ConfigError
from jgr.optim import Optimizer, Schedule
from jgr.tasks.lazy import due_at, group, rescaled, when

ADAM = Optimizer(rule=partial(optax.adam, b1=0.0, b2=0.99), learning_rate=2.5e-3)


def test_adam_is_rescaled_as_in_the_paper():
    """Karras et al. 2020, appendix B: with c = k / (k + 1), lr is c lr, b1 is b1^c, b2 is b2^c."""
    changed = rescaled(ADAM, 1, (16,), "d")
    assert changed.learning_rate == pytest.approx(2.5e-3 * 16 / 17)
    assert changed.rule.keywords == pytest.approx({"b1": 0.0, "b2": 0.99 ** (16 / 17)})


def test_defaults_of_the_rule_are_rescaled_too():
    changed = rescaled(Optimizer(rule=optax.adam), 1, (4, 1), "d")
    assert changed.rule.keywords == pytest.approx({"b1": 0.9**0.8, "b2": 0.999**0.8})


def test_several_kinds_of_further_updates_count_together():
    assert rescaled(ADAM, 1, (4, 2), "d").learning_rate == pytest.approx(2.5e-3 / 1.75)
    assert rescaled(ADAM, 5, (4, 4), "d").learning_rate == pytest.approx(2.5e-3 * 5 / 5.5)


def test_nothing_changes_without_further_updates():
    assert rescaled(ADAM, 1, (1, 1), "d") == ADAM
    sgd = Optimizer(rule=optax.sgd)
    assert rescaled(sgd, 1, (), "d") == sgd


@pytest.mark.parametrize(("updates", "intervals"), [(1, ()), (5, ()), (2, (2, 2))])
def test_a_schedule_is_one_of_steps(updates, intervals):
    """A rate that rises for 6 steps, holds for 14 and falls to 0 at 60 does so however many updates a step makes."""
    schedule = Schedule(decay="linear", warmup=6, hold=14, steps=60)
    optimizer = dataclasses.replace(ADAM, schedule=schedule, learning_rate=1.0)
    changed = rescaled(optimizer, updates, intervals, "d")
    rates = changed.schedule.learning_rate(1.0)
    per_step = updates + sum(1 / interval for interval in intervals)
    for step, rate in ((0, 0.0), (3, 0.5), (6, 1.0), (20, 1.0), (40, 0.5), (60, 0.0)):
        assert float(rates(round(step * per_step))) == pytest.approx(rate, abs=1e-6)


def test_other_rules_are_refused():
    with pytest.raises(ConfigError, match=r"discriminator_optimizer\.rule has no b1 and b2"):
        rescaled(Optimizer(rule=optax.sgd), 1, (16,), "discriminator_optimizer")


def test_groups():
    assert group({"r1": 16, "gp": 1, "r2": 16, "other": 4}) == {4: ("other",), 16: ("r1", "r2")}


def test_what_is_due():
    assert [due_at(step, (1, 2, 3)) for step in range(4)] == [
        (True, True, True),
        (True, False, False),
        (True, True, False),
        (True, False, True),
    ]


@pytest.mark.parametrize("is_due", [True, False])
def test_a_traced_branch_is_the_static_one(is_due):
    then = lambda carry: {"a": carry["a"] + 1.0}  # noqa: E731
    carry = {"a": jnp.float32(1.0)}
    wanted = 2.0 if is_due else 1.0
    assert float(when(is_due, then, carry)["a"]) == wanted
    assert float(jax.jit(lambda due: when(due, then, carry))(is_due)["a"]) == wanted
