"""Runs a run again and says whether every bit came out the same."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jgr.errors import CheckpointError, RunError
from jgr.jobs.evaluate import evaluate
from jgr.jobs.load import Run
from jgr.jobs.observe import MEASURED
from jgr.jobs.train import train
from jgr.run.manifest import environment_differences
from jgr.run.rows import value
from jgr.state import TrainState, leaves_by_name


@dataclasses.dataclass(frozen=True)
class Reproduction:
    """What came of running a run again.

    Args:
        original: The run's folder.
        repeated: The new run's folder.
        step: The step whose states were compared.
        states: How the two states differ, a line each; empty when they are equal bit for bit.
        metrics: How the logged metrics differ.
        results: How the evaluation results differ.
        environment: What differs between the two environments.
        num_results: How many evaluation results were compared.
    """

    original: Path
    repeated: Path
    step: int
    states: list[str]
    metrics: list[str]
    results: list[str]
    environment: list[str]
    num_results: int

    @property
    def exact(self) -> bool:
        """Whether states, metrics and results are equal bit for bit."""
        return not (self.states or self.metrics or self.results)

    def __str__(self) -> str:
        sections = [
            (f"state at step {self.step} (parameters, model state, optimisers, average)", self.states),
            ("metrics.jsonl", self.metrics),
            ("results.jsonl", self.results),
        ]
        lines = [f"{self.original} -> {self.repeated}"]
        for title, differing in sections:
            equal = "equal bit for bit" if title != "results.jsonl" or self.num_results else "nothing was measured"
            lines.append(f"{title}: {'differs' if differing else equal}")
            lines += [f"  {line}" for line in _shorten(differing)]
        if not self.exact:
            lines.append("environment: " + ("differs" if self.environment else "no difference found"))
            lines += [f"  {line}" for line in self.environment]
        lines.append("reproduced bit for bit" if self.exact else "NOT reproduced bit for bit")
        return "\n".join(lines)


def reproduce(
    workdir: str | Path, new_workdir: str | Path | None = None, *, trust: bool = False, quiet: bool = False
) -> Reproduction:
    """Trains a run's config again in a new folder, repeats its evaluations, and compares.

    The code that runs is today's: where it differs from the run's commit, the comparison says so.

    Args:
        workdir: The run.
        new_workdir: Where the repetition goes; `<workdir>-reproduced` when None. If it was begun before, it goes on.
        trust: Whether the run's config may name classes outside jgr, optax and flax.
        quiet: Whether to print nothing.

    Raises:
        RunError: If the folder is no run's, or the new one cannot be used.
        CheckpointError: If the run has no checkpoint.
    """
    original = Run(workdir, trust=trust)
    step, num_steps = original.find_step("latest"), original.experiment.train.num_steps
    if step != num_steps:
        raise CheckpointError(f"{workdir} is at step {step} of {num_steps}: finish it before reproducing it")
    target = Path(new_workdir) if new_workdir is not None else Path(f"{original.folder.path}-reproduced")
    if target.resolve() == original.folder.path.resolve():
        raise RunError(f"{target} is the run itself: name another folder for the repetition")
    manifest = original.folder.manifest()
    command = ["jgr", "reproduce", str(workdir), f"--workdir={target}"]
    train(original.config, target, config_path=manifest["config"], command=command, trust=trust, quiet=quiet)
    repeated = Run(target, trust=trust)
    results = [row for row in original.results() if row["step"] in repeated.steps()]
    for settings in sorted({(row["step"], row["select"], row["eval_seed"], row["weights"]) for row in results}):
        number, select, seed, weights = settings
        evaluate(
            target, step="best" if select == "best" else number, seeds=[seed], weights=weights, trust=trust, quiet=quiet
        )
    return Reproduction(
        original=original.folder.path,
        repeated=target,
        step=step,
        states=_compare_states(original.restore(step), repeated.restore(step)),
        metrics=_compare_rows(_logged(original.metrics()), _logged(repeated.metrics())),
        results=_compare_rows(_measured(results), _measured(repeated.results())),
        environment=_differences(manifest, repeated.folder.manifest()),
        num_results=len(results),
    )


def _compare_states(old: TrainState, new: TrainState) -> list[str]:
    before, after = leaves_by_name(jax.device_get(old)), leaves_by_name(jax.device_get(new))
    lines = []
    for name, array in before.items():
        # Bytes, not values: -0.0 and 0.0 are two results, and a NaN equals itself.
        if array.tobytes() != after[name].tobytes():
            gap = np.abs(np.asarray(array, np.float64) - np.asarray(after[name], np.float64)).max()
            lines.append(f"{name}: largest difference {gap:.3g}")
    return lines


Rows = dict[str, Mapping[str, Any]]


def _logged(rows: list[dict[str, Any]]) -> Rows:
    return {f"step {row['step']}": {k: v for k, v in row.items() if k not in MEASURED} for row in rows}


def _measured(rows: list[dict[str, Any]]) -> Rows:
    fields = ("step", "select", "eval_seed", "weights", "metric", "protocol", "dataset")
    return {" ".join(f"{field}={row[field]}" for field in fields): {"value": value(row)} for row in rows}


def _compare_rows(old: Rows, new: Rows) -> list[str]:
    lines = [f"{name}: missing in the repetition" for name in old if name not in new]
    for name, row in old.items():
        for field in row:
            # repr tells all bits of a float, and that NaN is NaN
            if name in new and repr(row[field]) != repr(new[name].get(field)):
                lines.append(f"{name}: {field} {row[field]!r} -> {new[name].get(field)!r}")
    return lines


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    lines = environment_differences(old, new)
    for session in old["sessions"]:
        for key, (before, after) in session["changed"].items():
            if key == "train.num_steps":
                lines.append(f"the run was extended from {before} to {after} steps: schedules may have changed with it")
    return lines


def _shorten(lines: list[str], most: int = 5) -> list[str]:
    return lines if len(lines) <= most else [*lines[:most], f"… and {len(lines) - most} more"]
