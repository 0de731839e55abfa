"""JAX Generation & Restoration: reproducible experiments in image generation and restoration.

    import jgr

    jgr.train(config, "runs/digits")        # goes on where it was interrupted
    jgr.evaluate("runs/digits")             # rows in runs/digits/results.jsonl
    run = jgr.load("runs/digits")
    run.sample(64), run.state
    print(jgr.compare(["runs/a", "runs/b"]).format("md"))
    jgr.report(["runs/a", "runs/b"], "report.html")
    jgr.restore("runs/denoiser", ["photo.png"], "restored/")
    jgr.measure("restored/", "originals/", ["psnr", "ssim"])

Parts to build a task, a network, a data source or a metric of your own from lie in `jgr.tasks`, `jgr.layers`,
`jgr.losses`, `jgr.degradations`, `jgr.data` and `jgr.metrics`. Importing `jgr` itself imports none of them, nor JAX.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jgr.jobs.check import check
    from jgr.jobs.compare import compare
    from jgr.jobs.evaluate import evaluate
    from jgr.jobs.load import Run, load
    from jgr.jobs.measure import measure
    from jgr.jobs.report.of_runs import report
    from jgr.jobs.reproduce import reproduce
    from jgr.jobs.restore import restore
    from jgr.jobs.sample import sample
    from jgr.jobs.train import train

_HOMES = {
    "Run": "jgr.jobs.load",
    "check": "jgr.jobs.check",
    "compare": "jgr.jobs.compare",
    "evaluate": "jgr.jobs.evaluate",
    "load": "jgr.jobs.load",
    "measure": "jgr.jobs.measure",
    "report": "jgr.jobs.report.of_runs",
    "reproduce": "jgr.jobs.reproduce",
    "restore": "jgr.jobs.restore",
    "sample": "jgr.jobs.sample",
    "train": "jgr.jobs.train",
}

__all__ = [
    "Run",
    "check",
    "compare",
    "evaluate",
    "load",
    "measure",
    "report",
    "reproduce",
    "restore",
    "sample",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'jgr' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
