"""Digits with captions of what they look like: text-image pairs whose every word can be measured."""

import dataclasses
import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from jgr.data.source import Source, fingerprint, read_records
from jgr.data.strokes import coloured, measured
from jgr.errors import ConfigError, DataError

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
INKS = {
    "white": (255, 255, 255),
    "red": (230, 40, 40),
    "yellow": (250, 220, 50),
    "green": (60, 200, 80),
    "cyan": (60, 200, 230),
    "pink": (230, 80, 200),
}
"""Colours of digits, by name: red, green and blue, 0 to 255."""
BACKGROUNDS = {"black": (0, 0, 0), "gray": (110, 110, 110), "navy": (20, 30, 120)}
"""Colours behind them."""

_CHUNK = 512  # records that are written at once, and kept
_KEPT = 256  # chunks, of all sets
_KEPT_BYTES = 2**29  # sets of larger images are not kept

_SHIFT = 4  # pixels; MNIST leaves as many around a digit

# Edges between neighbours, in the units of `jgr.data.strokes.Strokes`, how far from an edge a caption names a value,
# and the words. Of MNIST's training images the median thickness is 2.48 and width 12.1 pixels, the terciles of the
# slant are -0.7 and 12.5 degrees.
_MEASURED: Mapping[str, tuple[tuple[float, ...], float, tuple[str, ...]]] = {
    "thickness": ((2.5,), 0.2, ("thin", "thick")),
    "slant": ((0.0, 12.0), 2.0, ("leaning left", "upright", "leaning right")),
    "width": ((12.0,), 1.0, ("narrow", "wide")),
    "shift": ((-2.0, 2.0), 0.5, ("on the left", "in the middle", "on the right")),
}
ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "digit": DIGITS,
    **{name: words for name, (_, _, words) in _MEASURED.items()},
    "ink": tuple(INKS),
    "background": tuple(BACKGROUNDS),
}
"""What a caption may say, and the values of each: the first are measured in the image, the colours are given to it."""


@dataclasses.dataclass(frozen=True)
class _Given:
    """What is drawn for a digit."""

    ink: str
    background: str
    shift: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class CaptionedMNIST:
    """Digits in colours, moved to a side, with a caption of some of what they are: "a thick green seven leaning left".

    A caption always names the digit, by word or numeral, and each of the other `ATTRIBUTES` in half of the captions
    where its value is clear: thickness, slant and width are measured in the image (`jgr.data.strokes`), the place and
    the colours of digit and background are drawn. What is drawn for a record depends on `seed` and its place alone.

    Each digit has one colour of its own, that of number `digit % 6`, for tests of composition: it never has it where
    `combinations` is "seen", and always where it is "held_out".

    Attributes:
        digits: Gray images with labels 0 to 9, light on dark, with 4 dark pixels around them, such as MNIST's.
        seed: Of what is drawn.
        combinations: "all", "seen" or "held_out".

    Raises:
        ConfigError: `combinations` is none of these.
        DataError: At a record, when it or one that is read with it has no label from 0 to 9, or no single channel.
    """

    digits: Source
    seed: int = 0
    combinations: str = "all"

    def __post_init__(self) -> None:
        if self.combinations not in ("all", "seen", "held_out"):
            raise ConfigError(f"combinations = {self.combinations!r} must be all, seen or held_out")

    @property
    def name(self) -> str:
        """That of the digits, and which combinations they have."""
        return f"captioned-{self.digits.name}" + (f"-{self.combinations}" if self.combinations != "all" else "")

    def __len__(self) -> int:
        return len(self.digits)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Records with `image` uint8 [height, width, 3], `label` and `caption`.

        Those of a set that is not too large are kept, for whatever else reads an equal set in this process: the
        vocabulary is made of captions that training reads again, and so do the other runs of a study.
        """
        if not self._kept:
            return self._written(indices)
        return [dict(_chunk(self, int(index) // _CHUNK)[int(index) % _CHUNK]) for index in indices]

    @functools.cached_property
    def _kept(self) -> bool:
        try:
            hash(self)
        except TypeError:  # digits of which it cannot be told whether they equal others
            return False
        if not 0 < len(self) <= _CHUNK * _KEPT:
            return False
        (first,) = read_records(self.digits, [0])
        return len(self) * 3 * first["image"].nbytes <= _KEPT_BYTES

    def _written(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        records = read_records(self.digits, indices)
        for index, record in zip(indices, records, strict=True):
            if record["image"].shape[2] != 1 or record.get("label") not in range(10):
                raise DataError(
                    f"record {index} of {self.digits.name}: captions are written of gray images with a label from 0 to "
                    f"9, and this has {record['image'].shape[2]} channels and the label {record.get('label')}"
                )
        if len({record["image"].shape for record in records}) > 1:
            raise DataError(f"{self.digits.name}: captions are written of images of one size")
        generators = [np.random.default_rng((self.seed, index)) for index in indices]
        given = [self._given(int(record["label"]), rng) for record, rng in zip(records, generators, strict=True)]
        moved = [
            np.roll(record["image"][..., 0], each.shift, axis=1) for record, each in zip(records, given, strict=True)
        ]
        clear = _clear(np.stack(moved) / 255.0) if moved else []
        return [
            _record(int(record["label"]), gray, each, values, rng)
            for record, gray, each, values, rng in zip(records, moved, given, clear, generators, strict=True)
        ]

    def fingerprint(self) -> str:
        """That of the digits, the seed and the combinations."""
        return f"{fingerprint(self.digits)}-{self.seed}-{self.combinations}"

    def _given(self, digit: int, rng: np.random.Generator) -> _Given:
        own = tuple(INKS)[digit % len(INKS)]
        names = [name for name in INKS if self.combinations == "all" or name != own]
        ink = own if self.combinations == "held_out" else names[rng.integers(len(names))]
        background = tuple(BACKGROUNDS)[rng.integers(len(BACKGROUNDS))]
        return _Given(ink, background, _SHIFT * int(rng.integers(-1, 2)))


@functools.lru_cache(_KEPT)
def _chunk(source: CaptionedMNIST, number: int) -> list[dict[str, Any]]:
    """Records that are kept, whose images cannot be written to."""
    records = source._written(range(number * _CHUNK, min((number + 1) * _CHUNK, len(source))))
    for record in records:
        record["image"].flags.writeable = False
    return records


def _record(
    label: int,
    gray: UInt8[np.ndarray, "height width"],
    given: _Given,
    clear: Mapping[str, str],
    rng: np.random.Generator,
) -> dict[str, Any]:
    alpha = gray[..., None] / 255.0
    ink, background = np.asarray(INKS[given.ink]), np.asarray(BACKGROUNDS[given.background])
    image = np.floor(alpha * ink + (1 - alpha) * background + 0.5).astype(np.uint8)
    values = {"digit": DIGITS[label], **clear, "ink": given.ink, "background": given.background}
    return {"image": image, "label": label, "caption": _caption(values, rng)}


def _clear(ink: Float[np.ndarray, "n height width"]) -> list[dict[str, str]]:
    """The measured values of images that no edge is near to."""
    strokes = measured(ink)
    found: list[dict[str, str]] = [{} for _ in ink]
    for name, (edges, margin, words) in _MEASURED.items():
        for of, value in zip(found, getattr(strokes, name), strict=True):
            if min(abs(value - edge) for edge in edges) > margin:
                of[name] = words[int(np.searchsorted(edges, value))]
    return found


def _caption(values: Mapping[str, str], rng: np.random.Generator) -> str:
    """One of four sentences, of some of the values: the digit, and each other one with probability 1/2."""
    named = {name: values[name] if name in values and rng.random() < 0.5 else "" for name in ATTRIBUTES}
    digit = values["digit"] if rng.random() < 0.75 else str(DIGITS.index(values["digit"]))
    thickness, slant, width, shift, ink, background = (named[name] for name in ATTRIBUTES if name != "digit")
    behind = lambda words: words.format(background) if background else ""  # noqa: E731
    phrasings = (
        [_with_article(thickness, width, ink, digit, slant, shift, behind("on {}"))],
        [_joined(" ", ink, digit), thickness, width, slant, shift, behind("{} background")],
        [
            _joined(" ", "the", thickness, width, "digit", digit, ink and f"in {ink}"),
            slant,
            shift,
            behind("against {}"),
        ],
        [
            _joined(" ", shift, _with_article(width, ink, digit)),
            _joined(" and ", thickness, slant),
            behind("with {} behind it"),
        ],
    )
    return _joined(", ", *phrasings[rng.integers(len(phrasings))])


def _joined(between: str, *parts: str) -> str:
    return between.join(part for part in parts if part)


def _with_article(*words: str) -> str:
    text = _joined(" ", *words)
    return f"an {text}" if text[0] in "e8" else f"a {text}"


def mentioned(caption: str) -> dict[str, str]:
    """The values of `ATTRIBUTES` that a caption names; of several of one attribute the first."""
    text = f" {' '.join(re.findall(r'[a-z]+|[0-9]', caption.lower()))} "
    places = {
        name: [(text.find(f" {form} "), word) for word in words for form in _forms(name, word) if f" {form} " in text]
        for name, words in ATTRIBUTES.items()
    }
    return {name: min(found)[1] for name, found in places.items() if found}


def _forms(name: str, word: str) -> tuple[str, ...]:
    return (word, str(DIGITS.index(word))) if name == "digit" else (word,)


def seen(images: UInt8[np.ndarray, "n height width 3"]) -> list[dict[str, str]]:
    """The values of all `ATTRIBUTES` but the digit that images have, by the code that captions were written with."""
    colours = coloured(images)
    strokes = measured(colours.coverage)
    found = [
        {"ink": _nearest(INKS, ink), "background": _nearest(BACKGROUNDS, background)}
        for ink, background in zip(colours.ink, colours.background, strict=True)
    ]
    for name, (edges, _, words) in _MEASURED.items():
        for of, value in zip(found, getattr(strokes, name), strict=True):
            of[name] = words[int(np.searchsorted(edges, value))]
    return found


def _nearest(palette: Mapping[str, tuple[int, int, int]], colour: Float[np.ndarray, "3"]) -> str:
    return min(palette, key=lambda name: float(np.square(np.asarray(palette[name]) - colour).sum()))
