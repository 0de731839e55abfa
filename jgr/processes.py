"""Several processes that train one run together: who writes, and how they come to one mind."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np

from jgr import errors
from jgr.errors import ConfigError, JgrError, RunError

T = TypeVar("T")


def initialize(
    distributed: bool = False,
    coordinator_address: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
) -> None:
    """Joins the other processes of the job, where there are any; to be called before JAX touches a device.

    Slurm's `srun`, Open MPI's `mpirun` and GKE's TPU pods are noticed by their environment, and JAX finds the others.
    There may be one process a machine, which takes all its GPUs, or one a GPU. With no launcher and no arguments
    nothing happens.

    Args:
        distributed: Whether there are others though the environment does not say so, as on a TPU pod whose workers
            were started by ssh.
        coordinator_address: HOST:PORT of process 0, where no launcher tells it.
        num_processes: How many there are.
        process_id: Which this is.

    Raises:
        ConfigError: The arguments are incomplete, or the others cannot be reached.
    """
    given = {
        "--coordinator_address": coordinator_address,
        "--num_processes": num_processes,
        "--process_id": process_id,
    }
    missing = [name for name, value in given.items() if value is None]
    if missing and len(missing) < len(given):
        raise ConfigError(f"{', '.join(given)} belong together: {', '.join(missing)} missing")
    if missing and not distributed and not _launched_together():
        return
    if num_processes is not None and process_id is not None and not 0 <= process_id < num_processes:
        raise ConfigError(f"--process_id={process_id} must be from 0 to {num_processes - 1}")
    try:
        if missing:
            jax.distributed.initialize(local_device_ids=_own_gpus())
        else:
            jax.distributed.initialize(
                coordinator_address, num_processes, process_id, cluster_detection_method="deactivate"
            )
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(
            f"the processes of this job did not find each other: {reason}; give --coordinator_address, "
            "--num_processes and --process_id"
        ) from error


def _launched_together() -> bool:
    """Whether the environment is that of one process among several."""
    count = os.environ.get
    return (
        int(count("SLURM_STEP_NUM_TASKS", "1")) > 1
        or int(count("OMPI_COMM_WORLD_SIZE", "1")) > 1
        or "," in count("TPU_WORKER_HOSTNAMES", "")
    )


def _own_gpus() -> list[int] | None:
    """All GPUs of the machine, where this is the launcher's only process on it; None leaves the choice to JAX.

    JAX takes one GPU for each of a launcher's processes, also where there is but one.
    """
    local = os.environ.get("OMPI_COMM_WORLD_LOCAL_SIZE") or os.environ.get("SLURM_STEP_TASKS_PER_NODE", "")
    if local.partition("(")[0] != "1":
        return None
    return list(range(len(visible_gpus()))) or None


def visible_gpus() -> list[str]:
    """The NVIDIA GPUs that processes started here may use, as `CUDA_VISIBLE_DEVICES` names them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return [str(number) for number, _ in enumerate(Path("/proc/driver/nvidia/gpus").glob("*"))]
    return [name for name in visible.split(",") if name and name != "-1"]


def is_main() -> bool:
    """Whether this process is the one that writes and prints."""
    return jax.process_index() == 0


def on_main(function: Callable[[], T]) -> T:
    """What `function` returns in process 0, in every process; what it raises is raised in all.

    Args:
        function: Called in process 0 only. Where there are several processes its result must survive JSON.
    """
    if jax.process_count() == 1:
        return function()
    outcome: dict[str, Any] = {}
    failure: BaseException | None = None
    if is_main():
        try:
            outcome = {"result": function()}
            json.dumps(outcome)
        except BaseException as error:
            failure = error
    raise_together(failure)
    result: T = _broadcast(outcome, 0)["result"]
    return result


def require_equal(value: Any, what: str) -> None:
    """Checks that all processes have the value that process 0 has.

    Args:
        value: Anything that survives JSON.
        what: What an error calls it.

    Raises:
        RunError: In every process, if some has another.
    """
    main = on_main(lambda: value)
    failure = None if value == main else RunError(f"{what} is {value!r} here and {main!r} in process 0")
    raise_together(failure)


@contextmanager
def together() -> Iterator[None]:
    """What is raised inside is raised in every process; nothing inside may wait for another process."""
    failure: BaseException | None = None
    try:
        yield
    except BaseException as error:
        failure = error
    raise_together(failure)


def is_shared(error: BaseException) -> bool:
    """Whether every process has raised this error, so that none waits for another."""
    return jax.process_count() == 1 or bool(getattr(error, "shared", False))


def raise_together(failure: BaseException | None) -> None:
    """Raises in every process what failed in any, so that none waits for one that is gone.

    Args:
        failure: What this process would raise, or None.
    """
    if jax.process_count() == 1:
        if failure is not None:
            raise failure
        return
    from jax.experimental import multihost_utils

    failed = np.ravel(multihost_utils.process_allgather(np.int32(failure is not None)))
    if not failed.any():
        return
    first = int(np.argmax(failed))
    told = _broadcast({"kind": type(failure).__name__, "message": str(failure)}, first)
    if failure is None or first != jax.process_index():
        kind = getattr(errors, told["kind"], JgrError)
        failure = kind(f"process {first}: {told['message']}")
    setattr(failure, "shared", True)  # noqa: B010 (no class of ours declares it)
    raise failure


def _broadcast(value: dict[str, Any], source: int) -> dict[str, Any]:
    """JSON of one process, in all."""
    from jax.experimental import multihost_utils

    is_source = jax.process_index() == source
    text = json.dumps(value).encode() if is_source else b""
    length = int(multihost_utils.broadcast_one_to_all(np.int32(len(text)), is_source))
    padded = np.zeros(length, np.int32)
    padded[: len(text)] = np.frombuffer(text, np.uint8)
    received = np.asarray(multihost_utils.broadcast_one_to_all(padded, is_source))
    result: dict[str, Any] = json.loads(received.astype(np.uint8).tobytes())
    return result
