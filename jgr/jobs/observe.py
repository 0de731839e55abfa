"""What looks at a training while it runs: the finite check, the log, pictures, validation."""

import dataclasses
import resource
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np

from jgr.data.loader import Loader
from jgr.data.source import aligned
from jgr.errors import MetricError, NonFiniteError
from jgr.flops import peak_flops
from jgr.images import grid
from jgr.jobs.experiment import Evaluation, Experiment
from jgr.jobs.mirror import Mirror
from jgr.jobs.panels import stacked
from jgr.jobs.progress import TrainingProgress, scalars
from jgr.jobs.restorations import Album, Restorations
from jgr.jobs.sampling import first_captions, make_sample
from jgr.jobs.score import Scorer
from jgr.jobs.scoring import Scoring
from jgr.run.folder import RunFolder
from jgr.state import TrainState, averaged
from jgr.tasks.task import Restorer, Sampler
from jgr.tasks.update import FINITE

MEASURED = ("images_per_s", "elapsed_s", "tflops_per_s", "mfu", "peak_memory_bytes")
"""What a line of metrics.jsonl says of the machine: it differs between equal trainings."""

_CONCERNED = 3  # lines one after another until a task's concern is told, once
_MAX_UNREAD = 100  # calls after which the checks for finite values are read, however rarely a line is logged


class Watch:
    """Stops the run at the first loss, gradient or parameter that is not finite.

    The checks of a call are read some calls later, so that the device never waits for the host.
    """

    def __init__(self, loader: Loader, folder: RunFolder) -> None:
        self._loader, self._folder = loader, folder
        self._unread: list[tuple[int, dict[str, Any]]] = []

    def add(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Takes the metrics of the call that ended with a step."""
        self._unread.append((step, {name: value for name, value in metrics.items() if name.startswith(FINITE)}))
        if len(self._unread) >= _MAX_UNREAD:
            self.check()

    def check(self) -> None:
        """Reads all that was taken.

        Raises:
            NonFiniteError: If something was not finite.
        """
        for step, checks in self._unread:
            finite = {name.removeprefix(FINITE): np.asarray(value) for name, value in jax.device_get(checks).items()}
            held = np.logical_and.reduce(list(finite.values()), axis=0)
            if not held.all():
                first = int(np.argmin(held))
                self._fail(step - len(held) + first + 1, [name for name, value in finite.items() if not value[first]])
        self._unread.clear()

    def _fail(self, step: int, terms: list[str]) -> None:
        records = np.ravel(self._loader.step_index(step - 1)).tolist()
        self._folder.update_manifest(failure={"step": step, "terms": terms, "records": records})
        shown = ", ".join(map(str, records[:8])) + (f", … ({len(records)} in run.json)" if len(records) > 8 else "")
        raise NonFiniteError(
            f"step {step}: not finite: {', '.join(terms)}. Records of the batch: {shown}. The last good checkpoint in "
            f"{self._folder.checkpoints_path} is kept. Lower the learning rate or set clip_norm of that optimizer"
        )


class Log:
    """Lines of metrics.jsonl: values of that very step, and the speed since the line before.

    Args:
        experiment: What is trained.
        folder: Where the lines go.
        progress: Shows them.
        mirror: Copies them.
        start: The step the training goes on from.
        flops: Operations of a step.
    """

    def __init__(
        self,
        experiment: Experiment,
        folder: RunFolder,
        progress: TrainingProgress,
        mirror: Mirror,
        start: int,
        flops: int,
    ) -> None:
        self._folder, self._progress, self._mirror, self._task = folder, progress, mirror, experiment.task
        self._concerned = 0
        self._images_per_step, self._flops = experiment.images_per_step, flops
        self._devices = list(experiment.mesh.devices.devices.flat)
        self._peak = peak_flops(self._devices[0], experiment.train.dtype)
        folder.cut_back_metrics(start)
        earlier = folder.metrics()
        self._begun = time.perf_counter() - (earlier[-1]["elapsed_s"] if earlier else 0.0)
        self._last_step, self._last_time = start, time.perf_counter()

    def compiled(self, step: int, metrics: Mapping[str, Any]) -> None:
        """After the first call: what is measured from here on is training, not compilation."""
        jax.block_until_ready(dict(metrics))
        now = time.perf_counter()
        self._progress.say(f"first step after {now - self._last_time:.1f} s")
        self._progress.restart(step)
        self._last_step, self._last_time = step, now

    @contextmanager
    def aside(self, metrics: Mapping[str, Any]) -> Iterator[None]:
        """What is done here does not count as training time.

        Args:
            metrics: Of the last call, which is waited for.
        """
        jax.block_until_ready(dict(metrics))
        begun = time.perf_counter()
        yield
        self._last_time += time.perf_counter() - begun

    def write(self, step: int, metrics: Mapping[str, Any], scores: Mapping[str, float]) -> None:
        """Writes the line of the call that ended with a step.

        Args:
            step: The step.
            metrics: What the call reported.
            scores: The validation's, where this step was validated.
        """
        values = scalars({name: value[-1] for name, value in jax.device_get(dict(metrics)).items()})
        values |= {f"validation/{name}": score for name, score in scores.items()}
        now = time.perf_counter()
        steps, seconds = step - self._last_step, now - self._last_time
        self._last_step, self._last_time = step, now
        steps_per_s = steps / seconds if steps else None
        images_per_s = steps_per_s and steps_per_s * self._images_per_step
        flops_per_s = steps_per_s and steps_per_s * self._flops
        measured = {
            "images_per_s": images_per_s,
            "elapsed_s": now - self._begun,
            "tflops_per_s": flops_per_s and flops_per_s / 1e12,
            "mfu": flops_per_s and self._peak and flops_per_s / (self._peak * len(self._devices)),
            "peak_memory_bytes": _peak_memory(self._devices),
        }
        self._folder.append_metrics({"step": step, "images_seen": step * self._images_per_step, **values, **measured})
        self._mirror.scalars(step, {**values, **measured})
        self._progress.log(step, values, images_per_s)
        concern = self._task.concern(values)
        self._concerned = self._concerned + 1 if concern else 0
        if concern and self._concerned == _CONCERNED:
            self._progress.say(f"step {step}: {concern}")


def _peak_memory(devices: list[jax.Device]) -> int:
    """The most bytes in use so far on any device of this process; of the whole process where devices do not tell."""
    stats = [device.memory_stats() for device in devices if device.process_index == jax.process_index()]
    peaks = [stat["peak_bytes_in_use"] for stat in stats if stat]
    if peaks:
        return max(peaks)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class Pictures:
    """Pictures at every step, from the weights that are evaluated: of the same latents, or of the same images restored.

    Restored are the first records of the validation, degraded as there, or else of the training data.
    """

    def __init__(self, experiment: Experiment, folder: RunFolder, mirror: Mirror) -> None:
        self._experiment, self._folder, self._mirror = experiment, folder, mirror
        self._sample = make_sample(experiment.task, experiment.mesh, "samples")
        self._told = first_captions(experiment.task, experiment.data, experiment.train.num_samples)
        looked_at = dataclasses.replace(experiment.validation or Evaluation(), batch_size=1)
        data = looked_at.data or experiment.data
        self._aligned = aligned(data.source)
        self._restorations = Restorations(Scoring(experiment.task, looked_at, data, experiment.mesh))

    def draw(self, step: int, state: TrainState) -> None:
        """Writes the picture of a step, if the task generates or restores images."""
        task, num = self._experiment.task, self._experiment.train.num_samples
        if isinstance(task, Sampler):
            drawn = self._sample(averaged(state), self._experiment.seed, num, told=self._told)
            picture = grid(np.asarray(drawn)[:num])
        elif isinstance(task, Restorer):
            album = Album(num, self._aligned)
            for batch in self._restorations.batches(averaged(state), self._experiment.seed, num_records=num):
                album.add(batch)
            picture = stacked(album.panels)
        else:
            return
        self._folder.write_png(f"step_{step:08d}.png", picture)
        self._mirror.image(step, "samples", picture)


class Validator:
    """Scores the state before a checkpoint, where the config has a validation."""

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment
        self._validation = experiment.validation
        self._scorer = None
        if self._validation:
            self._scorer = Scorer(experiment.task, self._validation, experiment.data, experiment.mesh)

    def score(self, step: int, state: TrainState, progress: TrainingProgress) -> dict[str, float]:
        """The scores of a state by the metrics' names in the config, the first of which decides; empty without any.

        Raises:
            MetricError: The metric that decides has no value.
        """
        if self._validation is None or self._scorer is None:
            return {}
        deciding, *_ = self._validation.metrics
        scores = self._scorer.score(state, self._experiment.seed, self._validation.weights)
        if deciding in self._scorer.failures:
            raise MetricError(f"step {step}: the validation failed: {self._scorer.failures[deciding]}")
        progress.say(f"step {step}: {scores[0].protocol} {scores[0].value:.4g} on {scores[0].dataset} (validation)")
        named = [name for name in self._validation.metrics if name not in self._scorer.failures]
        return {name: score.value for name, score in zip(named, scores, strict=True)}
