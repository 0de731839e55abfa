"""Draws a picture of what a run's generator makes."""

from collections.abc import Sequence
from pathlib import Path

from jgr.errors import ConfigError
from jgr.files import write_png
from jgr.images import grid
from jgr.jobs.explore.exploration import Classes
from jgr.jobs.explore.pictures import Grid, Picture, Use
from jgr.jobs.explore.sentences import by_sentences
from jgr.jobs.load import Run, Weights


def sample(
    workdir: str | Path,
    out: str | Path,
    *,
    use: Use = Grid(),  # noqa: B008 (frozen)
    num: int | None = None,
    classes: Classes = None,
    texts: Sequence[str] | None = None,
    truncation: float | None = None,
    guidance: float | None = None,
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
        texts: Sentences that a text-conditional run draws by, a row each; those of its evaluation when None.
        truncation: Less variety for fewer failures; see `jgr.jobs.explore.explorer.Explorer`.
        guidance: How strictly a VAE keeps to sentences; see `jgr.tasks.vae.VAE`. The run's own when None.
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
    if guidance is not None:
        run = run.guided(guidance)
    if texts is not None or run.experiment.task.condition_name == "tokens":
        picture = _sentences(run, texts, num, use, classes, truncation, seed, step, weights)
    else:
        explorer = run.explore(seed=seed, truncation=truncation, step=step, weights=weights, quiet=quiet)
        picture = use.draw(explorer, num, classes)
    written = write_png(Path(out), picture.pixels)
    if not quiet:
        for remark in picture.remarks:
            print(remark)
    return written


def _sentences(
    run: Run,
    texts: Sequence[str] | None,
    num: int | None,
    use: Use,
    classes: Classes,
    truncation: float | None,
    seed: int,
    step: int | str,
    weights: Weights,
) -> Picture:
    """A row of images by each sentence, which the remarks tell."""
    if not isinstance(use, Grid) or classes is not None or truncation is not None:
        raise ConfigError("a text-conditional run draws rows by sentences only: give texts, a number, or neither")
    said, images = by_sentences(run, texts, 8 if num is None else num, seed=seed, step=step, weights=weights)
    remarks = tuple(f"row {row}: {text}" for row, text in enumerate(said))
    return Picture(grid(images.reshape(-1, *images.shape[2:]), columns=images.shape[1]), remarks)
