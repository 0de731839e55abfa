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
    assert main(["experiment", str(tmp_path / "two.py"), "--dry_run", f"--runs={tmp_path}", "--jobs=1"]) == 0
    plain, wrong, left = capsys.readouterr().out.splitlines()
    assert plain.split() == ["missing", f"{tmp_path}/plain-s0", "configs/gan/dcgan_digits.py:smoke"]
    assert wrong.startswith(f"refused      {tmp_path}/wrong-s0  configs/gan/dcgan_digits.py:smoke: ")
    assert "config.train.batch" in wrong
    assert left == "1 of 2 runs to make: one after another, in this process"
    assert not (tmp_path / "plain-s0").exists()


def test_options_of_slurm_are_those_of_sbatch(tmp_path, capsys):
    (tmp_path / "two.py").write_text(STUDY)
    command = ["experiment", str(tmp_path / "two.py"), "--dry_run", f"--runs={tmp_path}", "--slurm.partition=gpu"]
    assert main([*command, "--launcher=slurm", "--jobs=3", "--slurm.gpus-per-node=2"]) == 0
    left = capsys.readouterr().out.splitlines()[-1]
    assert left == "1 of 2 runs to make: 3 at once in Slurm, with --partition=gpu --gpus-per-node=2"
    assert main(command) == 1
    assert "--slurm.partition needs --launcher=slurm" in capsys.readouterr().err
