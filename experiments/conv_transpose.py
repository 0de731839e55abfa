"""Times `jgr.layers` against Flax's convolutions at the sizes of DCGAN: `python experiments/conv_transpose.py`.

For every layer it prints the milliseconds of the forward pass, of forward and both gradients, and, for strided
convolutions, of the gradient of an R1 penalty. The versions take turns, so that a busy machine slows both; the numbers
are medians. `forward+grads` is what an optimiser step computes. Table, rows and manifest go to results/conv_transpose/.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array
from tabulate import tabulate

from jgr.files import write_json, write_text
from jgr.layers import Conv, ConvTranspose
from jgr.run.manifest import environment

# side, channels in, channels out of the 28, 32 and 64 pixel generators; the discriminator runs them backwards
LAYERS = [
    (7, 128, 64),
    (14, 64, 1),
    (8, 128, 64),
    (16, 64, 3),
    (4, 512, 256),
    (8, 256, 128),
    (16, 128, 64),
    (32, 64, 3),
]
PASSES = ("forward", "forward+grads", "penalty grad")


def milliseconds(function: Callable[..., object], *arguments: object) -> float:
    """Of one call, to the end of its computation."""
    start = time.perf_counter()
    jax.block_until_ready(function(*arguments))
    return (time.perf_counter() - start) * 1e3


def operations(layer: nn.Module) -> dict[str, Callable[..., object]]:
    """The compiled passes to time, functions of variables, images, and the gradient that comes from above."""

    def loss(variables: Any, images: Array, weights: Array) -> Array:
        return jnp.vdot(weights, cast(Array, layer.apply(variables, images)))

    def penalty(variables: Any, images: Array, weights: Array) -> Array:
        return jnp.sum(jax.grad(loss, argnums=1)(variables, images, weights) ** 2)

    return {
        "forward": jax.jit(lambda variables, images, weights: layer.apply(variables, images)),
        "forward+grads": jax.jit(jax.value_and_grad(loss, argnums=(0, 1))),
        "penalty grad": jax.jit(jax.grad(penalty)),
    }


def compare(
    ours: nn.Module, flax: nn.Module, images: Array, passes: Sequence[str], repeats: int
) -> Iterator[tuple[str, float, float, float]]:
    """One row a pass: its name, median milliseconds of Flax and of ours, and their ratio."""
    output, variables = ours.init_with_output(jax.random.key(1), images)
    arguments = (variables, images, jax.random.normal(jax.random.key(2), output.shape))
    ours_operations, flax_operations = operations(ours), operations(flax)
    for name in passes:
        pair = (flax_operations[name], ours_operations[name])
        for function in pair:
            milliseconds(function, *arguments)
        times = [[milliseconds(function, *arguments) for function in pair] for _ in range(repeats)]
        theirs, mine = (statistics.median(column) for column in zip(*times, strict=True))
        yield name, theirs, mine, theirs / mine


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path("results/conv_transpose"))
    options = parser.parse_args()
    rows: list[tuple[object, ...]] = []
    for side, low, high in LAYERS:
        for kind, ours, flax, size, channels, features, passes in (
            ("transposed", ConvTranspose, nn.ConvTranspose, side, low, high, PASSES[:2]),
            ("strided", Conv, nn.Conv, 2 * side, high, low, PASSES),
        ):
            images = jax.random.normal(jax.random.key(0), (options.batch, size, size, channels))
            ours_layer, flax_layer = (layer(features, (4, 4), (2, 2), use_bias=False) for layer in (ours, flax))
            for row in compare(ours_layer, flax_layer, images, passes, options.repeats):
                rows.append((kind, f"{size}x{size}x{channels} -> {features}", *row))
    headers = ["layer", "size", "pass", "flax ms", "jgr ms", "ratio"]
    table = (
        f"JAX {jax.__version__}, {jax.devices()[0].device_kind}: batch {options.batch}, kernel 4, stride 2, medians of "
        f"{options.repeats} interleaved calls\n\n{tabulate(rows, headers=headers, floatfmt='.1f', tablefmt='github')}\n"
    )
    print(table)
    folder: Path = options.out
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "table.md", table)
    write_text(folder / "rows.jsonl", "".join(json.dumps(dict(zip(headers, row, strict=True))) + "\n" for row in rows))
    write_json(folder / "manifest.json", {"command": sys.argv, "environment": environment()})


if __name__ == "__main__":
    main()
