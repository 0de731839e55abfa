import dataclasses

import numpy as np
import pytest

from jgr.data.vocabulary import BOS, EOS, PAD, UNK, Vocabulary
from jgr.errors import ConfigError, DataError

CAPTIONS = ["a thick seven, leaning left", "a thin one", "a thin seven"]


def test_the_most_frequent_come_first_and_the_order_of_captions_does_not_matter():
    vocabulary = Vocabulary.of(CAPTIONS)
    assert vocabulary.tokens == ("a", "seven", "thin", ",", "leaning", "left", "one", "thick")
    assert Vocabulary.of(reversed(CAPTIONS)) == vocabulary


@pytest.mark.parametrize("level", ["word", "character"])
def test_a_caption_comes_back(level):
    vocabulary = Vocabulary.of(CAPTIONS, level=level)
    back = [vocabulary.decode(ids) for ids in vocabulary.encode(CAPTIONS).ids]
    assert [text.replace(" ,", ",") for text in back] == CAPTIONS


def test_it_has_a_beginning_an_end_and_padding():
    tokens = Vocabulary.of(CAPTIONS).encode(["a thin one"])
    np.testing.assert_array_equal(tokens.ids, [[BOS, 4, 6, 10, EOS, PAD, PAD, PAD]])
    np.testing.assert_array_equal(tokens.mask, [[True] * 5 + [False] * 3])


@pytest.mark.parametrize("empty", ["", "  \n\t "])
def test_an_empty_caption_is_a_beginning_and_an_end(empty):
    vocabulary = Vocabulary.of(CAPTIONS)
    np.testing.assert_array_equal(vocabulary.encode([empty]).ids[0, :3], [BOS, EOS, PAD])
    assert vocabulary.decode(vocabulary.encode([empty]).ids[0]) == ""


def test_what_was_not_seen_is_unknown():
    vocabulary = Vocabulary.of(CAPTIONS)
    ids = vocabulary.encode(["a purple seven"]).ids[0]
    assert list(ids[:5]) == [BOS, 4, UNK, 5, EOS]
    assert vocabulary.decode(ids) == "a <unk> seven"
    assert vocabulary.unknown("purple purple seven?") == ["purple", "?"]


def test_rare_tokens_are_left_out():
    vocabulary = Vocabulary.of(CAPTIONS, size=7)
    assert vocabulary.tokens == ("a", "seven", "thin")
    assert len(vocabulary) == 7
    assert vocabulary.encode(CAPTIONS).ids.max() < 7
    with pytest.raises(ConfigError, match="size = 4 must be at least 5"):
        Vocabulary.of(CAPTIONS, size=4)


def test_too_long_a_caption_loses_its_end_and_keeps_its_mark():
    vocabulary = Vocabulary.of(CAPTIONS, length=4)
    tokens = vocabulary.encode(CAPTIONS)
    assert tokens.ids.shape == (3, 4)
    assert (tokens.ids[:, -1] == EOS).all()
    assert tokens.mask.all()


@pytest.mark.parametrize(
    ("one", "same"),
    [("Thin ONE", "thin one"), ("cafe\u0301", "café"), ("\uff54hin", "thin"), ("thin\u00a0 one", "thin one")],
)
def test_case_width_and_composition_do_not_matter(one, same):
    vocabulary = Vocabulary.of([same])
    np.testing.assert_array_equal(vocabulary.encode([one]).ids, vocabulary.encode([same]).ids)


@pytest.mark.parametrize("level", ["word", "character"])
@pytest.mark.parametrize("caption", ["eine dicke Sieben 7️⃣", "细的一", "👩‍👩‍👧 family", "سبعة", "\u0000\ud83d", "ñ"])
def test_no_language_and_no_emoji_is_refused(level, caption):
    tokens = Vocabulary.of(CAPTIONS, level=level).encode([caption])
    assert tokens.ids[0, 0] == BOS
    assert UNK in tokens.ids
    own = Vocabulary.of([caption], level=level)
    assert UNK not in own.encode([caption]).ids


def test_it_is_kept_as_json():
    vocabulary = Vocabulary.of([*CAPTIONS, "细 👩‍👩‍👧 \ud83d"], level="character")
    assert Vocabulary.from_json(vocabulary.to_json().encode().decode()) == vocabulary


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"level": "word", "tokens": ["a", "a"], "length": 4}'])
def test_another_text_is_no_vocabulary(text):
    with pytest.raises(DataError, match="this is no vocabulary"):
        Vocabulary.from_json(text)


def test_impossible_ones_are_refused():
    vocabulary = Vocabulary.of(CAPTIONS)
    with pytest.raises(ConfigError, match="length = 1 must be at least 2"):
        dataclasses.replace(vocabulary, length=1)
    with pytest.raises(ConfigError, match="'a' is there twice"):
        dataclasses.replace(vocabulary, tokens=("a", "b", "a"))
    with pytest.raises(DataError, match="there is none"):
        Vocabulary.of([])
    with pytest.raises(ValueError, match="99 is no token: there are 12"):
        vocabulary.decode(np.array([2, 99], np.int32))
