"""Whether streamed data keeps a training step fed: `python experiments/feed.py`.

A DCGAN of 28x28 pixels trains on MNIST (TFDS, PNGs in ArrayRecord) and on a folder of 10,000 JPEGs of it, each once
with the decoded set on the device and once streamed: the host opens, decodes and sends every batch. Both take turns, a
block of steps each, in one process; loop times are medians of the blocks, and their ratio is what streaming costs. The
process's peak memory is noted after the first tenth of the steps and at the end. A network of width 4 hardly computes,
so its rows tell how much data the host can stream. Table, rows and manifest go to results/feed/. Needs MNIST: `jgr data
prepare mnist`.
"""

import argparse
import json
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
from PIL import Image
from tabulate import tabulate
from tqdm import tqdm

from jgr.config import load_config_file, resolve
from jgr.data import TFDS
from jgr.files import write_json, write_text
from jgr.jobs.experiment import Experiment, open_experiment
from jgr.jobs.step import abstract_state, initial_state, make_loader, make_step
from jgr.run.manifest import environment

CONFIG = Path(__file__).resolve().parents[1] / "configs/gan/dcgan_mnist.py"


def blocks(source: dict[str, Any], mode: str, width: int, num_steps: int, block: int) -> Iterator[float]:
    """Milliseconds a step, block after block, of a training that is advanced by asking."""
    config = load_config_file(str(CONFIG))
    config.data = dict(source=source, mode=mode)
    config.mesh = dict(data=1)
    config.task.generator.width = config.task.discriminator.width = width
    experiment = open_experiment(resolve(config, Experiment, [("train.num_steps", str(num_steps + block))]))
    loader = make_loader(experiment)
    abstract = abstract_state(experiment, loader)
    step, state = make_step(experiment, loader, abstract), initial_state(experiment, loader, abstract)
    start = time.perf_counter()
    for number, batches in enumerate(loader.batches(0, num_steps + block), 1):
        state, metrics = step(state, loader.arrays, batches, number - 1)
        if number % block == 0:
            jax.block_until_ready(metrics)
            if number > block:  # the first compiles
                yield (time.perf_counter() - start) / block * 1e3
            start = time.perf_counter()  # the other's turn does not count


def peak_mib() -> float:
    """Most memory that the process had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def measure(name: str, source: dict[str, Any], width: int, num_steps: int, block: int) -> dict[str, Any]:
    """One row."""
    trainings = {mode: blocks(source, mode, width, num_steps, block) for mode in ("resident", "streamed")}
    times: dict[str, list[float]] = {mode: [] for mode in trainings}
    early = 0.0
    for number in tqdm(range(num_steps // block), desc=name, unit="block", disable=None):
        for mode in trainings if number % 2 else reversed(trainings):
            times[mode].append(next(trainings[mode]))
        if not early and (number + 1) * block >= num_steps / 10:
            early = peak_mib()
    medians = {mode: statistics.median(values) for mode, values in times.items()}
    ratios = [streamed / resident for resident, streamed in zip(*times.values(), strict=True)]
    return {
        "data": name,
        "width": width,
        "steps": num_steps,
        "resident ms": medians["resident"],
        "streamed ms": medians["streamed"],
        "streamed / resident": statistics.median(ratios),
        "peak MiB after a tenth": early,
        "peak MiB at the end": peak_mib(),
    }


def write_jpegs(folder: Path, num: int) -> None:
    """The first images of MNIST as JPEGs."""
    source = TFDS(dataset="mnist", split=f"train[:{num}]")
    for index in range(num):
        Image.fromarray(source[index]["image"][..., 0]).save(folder / f"{index:05d}.jpg", quality=90)


def main() -> None:
    """Measures, prints and writes the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=600, help="of every training (default: %(default)s)")
    parser.add_argument("--block", type=int, default=50, help="steps at a turn (default: %(default)s)")
    parser.add_argument("--jpegs", type=int, default=10_000, help="files in the folder (default: %(default)s)")
    parser.add_argument(
        "--long", type=int, default=2000, help="steps with a network of width 4, for the memory (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, default=Path("results/feed"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_jpegs(Path(folder), options.jpegs)
        sources = {
            "MNIST, ArrayRecord of PNGs": dict(cls="jgr.data.tfds.TFDS", dataset="mnist", split="train"),
            f"folder of {options.jpegs:,} JPEGs": dict(cls="jgr.data.folder.ImageFolder", path=folder, color="gray"),
        }
        rows = [
            measure(name, source, width, num_steps, options.block)
            for width, num_steps in ((4, options.long), (64, options.steps))
            for name, source in sources.items()
        ]
    device = jax.devices()[0]
    table = (
        f"JAX {jax.__version__}, {device.device_kind}, {environment()['platform']['cores']} cores: DCGAN 28x28, batch "
        f"64; medians of blocks of {options.block} steps, taking turns\n\n"
        f"{tabulate(rows, headers='keys', floatfmt='.3f', tablefmt='github')}\n"
    )
    print(table)
    options.out.mkdir(parents=True, exist_ok=True)
    write_text(options.out / "table.md", table)
    write_text(options.out / "rows.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    write_json(options.out / "manifest.json", {"command": sys.argv, "environment": environment()})


if __name__ == "__main__":
    main()
