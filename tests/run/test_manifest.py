import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess

import jax
import pytest

from jgr.run import manifest
from jgr.run.manifest import environment, environment_differences, git_state, new_manifest


@pytest.fixture
def repository(tmp_path):
    def git(*arguments):
        settings = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        done = subprocess.run(command, env=os.environ | settings, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    git("init", "-b", "trunk")
    (tmp_path / "code.py").write_text("x = 1\n")
    (tmp_path / ".gitignore").write_text("runs\n")
    git("add", ".")
    git("commit", "-m", "first")
    return tmp_path, git


def test_environment_names_versions_and_devices():
    found = environment()
    assert found["versions"]["jax"] == jax.__version__
    assert found["versions"]["orbax-checkpoint"] == importlib.metadata.version("orbax-checkpoint")
    assert found["versions"]["python"] == platform.python_version()
    assert found["devices"] == {"kind": "cpu", "platform": "cpu", "count": 4, "processes": 1}
    assert found["platform"]["cores"] >= 1
    assert found["platform"]["ram_gib"] > 0
    assert found["jax"]["enable_x64"] is False
    assert found["jax"]["threefry_partitionable"] is True
    assert json.loads(json.dumps(found)) == found
    assert "devices" not in environment(devices=False)


def test_environment_keeps_listed_variables_only(monkeypatch):
    for name in ("XLA_FLAGS", "JAX_LOG_COMPILES", "JGR_COLOR", "JGR_WANDB_TOKEN", "AWS_SECRET_ACCESS_KEY", "HOME_PAGE"):
        monkeypatch.setenv(name, "value")
    variables = environment(devices=False)["variables"]
    assert variables.items() >= {"XLA_FLAGS": "value", "JAX_LOG_COMPILES": "value", "JGR_COLOR": "value"}.items()
    assert not {"JGR_WANDB_TOKEN", "AWS_SECRET_ACCESS_KEY", "HOME_PAGE"} & variables.keys()


def test_clean_repository_is_found_once_from_its_folders(repository):
    root, git = repository
    (root / "package").mkdir()
    (root / "runs").mkdir()
    (root / "runs" / "ignored").touch()
    [state] = git_state([root / "package", root])
    assert state["root"] == str(root)
    assert state["commit"] == git("rev-parse", "HEAD")
    assert (state["branch"], state["dirty"], state["diff"], state["untracked"]) == ("trunk", False, "", [])
    assert state["diff_sha256"] is None
    assert state["note"] is None


def test_diff_restores_the_changed_file(repository):
    root, git = repository
    (root / "code.py").write_text("x = 2\n")
    (root / "staged.py").write_text("y = 1\n")
    git("add", "staged.py")
    (root / "new file.py").write_text("z = 1\n")
    [state] = git_state([root])
    assert state["dirty"]
    assert state["untracked"] == ["new file.py"]
    git("reset", "--hard")
    subprocess.run(["git", "apply"], input=state["diff"], cwd=root, text=True, check=True)
    assert (root / "code.py").read_text() == "x = 2\n"
    assert (root / "staged.py").read_text() == "y = 1\n"


def test_large_diff_leaves_its_hash(repository, monkeypatch):
    monkeypatch.setattr(manifest, "MAX_DIFF_BYTES", 1000)
    root, _ = repository
    (root / "code.py").write_text("y = 1\n" * 1000)
    [state] = git_state([root])
    assert state["diff"] is None
    diff = subprocess.run(["git", "diff", "HEAD"], cwd=root, capture_output=True, check=True).stdout
    assert state["diff_sha256"] == hashlib.sha256(diff).hexdigest()
    assert f"diff of {len(diff)} bytes" in state["note"]


def test_repository_without_commit_and_detached_head(repository, tmp_path_factory):
    root, git = repository
    git("checkout", "--detach")
    assert git_state([root])[0]["branch"] is None
    empty = tmp_path_factory.mktemp("empty")
    subprocess.run(["git", "init"], cwd=empty, check=True, capture_output=True)
    [state] = git_state([empty])
    assert (state["commit"], state["dirty"]) == (None, False)


def test_no_repository_and_no_git(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_state([tmp_path]) == []
    monkeypatch.setenv("PATH", "")
    assert git_state([tmp_path]) == []


def test_damaged_repository_is_noted(repository):
    root, _ = repository
    (root / ".git" / "config").write_text("[nonsense\n")
    [state] = git_state([root])
    assert state["commit"] is None
    assert state["note"].startswith("not recorded: fatal: bad config line 1")


def test_new_manifest(repository, monkeypatch):
    root, git = repository
    monkeypatch.chdir(root)
    made = new_manifest(["jgr", "train"], "configs/a.py", "abc", 3)
    assert (made["status"], made["command"], made["seed"], made["sessions"]) == ("created", ["jgr", "train"], 3, [])
    assert git("rev-parse", "HEAD") in [state["commit"] for state in made["git"]]
    assert made["created"].endswith("+00:00")
    assert made["run"] != new_manifest([], "", "", 0)["run"]
    assert json.loads(json.dumps(made)) == made


def test_differences_of_environments():
    def made(jax_version, commit, **variables):
        environment = {
            "versions": {"python": "3.11.2", "jax": jax_version},
            "devices": {"count": 1, "kind": "cpu"},
            "variables": variables,
        }
        repository = {"root": "/a", "commit": commit, "diff_sha256": None, "untracked": []}
        return {"environment": environment, "git": [repository]}

    old, new = made("0.10.2", "aaa"), made("0.12.0", "bbb", XLA_FLAGS="--x")
    new["git"][0]["root"] = "/b"
    new["environment"]["devices"]["count"] = 4
    assert environment_differences(old, new) == [
        "devices.count: 1 -> 4",
        "git commit: aaa -> bbb",
        "jax: 0.10.2 -> 0.12.0",
        "variables.XLA_FLAGS: none -> --x",
    ]
    assert environment_differences(old, made("0.10.2", "aaa")) == []
    new["git"] = []
    assert "git commit: aaa -> none" in environment_differences(old, new)
