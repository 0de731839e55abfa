"""A run's manifest: what was run, with which code, on which machine."""

import hashlib
import importlib.metadata
import os
import platform
import secrets
import socket
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jgr.config import flatten

SCHEMA = 1
STATUSES = ("created", "running", "completed", "failed", "preempted", "interrupted")
MAX_DIFF_BYTES = 1_000_000

_PACKAGES = ("jgr", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "ml_collections")
_VARIABLES = ("XLA_FLAGS", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "TFDS_DATA_DIR")
_VARIABLE_PREFIXES = ("JAX_", "JGR_")
_SECRETS = ("KEY", "TOKEN", "SECRET", "PASSWORD", "CREDENTIAL")
_JAX_SETTINGS = ("threefry_partitionable", "default_prng_impl", "default_matmul_precision", "enable_x64")


def new_manifest(
    command: Sequence[str], config_path: str, config_hash: str, seed: int, devices: bool = True
) -> dict[str, Any]:
    """The manifest of a run that begins now.

    Args:
        command: The command line, as `sys.argv`.
        config_path: The config's path in its repository, or as it was given.
        config_hash: Hash of the resolved config.
        seed: The run's seed.
        devices: Whether to list the devices, which starts JAX's backend.

    Returns:
        A dict of JSON's types: `schema`, `run` (an id: UTC time and a random suffix), `status` "created", `created`
        (UTC, ISO 8601), `command`, `config`, `config_hash`, `seed`, `environment`, `git` (jgr's own repository first,
        then that of the current directory), and an empty list of `sessions`.
    """
    now = datetime.now(UTC)
    return {
        "schema": SCHEMA,
        "run": f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}",
        "status": STATUSES[0],
        "created": now.isoformat(timespec="seconds"),
        "command": list(command),
        "config": config_path,
        "config_hash": config_hash,
        "seed": seed,
        "environment": environment(devices),
        "git": git_state([Path(__file__).resolve().parent, Path.cwd()]),
        "sessions": [],
    }


def environment(devices: bool = True) -> dict[str, Any]:
    """What a run's numbers may depend on outside its code and config.

    Args:
        devices: Whether to list the devices, which starts JAX's backend.

    Returns:
        `versions` (None for what is not installed), `platform` (host, system, CPU, usable cores, RAM in GiB), `jax`
        (settings that change numbers), `variables` (of the environment: an allowlist, and nothing named like a
        secret), and `devices` (kind, platform, count, and the processes that share them).
    """
    import jax

    found = {
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in _PACKAGES},
        "platform": {
            "host": socket.gethostname(),
            "system": platform.platform(),
            "cpu": _cpu_model(),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "ram_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        },
        "jax": {name: getattr(jax.config, f"jax_{name}") for name in _JAX_SETTINGS},
        "variables": {name: value for name, value in sorted(os.environ.items()) if _is_recorded(name)},
    }
    if devices:
        first = jax.devices()[0]
        counts = {"count": jax.device_count(), "processes": jax.process_count()}
        found["devices"] = {"kind": first.device_kind, "platform": first.platform, **counts}
    return found


def git_state(paths: Iterable[Path]) -> list[dict[str, Any]]:
    """The state of the git repositories that hold these paths, each once; nothing for a path in none.

    Returns:
        Per repository `root`, `commit`, `branch` (None when detached), `dirty` (changed or untracked files), `diff`
        (tracked files against `HEAD`), `diff_sha256`, `untracked` (names), and `note`: what could not be recorded,
        and why, or None. When diff and names exceed `MAX_DIFF_BYTES` only the hash is kept.
    """
    states: dict[str, dict[str, Any]] = {}
    for path in paths:
        try:
            root = _git(path, "rev-parse", "--show-toplevel").decode(errors="replace").strip()
            if root not in states:
                states[root] = _repository(Path(root))
        except FileNotFoundError:  # no git, or no such path
            continue
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            reason = (error.stderr or str(error).encode()).decode(errors="replace").strip()
            if "not a git repository" not in reason:
                states[str(path)] = _state(path, note=f"not recorded: {reason.splitlines()[0]}")
    return list(states.values())


def environment_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs between the environments of two manifests, a line each, such as `jax: 0.10.2 -> 0.12.0`.

    Args:
        old: A manifest.
        new: A later manifest.
    """
    before, after = _flat_environment(old), _flat_environment(new)
    return [
        f"{name}: {before.get(name, 'none')} -> {after.get(name, 'none')}"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]


def _flat_environment(manifest: Mapping[str, Any]) -> dict[str, Any]:
    groups = {name: group for name, group in manifest["environment"].items() if group}
    flat = dict(groups.pop("versions")) | flatten(groups)
    for position, repository in enumerate(manifest["git"]):
        # By position, not by name: a clone may lie elsewhere under another name.
        prefix = "git" if position == 0 else f"git[{position}]"
        flat[f"{prefix} commit"] = repository["commit"]
        flat[f"{prefix} uncommitted changes"] = (repository["diff_sha256"] or "none")[:12]
        flat[f"{prefix} untracked files"] = ", ".join(repository["untracked"]) or "none"
    return flat


def _repository(root: Path) -> dict[str, Any]:
    diff, commit = b"", None
    if _succeeds(root, "rev-parse", "--verify", "--quiet", "HEAD"):
        commit = _git(root, "rev-parse", "HEAD").decode().strip()
        diff = _git(root, "diff", "HEAD", "--no-color", "--no-ext-diff")
    branch = _git(root, "branch", "--show-current").decode(errors="replace").strip() or None
    listed = _git(root, "ls-files", "--others", "--exclude-standard", "-z")
    untracked = [name.decode(errors="replace") for name in listed.split(b"\0") if name]
    state = _state(root, commit=commit, branch=branch, dirty=bool(diff or untracked))
    if diff:
        state["diff_sha256"] = hashlib.sha256(diff).hexdigest()
    if len(diff) + len(listed) > MAX_DIFF_BYTES:
        state["note"] = (
            f"diff of {len(diff)} bytes and names of {len(untracked)} untracked files not kept: "
            f"more than {MAX_DIFF_BYTES} bytes"
        )
    else:
        state |= {"diff": diff.decode(errors="replace"), "untracked": untracked}
    return state


def _state(root: Path, **fields: Any) -> dict[str, Any]:
    state: dict[str, Any] = dict.fromkeys(("commit", "branch", "dirty", "diff", "diff_sha256", "note"))
    return {"root": str(root), **state, "untracked": [], **fields}


def _git(path: Path, *arguments: str) -> bytes:
    settings = os.environ | {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    command = ["git", "-C", str(path), *arguments]
    return subprocess.run(command, env=settings, capture_output=True, check=True, timeout=60).stdout


def _succeeds(path: Path, *arguments: str) -> bool:
    try:
        _git(path, *arguments)
    except subprocess.CalledProcessError:
        return False
    return True


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _is_recorded(name: str) -> bool:
    known = name in _VARIABLES or name.startswith(_VARIABLE_PREFIXES)
    return known and not any(word in name.upper() for word in _SECRETS)
