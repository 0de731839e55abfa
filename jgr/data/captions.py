"""How the captions of records become numbers: the part `captions` of a config's section `data`."""

import dataclasses
from collections.abc import Iterable
from typing import Literal

from jgr.data.source import Source, caption_of, read_records
from jgr.data.vocabulary import Vocabulary

_CHUNK = 512  # records that are read at once


@dataclasses.dataclass(frozen=True, kw_only=True)
class Captions:
    """Makes batches hold `tokens` and `token_mask`, of the `caption` of each record.

    What is known are the most frequent tokens of the training's captions. They are kept in the run's folder, as
    `vocabulary.json`, and whatever opens the run takes those.

    Attributes:
        level: What a token is: a word, or a character.
        size: Numbers of tokens there may be, 4 special ones included; an encoder's `vocabulary_size`.
        length: Tokens of a caption, its beginning and end included; longer ones are cut.
        vocabulary: What is known; that of the training's captions when None.
    """

    level: Literal["word", "character"] = "word"
    size: int = 1000
    length: int = 24
    vocabulary: Vocabulary | None = None

    def of(self, source: Source) -> Vocabulary:
        """What is known: `vocabulary`, or what is read in the captions of a source.

        Raises:
            ConfigError: The size or length is impossible.
            DataError: The source has no records, or one of them no caption.
        """
        if self.vocabulary is not None:
            return self.vocabulary
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
