import gc
import json
import logging
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import optax
import pytest

from jgr.checkpoint import Checkpointer, restore_newest
from jgr.errors import CheckpointError, DamagedCheckpointError
from jgr.state import TrainState, checksums


def make_state(seed=0, width=60):
    """Adam over two networks, one without parameters; bfloat16, integers, scalars, an average, empty dicts."""
    weight, half = jax.random.normal(jax.random.key(seed), (width, 50)), jnp.full(5, 0.1 * seed, jnp.bfloat16)
    params = {"g": {"dense": {"kernel": weight, "half": half}}, "d": {}}
    return TrainState(
        step=jnp.int32(seed),
        params=params,
        model_state={"g": {"batch_stats": {"mean": weight[0]}}, "d": {}},
        opt_state={"adam": optax.adam(1e-3).init(params)},
        ema={"params": {"g": jax.tree.map(jnp.copy, params["g"])}, "model_state": {"g": {}}},
        extra={"pool": jnp.arange(4, dtype=jnp.uint8), "full": jnp.array(True)},
    )


ABSTRACT = jax.eval_shape(make_state)


def save_all(folder, steps=(1, 2, 3), scores=(), **options):
    with Checkpointer(folder, **options) as checkpointer:
        for step, score in zip(steps, [*scores] or [None] * len(steps), strict=True):
            checkpointer.save(step, make_state(step), position=10 * step, score=score)
    return folder


def steps_of(folder):
    with Checkpointer(folder, read_only=True) as checkpointer:
        return checkpointer.steps()


def largest_data_file(folder, step):
    return max((folder / str(step) / "state").rglob("d/*"), key=lambda file: file.stat().st_size)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Three sound checkpoints, the second the best; tests that change any work on a copy."""
    folder = tmp_path_factory.mktemp("written") / "checkpoints"
    return save_all(folder, scores=(3.0, 1.0, 2.0), keep=3, best="min")


@pytest.fixture
def copied(written, tmp_path):
    return shutil.copytree(written, tmp_path / "checkpoints")


def test_what_is_restored_is_bit_for_bit_what_was_saved(tmp_path):
    with Checkpointer(tmp_path) as checkpointer:
        checkpointer.save(7, make_state(3), position=123, score=0.5, epoch=2, sizes=(1, 2))
        checkpointer.wait()
        restored, about = checkpointer.restore(7, ABSTRACT)
    assert jax.tree.structure(restored) == jax.tree.structure(make_state(3))
    assert checksums(restored) == checksums(make_state(3))
    assert jax.tree.map(lambda x: x.dtype, restored) == jax.tree.map(lambda x: x.dtype, ABSTRACT)
    assert restored.params["g"]["dense"]["half"].dtype == jnp.bfloat16
    assert about.pop("time") > 1.7e9
    assert about == {"position": 123, "score": 0.5, "epoch": 2, "sizes": [1, 2]}


def test_the_state_may_be_donated_as_soon_as_save_returns(tmp_path):
    step = jax.jit(lambda state: jax.tree.map(lambda x: x if x.dtype == bool else x + 1, state), donate_argnums=0)
    state, expected = make_state(width=2000), {}
    with Checkpointer(tmp_path, keep=10) as checkpointer:
        for number in range(1, 5):
            expected[number] = checksums(jax.tree.map(jnp.copy, state))
            checkpointer.save(number, state, position=0)
            for _ in range(3):
                state = step(state)
        checkpointer.wait()
        abstract = jax.eval_shape(lambda: make_state(width=2000))
        restored = {number: checksums(checkpointer.restore(number, abstract)[0]) for number in checkpointer.steps()}
    assert restored == expected


@pytest.mark.parametrize(("best", "kept", "best_step"), [("min", [2, 6, 7], 2), ("max", [1, 6, 7], 1)])
def test_the_newest_and_the_best_are_kept(tmp_path, best, kept, best_step):
    # nan is no score: it neither is the best nor hides it
    scores = (9.0, 1.0, None, 5.0, float("nan"), 4.0, None)
    folder = save_all(tmp_path, range(1, 8), scores, best=best)
    assert steps_of(folder) == kept
    with Checkpointer(folder, best=best) as reopened:
        assert reopened.best_step() == best_step
        reopened.save(8, make_state(8), position=80, score=10.0 if best == "min" else 0.0)  # the worst, but the newest
    assert steps_of(folder) == [best_step, 7, 8]


def test_of_equal_scores_the_later_is_the_best(tmp_path):
    folder = save_all(tmp_path, scores=(1.0, 1.0, 2.0), keep=3, best="min")
    with Checkpointer(folder, read_only=True, best="min") as reader:
        assert reader.best_step() == 2


def test_without_scores_none_is_the_best(tmp_path):
    folder = save_all(tmp_path, (1, 2, 3, 4, 5, 6), keep=1, keep_every=3)
    assert steps_of(folder) == [3, 6]
    with Checkpointer(folder, read_only=True, best="min") as reader:
        assert reader.best_step() is None


@pytest.mark.parametrize("step", [2, 3])
def test_a_step_that_is_no_later_one_is_refused(copied, step):
    with (
        Checkpointer(copied, keep=3) as checkpointer,
        pytest.raises(CheckpointError, match=f"step {step} was refused.* step 3"),
    ):
        checkpointer.save(step, make_state(), position=0)
    assert steps_of(copied) == [1, 2, 3]


def test_another_architecture_is_named_and_nothing_moved(copied):
    wider = jax.eval_shape(lambda: make_state(width=61))
    shapes = r"params/g/dense/kernel is float32\[60,50\] there and float32\[61,50\] in the config"
    with pytest.raises(CheckpointError, match=shapes) as caught:
        restore_newest(copied, wider, pytest.fail)
    assert not isinstance(caught.value, DamagedCheckpointError)
    with pytest.raises(CheckpointError, match=r"extra/pool is uint8\[4\] there and missing in the config"):
        restore_newest(copied, ABSTRACT.replace(extra={"full": ABSTRACT.extra["full"]}), pytest.fail)
    assert steps_of(copied) == [1, 2, 3]
    assert not (copied.parent / "damaged").exists()


def truncate(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip(file, offset):
    content = bytearray(file.read_bytes())
    content[int(offset * (len(content) - 1))] ^= 1
    file.write_bytes(content)


def change_json(old, new):
    def change(folder, step):
        file = folder / str(step) / "meta" / "metadata"
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new, 1))

    return change


def empty(path):
    shutil.rmtree(path)
    path.mkdir()


DAMAGE = {
    "truncated data": lambda folder, step: truncate(largest_data_file(folder, step)),
    "data file gone": lambda folder, step: largest_data_file(folder, step).unlink(),
    "a flipped bit": lambda folder, step: flip(largest_data_file(folder, step), 0.5),
    "no array metadata": lambda folder, step: (folder / str(step) / "state" / "_METADATA").unlink(),
    "no description": lambda folder, step: (folder / str(step) / "meta" / "metadata").unlink(),
    "empty description": lambda folder, step: (folder / str(step) / "meta" / "metadata").write_bytes(b""),
    "empty position": lambda folder, step: (folder / str(step) / "data" / "metadata").write_bytes(b""),
    "empty score": lambda folder, step: (folder / str(step) / "metrics" / "metrics").write_bytes(b""),
    "another shape described": change_json("[60, 50]", "[61, 50]"),
    "another key described": change_json('"checksum"', '"checksun"'),
    "empty state": lambda folder, step: empty(folder / str(step) / "state"),
    "empty checkpoint": lambda folder, step: empty(folder / str(step)),
}


@pytest.fixture
def collected():
    """Coroutines that Orbax leaves behind when a read fails are collected here, not in the middle of another test."""
    yield
    gc.collect()


@pytest.mark.usefixtures("collected")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_newest_is_moved_aside_and_its_step_can_be_saved_again(copied, damage):
    damage(copied, 3)
    messages = []
    state, about = restore_newest(copied, ABSTRACT, messages.append)
    assert checksums(state) == checksums(make_state(2))
    assert about["position"] == 20
    (moved,) = (copied.parent / "damaged").iterdir()
    (message,) = messages
    assert moved.name.startswith("3-")
    assert f"{copied}/3" in message
    assert str(moved) in message
    save_all(copied, (3,), (2.5,), keep=3, best="min")
    restored, _ = restore_newest(copied, ABSTRACT, pytest.fail)
    assert checksums(restored) == checksums(make_state(3))


@pytest.mark.usefixtures("collected")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("offset", [0.0, 0.01, 0.2, 0.4, 0.6, 0.8, 0.99, 1.0])
def test_a_flipped_bit_never_gives_other_numbers(copied, offset):
    """Where it is in a part of the file that no array needs, the checkpoint is as good as it was."""
    flip(largest_data_file(copied, 3), offset)
    messages = []
    state, _ = restore_newest(copied, ABSTRACT, messages.append)
    assert checksums(state) == checksums(make_state(3 - len(messages)))


def test_an_older_one_whose_score_is_damaged_stops_nothing(copied):
    DAMAGE["empty score"](copied, 1)
    with pytest.raises(CheckpointError, match=r"checkpoints cannot be used"):
        Checkpointer(copied, read_only=True).restore(3, ABSTRACT)
    messages = []
    state, _ = restore_newest(copied, ABSTRACT, messages.append)
    assert int(state.step) == 3
    assert len(messages) == 1
    assert steps_of(copied) == [2, 3]


@pytest.mark.usefixtures("collected")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_where_all_are_damaged_none_is_left(copied):
    for step in (1, 2, 3):
        DAMAGE["truncated data"](copied, step)
    messages = []
    assert restore_newest(copied, ABSTRACT, messages.append) is None
    assert [message.split(" cannot")[0] for message in messages] == [f"checkpoint {copied}/{n}" for n in (3, 2, 1)]
    assert sorted(entry.name[:2] for entry in (copied.parent / "damaged").iterdir()) == ["1-", "2-", "3-"]
    assert steps_of(save_all(copied, (1,))) == [1]


def test_where_there_is_none_nothing_is_restored(tmp_path):
    assert restore_newest(tmp_path / "none", ABSTRACT, pytest.fail) is None
    assert restore_newest(tmp_path, ABSTRACT, pytest.fail) is None
    assert steps_of(tmp_path / "none") == []
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("again", [3, 4])
def test_an_interrupted_save_is_no_checkpoint(copied, again):
    """Its unfinished folder counts for nothing, outlives a reader, and is gone when a later step is saved."""
    unfinished = (copied / "3").rename(copied / "3.orbax-checkpoint-tmp")
    DAMAGE["truncated data"](copied, unfinished.name)
    state, _ = restore_newest(copied, ABSTRACT, pytest.fail)
    assert int(state.step) == 2
    assert unfinished.is_dir()
    assert steps_of(save_all(copied, (again,), keep=3)) == [1, 2, again]
    assert not unfinished.exists()


def test_a_reader_sees_new_steps_and_can_save_none(tmp_path):
    folder = save_all(tmp_path, (1,))
    with Checkpointer(folder, read_only=True) as reader, Checkpointer(folder) as writer:
        assert reader.steps() == [1]
        writer.save(2, make_state(2), position=20)
        writer.wait()
        assert reader.steps() == [1, 2]
        assert checksums(reader.restore(2, ABSTRACT)[0]) == checksums(make_state(2))
        with pytest.raises(CheckpointError, match="opened for reading"):
            reader.save(3, make_state(), position=0)


def test_a_reader_is_silent(written, caplog):
    with caplog.at_level(logging.WARNING), Checkpointer(written, read_only=True) as reader:
        reader.restore(3, ABSTRACT)
    assert caplog.messages == []


def test_a_checkpoint_that_is_not_there(written):
    with Checkpointer(written, read_only=True) as reader, pytest.raises(CheckpointError, match=r"checkpoints/9"):
        reader.restore(9, ABSTRACT)


# A process of its own, whose limits do not touch pytest: a full disk and a lack of file handles, as jobs meet them.
LIMITED = """
import json, os, resource, sys
from pathlib import Path
import jax, jax.numpy as jnp
from jgr.checkpoint import Checkpointer, restore_newest
from jgr.errors import CheckpointError, DamagedCheckpointError
from jgr.state import TrainState

def make_state():
    params = {"g": {"w": jax.random.normal(jax.random.key(0), (300, 300))}}
    return TrainState(step=jnp.int32(1), params=params, model_state={}, opt_state={})

def limit(which, amount):
    resource.setrlimit(which, (amount, resource.getrlimit(which)[1]))

def error_of(function):
    try:
        return function()
    except (CheckpointError, RuntimeError, OSError) as error:
        return f"{type(error).__name__}: {error}"

def leave(checkpointer, error=None):
    with checkpointer:
        if error:
            raise error

endings = {
    "wait": lambda c: c.wait(),
    "close": lambda c: c.close(),
    "next save": lambda c: c.save(3, make_state(), position=0),
    "exit": leave,
    "exit after an error": lambda c: leave(c, RuntimeError("the first error")),
}
found = {}
for name, ending in endings.items():
    folder = Path(sys.argv[1]) / name / "checkpoints"
    checkpointer = Checkpointer(folder)
    checkpointer.save(1, make_state(), position=0)
    checkpointer.wait()
    limit(resource.RLIMIT_FSIZE, 100_000)
    checkpointer.save(2, make_state(), position=0)
    found[name] = error_of(lambda: ending(checkpointer))
    limit(resource.RLIMIT_FSIZE, -1)
    state, _ = restore_newest(folder, jax.eval_shape(make_state), print)
    found[name + " left"] = Checkpointer(folder, read_only=True).steps()

def restored():
    return str(restore_newest(folder, jax.eval_shape(make_state), print)[1]["position"])

folder, used, found["handles"] = Path(sys.argv[1]) / "wait" / "checkpoints", len(os.listdir("/proc/self/fd")), []
for spare in [*range(2, 8), *range(2, 8), 500]:
    limit(resource.RLIMIT_NOFILE, used + spare)
    found["handles"].append(error_of(restored))
found["moved"] = (folder.parent / "damaged").exists()
(Path(sys.argv[1]) / "found.json").write_text(json.dumps(found))
"""


@pytest.fixture(scope="module")
def limited(tmp_path_factory):
    if not sys.platform.startswith("linux"):
        pytest.skip("counts open files in /proc")
    folder = tmp_path_factory.mktemp("limited")
    done = subprocess.run([sys.executable, "-c", LIMITED, str(folder)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "found.json").read_text())


@pytest.mark.parametrize("ending", ["wait", "close", "next save", "exit"])
def test_a_failed_write_is_told(limited, ending):
    assert limited[ending].startswith("CheckpointError: the ")
    assert "could not be written to" in limited[ending]
    assert "earlier ones are kept" in limited[ending]
    assert limited[f"{ending} left"] == [1]


def test_a_failed_write_does_not_hide_an_earlier_error(limited):
    assert limited["exit after an error"] == "RuntimeError: the first error"


def test_a_lack_of_file_handles_is_no_damage(limited):
    assert "CheckpointError" in {result.split(":")[0] for result in limited["handles"]}
    assert limited["handles"][-1] == "0"
    assert not limited["moved"]
