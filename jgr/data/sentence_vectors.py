"""Vectors of whole captions that another model made, in a file. Free of JAX, as all that reads data."""

import dataclasses
import functools
import zipfile

import numpy as np
from jaxtyping import Float32

from jgr.data.vocabulary import Vocabulary
from jgr.errors import ConfigError
from jgr.files import expanded


@dataclasses.dataclass(frozen=True)
class SentenceVectors:
    """What a file has.

    Args:
        vocabulary: Its captions, each a token.
        vectors: One of each, in that order.
    """

    vocabulary: Vocabulary
    vectors: Float32[np.ndarray, "captions dims"]


def read_sentence_vectors(path: str) -> SentenceVectors:
    """An `.npz` file with `captions` [n], texts, and `vectors` [n, dims].

    Captions count as equal as in `jgr.data.vocabulary.Vocabulary`; of equal ones the first counts.

    Raises:
        ConfigError: The file cannot be read, or has not these arrays.
    """
    return _read(path, expanded(path).stat().st_mtime_ns if expanded(path).is_file() else 0)


@functools.lru_cache(maxsize=4)
def _read(path: str, changed: int) -> SentenceVectors:
    try:
        with np.load(expanded(path), allow_pickle=False) as file:
            captions, vectors = file["captions"], file["vectors"]
    except (OSError, ValueError, KeyError, AttributeError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ConfigError(
            f"{path}: not an .npz file with captions and vectors ({error}); write it by numpy.savez(path, "
            "captions=…, vectors=…)"
        ) from error
    if captions.ndim != 1 or captions.dtype.kind != "U" or vectors.ndim != 2 or len(vectors) != len(captions):
        raise ConfigError(
            f"{path}: captions {list(captions.shape)} of {captions.dtype} and vectors {list(vectors.shape)} must be "
            "texts [n] and numbers [n, dims]"
        )
    if not np.isfinite(vectors).all():
        raise ConfigError(f"{path}: its vectors are not finite")
    first: dict[str, int] = {}
    for place, caption in enumerate(captions.tolist()):
        for token in Vocabulary.split(caption, "sentence"):
            first.setdefault(token, place)
    vocabulary = Vocabulary("sentence", tuple(first), 3)
    return SentenceVectors(vocabulary, vectors[list(first.values())].astype(np.float32))
