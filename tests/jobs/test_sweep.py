import math

import pytest

from jgr.errors import ConfigError
from jgr.jobs.study import Study
from jgr.jobs.study_plan import plan
from jgr.jobs.sweep import Choice, LogUniform, Uniform, drawn, grid, sweep

DIGITS = "configs/gan/dcgan_digits.py:smoke"
RATES = {"task.generator_optimizer.learning_rate": (1e-3, 2e-4), "task.generator.width": (4, 8)}


def test_a_grid_has_every_combination_under_a_name_that_says_it():
    arms = sweep(DIGITS, grid(RATES), overrides={"train.num_steps": 1}, seeds=(0, 1), prefix="digits")
    assert [arm.name for arm in arms] == [
        "digits-learning_rate0.001-width4",
        "digits-learning_rate0.001-width8",
        "digits-learning_rate0.0002-width4",
        "digits-learning_rate0.0002-width8",
    ]
    assert arms[1].overrides == {
        "train.num_steps": 1,
        "task.generator_optimizer.learning_rate": 1e-3,
        "task.generator.width": 8,
    }
    assert {arm.seeds for arm in arms} == {(0, 1)}


def test_the_runs_of_a_grid_can_be_planned(tmp_path):
    arms = sweep(DIGITS, grid(RATES))
    planned = plan(Study(title="Widths", arms=arms), tmp_path)
    assert [one.state for one in planned] == ["missing"] * 4
    assert len({one.config_hash for one in planned}) == 4


def test_keys_that_end_alike_are_told_apart_by_more_of_them():
    arms = sweep(DIGITS, [{"task.generator.width": 4, "task.discriminator.width": 8, "seed_of.data": 1}])
    assert [arm.name for arm in arms] == ["generator.width4-discriminator.width8-data1"]


def test_values_become_parts_of_a_folders_name():
    values = [{"task.loss": "jgr.losses.adversarial.hinge"}, {"task.widths": (4, 8)}, {"train.num_steps": "6 epochs"}]
    assert [arm.name for arm in sweep(DIGITS, values)] == ["losshinge", "widths4x8", "num_steps6_epochs"]


def test_drawn_values_lie_in_their_ranges_and_more_of_them_begin_with_the_same():
    ranges = {"lr": LogUniform(1e-5, 1e-1), "momentum": Uniform(0.5, 0.9), "rule": Choice(("adam", "sgd"))}
    arms = sweep(DIGITS, drawn(ranges, 200, seed=3))
    rates = [arm.overrides["lr"] for arm in arms]
    assert all(1e-5 <= rate <= 1e-1 for rate in rates)
    assert all(0.5 <= arm.overrides["momentum"] <= 0.9 for arm in arms)
    assert {arm.overrides["rule"] for arm in arms} == {"adam", "sgd"}
    # uniform in the exponent: mean -3 of -5 to -1, standard error 4 / sqrt(12 * 200) = .08
    assert sum(map(math.log10, rates)) / 200 == pytest.approx(-3, abs=0.3)
    assert sweep(DIGITS, drawn(ranges, 5, seed=3)) == arms[:5]
    assert drawn(ranges, 5, seed=4) != drawn(ranges, 5, seed=3)
    assert f"lr{rates[0]}-" in arms[0].name  # the name tells all digits


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: grid({"lr": ()}), "lr has no values to try"),
        (lambda: sweep(DIGITS, []), "at least one combination"),
        (lambda: sweep(DIGITS, [{"a": "x/y"}, {"a": "x?y"}]), "two combinations of a sweep would be called ax_y"),
        (lambda: drawn({"a": Choice((1, 2))}, 3), "only 2 combinations were found"),
        (lambda: drawn({"a": Choice((1, 2))}, 0), "num = 0 must be at least 1"),
        (lambda: LogUniform(0.0, 1.0), "from a positive value"),
    ],
)
def test_impossible_sweeps(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
