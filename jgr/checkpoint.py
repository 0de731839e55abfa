"""Checkpoints on Orbax: saved asynchronously, checked when restored, moved aside when damaged."""

import functools
import json
import math
import re
import time
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from jgr.errors import CheckpointError, DamagedCheckpointError
from jgr.processes import on_main, raise_together
from jgr.state import TrainState, checksums, leaves_by_name

SCORE = "score"

# A lack of memory, of rights or of file handles says nothing about a checkpoint, and must not move a sound one aside.
_LACKS = (MemoryError, jax.errors.JaxRuntimeError, OSError)
_MISSING = (FileNotFoundError, IsADirectoryError, NotADirectoryError)
_STORAGE_LACKS = re.compile(r"os_error_code='(?!(2|20|21)')")  # the same in TensorStore, whose errors are ValueErrors


class _Manager(ocp.CheckpointManager):
    """Orbax's manager without its question for preemption: it has a count of its own, and the training asks already."""

    def reached_preemption(self, step: int) -> bool:
        return False


class Checkpointer:
    """The checkpoints of one run.

    A checkpoint holds the state, the position in the data, and what is needed to tell whether it fits and is sound:
    shape, type and checksum of every array. Several processes that train together all call it alike.

    Args:
        folder: Where they lie, one folder a step.
        keep: How many of the newest are kept.
        keep_every: Every checkpoint at a multiple of this step is kept too; 0 for none.
        best: Whether the "min" or the "max" of the scores given to `save` marks the best checkpoint, which is kept
            too; None where there are no scores.
        read_only: For jobs that look on while another process trains.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        keep: int = 2,
        keep_every: int = 0,
        best: Literal["min", "max"] | None = None,
        read_only: bool = False,
    ) -> None:
        self.folder = Path(folder).absolute()
        self._best, self._read_only = best, read_only
        if read_only:
            options = ocp.CheckpointManagerOptions(create=False)  # its own read_only warns each time it opens
        else:
            kept: list[Any] = [policies.LatestN(keep)]
            if keep_every:
                kept.append(policies.EveryNSteps(keep_every))
            if best:
                # Unscored checkpoints must not count as best, or every one of them would be kept.
                kept.append(
                    policies.BestN(
                        get_metric_fn=_score, n=1, reverse=best == "min", keep_checkpoints_without_metrics=False
                    )
                )
            options = ocp.CheckpointManagerOptions(
                preservation_policy=policies.AnyPreservationPolicy(kept),
                best_fn=_score if best else None,
                best_mode=best or "max",
                keep_checkpoints_without_metrics=not best,
                cleanup_tmp_directories=True,
            )
        self._options = options
        if read_only:
            self.steps()
        else:
            _ = self._manager  # clears away what an interrupted save left

    def save(self, step: int, state: TrainState, position: int, score: float | None = None, **about: Any) -> None:
        """Starts writing a checkpoint; the state may be donated as soon as this returns.

        Args:
            step: Its step.
            state: All of it.
            position: Records consumed so far.
            score: What marks the best, from a validation split; NaN is no score.
            about: More to store with it, as JSON.

        Raises:
            CheckpointError: If this one was refused, or an earlier one could not be written.
        """
        if self._read_only:
            raise CheckpointError(f"{self.folder} was opened for reading: no checkpoint of step {step} can be saved")
        score = None if score is None or math.isnan(score) else score
        meta = {"arrays": _array_specs(state, checksums(state)), "time": time.time(), SCORE: score, **about}
        arguments = ocp.args.Composite(
            state=ocp.args.StandardSave(state),
            data=ocp.args.JsonSave({"position": position, "crc32": _seal(meta, position)}),
            meta=ocp.args.JsonSave(meta),
        )
        try:
            metrics = None if score is None else {SCORE: score}
            saved = self._manager.save(step, args=arguments, metrics=metrics)
        except Exception as error:  # whatever storage raises, the run's owner needs one line
            raise self._write_error(step, error) from error
        if not saved:
            raise CheckpointError(
                f"the checkpoint of step {step} was refused: {self.folder} holds one of step "
                f"{self._manager.latest_step()}, and only a later one can follow"
            )

    def restore(self, step: int, abstract: TrainState) -> tuple[TrainState, dict[str, Any]]:
        """The state at a step, and what was stored about it.

        Args:
            step: One of `steps()`.
            abstract: The types and shapes that are wanted, as `jax.ShapeDtypeStruct`; where they say how an array is
                cut over devices, it comes so, however it was when saved.

        Raises:
            CheckpointError: If the checkpoint is of another architecture.
            DamagedCheckpointError: If it cannot be read, or its bytes are not those written.
        """
        place, meta = self.folder / str(step), self._stored(step)
        specs = meta.pop("arrays")
        _check_architecture(specs, _array_specs(abstract), place)
        on_one_device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        wanted = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding or on_one_device), abstract
        )
        try:
            restored = self._manager.restore(step, args=ocp.args.Composite(state=ocp.args.StandardRestore(wanted)))
        except Exception as error:  # whatever storage raises, see `_reading_error`
            raise _reading_error(place, error) from error
        for name, checksum in checksums(restored.state).items():
            if checksum != specs[name]["checksum"]:
                raise DamagedCheckpointError(f"checkpoint {place} is damaged: {name} is not what was written")
        return restored.state, meta

    def steps(self) -> list[int]:
        """Steps that have a checkpoint now, in order; what is still being written does not count."""
        try:
            return sorted(int(entry.name) for entry in self.folder.iterdir() if entry.name.isdigit())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._listing_error(error) from error

    def best_step(self) -> int | None:
        """The step with the best score, the later of equal ones; None where none was scored."""
        scores = {}
        for step in self.steps():
            score = self._stored(step)[SCORE]
            if score is not None:
                scores[step] = score * (-1 if self._best == "min" else 1)
        return max(scores, key=lambda step: (scores[step], step)) if scores else None

    def wait(self) -> None:
        """Returns when all is on disk.

        Raises:
            CheckpointError: If the last checkpoint could not be written.
        """
        try:
            self._manager.wait_until_finished()
        except Exception as error:
            raise self._write_error(None, error) from error

    def close(self) -> None:
        """Waits and frees threads."""
        if "_manager" not in vars(self):
            return
        try:
            self.wait()
        finally:
            self._manager.close()

    def __enter__(self) -> "Checkpointer":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and jax.process_count() > 1:
            return  # closing waits for the other processes, which may not know of the error
        try:
            self.close()
        except CheckpointError:
            if kind is None:  # an earlier error is the one to report
                raise

    @functools.cached_property
    def _manager(self) -> _Manager:
        """Orbax's manager. Several processes must make it at the same time: each waits for the others."""
        try:
            return _Manager(self.folder, options=self._options)
        except (OSError, ValueError) as error:
            raise self._listing_error(error) from error

    def _stored(self, step: int) -> dict[str, Any]:
        """What was stored about a state."""
        place = self.folder / str(step)
        try:  # not through Orbax, which would wait for all processes
            meta = json.loads((place / "meta" / "metadata").read_bytes())
            data = json.loads((place / "data" / "metadata").read_bytes())
            position, sealed = data["position"], data["crc32"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _reading_error(place, error) from error
        if _seal(meta, position) != sealed:
            raise DamagedCheckpointError(f"checkpoint {place} is damaged: its description is not what was written")
        return {**meta, "position": position}

    def _listing_error(self, error: Exception) -> CheckpointError:
        return CheckpointError(f"{self.folder} cannot be used for checkpoints: {_first_line(error)}")

    def _write_error(self, step: int | None, error: Exception) -> CheckpointError:
        which = "the last checkpoint" if step is None else f"the checkpoint of step {step} (or the one before it)"
        return CheckpointError(
            f"{which} could not be written to {self.folder}: {_first_line(error)}; earlier ones are kept"
        )


def restore_newest(
    folder: Path, abstract: TrainState, report: Callable[[str], None]
) -> tuple[TrainState, dict[str, Any]] | None:
    """The newest sound checkpoint below `folder`; damaged ones newer than it are moved into `damaged/` beside it.

    Call it before a `Checkpointer` for writing opens: a damaged checkpoint left in place would make Orbax refuse every
    save at a lower step.

    Returns:
        State and what was stored about it; None where there is no checkpoint.

    Raises:
        CheckpointError: If the newest sound checkpoint is of another architecture; nothing is moved then.
    """
    for step in on_main(lambda: _sound_steps(folder, report)):
        found, failure = _restored(folder, step, abstract)
        try:
            raise_together(failure)
        except DamagedCheckpointError as error:
            on_main(partial(_move_aside, folder / str(step), error, report))
        else:
            return found
    return None


def _sound_steps(folder: Path, report: Callable[[str], None]) -> list[int]:
    """Steps with a checkpoint, the newest first; those whose score cannot be read are moved aside before.

    Orbax reads the scores of all steps whenever it opens a folder.
    """
    if not folder.is_dir():
        return []
    steps = sorted((int(entry.name) for entry in folder.iterdir() if entry.name.isdigit()), reverse=True)
    for step in steps:
        try:
            _check_score(folder / str(step))
        except DamagedCheckpointError as error:
            _move_aside(folder / str(step), error, report)
    return [step for step in steps if (folder / str(step)).is_dir()]


def _restored(
    folder: Path, step: int, abstract: TrainState
) -> tuple[tuple[TrainState, dict[str, Any]] | None, CheckpointError | None]:
    """State and what was stored about it, or why it cannot be restored."""
    try:
        with Checkpointer(folder, read_only=True) as reader:
            return reader.restore(step, abstract), None
    except CheckpointError as error:
        return None, error


def _check_score(place: Path) -> None:
    try:
        json.loads((place / "metrics" / "metrics").read_bytes())
    except _MISSING:
        return  # it was not scored
    except (OSError, ValueError) as error:
        raise _reading_error(place, error) from error


def _move_aside(place: Path, error: DamagedCheckpointError, report: Callable[[str], None]) -> None:
    aside = place.parent.parent / "damaged" / f"{place.name}-{time.strftime('%Y%m%dT%H%M%S')}"
    try:
        aside.parent.mkdir(exist_ok=True)
        place.rename(aside)
    except OSError as failure:
        raise CheckpointError(f"{error}; it could not be moved to {aside}: {failure}") from failure
    report(f"{error}. Moved to {aside}; going on without it")


def _reading_error(place: Path, error: Exception) -> CheckpointError:
    """Orbax and TensorStore raise many kinds of error for a checkpoint that lacks something or does not decode."""
    link: BaseException | None = error
    while link is not None:
        if (isinstance(link, _LACKS) and not isinstance(link, _MISSING)) or _STORAGE_LACKS.search(str(link)):
            return CheckpointError(f"checkpoint {place} could not be read: {_first_line(link)}. Nothing was changed")
        link = link.__cause__ or link.__context__
    return DamagedCheckpointError(f"checkpoint {place} cannot be read: {_first_line(error)}")


def _score(metrics: dict[str, float]) -> float:
    return metrics[SCORE]


def _seal(meta: dict[str, Any], position: int) -> int:
    """CRC-32 of what is stored about a state."""
    return zlib.crc32(json.dumps([meta, position], sort_keys=True).encode())


def _array_specs(state: TrainState, checksums: Mapping[str, int] = {}) -> dict[str, dict[str, Any]]:
    specs: dict[str, dict[str, Any]] = {
        name: {"shape": list(leaf.shape), "dtype": str(leaf.dtype)} for name, leaf in leaves_by_name(state).items()
    }
    for name, value in checksums.items():
        specs[name]["checksum"] = value
    return specs


def _check_architecture(stored: dict[str, Any], wanted: dict[str, Any], place: Path) -> None:
    differing = []
    for name in sorted({*stored, *wanted}):
        old, new = (_describe(specs.get(name)) for specs in (stored, wanted))
        if old != new:
            differing.append(f"{name} is {old} there and {new} in the config")
    if differing:
        more = f" and {len(differing) - 2} more" if len(differing) > 2 else ""
        raise CheckpointError(
            f"checkpoint {place} is of another architecture: {'; '.join(differing[:2])}{more}. Nothing was changed; "
            "use the config that made it, or another --workdir"
        )


def _describe(spec: dict[str, Any] | None) -> str:
    return "missing" if spec is None else f"{spec['dtype']}[{','.join(map(str, spec['shape']))}]"


def _first_line(error: BaseException) -> str:
    """Type and first line of an error; of a long one both ends, for TensorStore says the reason last."""
    line = next(iter(str(error).strip().splitlines()), "")
    line = line if len(line) <= 400 else f"{line[:200]} … {line[-200:]}"
    return f"{type(error).__name__}: {line}" if line else type(error).__name__
