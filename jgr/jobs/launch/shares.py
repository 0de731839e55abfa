"""How processes that work at once share the cores and GPUs of a machine."""

import contextlib
import dataclasses
import importlib.util
import math
import os
from collections.abc import Iterator, Mapping
from typing import TypeVar

from jgr.processes import visible_gpus

T = TypeVar("T")

_MEMORY = 0.9  # of a GPU, for all processes on it; JAX alone would take three quarters for each


@dataclasses.dataclass(frozen=True)
class Share:
    """What one process has.

    Args:
        cores: Numbers of its CPU cores; none where the system does not tell.
        variables: Of its environment.
    """

    cores: frozenset[int]
    variables: Mapping[str, str]

    def environment(self) -> dict[str, str]:
        """This process's, with the variables of the share."""
        return {**os.environ, **self.variables}

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Processes that this thread starts inside have these cores."""
        if not self.cores:
            yield
            return
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, self.cores)
        try:
            yield
        finally:
            os.sched_setaffinity(0, before)


def default_jobs() -> int:
    """As many as there are GPUs that JAX can use, each for itself; one where there are none: it takes all cores."""
    has_cuda = any(importlib.util.find_spec(f"jax_cuda{version}_plugin") for version in (12, 13))
    on_cpu = os.environ.get("JAX_PLATFORMS", "").startswith("cpu")
    return max(1, len(visible_gpus())) if has_cuda and not on_cpu else 1


def shares(jobs: int) -> list[Share]:
    """The shares of a number of processes: cores and GPUs are divided; where there are fewer, several share one.

    Args:
        jobs: How many work at once.
    """
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    gpus = visible_gpus()
    found = []
    for place in range(jobs):
        variables = {"CUDA_VISIBLE_DEVICES": ",".join(_part(gpus, place, jobs))} if gpus else {}
        if 0 < len(gpus) < jobs and "XLA_PYTHON_CLIENT_MEM_FRACTION" not in os.environ:
            variables["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{_MEMORY / math.ceil(jobs / len(gpus)):.3f}"
        found.append(Share(frozenset(_part(cores, place, jobs)), variables))
    return found


def _part(things: list[T], place: int, parts: int) -> list[T]:
    """One of several even parts; a single one, in turn, where there are fewer things than parts."""
    if len(things) < parts:
        return things[place % len(things) :][:1] if things else []
    return things[place * len(things) // parts : (place + 1) * len(things) // parts]
