"""Configs as canonical JSON: hashes, flat keys, differences."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from jgr.config.resolve import to_plain


def canonical_json(config: ConfigDict | Mapping[str, Any]) -> str:
    """One text for one config: sorted keys, no white space, tuples as lists."""
    return json.dumps(to_plain(config), sort_keys=True, separators=(",", ":"), allow_nan=False)


def config_hash(config: ConfigDict | Mapping[str, Any]) -> str:
    """First 12 hexadecimal digits of the SHA-256 of all but `seed` and `mesh`: what runs of one experiment share."""
    experiment = {key: value for key, value in to_plain(config).items() if key not in ("seed", "mesh")}
    return hashlib.sha256(canonical_json(experiment).encode()).hexdigest()[:12]


def flatten(config: ConfigDict | Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted keys to values, in order; an empty group is a value of its own."""
    flat: dict[str, Any] = {}
    for key, value in to_plain(config).items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = _as_lists(value)
    return flat


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The config that `flatten` took apart."""
    config: dict[str, Any] = {}
    for key, value in flat.items():
        *groups, name = key.split(".")
        place = config
        for group in groups:
            place = place.setdefault(group, {})
        place[name] = value
    return config


def _as_lists(value: Any) -> Any:
    """A value with all tuples as lists, as JSON gives them back."""
    if isinstance(value, Mapping):
        return {name: _as_lists(item) for name, item in value.items()}
    return [_as_lists(item) for item in value] if isinstance(value, list | tuple) else value


def differences(old: ConfigDict | Mapping[str, Any], new: ConfigDict | Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Dotted keys whose values differ, with (old, new); a key only one of them has counts as None in the other."""
    before, after = flatten(old), flatten(new)
    keys = [*before, *(key for key in after if key not in before)]
    return {key: (before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key)}
