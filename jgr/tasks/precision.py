"""The type of number that a task's networks compute in."""

import dataclasses
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from jgr.errors import ConfigError


def computing_in(dtype: str, task: Any, key: str) -> Any:
    """The task with networks that compute in a type of number; parameters keep theirs.

    Args:
        dtype: "float32", which changes nothing, or "bfloat16".
        task: A dataclass; networks may lie in dataclasses among its fields, too.
        key: The config key that asks for it, for messages.

    Raises:
        ConfigError: If a network has no field `dtype`, or there is none. One whose own config names a type keeps it.
    """
    if dtype == "float32":
        return task
    changed = _changed(dtype, task, key, "config.task")
    if not changed:
        raise ConfigError(f"{key} = {dtype}: {type(task).__qualname__} has no network among its fields")
    return dataclasses.replace(task, **changed)


def _changed(dtype: str, owner: Any, key: str, place: str) -> dict[str, Any]:
    """The fields of a dataclass that are networks or hold some, as they are to be."""
    changed: dict[str, Any] = {}
    for field in dataclasses.fields(owner):
        value, where = getattr(owner, field.name), f"{place}.{field.name}"
        if isinstance(value, nn.Module):
            if not hasattr(value, "dtype"):
                raise ConfigError(
                    f"{key} = {dtype}: {type(value).__qualname__}, {where}, has no field dtype and cannot compute in it"
                )
            changed[field.name] = value if value.dtype is not None else value.clone(dtype=jnp.dtype(dtype))
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            inside = _changed(dtype, value, key, where)
            if inside:
                changed[field.name] = dataclasses.replace(value, **inside)
    return changed
