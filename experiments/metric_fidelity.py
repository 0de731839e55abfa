"""Sets jgr's metrics beside other implementations on the same inputs: `python experiments/metric_fidelity.py`.

    python experiments/metric_fidelity.py --out=results/metric_fidelity
    python experiments/metric_fidelity.py --smoke --out=/tmp/metric_fidelity

Inputs need no download: scikit-image's photographs with seeded noise, seeded random features, networks with seeded
random weights that both sides share. Where `$JGR_TEST_DATA` names a folder with real data (`sr/set5`,
`denoising/bsd68`, `tfds/mnist`), rows of it are added. Libraries that are not installed leave their rows out, and the
table says so; `pip install '.[reference]' pytorch-msssim torch-fidelity prdc` brings all.

Every row states the bound up to which a difference is rounding. One beyond it must be explained in
`metric_fidelity_rows.EXPLANATIONS`: either our number under the other side's choice is then within the bound, or the
difference is below the size that the explanation allows. Otherwise the command exits with 1. It writes table.md,
rows.jsonl and manifest.json.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from metric_fidelity_features import (
    features_by_prdc,
    features_by_pytorch_fid,
    features_by_the_definition,
    features_by_torch_fidelity,
    features_by_torchmetrics,
)
from metric_fidelity_images import (
    gray_by_pillow,
    images_by_pytorch_msssim,
    images_by_scikit_image,
    images_by_the_definition,
    images_by_torchmetrics,
)
from metric_fidelity_inputs import Inputs
from metric_fidelity_networks import (
    inception_by_pytorch_fid,
    inception_by_torch_fidelity,
    lpips_by_its_package,
    lpips_by_torchmetrics,
    resize_by_pillow,
    resize_by_torch,
)
from metric_fidelity_rows import EXPLANATIONS, Row
from tabulate import tabulate

from jgr.files import write_json, write_text
from jgr.run.manifest import environment, git_state

_GROUPS: list[tuple[tuple[str, ...], Callable[[Inputs], Iterator[Row]]]] = [  # modules, and what imports them
    (("skimage",), images_by_scikit_image),
    (("PIL",), gray_by_pillow),
    (("PIL",), resize_by_pillow),
    (("scipy",), images_by_the_definition),
    (("scipy",), features_by_the_definition),
    (("torch", "torchmetrics"), images_by_torchmetrics),
    (("torch", "pytorch_msssim"), images_by_pytorch_msssim),
    (("torch", "torchvision", "lpips"), lpips_by_its_package),
    (("torch", "torchvision", "torchmetrics"), lpips_by_torchmetrics),
    (("torch",), resize_by_torch),
    (("torch", "torchvision", "pytorch_fid"), inception_by_pytorch_fid),
    (("torch", "torchvision", "pytorch_fid"), features_by_pytorch_fid),
    (("torch", "torch_fidelity", "torchvision"), inception_by_torch_fidelity),
    (("torch", "torch_fidelity", "torchvision"), features_by_torch_fidelity),
    (("torch", "torchmetrics", "torch_fidelity"), features_by_torchmetrics),
    (("prdc",), features_by_prdc),
]
_ALWAYS = {"PIL", "scipy", "skimage"}  # what jgr itself needs
_DISTRIBUTIONS = {
    "PIL": "Pillow",
    "pytorch_fid": "pytorch-fid",
    "pytorch_msssim": "pytorch-msssim",
    "skimage": "scikit-image",
    "torch_fidelity": "torch-fidelity",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Compares, prints and writes the table; exits with 1 if a deviation is not explained."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results/metric_fidelity"))
    parser.add_argument("--smoke", action="store_true", help="tiny inputs, and only libraries that jgr itself needs")
    options = parser.parse_args(arguments)
    data = None if options.smoke or not os.environ.get("JGR_TEST_DATA") else Path(os.environ["JGR_TEST_DATA"])
    rows, missing = collected(Inputs(options.smoke, data))
    lines = [line(row) for row in rows]
    given = [*(sys.argv[1:] if arguments is None else arguments)]
    command = ["python", "experiments/metric_fidelity.py", *given]
    versions = {name: importlib.metadata.version(name) for name in sorted({row.library for row in rows} | _torch())}
    notes = [
        f"Made by `{' '.join(command)}`{' with `JGR_TEST_DATA`' if data else ''}, on CPU, with JAX {jax.__version__}, "
        f"NumPy {np.__version__}, {', '.join(f'{name} {version}' for name, version in versions.items())}.",
        "Of several numbers the table shows all, or the mean of more than four; the difference is the largest of any. "
        "Rounding is the bound up to which a row counts as equal, in the difference's unit. Where a deviation is "
        "explained by a choice that we can make as well, `then` says what is left of the difference if we make it.",
    ]
    if data is None:
        notes.append("Without real data (`JGR_TEST_DATA`): rows of Set5, BSD68 and MNIST are left out.")
    if missing:
        notes.append(f"Not installed, and so left out: {', '.join(missing)}.")
    text = table(lines, notes)
    print(text)
    folder: Path = options.out
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "table.md", text)
    write_text(folder / "rows.jsonl", "".join(json.dumps(row) + "\n" for row in lines))
    repositories = git_state([Path(__file__).parent])
    manifest = {
        "command": command,
        "environment": environment(),
        "libraries": versions,
        "missing": missing,
        "git": [{key: value for key, value in state.items() if key not in ("root", "diff")} for state in repositories],
    }
    write_json(folder / "manifest.json", manifest)
    wrong = [row for row in lines if row["verdict"] not in ("equal", "explained")]
    if wrong:
        for row in wrong:
            print(
                f"{row['case']}, {row['inputs']}: differs by {row['difference']:.3g}, {row['verdict']}", file=sys.stderr
            )
        sys.exit(1)


def collected(inputs: Inputs) -> tuple[list[Row], list[str]]:
    """All rows that can be computed here, and the modules that are missing for others."""
    rows: list[Row] = []
    missing: set[str] = set()
    for modules, function in _GROUPS:
        if inputs.smoke and not set(modules) <= _ALWAYS:
            continue
        absent = {module for module in modules if importlib.util.find_spec(module) is None}
        missing |= absent
        if not absent:
            print(f"{function.__name__} …", file=sys.stderr, flush=True)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the other libraries: deprecations, memory, singular products
                rows.extend(function(inputs))
    return rows, sorted(_distribution(module) for module in missing)


def line(row: Row) -> dict[str, Any]:
    """A row of rows.jsonl."""
    explanation = EXPLANATIONS[row.case].text if row.verdict != "equal" and row.case in EXPLANATIONS else None
    return {
        "case": row.case,
        "metric": row.metric,
        "inputs": row.inputs,
        "library": row.library,
        "version": importlib.metadata.version(row.library),
        "values": np.asarray(row.theirs).size,
        "ours": _number(row.ours),
        "theirs": _number(row.theirs),
        "difference": row.difference,
        "unit": "relative" if row.relative else "absolute",
        "bound": row.bound,
        "verdict": row.verdict,
        "rest": row.rest if row.verdict != "equal" else None,
        "explanation": explanation,
    }


def _number(value: Any) -> float | list[float] | str:
    """A number, up to four of them, or the mean of more."""
    array = np.atleast_1d(np.asarray(value, np.float64))
    if np.isinf(array).any():
        return "inf"
    numbers: list[float] = array.tolist() if array.ndim == 1 and len(array) <= 4 else [float(array.mean())]
    return numbers[0] if len(numbers) == 1 else numbers


def table(lines: Sequence[dict[str, Any]], notes: Iterable[str]) -> str:
    """The rows, and under them what explains the deviations."""
    texts: dict[str, int] = {}
    body = []
    for row in lines:
        verdict = row["verdict"]
        if row["explanation"]:
            number = texts.setdefault(row["explanation"], len(texts) + 1)
            verdict = f"{verdict} [{number}]"
        if row["rest"] is not None:
            verdict += f", then {row['rest']:.1e}"
        cells = [row["metric"], row["inputs"], _shown(row["ours"]), _shown(row["theirs"]), row["library"]]
        share = " of it" if row["unit"] == "relative" else ""
        body.append([*cells, f"{row['difference']:.1e}{share}", f"{row['bound']:g}", verdict])
    headers = ["metric", "inputs", "jgr", "other", "library", "difference", "rounding", ""]
    shown = tabulate(body, headers, tablefmt="github", disable_numparse=True)
    footnotes = "\n".join(f"{number}. {text}" for text, number in texts.items())
    return "\n\n".join([*notes, shown, footnotes]).rstrip() + "\n"


def _shown(value: float | list[float] | str) -> str:
    if isinstance(value, list):
        return ", ".join(f"{number:.6g}" for number in value)
    return value if isinstance(value, str) else f"{value:.8g}"


def _distribution(module: str) -> str:
    return _DISTRIBUTIONS.get(module, module)


def _torch() -> set[str]:
    return {name for name in ("torch", "torchvision") if importlib.util.find_spec(name)}


if __name__ == "__main__":
    main()
