"""Opens a run to look at, sample from and score; nothing here changes it."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from jaxtyping import Int, UInt8
from ml_collections import ConfigDict

from jgr.checkpoint import Checkpointer
from jgr.config import resolve
from jgr.errors import CheckpointError, ConfigError
from jgr.jobs.costs import describe_networks
from jgr.jobs.experiment import Evaluation, Experiment, open_evaluation, open_experiment
from jgr.jobs.explore.explorer import Explorer
from jgr.jobs.sampling import first_captions, make_sample, told_captions
from jgr.jobs.step import make_loader, state_shapes, state_shapes_from
from jgr.jobs.vocabulary import read_vocabulary
from jgr.mesh import Mesh
from jgr.processes import is_main
from jgr.run.folder import RunFolder
from jgr.state import TrainState, averaged
from jgr.tasks.task import Sampler

Weights = Literal["ema", "raw"]


class Run:
    """A run: its config, its numbers, its checkpoints, and what its task can do with them.

    Args:
        workdir: The run's folder.
        trust: Whether its config may name classes outside jgr, optax and flax: such code is run.

    Raises:
        RunError: If the folder is no run's.
        ConfigError: If its config does not resolve, or names code that is not trusted.
    """

    def __init__(self, workdir: str | Path, trust: bool = False) -> None:
        self.folder, self._trust = RunFolder.open(workdir, writes=is_main()), trust
        self.config: ConfigDict = resolve(self.folder.config(), Experiment, trust=trust)
        records = self.folder.manifest().get("records")
        experiment = open_experiment(self.config, trust=trust, num_records=records["number"] if records else None)
        self.experiment: Experiment = experiment.told(read_vocabulary(self.folder))

    @cached_property
    def mesh(self) -> Mesh:
        """The devices that score and sample: as in the config, or all there are where it asks for more."""
        mesh = self.experiment.mesh
        return mesh if mesh.fits() else Mesh()

    def evaluation(self, overrides: Sequence[tuple[str, str]] = ()) -> Evaluation:
        """How its checkpoints are scored, with other values for some keys.

        Args:
            overrides: Keys below `config.evaluation` and their values as text, such as ("num_samples", "50").

        Raises:
            ConfigError: A key is unknown, or a value impossible.
        """
        if not overrides:
            return self.experiment.evaluation
        changes = [(f"evaluation.{key}", text) for key, text in overrides]
        config = resolve(self.folder.config(), Experiment, changes, trust=self._trust)
        changed = dataclasses.replace(self.experiment, evaluation=open_evaluation(config, trust=self._trust))
        return changed.told(self.experiment.data.vocabulary).evaluation

    def guided(self, guidance: float) -> "Run":
        """This run with another guidance of what it draws by captions; see `jgr.tasks.vae.VAE`.

        Raises:
            ConfigError: If its task knows no guidance, or is told no captions.
        """
        task: Any = self.experiment.task
        if not hasattr(task, "guidance") or task.condition_name != "tokens":
            raise ConfigError(
                f"guidance = {guidance}: {type(task).__qualname__} of this run has none; only VAEs that are told "
                "captions have; leave it out"
            )
        run = Run(self.folder.path, trust=self._trust)
        run.experiment = dataclasses.replace(self.experiment, task=dataclasses.replace(task, guidance=guidance))
        return run

    @property
    def state(self) -> TrainState:
        """The newest checkpoint's state."""
        return self.restore("latest")

    def steps(self) -> list[int]:
        """Steps that have a checkpoint, in order."""
        return self._checkpoints.steps()

    def find_step(self, step: int | str) -> int:
        """The step that "latest", "best" or a number means.

        Raises:
            CheckpointError: If there is no such checkpoint.
        """
        steps = self.steps()
        if not steps:
            raise CheckpointError(f"{self.folder.path} has no checkpoint yet")
        if step == "latest":
            return steps[-1]
        if step == "best":
            best = self._checkpoints.best_step()
            if best is None:
                raise CheckpointError(
                    f"{self.folder.path} has no best checkpoint: its config has no validation that "
                    "decides. Name latest or a number"
                )
            return best
        if not str(step).isdigit():
            raise CheckpointError(f"step {step!r} must be latest, best or a number (or all, where jgr evaluate asks)")
        if int(step) not in steps:
            raise CheckpointError(
                f"{self.folder.path} has no checkpoint of step {step}; it has {', '.join(map(str, steps))}"
            )
        return int(step)

    def restore(self, step: int | str = "latest") -> TrainState:
        """The state of a checkpoint, checked against what was written.

        Args:
            step: "latest", "best" or a number.

        Raises:
            CheckpointError: If there is none, it is damaged, or it does not fit the config.
        """
        return self.restored(self.find_step(step))

    def restored(self, step: int) -> TrainState:
        """The state of a checkpoint that was there a moment ago.

        Raises:
            DamagedCheckpointError: If it is damaged, or gone.
        """
        return self._checkpoints.restore(step, self._abstract)[0]

    def sample(
        self,
        num: int,
        seed: int = 0,
        step: int | str = "latest",
        weights: Weights = "ema",
        batch_size: int = 64,
        captions: Sequence[str] | None = None,
    ) -> UInt8[np.ndarray, "num height width channels"]:
        """Generated images; the first k are the same however many are drawn.

        Args:
            num: How many.
            seed: Decides the latents.
            step: "latest", "best" or a number.
            weights: "ema" for the average where there is one, or "raw".
            batch_size: Images at a time.
            captions: What a text-conditional task is told, in turn; None for those of the first training records.

        Raises:
            ConfigError: If `num` or `weights` is impossible, or captions are given to a task that is told none.
            CheckpointError: If there is no such checkpoint, or the task generates no images.
        """
        if num < 1 or weights not in ("ema", "raw"):
            raise ConfigError(f"num = {num} must be at least 1, and weights = {weights!r} one of 'ema', 'raw'")
        task = self.experiment.task
        if not isinstance(task, Sampler):
            raise CheckpointError(
                f"{type(task).__qualname__} of {self.folder.path} generates no images: no method sample"
            )
        state = self.restore(step)
        return self.drawn(averaged(state) if weights == "ema" else state, num, seed, batch_size, captions)

    def drawn(
        self, state: TrainState, num: int, seed: int = 0, batch_size: int = 64, captions: Sequence[str] | None = None
    ) -> UInt8[np.ndarray, "num height width channels"]:
        """What `sample` makes of a state that was restored already; compiled once, however often it is called.

        Args:
            state: Of this run's task.
            num: As in `sample`, like the others.
            seed: Decides the latents.
            batch_size: Images at a time.
            captions: What a text-conditional task is told, in turn.

        Raises:
            ConfigError: Captions are given to a task that is told none.
        """
        told = self._tokens(num, captions)
        batches = []
        for start in range(0, num, batch_size):
            part = None if told is None else told[start : start + batch_size]
            batches.append(np.asarray(self._draw(state, seed, batch_size, start, part))[:batch_size])
        return np.concatenate(batches)[:num]

    @cached_property
    def _draw(self) -> Callable[..., Any]:
        return make_sample(self.experiment.task, self.mesh, "samples")

    def _tokens(self, num: int, captions: Sequence[str] | None) -> Int[np.ndarray, "num length"] | None:
        """What captions in turn, or those of the first training records, are to a task that is told captions."""
        if captions is None:
            return first_captions(self.experiment.task, self.experiment.data, num)
        return told_captions(self.experiment.task, self.experiment.data, captions, num)

    def explore(
        self,
        *,
        seed: int = 0,
        truncation: float | None = None,
        step: int | str = "latest",
        weights: Weights = "ema",
        quiet: bool = False,
    ) -> Explorer:
        """What else one does with it: class grids, interpolations, neighbours, inversions, latents of records.

        Args:
            seed: Decides the latents.
            truncation: Less variety for fewer failures; see `Explorer`.
            step: "latest", "best" or a number.
            weights: "ema" for the average where there is one, or "raw".
            quiet: Whether to show no progress.

        Raises:
            ConfigError: If the task makes no images, or cannot truncate, or `weights` is impossible.
            CheckpointError: If there is no such checkpoint.
        """
        if weights not in ("ema", "raw"):
            raise ConfigError(f"weights = {weights!r} must be one of 'ema', 'raw'")
        if self.experiment.task.condition_name == "tokens":
            raise ConfigError(
                f"{type(self.experiment.task).__qualname__} of this run is told captions: look at it by "
                "run.sample(captions=[…]), or jgr sample RUN --text"
            )
        state = self.restore(step)
        state = averaged(state) if weights == "ema" else state
        return Explorer(self.experiment, state, self.mesh, seed=seed, truncation=truncation, quiet=quiet)

    def metrics(self) -> list[dict[str, Any]]:
        """The rows of `metrics.jsonl`."""
        return self.folder.metrics()

    def results(self) -> list[dict[str, Any]]:
        """The rows of `results.jsonl`, of equal ones the newest."""
        return self.folder.results()

    def networks(self) -> dict[str, dict[str, Any]]:
        """Of each network, how many parameters it has and whether it is evaluated or only trains."""
        return describe_networks(self.experiment.task, self._abstract)

    @cached_property
    def _checkpoints(self) -> Checkpointer:
        return Checkpointer(self.folder.checkpoints_path, best=self.experiment.best, read_only=True)

    @cached_property
    def _abstract(self) -> TrainState:
        records = self.folder.manifest().get("records")
        if records is None:  # a run from before manifests told
            return self.mesh.with_shardings(state_shapes(self.experiment, make_loader(self.experiment)))
        batch = {
            name: jax.ShapeDtypeStruct(shape, np.dtype(dtype)) for name, (shape, dtype) in records["batch"].items()
        }
        return self.mesh.with_shardings(state_shapes_from(self.experiment, batch))


def load(workdir: str | Path, trust: bool = False) -> Run:
    """Opens a run's folder; see `Run`."""
    return Run(workdir, trust=trust)
