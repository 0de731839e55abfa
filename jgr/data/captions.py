"""How the captions of records become numbers: the part `captions` of a config's section `data`."""

import dataclasses
from collections.abc import Iterable
from typing import Literal

from jgr.data.sentence_vectors import read_sentence_vectors
from jgr.data.source import Source, caption_of, read_records
from jgr.data.vocabulary import Vocabulary
from jgr.errors import ConfigError

_CHUNK = 512  # records that are read at once


@dataclasses.dataclass(frozen=True, kw_only=True)
class Captions:
    """Makes batches hold `tokens` and `token_mask`, of the `caption` of each record.

    What is known are the most frequent tokens of the training's captions. They are kept in the run's folder, as
    `vocabulary.json`, and whatever opens the run takes those.

    Attributes:
        level: What a token is: a word, a character, or the whole caption.
        size: Numbers of tokens there may be, 4 special ones included; an encoder's `vocabulary_size`.
        length: Tokens of a caption, its beginning and end included; longer ones are cut.
        vocabulary: What is known; that of the training's captions when None.
        vectors: A file of whole captions with their vectors (`jgr.data.sentence_vectors`): they are what is known, for
            the encoder `jgr.models.text_encoders.Precomputed` of the same file. `level` must be "sentence", and `size`
            and `length` play no part.
        dropout: Probability that a training record's caption is taken for an empty one, drawn anew each time, so that a
            network knows what to make untold, as guidance needs it (Ho & Salimans 2022, algorithm 1).

    Raises:
        ConfigError: Vectors are given for another level, cannot be read, or are of other captions than a run was made
            with; a probability is none.
    """

    level: Literal["word", "character", "sentence"] = "word"
    size: int = 1000
    length: int = 24
    vocabulary: Vocabulary | None = None
    vectors: str | None = None
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.dropout < 1.0:
            raise ConfigError(f"dropout = {self.dropout} must be at least 0 and below 1")
        if self.vectors is not None and self.level != "sentence":
            raise ConfigError(f"vectors are of whole captions: set level = {self.level!r} to 'sentence'")
        known = None if self.vectors is None else read_sentence_vectors(self.vectors).vocabulary
        if known is not None and self.vocabulary not in (None, known):
            raise ConfigError(
                f"vectors = {self.vectors!r} has other captions, or another order, than what is known: a number would "
                "stand for another caption; take the file that the run was made with"
            )

    def of(self, source: Source) -> Vocabulary:
        """What is known: `vocabulary`, or what is read in the captions of a source.

        Raises:
            ConfigError: The size or length is impossible.
            DataError: The source has no records, or one of them no caption.
        """
        if self.vocabulary is not None:
            return self.vocabulary
        if self.vectors is not None:
            return read_sentence_vectors(self.vectors).vocabulary
        return Vocabulary.of(captions(source), level=self.level, size=self.size, length=self.length)


def captions(source: Source) -> Iterable[str]:
    """The caption of each record, in order.

    Raises:
        DataError: A record has none.
    """
    for start in range(0, len(source), _CHUNK):
        places = range(start, min(start + _CHUNK, len(source)))
        for place, record in zip(places, read_records(source, places), strict=True):
            yield caption_of(source, place, record)
