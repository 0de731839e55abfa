"""From a config file and command-line overrides to one complete, checked config."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags
from ml_collections import ConfigDict
from ml_collections.config_flags import config_flags

from jgr.config.imports import Context, call_file
from jgr.config.slots import Slot, parameters, slot_for
from jgr.errors import ConfigError


def load_config_file(path: str) -> ConfigDict:
    """What `get_config()` of a Python file returns; "file.py:arg" passes `arg` to it.

    Raises:
        ConfigError: If the file is missing, fails, or has no `get_config`.
    """
    file, _, argument = path.partition(":")
    arguments = (argument,) if argument else ()
    config = call_file(file, "get_config(arg='')", arguments, f"--config={path}", "a config")
    if not isinstance(config, ConfigDict):
        raise ConfigError(f"--config={path}: get_config() must return an ml_collections.ConfigDict, not {config!r}")
    return config


def to_plain(config: ConfigDict | Mapping[str, Any]) -> dict[str, Any]:
    """Nested dicts, with references followed; each part is its own, even where a config file names one part twice."""
    plain = config.to_dict() if isinstance(config, ConfigDict) else config
    return {key: _unshared(value) for key, value in plain.items()}


def _unshared(value: Any) -> Any:
    if isinstance(value, Mapping):
        return to_plain(value)
    if type(value) in (list, tuple):
        return type(value)(_unshared(item) for item in value)
    return value


_FRACTION = re.compile(r"(-?[\d.]+)/([\d.]+)")


def resolve(
    config: ConfigDict | Mapping[str, Any],
    schema: type,
    overrides: Sequence[tuple[str, str]] = (),
    trust: bool = True,
) -> ConfigDict:
    """A complete config: every default of every class it names filled in, every key and type checked, locked.

    Args:
        config: What a config file gives, or a config resolved before.
        schema: The class whose arguments are the top-level keys.
        overrides: Dotted keys below `config` and their values as text, such as ("train.num_steps", "500").
        trust: Whether it may name classes outside jgr, optax and flax.

    Raises:
        ConfigError: For an unknown key, a wrong type, a missing or an impossible value; the message names the key.
    """
    root, strict = slot_for(schema), Context(trust=trust)
    raw = to_plain(config)
    for key, value in overrides:
        if key.endswith(".cls"):
            _replace_class(raw, key.split("."), value, strict)
    lenient = Context(trust=trust, lenient=True)
    completed = root.complete(raw, "config", lenient)
    for key, _ in overrides:
        opened = _with_section(root, completed, key.split("."), strict)
        if opened is not completed:
            completed = root.complete(opened, "config", lenient)
    for key, value in overrides:
        completed = _override(root, completed, key, value, strict)
    return ConfigDict(root.complete(completed, "config", strict)).lock()


def _replace_class(raw: dict[str, Any], path: list[str], class_path: str, context: Context) -> None:
    """Names another class; of the arguments given for the old one, those that the new one knows stay."""
    node: Any = raw
    for name in path[:-1]:
        if isinstance(node, list | tuple):
            node = node[int(name)] if name.isdigit() and int(name) < len(node) else None
        else:
            if node.get(name) is None:
                node[name] = {}
            node = node[name]
        if not isinstance(node, dict | list | tuple):
            raise ConfigError(f"config.{'.'.join(path)} cannot be set: config.{name} is {node!r}")
    if not isinstance(node, dict):
        raise ConfigError(f"config.{'.'.join(path)} cannot be set: its parts are counted from 0, as in …0.cls")
    known = parameters(context.load(class_path, f"config.{'.'.join(path)}"))
    for name in [name for name in node if name not in known]:
        del node[name]
    node["cls"] = class_path


def _with_section(root: Slot, completed: dict[str, Any], path: list[str], context: Context) -> dict[str, Any]:
    """The config with a section of defaults where a key lies in one that is None, `train.init_from.path` say."""
    slot, value, place = root, completed, "config"
    for depth, name in enumerate(path[:-1], 1):
        slot = slot.child(value, name, place, context)
        value, place = _item(value, name), f"{place}.{name}"
        if value is None and slot.is_section:
            return _with(completed, path[:depth], {})
    return completed


def _override(root: Slot, completed: dict[str, Any], key: str, text: str, context: Context) -> dict[str, Any]:
    slot, value, place = root, completed, "config"
    for name in key.split("."):
        slot = slot.child(value, name, place, context)
        value, place = _item(value, name), f"{place}.{name}"
    if isinstance(value, Mapping) and text.lower() != "none":
        raise ConfigError(f"{place} is a group: set one of its keys, {', '.join(f'{place}.{name}' for name in value)}")
    if text.lower() == "none" and not slot.knows_none:
        parsed = slot.complete(None, place, context)
    else:
        parsed = _parse(slot.typed(value), place, text)
        parsed = slot.complete(parsed, place, context)
    return _with(completed, key.split("."), parsed)


def _parse(typed: Any, place: str, text: str) -> Any:
    """Parses one override with the type of the value it replaces."""
    group, values = ConfigDict({"value": typed}), flags.FlagValues()
    if group.get_type("value") is float and (fraction := _FRACTION.fullmatch(text)) and float(fraction[2]):
        text = repr(float(fraction[1]) / float(fraction[2]))  # 25/255, as sigmas are written
    arguments = ["jgr", f"--config.value={text}"]
    try:
        config_flags.DEFINE_config_dict("config", group, flag_values=values, lock_config=True, sys_argv=arguments)
        values(arguments)
    except (flags.Error, TypeError, ValueError) as error:
        kind = group.get_type("value").__name__
        raise ConfigError(f"{place} = {text!r} must be of type {kind}") from error
    return group.value


def _item(group: Any, name: str) -> Any:
    """A part of a group by its name, or of a tuple by its place."""
    return group[int(name)] if isinstance(group, list | tuple) else group[name]


def _with(tree: Any, path: list[str], value: Any) -> Any:
    head, *rest = path
    changed = _with(_item(tree, head), rest, value) if rest else value
    if isinstance(tree, list | tuple):
        return tuple(changed if place == int(head) else item for place, item in enumerate(tree))
    return tree | {head: changed}


def build(config: ConfigDict | Mapping[str, Any], kind: type, key: str, context: Context) -> Any:
    """The object of class `kind` that a resolved part of a config describes.

    Raises:
        ConfigError: If its class refuses the values; the message names the key.
    """
    return slot_for(kind).build(to_plain(config), key, context)
