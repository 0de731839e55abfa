"""Writes the weights of a trained classifier into one small file."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from jgr.config import to_plain
from jgr.errors import ConfigError, RunError
from jgr.files import disk_errors, write_bytes
from jgr.jobs.load import Run, Weights
from jgr.metrics.classifiers import packed
from jgr.state import averaged


def pack(
    workdir: str | Path, out: str | Path, *, step: int | str = "latest", weights: Weights = "ema", trust: bool = False
) -> Path:
    """Writes the network of a `jgr.tasks.classification.Classification` run, for `jgr.metrics.TrainedClassifier`.

    Args:
        workdir: The run's folder.
        out: The file, which ends in ".npz".
        step: "latest", "best" or a number.
        weights: "ema" for the average where there is one, or "raw".
        trust: Whether the run's config may name classes outside jgr, optax and flax.

    Raises:
        RunError: The folder is no run's, or the run trains no classifier.
        ConfigError: The file's name ends otherwise.
        CheckpointError: There is no such checkpoint.
    """
    path = Path(out)
    if path.suffix != ".npz":
        raise ConfigError(f"{path}: the weights are NumPy's; name the file {path.with_suffix('.npz').name}")
    run = Run(workdir, trust=trust)
    task = to_plain(run.config)["task"]
    network: Any = getattr(run.experiment.task, "network", None)
    if not (hasattr(network, "embed") and hasattr(network, "classify")):
        raise RunError(f"{workdir}: its task has no network with the methods embed and classify")
    state = run.restore(step)
    state = averaged(state) if weights == "ema" else state
    variables = {"params": state.params["network"], **state.model_state["network"]}
    with disk_errors(path.parent, "made"):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, packed(task["network"], jax.tree.map(np.asarray, variables)))
    return path
