"""How a training enters a run's folder and leaves it: what must agree, and what is written down."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from jgr.config import config_hash, differences, resolve, to_plain
from jgr.data.loader import Loader
from jgr.data.vocabulary import Vocabulary
from jgr.errors import ConfigError, RunError
from jgr.jobs.experiment import Experiment
from jgr.jobs.step import one_batch
from jgr.run.folder import RunFolder
from jgr.run.manifest import environment, new_manifest

Say = Callable[[str], object]

# What may differ when a run goes on: how long it is, how often it says and keeps something, and where it runs.
_CADENCES = ("log_every", "checkpoint_every", "sample_every", "num_samples", "keep_checkpoints", "keep_every")
RESUMABLE = {f"train.{name}" for name in ("num_steps", *_CADENCES)} | {
    f"mesh.{name}" for name in ("data", "fsdp", "fsdp_min_size")
}
"""Keys of a config that may differ when a run goes on."""
_CONSEQUENCES = {"train.num_steps": "; schedules given as a share of the training change with it"}


def prepare_folder(
    path: Path, config: ConfigDict, config_path: str, command: Sequence[str], vocabulary: Vocabulary | None = None
) -> None:
    """Makes the run's folder, or finds that it is of the same config.

    Raises:
        RunError: If the folder cannot be used, or belongs to another config.
    """
    if not RunFolder.exists(path):
        manifest = new_manifest(
            command=list(command), config_path=config_path, config_hash=config_hash(config), seed=config.seed
        )
        RunFolder.create(path, to_plain(config), manifest, None if vocabulary is None else vocabulary.to_json())
        return
    folder = RunFolder.open(path)
    fixed = {key: pair for key, pair in differences(stored_config(folder), config).items() if key not in RESUMABLE}
    if fixed:
        shown = "; ".join(
            f"config.{key} is {old!r} there and {new!r} here" for key, (old, new) in list(fixed.items())[:3]
        )
        more = f"; and {len(fixed) - 3} more" if len(fixed) > 3 else ""
        raise RunError(f"{path} is a run of another config: {shown}{more}. Use another --workdir, or the same config")


def stored_config(folder: RunFolder) -> ConfigDict | dict[str, Any]:
    """A run's config with the defaults of keys that jgr has learned since; as it is where it no longer resolves."""
    try:
        return resolve(folder.config(), Experiment)
    except ConfigError:
        return folder.config()


def check_sources(folder: RunFolder, sources: dict[str, str]) -> None:
    """Checks that name and fingerprint of the data are those that the run began with.

    Raises:
        RunError: If they are not.
    """
    known = folder.manifest().get("data")
    if not known or known == sources:
        return
    ((name, found),) = sources.items()
    raise RunError(
        f"{name} is not the data that {folder.path} was trained on: its fingerprint is {found}, and was "
        f"{known.get(name)}. Bring that data back, or start in another --workdir"
    )


def enter_session(
    folder: RunFolder,
    config: ConfigDict,
    sources: dict[str, str],
    records: dict[str, Any],
    command: Sequence[str],
    say: Say,
) -> None:
    """Writes down that the run goes on, with what, and what changed in its config.

    Args:
        folder: The run's.
        config: Resolved.
        sources: Fingerprints of the data, by name.
        records: What `describe_records` gives.
        command: The command line.
        say: Takes lines for the user.
    """
    changed = differences(stored_config(folder), config)
    for key, (old, new) in changed.items():
        say(f"config.{key}: {old!r} -> {new!r}" + _CONSEQUENCES.get(key, ""))
    if changed:
        folder.write_config(to_plain(config))
    earlier = folder.manifest()["sessions"]
    session = {
        "command": list(command),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "changed": {key: list(pair) for key, pair in changed.items()},
        "environment": environment(),
    }
    folder.update_manifest(
        status="running",
        config_hash=config_hash(config),
        sessions=[*earlier, session],
        data=sources,
        records=records,
        reproducible=_reproducibility([*earlier, session]),
        error=None,
        failure=None,
    )


def describe_records(loader: Loader) -> dict[str, Any]:
    """What the training data looks like: enough to open the run where that data is not."""
    batch = {name: [list(spec.shape), str(spec.dtype)] for name, spec in one_batch(loader).items()}
    return {"number": loader.num_records, "batch": batch}


def _reproducibility(sessions: list[dict[str, Any]]) -> str:
    """How exactly a repetition will agree.

    On CPU XLA partitions work the same way every time, by the number of cores; elsewhere atomics and autotuning may
    change last bits, and so does another number of devices.
    """
    found = [(one["environment"]["devices"], one["environment"]["platform"]["cores"]) for one in sessions]
    same = all(one == found[0] for one in found)
    return "bit for bit" if same and found[0][0]["platform"] == "cpu" else "to tolerance"


@contextmanager
def recorded_outcome(folder: RunFolder) -> Iterator[None]:
    """Marks the run as failed when an error ends it."""
    try:
        yield
    except BaseException as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        with suppress(RunError):  # the disk may be what failed; the first error is the one to report
            folder.update_manifest(status="failed", error=reason, ended=datetime.now(UTC).isoformat(timespec="seconds"))
        raise


def where(folder: RunFolder) -> str:
    """Where the run's files are, a line each."""
    pictures = sorted(folder.samples_path.glob("step_*.png"))
    lines = [
        f"run          {folder.path}",
        f"metrics      {folder.metrics_path}",
        f"checkpoints  {folder.checkpoints_path}",
        *([f"samples      {pictures[-1]}"] if pictures else []),
    ]
    return "\n".join(lines)
