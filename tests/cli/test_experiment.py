from jgr.cli.main import main

STUDY = """
from jgr.jobs.study import Arm, Study

CONFIG = "configs/gan/dcgan_digits.py:smoke"


def get_study():
    arms = (Arm(name="plain", config=CONFIG), Arm(name="wrong", config=CONFIG, overrides={"train.batch": 4}))
    return Study(title="Two", arms=arms)
"""


def test_a_dry_run_says_how_far_each_run_is_and_why_one_cannot_be_made(tmp_path, capsys):
    (tmp_path / "two.py").write_text(STUDY)
    assert main(["experiment", str(tmp_path / "two.py"), "--dry_run", f"--runs={tmp_path}"]) == 0
    plain, wrong = capsys.readouterr().out.splitlines()
    assert plain.split() == ["missing", f"{tmp_path}/plain-s0", "configs/gan/dcgan_digits.py:smoke"]
    assert wrong.startswith(f"refused      {tmp_path}/wrong-s0  configs/gan/dcgan_digits.py:smoke: ")
    assert "config.train.batch" in wrong
    assert not (tmp_path / "plain-s0").exists()
