"""What a manifest says of a run's code, machine and data, as short texts."""

import shlex
from collections.abc import Mapping
from typing import Any

from jgr.config import flatten


def facts(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Texts by name, the commit first.

    Args:
        manifest: Of a run's folder, or what a study keeps of one.
    """
    environment = dict(manifest.get("environment", {}))
    versions = environment.pop("versions", None) or manifest.get("versions") or {}
    devices = environment.pop("devices", None) or manifest.get("devices") or {}
    found = _code(manifest.get("git") or [])
    if "status" in manifest:
        found["status"] = manifest["status"]
    found["trained and scored by"] = shlex.join(manifest.get("command", ())) or "not recorded"
    if devices:
        processes = f" in {devices['processes']} processes" if devices.get("processes", 1) > 1 else ""
        found["devices"] = f"{devices['count']} {devices['kind']} ({devices['platform']}){processes}"
    if (seconds := manifest.get("train_s")) is not None:
        found["training took"] = _duration(seconds)
    found |= {f"data {name}": str(digest) for name, digest in flatten(manifest.get("data") or {}).items()}
    found |= {str(name): str(version) for name, version in versions.items()}
    return found | {name: str(value) for name, value in flatten(environment).items() if value != {}}


def _code(repositories: list[Mapping[str, Any]]) -> dict[str, str]:
    if not repositories:
        return {"commit": "not recorded"}
    found = {}
    for place, state in enumerate(repositories):
        behind = "" if place == 0 else f" of {state.get('root', place)}"
        found[f"commit{behind}"] = str(state.get("commit") or state.get("note") or "not recorded")
        dirty = state.get("dirty")
        found[f"uncommitted changes{behind}"] = "not recorded" if dirty is None else "yes" if dirty else "no"
    return found


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"
