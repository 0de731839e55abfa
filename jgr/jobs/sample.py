"""Draws a picture of what a run's generator makes."""

from pathlib import Path

from jgr.files import write_png
from jgr.jobs.explore.exploration import Classes
from jgr.jobs.explore.pictures import Grid, Use
from jgr.jobs.load import Run, Weights


def sample(
    workdir: str | Path,
    out: str | Path,
    *,
    use: Use = Grid(),  # noqa: B008 (frozen)
    num: int | None = None,
    classes: Classes = None,
    truncation: float | None = None,
    seed: int = 0,
    step: int | str = "latest",
    weights: Weights = "ema",
    trust: bool = False,
    quiet: bool = False,
) -> Path:
    """Writes a picture of generated images as PNG, and prints what a use has to say about it.

    Args:
        workdir: The run's folder.
        out: Where the picture goes; its folder must exist.
        use: What is drawn: a class of `jgr.jobs.explore.pictures`.
        num: How many: images of a grid, 64 unless you say; else what the use counts.
        classes: Labels to generate, or "all" of them; None for each in turn.
        truncation: Less variety for fewer failures; see `jgr.jobs.explore.explorer.Explorer`.
        seed: Decides the latents.
        step: "latest", "best" or a number.
        weights: "ema" for the average where there is one, or "raw".
        trust: Whether the run's config may name classes outside jgr, optax and flax.
        quiet: Whether to print nothing and show no progress.

    Returns:
        The picture's path.

    Raises:
        RunError: If the folder is no run's, or the picture cannot be written.
        CheckpointError: If there is no such checkpoint.
        ConfigError: If the task cannot do it, or a value is impossible.
        DataError: If a file or the training data cannot be read.
    """
    run = Run(workdir, trust=trust)
    explorer = run.explore(seed=seed, truncation=truncation, step=step, weights=weights, quiet=quiet)
    picture = use.draw(explorer, num, classes)
    written = write_png(Path(out), picture.pixels)
    if not quiet:
        for remark in picture.remarks:
            print(remark)
    return written
