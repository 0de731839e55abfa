"""One measurement of `experiments/speed.py` in a process of its own: a request as JSON in, a line of JSON out."""

import time

_BEGUN = time.perf_counter()  # before the imports: they are part of what a user waits for

import importlib.metadata  # noqa: E402
import json  # noqa: E402
import math  # noqa: E402
import os  # noqa: E402
import statistics  # noqa: E402
import sys  # noqa: E402
from collections.abc import Mapping  # noqa: E402
from typing import Any  # noqa: E402

from speed_rows import Program, Settings, program  # noqa: E402

_PACKAGES = ("jgr", "jax", "flax", "optax", "torch", "numpy")


def versions() -> dict[str, str]:
    """Of what is installed for this interpreter."""
    found = {"python": sys.version.split()[0]}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def measure(run: Program, blocks: int, block_s: float) -> dict[str, Any]:
    """Times `blocks` blocks of about `block_s` seconds after a first step and a warm-up.

    Returns:
        `start_s`, from the start of the process to the end of the first step; `steps`, of a block; `block_ms`, the
        milliseconds a step of each block; and `ms`, their median.
    """
    run(1)
    start_s = time.perf_counter() - _BEGUN
    run(1)
    steps, seconds = _timed(run, 1)
    while seconds < block_s / 4:
        steps, seconds = _timed(run, 2 * steps)
    wanted = math.ceil(block_s * steps / seconds)
    timed = [_timed(run, wanted) for _ in range(blocks)]
    block_ms = [1e3 * seconds / steps for steps, seconds in timed]
    return {"start_s": start_s, "steps": timed[0][0], "block_ms": block_ms, "ms": statistics.median(block_ms)}


def _timed(run: Program, steps: int) -> tuple[int, float]:
    start = time.perf_counter()
    return run(steps), time.perf_counter() - start


def _device_of(side: str, device: str) -> dict[str, Any]:
    """Checks that the side computes where it should, sets what must be equal on both, and describes the device."""
    if side == "jgr":
        import jax

        found = jax.devices()[0]
        if found.platform != device:
            raise RuntimeError(f"JAX computes on {found.platform}, not on {device}")
        return {"kind": found.device_kind, "count": jax.device_count(), "threads": len(os.sched_getaffinity(0))}
    import torch

    # JAX's default: products of float32 matrices in TF32 where the GPU has it. No effect on a CPU.
    torch.set_float32_matmul_precision("high" if device == "gpu" else "highest")
    if device == "gpu":
        torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.benchmark = True
        return {"kind": torch.cuda.get_device_name(), "count": 1, "threads": torch.get_num_threads()}
    return {"kind": "cpu", "count": 1, "threads": torch.get_num_threads()}


def main(request: Mapping[str, Any]) -> dict[str, Any]:
    """What was asked for: `versions`, or the timing of a row's side."""
    if request["do"] == "versions":
        return {"versions": versions()}
    settings = Settings(**request["settings"])
    device = _device_of(request["side"], settings.device)
    run = program(request["program"], settings)
    return measure(run, request["blocks"], request["block_s"]) | {"device": device, "versions": versions()}


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
