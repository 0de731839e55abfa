"""Images by sentences: a row for each, and a column for each latent."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from jgr.data.captions import captions
from jgr.errors import ConfigError
from jgr.jobs.explore.exploration import require_at_least
from jgr.jobs.load import Run, Weights
from jgr.state import averaged

_ROWS, _COLUMNS = 8, 8


def by_sentences(
    run: Run,
    texts: Sequence[str] | None = None,
    num: int = _COLUMNS,
    *,
    seed: int = 0,
    step: int | str = "latest",
    weights: Weights = "ema",
) -> tuple[tuple[str, ...], UInt8[np.ndarray, "rows num height width channels"]]:
    """Sentences, and what a text-conditional run draws by them, each with the same latents.

    Args:
        run: The run.
        texts: The sentences; those of the first 8 records of the evaluation when None.
        num: Images by each.
        seed: Decides the latents.
        step: "latest", "best" or a number.
        weights: "ema" for the average where there is one, or "raw".

    Raises:
        ConfigError: If the run is told no captions, a value is impossible, or there is no sentence.
        CheckpointError: If there is no such checkpoint.
        DataError: If no sentences are given and the records cannot be read.
    """
    if run.experiment.task.condition_name != "tokens":
        name = type(run.experiment.task).__qualname__
        raise ConfigError(f"text: {name} of this run is told no captions; leave text out")
    if texts is None:
        source = (run.experiment.evaluation.data or run.experiment.data).source
        texts = [text for text, _ in zip(captions(source), range(_ROWS), strict=False)]
    if not texts:
        raise ConfigError("text: there is no sentence")
    require_at_least(1, "text: num", num)
    if weights not in ("ema", "raw"):
        raise ConfigError(f"weights = {weights!r} must be one of 'ema', 'raw'")
    state = run.restore(step)
    state = averaged(state) if weights == "ema" else state
    return tuple(texts), np.stack([run.drawn(state, num, seed, captions=[text]) for text in texts])
