"""Studies: which runs, evaluated how, beside which published numbers."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jgr.config import call_file
from jgr.errors import ConfigError

_STEPS = ("latest", "best", "all")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arm:
    """One row of a study's table: a config, run with several seeds.

    Args:
        name: What the table calls it; also the runs' folders, with "-s<seed>" behind.
        config: The config file, from the repository's root, perhaps with ":ARG".
        overrides: Other values for some of its keys, by dotted name.
        seeds: The trainings' seeds.
        step: Which checkpoints are scored: "latest", "best" or "all"; the study's where None.
    """

    name: str
    config: str
    overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    seeds: tuple[int, ...] = (0,)
    step: str | None = None

    def __post_init__(self) -> None:
        if self.step not in (None, *_STEPS):
            raise ConfigError(f"arm {self.name}: step = {self.step!r} must be {', '.join(_STEPS)} or None")
        if not self.name or not all(c.isalnum() or c in "-_." for c in self.name) or self.name.startswith("."):
            raise ConfigError(f"arm {self.name!r}: its name is a folder's: letters, digits, - _ and . only")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ConfigError(f"arm {self.name}: seeds = {self.seeds} must name at least one seed, each once")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Published:
    """A number from elsewhere that stands beside ours, and is never ranked with them.

    Args:
        name: What was measured: the model's name.
        metric: The metric, as the study's rows call it. Where it was measured on several data sets or by several
            protocols, words after its name say which: "psnr set5-rgb@6cebe9db1ae4bdff".
        value: The number.
        source: Paper and table, or repository.
        note: In what its protocol differs from ours; nothing if it does not.
        arm: The arm whose numbers it stands beside; a row of its own where None.
    """

    name: str
    metric: str
    value: float
    source: str
    note: str = ""
    arm: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study:
    """What is compared.

    Args:
        title: One line that says what the study is of.
        arms: The rows.
        evaluation: Other values for keys of the configs' `evaluation`, by dotted name, alike for all arms.
        step: Which checkpoints are scored: "latest", "best" or "all".
        published: Numbers from elsewhere.
        notes: Sentences below the table.
        pictures: Whether the newest picture of every run is kept beside the table, in `samples`.
    """

    title: str
    arms: tuple[Arm, ...]
    evaluation: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    step: str = "latest"
    published: tuple[Published, ...] = ()
    notes: tuple[str, ...] = ()
    pictures: bool = False

    def __post_init__(self) -> None:
        names = [arm.name for arm in self.arms]
        if not names or len(set(names)) < len(names):
            raise ConfigError(f"a study needs arms of different names, not {names}")
        if self.step not in _STEPS:
            raise ConfigError(f"step = {self.step!r} must be one of {', '.join(_STEPS)}")
        for one in self.published:
            if one.arm not in (None, *names):
                raise ConfigError(f"published {one.name}: arm = {one.arm!r} must be None or one of {', '.join(names)}")

    def step_of(self, arm: Arm) -> str:
        """Which checkpoints of an arm's runs are scored."""
        return arm.step or self.step


def load_study(file: str | Path) -> Study:
    """What `get_study()` of a Python file returns.

    Raises:
        ConfigError: The file is missing, fails, or has no `get_study`.
    """
    study = call_file(str(file), "get_study()", (), str(file), "a study")
    if not isinstance(study, Study):
        raise ConfigError(f"{file}: get_study() must return a jgr.jobs.study.Study, not {study!r}")
    return study


def folder_name(arm: str, seed: int) -> str:
    """Of a run's folder, and of what a study keeps of it.

    Args:
        arm: The arm's name.
        seed: Of the training.
    """
    return f"{arm}-s{seed}"
