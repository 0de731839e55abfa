"""Times jgr against plain PyTorch, the same network, batch and precision: `python experiments/speed.py`.

Every measurement is a process of its own, one after another. A round measures each contender of a row once, in an order
that turns from round to round, so that a machine that slows down slows all; the numbers are medians over the rounds,
the ratios medians of the rounds' own ratios. The contenders are jgr in every lane, and in the first lane that has
PyTorch its eager mode and `torch.compile`, both with channels last and the fused form of Adam. A lane is an
interpreter:

    python experiments/speed.py --lanes jax-0.10=/opt/py311/bin/python jax-0.12=/opt/py313/bin/python
    python experiments/speed.py --only=mlp_vae,dncnn --rounds=5 --batch=32,128
    python experiments/speed.py --device=gpu --dtype=bfloat16 --batch=64,256,1024
    python experiments/speed.py --table

It writes `rows.jsonl` (one line a process, as soon as it ends), `table.md`, `table.csv`, `manifest.json` and, with
matplotlib, `ratios.png` and `ratios.svg` to results/speed/. MNIST and CIFAR-10 come from `$TFDS_DATA_DIR` where they
are prepared there; else noise of their sizes takes their place. Decoding them is not timed. The rows are in
`experiments/speed_rows.py`; those of networks for restoration, in `experiments/speed_restoration.py`, of the larger
GANs in `experiments/speed_gan.py`.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from speed_report import write_report
from speed_rows import MATMUL, ROWS
from speed_table import write_tables
from tqdm import tqdm

from jgr.data.tfds import TFDS
from jgr.errors import DataError
from jgr.files import write_json, write_text
from jgr.run.manifest import environment, git_state

_WORKER = Path(__file__).with_name("speed_worker.py")
_TIMEOUT_S = 3600  # of one process
_CONTENDERS = ["jgr", "eager", "compile"]
_NUM_IMAGES = {"mnist": 60_000, "cifar10": 50_000}  # of noise where the data set is missing


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures what the command line asks for and writes it, or writes tables again."""
    options = _options(arguments)
    folder: Path = options.out
    folder.mkdir(parents=True, exist_ok=True)
    if not options.table:
        lanes = {name: _versions(python, options) for name, python in options.lanes.items()}
        command = ["experiments/speed.py", *(sys.argv[1:] if arguments is None else arguments)]
        manifest = {
            "begun": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": command,
            "environment": environment(devices=False),
            "git": [
                {key: value for key, value in state.items() if key != "root"} for state in git_state([_WORKER.parent])
            ],
            "lanes": lanes,
        }
        write_json(folder / "manifest.json", manifest)
        write_text(folder / "rows.jsonl", "")
        with tempfile.TemporaryDirectory() as scratch, (folder / "rows.jsonl").open("a") as file:
            for line in _measured(options, lanes, Path(scratch)):
                file.write(json.dumps(line) + "\n")
                file.flush()
    lines = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    print(write_tables(folder, lines))
    write_report(folder, lines)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [row.name for row in ROWS]
    parser.add_argument(
        "--only",
        type=lambda text: text.split(","),
        default=names,
        metavar="ROW,…",
        help=f"measure these rows, and {MATMUL}; all: {', '.join(names)}",
    )
    parser.add_argument(
        "--contenders",
        type=lambda text: text.split(","),
        default=_CONTENDERS,
        metavar="NAME,…",
        help=f"measure these of {', '.join(_CONTENDERS)} (default: all)",
    )
    parser.add_argument("--rounds", type=int, default=5, help="how often each contender is measured (default: 5)")
    parser.add_argument("--blocks", type=int, default=5, help="timed blocks of steps in a process (default: 5)")
    parser.add_argument("--block-s", type=float, default=0.5, help="about how long a block is (default: 0.5 s)")
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu", help="where to compute (default: cpu)")
    parser.add_argument(
        "--dtype",
        choices=("float32", "bfloat16"),
        default="float32",
        help="of the computation; PyTorch's by autocast, parameters stay float32 (default: float32)",
    )
    parser.add_argument(
        "--batch",
        type=lambda text: [int(size) for size in text.split(",")],
        default=[],
        metavar="N,…",
        help="images in a step, for every row; several to find where images/s stop to grow (default: each row's own)",
    )
    parser.add_argument(
        "--lanes",
        nargs="+",
        default=[f"here={sys.executable}"],
        metavar="NAME=PYTHON",
        help="interpreters; jgr is measured in each that has it, PyTorch in the first that has it (default: this one)",
    )
    parser.add_argument(
        "--launch", type=shlex.split, default=[], help="put before every process, such as 'taskset -c 0-7'"
    )
    parser.add_argument("--out", type=Path, default=Path("results/speed"), help="default: results/speed")
    parser.add_argument("--smoke", action="store_true", help="tiny networks: to see that it runs")
    parser.add_argument("--table", action="store_true", help="only write tables and plot from rows.jsonl again")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.only if name not in names]:
        parser.error(f"--only: no rows {', '.join(unknown)}; there are {', '.join(names)}")
    if unknown := [name for name in options.contenders if name not in _CONTENDERS]:
        parser.error(f"--contenders: no {', '.join(unknown)}; there are {', '.join(_CONTENDERS)}")
    if not all("=" in lane for lane in options.lanes):
        parser.error(f"--lanes: {' '.join(options.lanes)} must be NAME=PYTHON each")
    options.lanes = dict(lane.split("=", 1) for lane in options.lanes)
    return options


def _measured(
    options: argparse.Namespace, lanes: Mapping[str, Mapping[str, str]], scratch: Path
) -> Iterator[dict[str, Any]]:
    """One line a process, round after round. What failed once is not tried again."""
    rows = [row for row in ROWS if row.name in {MATMUL, *options.only}]
    pairs = [(row, batch) for row in rows for batch in (options.batch if options.batch and row.sized else [row.batch])]
    images = {row.images: _write_images(row.images, scratch, options.smoke) for row in rows if row.images}
    contenders, failed = _contenders(lanes, options.contenders), set()
    print(f"{len(pairs)} rows, {options.rounds} rounds of {len(contenders)}: {', '.join(c for c, *_ in contenders)}")
    if not contenders:
        raise SystemExit("error: no lane has jgr or PyTorch")
    with tqdm(total=options.rounds * len(pairs) * len(contenders)) as progress:
        for turn in range(options.rounds):
            first = turn % len(contenders)
            for row, batch in pairs:
                for contender, lane, side, compiled in contenders[first:] + contenders[:first]:
                    progress.set_postfix_str(f"{row.name} {batch} {contender}")
                    progress.update()
                    if (row.name, batch, contender) in failed:
                        continue
                    path, data = images.get(row.images, ("", ""))
                    settings = {"batch": batch, "dtype": options.dtype, "device": options.device}
                    settings |= {"smoke": options.smoke, "row": row.name, "images": path, "compile": compiled}
                    request = {"do": "measure", "side": side, "program": getattr(row, side), "settings": settings}
                    request |= {"blocks": options.blocks, "block_s": options.block_s}
                    answer = _answer(options.lanes[lane], request, options, scratch)
                    if "error" in answer:
                        failed.add((row.name, batch, contender))
                        tqdm.write(f"{row.name}, {contender}: {answer['error']}")
                    yield {
                        "row": row.name,
                        "about": row.about,
                        "batch": batch,
                        "dtype": options.dtype,
                        "contender": contender,
                        "side": side,
                        "lane": lane,
                        "round": turn,
                        "flops_per_step": None if options.smoke else batch * row.flops,
                        "data": data,
                        **answer,
                    }


def _contenders(lanes: Mapping[str, Mapping[str, str]], wanted: Sequence[str]) -> list[tuple[str, str, str, bool]]:
    """Name, lane, side, and whether PyTorch compiles."""
    with_jgr = [lane for lane, versions in lanes.items() if versions.keys() >= {"jax", "jgr"} and "jgr" in wanted]
    with_torch = [lane for lane, versions in lanes.items() if "torch" in versions][:1]
    return [(f"jgr {lane}", lane, "jgr", False) for lane in with_jgr] + [
        (f"torch {mode}", lane, "torch", mode == "compile")
        for lane in with_torch
        for mode in ("eager", "compile")
        if mode in wanted
    ]


def _versions(python: str, options: argparse.Namespace) -> dict[str, str]:
    answer = _answer(python, {"do": "versions"}, options, Path(tempfile.gettempdir()))
    if "error" in answer:
        raise SystemExit(f"error: --lanes: {python}: {answer['error']}")
    return {"interpreter": python, **answer["versions"]}


def _answer(python: str, request: Mapping[str, Any], options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """What a process of its own answers, or `error`: the last line that it wrote."""
    # Nothing compiled earlier is used, except by torch.compile after the first round: its own cache starts empty.
    variables = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    variables |= {"JAX_PLATFORMS": "cpu" if options.device == "cpu" else "cuda"}
    variables |= {"TORCHINDUCTOR_CACHE_DIR": str(scratch / "inductor")}
    command = [*options.launch, python, str(_WORKER), json.dumps(request)]
    try:
        done = subprocess.run(
            command, env=variables, capture_output=True, text=True, timeout=_TIMEOUT_S, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return {"error": str(error)}
    if done.returncode:
        return {"error": _reason(done.stderr) or f"exit status {done.returncode}"}
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _reason(stderr: str) -> str:
    """The line of a traceback that names the exception."""
    lines = [line for line in stderr.splitlines() if line and not line.startswith((" ", "-"))]
    named = [line for line in lines if line.split(":")[0].endswith(("Error", "Exception"))]
    return (named or lines or [""])[-1][:500]


def _write_images(description: str, scratch: Path, smoke: bool) -> tuple[str, str]:
    """Decoded images as a file that both sides read; its path and what they are."""
    dataset, *sizes = description.split()
    path = scratch / f"{dataset}.npy"
    try:
        source = TFDS(dataset=dataset, split="train[:256]" if smoke else "train")
        records = source.__getitems__(range(len(source)))
        images, name = np.stack([record["image"] for record in records]), source.name
    except DataError:
        shape = (256 if smoke else _NUM_IMAGES[dataset], *map(int, sizes))
        images, name = np.random.default_rng(0).integers(0, 256, shape, np.uint8), f"noise instead of {dataset}"
    np.save(path, images)
    return str(path), name


if __name__ == "__main__":
    main()
