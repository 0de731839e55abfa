"""Draws images from a run into a picture."""

from pathlib import Path

from jgr.errors import RunError
from jgr.files import write_png
from jgr.images import grid
from jgr.jobs.load import Run, Weights


def sample(
    workdir: str | Path,
    out: str | Path,
    *,
    num: int = 64,
    seed: int = 0,
    step: int | str = "latest",
    weights: Weights = "ema",
    trust: bool = False,
) -> Path:
    """Writes a grid of generated images as PNG.

    Args:
        workdir: The run's folder.
        out: Where the picture goes; its folder must exist.
        num: Images in it.
        seed: Decides the latents.
        step: "latest", "best" or a number.
        weights: "ema" for the average where there is one, or "raw".
        trust: Whether the run's config may name classes outside jgr, optax and flax.

    Returns:
        The picture's path.

    Raises:
        RunError: If the folder is no run's, or the picture cannot be written.
        CheckpointError: If there is no such checkpoint, or the task generates no images.
    """
    if num < 1:
        raise RunError(f"num = {num} must be at least 1")
    images = Run(workdir, trust=trust).sample(num, seed=seed, step=step, weights=weights)
    return write_png(Path(out), grid(images))
