"""Captions as numbers: which words or characters there are, and how a caption is cut into them.

Free of JAX, so that worker processes start fast.
"""

import collections
import dataclasses
import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Bool, Int32

from jgr.errors import ConfigError, DataError

PAD, UNK, BOS, EOS = 0, 1, 2, 3
"""Of no token, a token that is not known, the beginning, the end."""

_SPECIAL = ("<pad>", "<unk>", "<bos>", "<eos>")
_WORD = re.compile(r"\w+|[^\w\s]")


@dataclasses.dataclass(frozen=True)
class Tokens:
    """Captions of one length.

    Args:
        ids: `BOS`, a number for each token, `EOS`, and `PAD` up to the length.
        mask: True up to `EOS`.
    """

    ids: Int32[np.ndarray, "batch length"]
    mask: Bool[np.ndarray, "batch length"]


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """The tokens that a model knows, in the order of their numbers, which begin after the special ones.

    Captions count as equal where they differ in case, width or composition of letters only (Unicode's NFKC, case
    folded) or in the kind of their spaces. Words are runs of letters and digits of any language; every other
    character, a comma or an emoji, is a token of its own.

    Args:
        level: What a token is: a word, a character, or the whole caption.
        tokens: What is known.
        length: Numbers of a caption, `BOS` and `EOS` included. What does not fit is left out before `EOS`.

    Raises:
        ConfigError: The level is none of these, the length below 2, or a token is there twice.
    """

    level: Literal["word", "character", "sentence"]
    tokens: tuple[str, ...]
    length: int

    def __post_init__(self) -> None:
        if self.level not in ("word", "character", "sentence"):
            raise ConfigError(f"level = {self.level!r} must be 'word', 'character' or 'sentence'")
        if self.length < 2:
            raise ConfigError(f"length = {self.length} must be at least 2: every caption has a beginning and an end")
        repeated = [token for token, count in collections.Counter(self.tokens).items() if count > 1]
        if repeated:
            raise ConfigError(f"tokens: {repeated[0]!r} is there twice")

    @classmethod
    def of(
        cls,
        captions: Iterable[str],
        *,
        level: Literal["word", "character", "sentence"] = "word",
        size: int | None = None,
        length: int | None = None,
    ) -> "Vocabulary":
        """The tokens of captions, the most frequent first, equally frequent ones in the order of their characters.

        Args:
            captions: Those of the training: what else there is shall be unknown.
            level: What a token is.
            size: Numbers of tokens there may be, special ones included: the rarest are left out. None for no limit.
            length: Numbers of a caption; those of the longest when None.

        Raises:
            DataError: There is no caption.
            ConfigError: As the class, or a size without a place for any token.
        """
        if size is not None and size <= len(_SPECIAL):
            raise ConfigError(f"size = {size} must be at least {len(_SPECIAL) + 1}: {len(_SPECIAL)} tokens are special")
        split = [cls.split(caption, level) for caption in captions]
        if not split:
            raise DataError("a vocabulary is made of captions, and there is none")
        counts = collections.Counter(token for tokens in split for token in tokens)
        known = sorted(counts, key=lambda token: (-counts[token], token))[: size and size - len(_SPECIAL)]
        return cls(level, tuple(known), max(map(len, split)) + 2 if length is None else length)

    def __len__(self) -> int:
        return len(_SPECIAL) + len(self.tokens)

    def encode(self, captions: Sequence[str]) -> Tokens:
        """Captions as numbers. One without a word is `BOS` and `EOS`; a token that is not known is `UNK`."""
        numbers = {token: number for number, token in enumerate(self.tokens, start=len(_SPECIAL))}
        ids = np.full((len(captions), self.length), PAD, np.int32)
        for row, caption in zip(ids, captions, strict=True):
            inner = [numbers.get(token, UNK) for token in self.split(caption, self.level)][: self.length - 2]
            row[: len(inner) + 2] = [BOS, *inner, EOS]
        return Tokens(ids, ids != PAD)

    def count(self, caption: str) -> int:
        """Tokens of a caption, its beginning and end included, however many are read."""
        return len(self.split(caption, self.level)) + 2

    def decode(self, ids: Int32[np.ndarray, "length"]) -> str:
        """The caption of numbers, up to `EOS`; what is not known is "<unk>".

        Raises:
            ValueError: A number stands for no token.
        """
        tokens = []
        for number in map(int, ids):
            if not 0 <= number < len(self):
                raise ValueError(f"{number} is no token: there are {len(self)}")
            if number == EOS:
                break
            if number not in (PAD, BOS):
                tokens.append((*_SPECIAL, *self.tokens)[number])
        return (" " if self.level == "word" else "").join(tokens)

    @staticmethod
    def split(caption: str, level: str) -> list[str]:
        """The tokens of a caption, known or not."""
        text = " ".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", caption).casefold()).split())
        if level == "sentence":
            return [text] if text else []
        return _WORD.findall(text) if level == "word" else list(text)

    def unknown(self, caption: str) -> list[str]:
        """The tokens of a caption that are not known, each once, for messages."""
        known = set(self.tokens)
        return [token for token in dict.fromkeys(self.split(caption, self.level)) if token not in known]

    def to_json(self) -> str:
        """What `from_json` reads."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Vocabulary":
        """The vocabulary that `to_json` wrote.

        Raises:
            DataError: The text is none.
        """
        try:
            fields = json.loads(text)
            return cls(fields["level"], tuple(fields["tokens"]), fields["length"])
        except (ValueError, KeyError, TypeError, ConfigError) as error:
            raise DataError(f"this is no vocabulary: {error}") from error
