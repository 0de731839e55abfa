import subprocess
import sys
import types

import numpy as np
import pytest

import jgr
from jgr.errors import CheckpointError, RunError
from jgr.state import TrainState, averaged, checksums


@pytest.fixture(scope="module")
def run(digits_run):
    return jgr.load(digits_run)


def test_state_is_that_of_the_newest_checkpoint(run):
    assert isinstance(run.state, TrainState)
    assert int(run.state.step) == 6
    assert checksums(run.state) == checksums(run.restore(6))
    assert checksums(run.state) != checksums(run.restore(4))


def test_steps_are_found_by_name_and_number(run):
    assert run.steps() == [2, 4, 6]
    assert [run.find_step(step) for step in ("latest", 2, "4")] == [6, 2, 4]


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (3, "has no checkpoint of step 3; it has 2, 4, 6"),
        ("best", "has no best checkpoint: its config has no validation"),
        ("newest", "step 'newest' must be latest, best or a number"),
    ],
)
def test_steps_that_are_not_there(run, step, message):
    with pytest.raises(CheckpointError, match=message):
        run.find_step(step)


def test_sample_does_not_depend_on_batching(run):
    images = run.sample(7)
    assert images.shape == (7, 8, 8, 1)
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(run.sample(7, batch_size=3), images)
    np.testing.assert_array_equal(run.sample(3), images[:3])
    assert not np.array_equal(run.sample(7, seed=1), images)
    assert not np.array_equal(run.sample(7, step=2), images)


def test_average_and_trained_weights_give_different_images(run):
    state = run.state
    assert checksums(averaged(state)) != checksums(state)
    assert not np.array_equal(run.sample(4, weights="raw"), run.sample(4, weights="ema"))


def test_numbers_of_a_run(run):
    assert [row["step"] for row in run.metrics()] == [1, 2, 3, 4, 5, 6]
    assert [(row["step"], row["metric"]) for row in run.results()] == [(6, "fd_pixels")]


def test_a_folder_without_a_run(tmp_path):
    with pytest.raises(RunError, match="is not a run's folder"):
        jgr.load(tmp_path)


def test_names_of_the_package(run):
    assert isinstance(jgr.train, types.FunctionType)  # and no module of that name in its place
    assert isinstance(run, jgr.Run)
    assert {"train", "evaluate", "load", "sample", "compare", "reproduce", "check", "Run"} <= set(dir(jgr))
    with pytest.raises(AttributeError, match="has no attribute 'trian'"):
        jgr.trian  # noqa: B018
    names = "from jgr import *; import inspect; print(inspect.isfunction(train), inspect.isclass(Run))"
    done = subprocess.run([sys.executable, "-c", names], capture_output=True, text=True, check=True)
    assert done.stdout == "True True\n"
