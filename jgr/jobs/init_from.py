"""Starts a training from other weights than random ones: those of a run, or of a file of arrays."""

import dataclasses
import hashlib
import io
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jgr.data.vocabulary import Vocabulary
from jgr.errors import CheckpointError, ConfigError, RunError
from jgr.files import expanded
from jgr.jobs.vocabulary import read_vocabulary
from jgr.run.folder import RunFolder
from jgr.state import TrainState, averaged, leaves_by_name, with_average

_PARTS = ("params", "model_state")


@dataclasses.dataclass(frozen=True, kw_only=True)
class InitFrom:
    r"""Weights to start from: parameters and model state, not optimisers.

    Where captions are read, the words have the numbers that the weights of a run know, unless `data.captions` has a
    vocabulary.

    Args:
        path: A run's folder, whose averaged weights are taken where it has an average; or an `.npz` file of arrays.
            `~` and environment variables are expanded.
        step: Which checkpoint of a run: "latest", "best" or a number.
        names: How names become those of the state, such as "params/network/conv0/kernel" or
            "model_state/network/batch_stats/bn1/mean": pairs of a regular expression, which must match the whole name,
            and what replaces it, with \1 for its first group. The first that matches counts; a name that none matches
            is taken as it is. Replaced by nothing, an array is left out.
        partial: Whether arrays of the state that nothing was found for keep their random values, as a new last layer
            does; else each must be found.
    """

    path: str
    step: str = "latest"
    names: tuple[tuple[str, str], ...] = ()
    partial: bool = False

    def __post_init__(self) -> None:
        if not self.path:
            raise ConfigError("path = '' must name a run's folder or an .npz file")
        for pattern, _ in self.names:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ConfigError(f"names: {pattern!r} is no regular expression: {error}") from error


@dataclasses.dataclass(frozen=True)
class Found:
    """Weights that fit a state.

    Args:
        arrays: By their names in the state.
        origin: Where they come from, for the manifest.
    """

    arrays: Mapping[str, np.ndarray]
    origin: Mapping[str, Any]


def vocabulary_of(source: InitFrom) -> Vocabulary | None:
    """What the weights know of captions; None where they come from no run, or from one that reads none.

    Raises:
        RunError: The run's vocabulary cannot be read.
    """
    path = expanded(source.path)
    return read_vocabulary(RunFolder(path, writes=False)) if path.is_dir() and RunFolder.exists(path) else None


def find_weights(source: InitFrom, state: TrainState, trust: bool) -> Found:
    """The weights of a source, checked against the shapes of a state.

    Args:
        source: Where the weights are.
        state: A state, or the shapes of one.
        trust: Whether a run's config may name classes outside jgr, optax and flax.

    Raises:
        ConfigError: The weights are not there, or do not fit the state: the message names the first that does not.
    """
    path = expanded(source.path)
    where = f"config.train.init_from: {path}"
    found, origin = _from_run(source, path, trust) if path.is_dir() else _from_file(source, path)
    known = leaves_by_name({part: getattr(state, part) for part in _PARTS})
    for name, (given, array) in found.items():
        if name not in known:
            raise ConfigError(
                f"{where} has {given}{'' if name == given else f', here {name}'}, which the networks do not have; they "
                f"have {', '.join(list(known)[:3])}, …: map or leave it out in init_from.names"
            )
        if array.shape != known[name].shape:
            raise ConfigError(f"{where}: {given} is {list(array.shape)}, but {name} is {list(known[name].shape)}")
        if not np.isfinite(array).all():
            raise ConfigError(f"{where}: {given} is not finite")
    missing = [name for name in known if name not in found]
    if not found or (missing and not source.partial):
        more = f" and {len(missing) - 1} more" if missing[1:] else ""
        raise ConfigError(
            f"{where} has nothing for {missing[0] if missing else 'any network'}{more}; map names in init_from.names, "
            "or set init_from.partial=true to keep their random values"
        )
    arrays = {name: array for name, (_, array) in found.items()}
    return Found(arrays, {**origin, "arrays": len(arrays), "kept_random": missing})


def with_weights(state: TrainState, weights: Found) -> TrainState:
    """A state with weights in place of its own; an average starts from them."""

    def replaced(path: Any, leaf: jax.Array) -> jax.Array:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        if name not in weights.arrays:
            return leaf
        return jax.device_put(np.asarray(weights.arrays[name], leaf.dtype), leaf.sharding)

    parts = {part: getattr(state, part) for part in _PARTS}
    state = state.replace(**jax.tree_util.tree_map_with_path(replaced, parts))
    return with_average(state, tuple(state.ema["params"])) if state.ema else state


def _named(source: InitFrom, arrays: Mapping[str, Any]) -> dict[str, tuple[str, np.ndarray]]:
    """Arrays by their names in the state, with those they came under."""
    found: dict[str, tuple[str, np.ndarray]] = {}
    for given, array in arrays.items():
        name = given
        for pattern, replacement in source.names:
            if match := re.fullmatch(pattern, given):
                try:
                    name = match.expand(replacement)
                except (re.error, IndexError) as error:
                    raise ConfigError(
                        f"config.train.init_from.names: {replacement!r} is no replacement for {pattern!r}: {error}"
                    ) from error
                break
        if not name:
            continue
        if name in found:
            raise ConfigError(f"config.train.init_from.names maps both {found[name][0]} and {given} to {name}")
        found[name] = (given, np.asarray(array))
    return found


def _from_file(source: InitFrom, path: Path) -> tuple[dict[str, tuple[str, np.ndarray]], dict[str, Any]]:
    try:
        content = path.read_bytes()
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, AttributeError, TypeError, EOFError, zipfile.BadZipFile) as error:  # or another file
        raise ConfigError(
            f"config.train.init_from.path = {source.path!r} is neither a run's folder nor an .npz file that can be "
            f"read: {error}"
        ) from error
    return _named(source, arrays), {"path": str(path), "sha256": hashlib.sha256(content).hexdigest()}


def _from_run(source: InitFrom, path: Path, trust: bool) -> tuple[dict[str, tuple[str, np.ndarray]], dict[str, Any]]:
    from jgr.jobs.load import Run  # which opens experiments, and these name this module's class

    try:
        run = Run(path, trust=trust)
        step = run.find_step(source.step)
        state = averaged(run.restored(step))
    except (RunError, CheckpointError) as error:
        raise ConfigError(f"config.train.init_from: {error}") from error
    arrays = jax.device_get(leaves_by_name({part: getattr(state, part) for part in _PARTS}))
    return _named(source, arrays), {"path": str(path), "run": run.folder.manifest()["run"], "step": step}
