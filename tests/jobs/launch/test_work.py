"""Which run begins next, and when one is refused. Making runs is tested with the launchers."""

import json

from jgr.jobs.launch import work
from jgr.jobs.launch.slurm import _levels
from jgr.jobs.launch.work import Ended, Work, first_ready, forget_ended, make, read_ended, write_ended
from jgr.jobs.study import Arm, Study
from jgr.jobs.study_plan import plan
from jgr.run.lock import RunLock

CONFIG = "configs/gan/dcgan_digits.py:smoke"


def works(tmp_path, **needs):
    """Work on an arm for each argument, which says what other arm it starts from."""
    study = Study(
        title="A chain",
        arms=tuple(
            Arm(
                name=name,
                config=CONFIG,
                overrides={"train.init_from.path": str(tmp_path / "runs" / f"{need}-s0")} if need else {},
            )
            for name, need in needs.items()
        ),
    )
    return [
        Work(study=study, arm=one.arm, seed=one.seed, path=one.path, title="", needs=one.needs)
        for one in plan(study, tmp_path / "runs")
    ]


def names(works):
    return [work.arm.name for work in works]


def test_a_run_begins_after_the_one_it_starts_from(tmp_path):
    last, middle, other, first = works(tmp_path, last="middle", middle="first", other="", first="")
    assert first_ready([last, middle, other, first], []) is other
    assert first_ready([last, middle, first], [other]) is first
    assert first_ready([last, middle], [other, first]) is None
    assert first_ready([last, middle], [other]) is middle
    levels = [names(level) for level in _levels([last, middle, other, first])]
    assert levels == [["other", "first"], ["middle"], ["last"]]


def test_weights_from_outside_the_study_are_waited_for_by_nobody(tmp_path):
    (one,) = works(tmp_path, one="elsewhere")
    assert one.needs is None


def test_runs_in_a_circle_are_refused(tmp_path):
    one, two = works(tmp_path, one="two", two="one")
    assert first_ready([one, two], []) is one
    assert [names(level) for level in _levels([one, two])] == [["one", "two"]]
    reason = f"it starts from {two.path}, which was not trained to its end"
    assert make(one, quiet=True) == Ended(one.path, "refused", reason)
    assert not one.path.exists()


def test_a_run_that_another_process_trains_is_waited_for(tmp_path):
    one, two = works(tmp_path, one="", two="")
    one.path.mkdir(parents=True)
    with RunLock(one.path):
        assert first_ready([one, two], []) is two
        assert first_ready([one], []) is None
    assert first_ready([one], []) is one


def test_what_no_one_foresaw_fails_one_run_and_shows_its_traceback(tmp_path, monkeypatch, capsys):
    (one,) = works(tmp_path, one="")
    monkeypatch.setattr(work, "make_train", lambda *arguments: 1 // 0)
    assert make(one) == Ended(one.path, "failed", "ZeroDivisionError: integer division or modulo by zero")
    assert "Traceback" in capsys.readouterr().err


def test_how_a_run_ended_is_written_down(tmp_path):
    (one,) = works(tmp_path, one="")
    forget_ended(one)
    assert read_ended(one) is None
    write_ended(one, Ended(one.path, "failed", "no luck"))
    assert read_ended(one) == Ended(one.path, "failed", "no luck")
    assert json.loads((tmp_path / "runs/.jobs/one-s0.json").read_text()) == {"result": "failed", "reason": "no luck"}
    forget_ended(one)
    assert read_ended(one) is None
