"""Objects by import path: loading them, with consent, and naming them."""

import dataclasses
import difflib
import importlib
import importlib.util
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from jgr.config.duration import Clock
from jgr.errors import ConfigError

# What configs are made of. Elsewhere in jgr and flax are functions that run files and delete folders.
_TRUSTED_PARTS = ("augmentations", "data", "degradations", "layers", "losses", "metrics", "models", "optim", "tasks")
TRUSTED = (*(f"jgr.{part}" for part in _TRUSTED_PARTS), "optax", "flax.linen")


@dataclasses.dataclass(frozen=True)
class Context:
    """What completing and building need besides the value.

    Args:
        trust: Whether the config may name objects outside jgr, optax and flax.
        lenient: Whether values that are still missing pass, as None; they may come from the command line.
        clock: Turns durations into steps; needed for building only.
    """

    trust: bool = True
    lenient: bool = False
    clock: Clock | None = None

    def load(self, path: object, key: str) -> Any:
        """The object at an import path such as "jgr.models.dcgan.Generator".

        Raises:
            ConfigError: If there is none, or it lies outside jgr, optax and flax without trust.
        """
        if not isinstance(path, str) or "." not in path:
            raise ConfigError(f'{key} = {path!r} is not an import path such as "{_example(path)}"')
        self._consent(path, path, key)
        found = _import(path, key)
        self._consent(getattr(found, "__module__", None) or type(found).__module__, path, key)
        return found

    def _consent(self, home: str, path: str, key: str) -> None:
        if not self.trust and not any(home == part or home.startswith(f"{part}.") for part in TRUSTED):
            raise ConfigError(
                f"{key} = {path!r} is none of the parts of jgr, optax and flax that a config is made of: read that "
                "code, then allow it with --trust (trust=True in Python)"
            )


def _example(name: object) -> str:
    """An import path that ends in a name, of what jgr has loaded so far; else any."""
    modules = sorted(module for module in sys.modules if module.startswith("jgr."))
    found = (f"{module}.{name}" for module in modules if isinstance(name, str) and hasattr(sys.modules[module], name))
    return next(found, "my_package.my_module.MyClass")


def _import(path: str, key: str) -> Any:
    parts = path.split(".")
    for split in range(len(parts) - 1, 0, -1):
        module_name = ".".join(parts[:split])
        try:
            found: Any = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name and (module_name == error.name or module_name.startswith(error.name + ".")):
                continue  # a shorter prefix may be the module
            raise ConfigError(f"{key} = {path!r}: importing {module_name} failed: {error}") from error
        except Exception as error:
            raise ConfigError(
                f"{key} = {path!r}: importing {module_name} failed: {type(error).__name__}: {error}"
            ) from error
        for name in parts[split:]:
            if not hasattr(found, name):
                raise ConfigError(f"{key} = {path!r}: {module_name} has no {name!r}{suggest(name, vars(found))}")
            found = getattr(found, name)
        return found
    raise ConfigError(
        f"{key} = {path!r}: there is no module {parts[0]!r} (is its folder the current one or installed?)"
    )


def call_file(file: str, signature: str, arguments: Sequence[str], label: str, kind: str) -> Any:
    """What a function of a Python file returns.

    Args:
        file: The file.
        signature: The function, as it should be written: "get_study()".
        arguments: What it is given.
        label: What errors begin with.
        kind: What the file is, such as "a config".

    Raises:
        ConfigError: If the file is missing, fails, or has no such function.
    """
    path = Path(file)
    if not path.is_file():
        raise ConfigError(f"{label}: there is no file {file!r} (looked in {Path.cwd()})")
    spec = importlib.util.spec_from_file_location(f"jgr_file_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{label}: {kind} is a Python file (.py) with a function {signature}")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        name = signature.partition("(")[0]
        if not hasattr(module, name):
            raise ConfigError(f"{label}: {file} has no function {signature}")
        return getattr(module, name)(*arguments)
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(f"{label} failed: {type(error).__name__}: {error}") from error


def import_path(value: Any) -> str:
    """The import path of a class, a function, or a constant of the module that defines its class.

    Raises:
        ConfigError: If it has none: a lambda, a local class, an instance without a name.
    """
    if hasattr(value, "__qualname__"):
        module, name = value.__module__.split("."), value.__qualname__
        if "<" not in name:
            for depth in range(1, len(module)):  # the shortest public path: optax.adam, not optax._src.alias.adam
                package = ".".join(module[:depth])
                if vars(sys.modules[package]).get(name) is value:
                    return f"{package}.{name}"
            return f"{value.__module__}.{name}"
    else:
        home = sys.modules[type(value).__module__]
        for name, constant in vars(home).items():
            if constant is value:
                return f"{home.__name__}.{name}"
    raise ConfigError(f"{value!r} has no import path: a config can only name what can be imported")


def suggest(name: str, known: Iterable[str]) -> str:
    """What may have been meant by an unknown name, to go behind an error; empty where nothing is near."""
    known = [candidate for candidate in known if not candidate.startswith("_")]
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; there are {', '.join(sorted(known))}" if 0 < len(known) <= 20 else ""
