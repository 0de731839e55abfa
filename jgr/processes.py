"""Several processes that train one run together: who writes, and how they come to one mind."""

import json
import os
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np

from jgr import errors
from jgr.errors import ConfigError, JgrError

T = TypeVar("T")


def initialize(
    distributed: bool = False,
    coordinator_address: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
) -> None:
    """Joins the other processes of the job, where there are any; to be called before JAX touches a device.

    Slurm's `srun`, Open MPI's `mpirun` and GKE's TPU pods are noticed by their environment, and JAX finds the others.
    With none of them and no arguments nothing happens.

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
        jax.distributed.initialize(coordinator_address, num_processes, process_id)
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
    failure: Exception | None = None
    if is_main():
        try:
            outcome = {"result": function()}
        except Exception as error:
            failure = error
    raise_together(failure)
    result: T = _broadcast(outcome, 0)["result"]
    return result


def raise_together(failure: Exception | None) -> None:
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
    if failure is not None and first == jax.process_index():
        raise failure
    kind = getattr(errors, told["kind"], JgrError)
    raise kind(f"process {first}: {told['message']}") from failure


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
