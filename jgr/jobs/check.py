"""Looks at what a config makes, without computing any of it."""

import math
from collections.abc import Mapping
from typing import Any

import jax
from ml_collections import ConfigDict
from tabulate import tabulate

from jgr.config import config_hash, resolve
from jgr.data.vocabulary import Vocabulary
from jgr.jobs.experiment import Experiment, open_experiment
from jgr.jobs.step import TracedStep, make_loader, state_shapes, trace_step
from jgr.mesh import Mesh
from jgr.state import TrainState, leaves_by_name


def check(config: ConfigDict | Mapping[str, Any], compile_step: bool = False) -> str:
    """Resolves a config, traces initialisation and step by `jax.eval_shape`, and describes the result.

    Args:
        config: A config, complete or not.
        compile_step: Whether to compile the step too, for the memory it takes.

    Returns:
        Parameters per network, bytes of the state by part, data, and what a step reports.

    Raises:
        ConfigError: If the config cannot work.
    """
    resolved = resolve(config, Experiment)
    experiment = open_experiment(resolved)
    captions = experiment.data.captions
    if captions is not None and captions.vocabulary is None and captions.vectors is None:
        experiment = experiment.told(Vocabulary(captions.level, (), captions.length))  # shapes do not depend on it
    loader = make_loader(experiment)
    state = state_shapes(experiment, loader)
    traced = trace_step(experiment, loader, state) if experiment.train.num_steps else TracedStep(metrics={}, flops=0)
    parts = [_parameter_table(name, params) for name, params in state.params.items()]
    parts.append(_state_table(state, experiment.mesh))
    if compile_step and experiment.train.num_steps:
        step = jax.jit(experiment.task.step, donate_argnums=0)
        memory = step.lower(state, loader.batch_spec(), jax.random.key(0)).compile().memory_analysis()
        size = "unknown on this platform" if memory is None else _bytes(memory.temp_size_in_bytes)
        parts.append(f"temporary memory of one step compiled for one device: {size}")
    source, train = experiment.data.source, experiment.train
    reported = ", ".join(name for name in traced.metrics if not name.startswith("finite/"))
    parts.append(
        tabulate(
            [
                ["config", config_hash(resolved)],
                ["data", f"{source.name}: {len(source)} records, images {'x'.join(map(str, loader.image_shape))}"],
                [
                    "steps",
                    f"{train.num_steps} of {experiment.images_per_step} images: {_epochs(experiment):.4g} epochs",
                ],
                ["a step", f"{traced.flops / 1e9:,.4g} GFLOP in matrix products and convolutions"],
                ["reports", reported],
            ],
            tablefmt="plain",
            maxcolwidths=[None, 100],
        )
    )
    return "\n\n".join(parts)


def _epochs(experiment: Experiment) -> float:
    return experiment.train.num_steps * experiment.images_per_step / len(experiment.data.source)


def _parameter_table(network: str, params: Any) -> str:
    rows = [
        [name, "x".join(map(str, leaf.shape)) or "scalar", str(leaf.dtype), math.prod(leaf.shape)]
        for name, leaf in leaves_by_name(params).items()
    ]
    total = sum(row[-1] for row in rows)
    table = tabulate(
        [*rows, ["total", "", "", total]],
        headers=[network, "shape", "type", "parameters"],
        intfmt=",",
        tablefmt="simple",
    )
    return str(table)


def _state_table(state: TrainState, mesh: Mesh) -> str:
    """Bytes of each part, and, where the devices for it are there and share a state, those on one of them."""
    parts = {part: getattr(state, part) for part in ("params", "model_state", "opt_state", "ema", "extra")}
    parts = {part: tree for part, tree in parts.items() if jax.tree.leaves(tree)} | {"total": state}
    columns: dict[str, list[str]] = {"state": list(parts), "bytes": [_bytes(_size(tree)) for tree in parts.values()]}
    if mesh.fsdp > 1 and mesh.fits():
        columns["bytes on a device"] = [_bytes(_size(tree, mesh)) for tree in parts.values()]
    return str(tabulate(columns, headers="keys", tablefmt="simple", stralign="right"))


def _size(tree: Any, mesh: Mesh | None = None) -> int:
    """Bytes of a tree of shapes, in all or on one device of a mesh."""
    leaves = jax.tree.leaves(tree if mesh is None else mesh.with_shardings(tree))
    shapes = [leaf.shape if mesh is None else leaf.sharding.shard_shape(leaf.shape) for leaf in leaves]
    return sum(math.prod(shape) * leaf.dtype.itemsize for shape, leaf in zip(shapes, leaves, strict=True))


def _bytes(count: int) -> str:
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return f"{count:,} ({count / size:.3g} {unit})"
    return f"{count:,}"
