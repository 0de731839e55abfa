"""Times jgr's metrics beside other implementations: `python experiments/metric_speed.py`.

    python experiments/metric_speed.py --out=results/metric_speed
    python experiments/metric_speed.py --only=frechet,ssim
    python experiments/metric_speed.py --smoke --out=/tmp/metric_speed

All contenders of a task run in one process on the same inputs and take turns, in an order that turns too; times are
medians of their calls, ratios the medians of each turn's own ratios. What is compiled is called once before. What a
contender computed is in the table, so that none is timed on something else. `neighbours` runs each contender also in a
process of its own, which tells how much memory it takes. With `--only` rows of other tasks in the output's folder stay.

It writes table.md, rows.jsonl and manifest.json, which has the load of the machine before and after each task: other
work on it slows all contenders, but those with more threads by more.
"""

import argparse
import contextlib
import importlib.metadata
import importlib.util
import io
import json
import os
import resource
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import scipy.linalg
import skimage.data
from tabulate import tabulate
from threadpoolctl import threadpool_limits

import jgr.metrics
from jgr.files import read_json, write_json, write_text
from jgr.run.manifest import environment, git_state

# What the rows must show, by task and the contender they stand beside: bars on jgr's seconds, on the ratio, and on the
# mebibytes that the process grows by.
BARS: dict[tuple[str, str], dict[str, float]] = {
    ("frechet", "scipy"): {"seconds below": 2.5, "times as fast": 4},
    ("frechet", "scipy, 1 thread"): {"times as fast": 4},
    ("ssim", "scikit-image"): {"times as fast": 3},
    ("neighbours", "prdc"): {"seconds below": 20, "MiB below": 1e9 / 2**20},
}
_COMPILED = ("ssim", "ms-ssim")  # called once before they are timed
_MEASURE = "--measure-memory"

Contenders = dict[str, Callable[[], Any]]


class Sizes:
    """How large the inputs are, and whether libraries beyond jgr's own are timed."""

    def __init__(self, smoke: bool, others: bool) -> None:
        self._others = others
        self.d = 32 if smoke else 2048
        self.n = 80 if smoke else 5000
        self.few = 20 if smoke else 1000
        self.pairs = 2 if smoke else 100
        self.side = 176 if smoke else 256
        self.neighbours = (200, 16) if smoke else (10_000, 512)
        self.subsets = (3, 50) if smoke else (100, 1000)

    def has(self, *modules: str) -> bool:
        """Whether these can be imported and are wanted."""
        return self._others and all(importlib.util.find_spec(module) for module in modules)


def features(n: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    """Two sets, float32: variances that fall as 1 / i, as those of Inception's features about do, in random axes."""
    random = np.random.default_rng(0)
    scales = np.arange(1, d + 1) ** -0.5
    axes = random.standard_normal((d, d)) / np.sqrt(d)
    real = (random.standard_normal((n, d)) * scales) @ axes
    fake = (random.standard_normal((n, d)) * scales * 1.1) @ axes + 0.01
    return real.astype(np.float32), fake.astype(np.float32)


def image_pairs(num: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Crops of photographs and the same with noise, float32 [num, side, side, 3] in [0, 1]."""
    photographs = [skimage.data.astronaut(), skimage.data.chelsea(), skimage.data.coffee()]
    random = np.random.default_rng(1)
    crops = []
    for index in range(num):
        image = photographs[index % 3]
        top, left = (random.integers(0, length - side + 1) for length in image.shape[:2])
        crops.append(image[top : top + side, left : left + side])
    targets = np.stack(crops).astype(np.float32) / np.float32(255)
    images = np.clip(targets + 0.08 * random.standard_normal(targets.shape, np.float32), 0, 1)
    return images, targets


def frechet(sizes: Sizes) -> Contenders:
    """From means and covariances."""
    pairs = [(x.mean(axis=0, dtype=np.float64), np.cov(x, rowvar=False)) for x in features(sizes.n, sizes.d)]
    (mean_a, a), (mean_b, b) = pairs
    shift = float((mean_a - mean_b) @ (mean_a - mean_b) + np.trace(a) + np.trace(b))
    return {
        "jgr": lambda: jgr.metrics.frechet_distance_of_gaussians(mean_a, a, mean_b, b),
        **_matrix_root(shift, a, b),
    } | _torch_eigenvalues(sizes, mean_a, a, mean_b, b)


def frechet_few(sizes: Sizes) -> Contenders:
    """Fewer images than features: ours from the features, theirs from the covariances."""
    real, fake = features(sizes.few, sizes.d)
    moments = [jgr.metrics.Moments(), jgr.metrics.Moments()]
    for each, rows in zip(moments, (real, fake), strict=True):
        each.update(rows)
    (mean_a, a), (mean_b, b) = ((x.mean(axis=0, dtype=np.float64), np.cov(x, rowvar=False)) for x in (real, fake))
    shift = float((mean_a - mean_b) @ (mean_a - mean_b) + np.trace(a) + np.trace(b))
    return {
        "jgr": lambda: jgr.metrics.frechet_distance(*moments),
        **_matrix_root(shift, a, b),
    } | _torch_eigenvalues(sizes, mean_a, a, mean_b, b)


def _matrix_root(shift: float, a: np.ndarray, b: np.ndarray) -> Contenders:
    """As pytorch-fid. Two threads wait for each other where other work keeps the cores busy, so with one as well."""

    def distance() -> float:
        return float(shift - 2 * np.trace(scipy.linalg.sqrtm(a @ b)).real)

    def with_one_thread() -> float:
        with threadpool_limits(1, user_api="blas"):
            return distance()

    return {"scipy": distance, "scipy, 1 thread": with_one_thread}


def _torch_eigenvalues(
    sizes: Sizes, mean_a: np.ndarray, a: np.ndarray, mean_b: np.ndarray, b: np.ndarray
) -> Contenders:
    if not sizes.has("torch", "torchmetrics"):
        return {}
    import torch
    from torchmetrics.image.fid import _compute_fid

    tensors = [torch.from_numpy(array) for array in (mean_a, a, mean_b, b)]
    return {"torchmetrics": lambda: float(_compute_fid(*tensors))}


def ssim(sizes: Sizes) -> Contenders:
    """Gaussian window, population covariance, float32 images."""
    from skimage.metrics import structural_similarity

    images, targets = image_pairs(sizes.pairs, sizes.side)

    def by_scikit_image() -> float:
        return float(
            np.mean(
                [
                    structural_similarity(
                        image,
                        target,
                        gaussian_weights=True,
                        sigma=1.5,
                        use_sample_covariance=False,
                        data_range=1.0,
                        channel_axis=-1,
                    )
                    for image, target in zip(images, targets, strict=True)
                ]
            )
        )

    contenders: Contenders = {
        "jgr": lambda: float(np.mean(jgr.metrics.ssim(images, targets))),
        "scikit-image": by_scikit_image,
    }
    if sizes.has("torch", "torchmetrics"):
        from torchmetrics.functional.image import structural_similarity_index_measure

        both = _tensors(images, targets)
        contenders["torchmetrics"] = lambda: float(structural_similarity_index_measure(*both, data_range=1.0))
    if sizes.has("torch", "pytorch_msssim"):
        import pytorch_msssim

        others = _tensors(images, targets)
        contenders["pytorch-msssim"] = lambda: float(pytorch_msssim.ssim(*others, data_range=1.0))
    return contenders


def ms_ssim(sizes: Sizes) -> Contenders:
    """Five levels."""
    images, targets = image_pairs(sizes.pairs, sizes.side)
    contenders: Contenders = {"jgr": lambda: float(np.mean(jgr.metrics.ms_ssim(images, targets)))}
    if sizes.has("torch", "torchmetrics"):
        from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

        both = _tensors(images, targets)
        contenders["torchmetrics"] = lambda: float(
            multiscale_structural_similarity_index_measure(*both, data_range=1.0)
        )
    if sizes.has("torch", "pytorch_msssim"):
        import pytorch_msssim

        others = _tensors(images, targets)
        contenders["pytorch-msssim"] = lambda: float(pytorch_msssim.ms_ssim(*others, data_range=1.0))
    return contenders


def _tensors(*arrays: np.ndarray) -> list[Any]:
    import torch

    return [torch.from_numpy(np.ascontiguousarray(array.transpose(0, 3, 1, 2))) for array in arrays]


def neighbours(sizes: Sizes) -> Contenders:
    """Precision and recall, density and coverage, of the same k and open balls."""
    real, fake = features(*sizes.neighbours)

    def ours() -> list[float]:
        return [
            *jgr.metrics.precision_recall(real, fake, k=5, strict=True),
            *jgr.metrics.density_coverage(real, fake, k=5, strict=True),
        ]

    contenders: Contenders = {"jgr": ours}
    if sizes.has("prdc"):
        from prdc import compute_prdc

        def by_prdc() -> list[float]:
            with contextlib.redirect_stdout(io.StringIO()):
                return list(map(float, compute_prdc(real, fake, nearest_k=5).values()))

        contenders["prdc"] = by_prdc
    return contenders


def kid(sizes: Sizes) -> Contenders:
    """Subsets of both; ours in float64, theirs in float32."""
    num, size = sizes.subsets
    real, fake = features(2 * size, sizes.d)
    contenders: Contenders = {
        "jgr": lambda: jgr.metrics.kernel_distance_subsets(fake, real, num_subsets=num, subset_size=size)[0]
    }
    if sizes.has("torch", "torch_fidelity"):
        import torch
        from torch_fidelity.metric_kid import kid_features_to_metric

        both = torch.from_numpy(fake), torch.from_numpy(real)
        contenders["torch-fidelity"] = lambda: next(
            iter(kid_features_to_metric(*both, kid_subsets=num, kid_subset_size=size, verbose=False).values())
        )
    return contenders


def moments(sizes: Sizes) -> Contenders:
    """Mean and covariance of features that come in batches of 250, and what is held of them made into one matrix."""
    real, _ = features(sizes.n, sizes.d)
    batches = [real[start : start + 250] for start in range(0, len(real), 250)]

    def ours() -> float:
        taken = jgr.metrics.Moments()
        for batch in batches:
            taken.update(batch)
        return float(np.trace(taken.covariance))

    contenders: Contenders = {"jgr": ours, "numpy": lambda: float(np.trace(np.cov(real, rowvar=False)))}
    if sizes.has("torch", "torchmetrics"):
        import torch
        from torchmetrics.image.fid import FrechetInceptionDistance

        class Identity(torch.nn.Module):
            """Takes features for images."""

            num_features = sizes.d

            def forward(self, rows: Any) -> Any:
                return rows

        def by_torchmetrics() -> float:
            metric = FrechetInceptionDistance(Identity())
            for batch in batches:
                metric.update(torch.from_numpy(batch), real=True)
            n, total = metric.real_features_num_samples, metric.real_features_sum
            return float((metric.real_features_cov_sum.trace() - total @ total / n) / (n - 1))

        contenders["torchmetrics"] = by_torchmetrics
    return contenders


TASKS: dict[str, tuple[str, Callable[[Sizes], Contenders]]] = {
    "frechet": ("Fréchet distance of moments, d={d:,}, n={n:,}", frechet),
    "frechet-few": ("Fréchet distance, d={d:,}, n={few:,} < d", frechet_few),
    "ssim": ("SSIM of {pairs} pairs of {side}x{side} RGB", ssim),
    "ms-ssim": ("MS-SSIM of {pairs} pairs of {side}x{side} RGB", ms_ssim),
    "neighbours": ("precision, recall, density, coverage, {neighbours[0]:,} x {neighbours[1]}", neighbours),
    "kid": ("KID, {subsets[0]} subsets of {subsets[1]:,}, d={d:,}", kid),
    "moments": ("Moments.update, {n:,} features of d={d:,} in batches of 250", moments),
}


def measured(task: str, smoke: bool, repeats: int) -> Iterator[dict[str, Any]]:
    """One row a contender."""
    sizes = Sizes(smoke, others=not smoke)
    title, make = TASKS[task]
    memory: dict[str, Any] = {}
    if task == "neighbours":  # first, while this process is small
        memory = {name: _memory(task, name, smoke) for name in ("jgr", "prdc") if name == "jgr" or sizes.has(name)}
    contenders = make(sizes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the other libraries
        values = {name: function() for name, function in contenders.items()} if task in _COMPILED else {}
        times: dict[str, list[float]] = {name: [] for name in contenders}
        for turn in range(repeats):
            names = list(contenders)
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                start = time.perf_counter()
                values[name] = contenders[name]()
                times[name].append(time.perf_counter() - start)
    for name in contenders:
        yield {
            "task": task,
            "what": title.format(**vars(sizes)),
            "contender": name,
            "version": importlib.metadata.version(name.split(",")[0]),
            "s": times[name],
            "value": np.atleast_1d(values[name]).tolist(),
            "smoke": smoke,
            "memory_mib": memory.get(name),
        }


def _memory(task: str, contender: str, smoke: bool) -> float:
    """Mebibytes by which a process of its own grows at most while the contender runs."""
    command = [sys.executable, __file__, _MEASURE, task, contender, *(["--smoke"] if smoke else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    return float(done.stdout.splitlines()[-1])


def measure_memory(task: str, contender: str, smoke: bool) -> None:
    """Prints it; the child of `_memory`. Libraries are loaded and inputs made before, on a small call too."""
    TASKS[task][1](Sizes(smoke=True, others=True))[contender]()
    function = TASKS[task][1](Sizes(smoke, others=True))[contender]
    before = _resident_mib()
    function()
    print(_peak_mib() - before)


def _resident_mib() -> float:
    return _status_mib("VmRSS") if Path("/proc/self/status").exists() else _peak_mib()


def _peak_mib() -> float:
    """Most that this process held. On Linux not from `getrusage`, whose number begins with that of the parent."""
    if Path("/proc/self/status").exists():
        return _status_mib("VmHWM")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def _status_mib(key: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) / 2**10 for line in lines if line.startswith(f"{key}:"))


def summary(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of the table: medians, jgr's advantage, and bars with whether they are met."""
    ours = {row["task"]: row for row in rows if row["contender"] == "jgr"}
    lines = []
    for row in rows:
        mine = ours[row["task"]]
        other = row["contender"] != "jgr"
        ratio = statistics.median(b / a for a, b in zip(mine["s"], row["s"], strict=True)) if other else None
        reached = {
            "seconds below": statistics.median(mine["s"]),
            "times as fast": ratio,
            "MiB below": mine["memory_mib"],
        }
        bars = {} if row["smoke"] else BARS.get((row["task"], row["contender"]), {})
        verdicts = [f"{_bar(name, bar)}: {_met(name, bar, reached[name])}" for name, bar in bars.items()]
        lines.append(
            {
                "task": row["what"],
                "contender": f"{row['contender']} {row['version']}",
                "s": f"{statistics.median(row['s']):.3f}",
                "calls": len(row["s"]),
                "min to max": f"{min(row['s']):.3f} to {max(row['s']):.3f}",
                "times as long as jgr": "" if ratio is None else f"{ratio:.2f}",
                "grows by, MiB": "" if row["memory_mib"] is None else f"{row['memory_mib']:.0f}",
                "value": ", ".join(f"{value:.6g}" for value in row["value"]),
                "bar": "; ".join(verdicts),
            }
        )
    return lines


def _bar(name: str, bar: float) -> str:
    return {
        "seconds below": f"jgr below {bar:g} s",
        "times as fast": f"jgr at least {bar:g} times as fast",
        "MiB below": f"jgr grows by less than {bar:.0f} MiB",
    }[name]


def _met(name: str, bar: float, reached: float | None) -> str:
    if reached is None:
        return "not measured"
    return "met" if (reached >= bar if name == "times as fast" else reached < bar) else "NOT met"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures what the command line asks for and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(TASKS), metavar="TASK,…")
    parser.add_argument("--repeats", type=int, default=3, help="timed calls of each (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("results/metric_speed"))
    parser.add_argument("--smoke", action="store_true", help="tiny inputs, and only libraries that jgr itself needs")
    parser.add_argument(_MEASURE, nargs=2, metavar=("TASK", "CONTENDER"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.measure_memory:
        measure_memory(*options.measure_memory, smoke=options.smoke)
        return
    if unknown := set(options.only) - set(TASKS):
        parser.error(f"--only: there is no {', '.join(sorted(unknown))}; tasks are {', '.join(TASKS)}")
    folder: Path = options.out
    folder.mkdir(parents=True, exist_ok=True)
    path, manifest_path = folder / "rows.jsonl", folder / "manifest.json"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    records: dict[str, Any] = read_json(manifest_path)["tasks"] if manifest_path.exists() else {}
    given = [*(sys.argv[1:] if arguments is None else arguments)]
    for task in options.only:
        record = {
            "begun": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": ["python", "experiments/metric_speed.py", *given],
            "load_average_before": os.getloadavg(),
        }
        print(f"{task} …", file=sys.stderr, flush=True)
        new = list(measured(task, options.smoke, options.repeats))
        repositories = git_state([Path(__file__).parent])
        records[task] = record | {
            "load_average_after": os.getloadavg(),
            "environment": environment(),
            "commits": [repository["commit"] for repository in repositories],
        }
        rows = [row for row in rows if row["task"] != task] + new
        rows.sort(key=lambda row: list(TASKS).index(row["task"]))
        write_text(path, "".join(json.dumps(row) + "\n" for row in rows))
        write_json(manifest_path, {"tasks": records})
        write_text(folder / "table.md", table(rows, records))
    print(table(rows, records))


def table(rows: Sequence[Mapping[str, Any]], records: Mapping[str, Any]) -> str:
    """The table with what it was made by."""
    commands = sorted({" ".join(record["command"]) for record in records.values()})
    machine = next(iter(records.values()))["environment"]
    loads = [record[when][0] for record in records.values() for when in ("load_average_before", "load_average_after")]
    notes = [
        f"Made by {', '.join(f'`{command}`' for command in commands)} on {machine['platform']['cpu']}, "
        f"{machine['platform']['cores']} cores, with JAX {machine['versions']['jax']}, NumPy "
        f"{machine['versions']['numpy']}. Load average of the machine over a minute, before and after the tasks: "
        f"{min(loads):.1f} to {max(loads):.1f}, other work included.",
        "Seconds are medians of calls that took turns; SSIM and MS-SSIM, which are "
        "compiled, were called once before. "
        "`times as long as jgr` is the median of each turn's ratio. Bars are those of the project, judged by these "
        "numbers. What a process grows by is its peak less what it held before the call.",
    ]
    shown = tabulate(summary(rows), headers="keys", tablefmt="github", disable_numparse=True)
    return "\n\n".join([*notes, shown]) + "\n"


if __name__ == "__main__":
    main()
