"""Configs: `ml_collections.ConfigDict`s that name classes by import path."""

from jgr.config.canonical import canonical_json, config_hash, differences, flatten, nested
from jgr.config.duration import Clock, Duration
from jgr.config.imports import Context, call_file, import_path
from jgr.config.resolve import build, load_config_file, resolve, to_plain

__all__ = [
    "Clock",
    "Context",
    "Duration",
    "build",
    "call_file",
    "canonical_json",
    "config_hash",
    "differences",
    "flatten",
    "import_path",
    "load_config_file",
    "nested",
    "resolve",
    "to_plain",
]
