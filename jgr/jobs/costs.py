"""What runs took: parameters, operations, steps, images, and how long it lasted on which device."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from jgr.jobs.table import COSTS, Cost
from jgr.run.folder import RunFolder
from jgr.run.records import find_values, read_columns
from jgr.state import TrainState
from jgr.tasks.task import Task


def describe_networks(task: Task, state: TrainState) -> dict[str, dict[str, Any]]:
    """Of each network, how many parameters it has and whether it is evaluated or only trains.

    Args:
        task: What owns the networks.
        state: A state of it, or its shapes.
    """
    evaluated = task.averaged_networks or tuple(state.params)
    return {
        name: {"parameters": sum(leaf.size for leaf in jax.tree.leaves(params)), "evaluated": name in evaluated}
        for name, params in state.params.items()
    }


def read_costs(folder: RunFolder, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What a run's folder tells of its costs, for a manifest; what it does not tell is None.

    Args:
        folder: The run's.
        rows: Its results, whose records say what restoring an image took.
    """
    logged, manifest = folder.metrics(), folder.manifest()
    newest = max((row["step"] for row in rows), default=None)
    of_images = [_of_images(folder.records_path, row) for row in rows if row["step"] == newest]
    found = {name: [one[name] for one in of_images if name in one] for name in ("ms", "gflop")}
    return {
        "networks": manifest.get("networks"),
        "gflop_per_step": _gflop_per_step(logged),
        "train_s": logged[-1]["elapsed_s"] if logged else None,
        "ms_per_image": statistics.median(found["ms"]) if found["ms"] else None,
        "gflop_per_image": statistics.median(found["gflop"]) if found["gflop"] else None,
        "devices": manifest.get("environment", {}).get("devices"),
    }


def _of_images(records: Path, row: dict[str, Any]) -> dict[str, float]:
    """Medians of what the images behind a result took."""
    found = find_values(records, row)
    columns = read_columns(found[0], ("ms", "gflop")) if found else {}
    return {name: statistics.median(values.values()) for name, values in columns.items() if values}


def _gflop_per_step(logged: Sequence[Mapping[str, Any]]) -> float | None:
    for line in logged:
        if line.get("tflops_per_s") and line.get("images_per_s"):
            images_per_step = line["images_seen"] / line["step"]
            return float(f"{1e3 * line['tflops_per_s'] / line['images_per_s'] * images_per_step:.9g}")
    return None


def run_costs(known: Mapping[str, Any], rows: Iterable[dict[str, Any]]) -> dict[str, float]:
    """What a run took by the names of `jgr.jobs.table.COSTS`, without what is not known.

    Args:
        known: What `read_costs` gave, from a manifest perhaps older than some of its keys.
        rows: The results that count: their newest step is what it took steps and images for.
    """
    networks = known.get("networks")
    parameters = None if networks is None else [(one["parameters"], one["evaluated"]) for one in networks.values()]
    newest = max(rows, key=lambda row: row["step"], default=None)
    costs = {
        "parameters": None if parameters is None else sum(number for number, evaluated in parameters if evaluated),
        "trained_parameters": None if parameters is None else sum(number for number, _ in parameters),
        "gflop_per_image": known.get("gflop_per_image"),
        "gflop_per_step": known.get("gflop_per_step"),
        "steps": newest["step"] if newest else None,
        "images_seen": newest["images_seen"] if newest else None,
        "train_s": known.get("train_s"),
        "ms_per_image": known.get("ms_per_image"),
    }
    return {name: float(value) for name, value in costs.items() if value is not None}


def device_kind(known: Mapping[str, Any]) -> str | None:
    """The devices of a run, such as "cpu" or "8 NVIDIA H200"."""
    devices = known.get("devices")
    if not devices:
        return None
    return devices["kind"] if devices["count"] == 1 else f"{devices['count']} {devices['kind']}"


def mean_costs(costs: Sequence[Mapping[str, float]]) -> dict[str, Cost]:
    """Of the runs of a row, in the order of `COSTS`."""
    means = {}
    for name in COSTS:
        values = [one[name] for one in costs if name in one]
        if values:
            std = statistics.stdev(values) if len(set(values)) > 1 else None
            means[name] = Cost(statistics.fmean(values), std, len(values))
    return means
