"""Captions of digits: what they say is so, what is drawn repeats itself, and no record has what it is not to have."""

import collections
import dataclasses
import os

import numpy as np
import pytest
from PIL import Image, ImageDraw

from jgr.data.captioned_mnist import ATTRIBUTES, BACKGROUNDS, DIGITS, INKS, CaptionedMNIST, mentioned, seen
from jgr.data.source import Source, fingerprint, read_records
from jgr.data.tfds import TFDS
from jgr.errors import ConfigError, DataError


@dataclasses.dataclass(frozen=True)
class Lines:
    """Lines of all thicknesses and slants, labelled 0 to 9 in turn."""

    name: str = "lines"

    def __len__(self):
        return 600

    def __getitem__(self, index):
        image = Image.new("L", (280, 280))
        lean = 60 * np.sin(index)
        ends = ((140 - lean, 220), (140 + lean, 60))
        ImageDraw.Draw(image).line(ends, fill=255, width=10 * (2 + index % 4))
        return {"image": np.asarray(image.resize((28, 28), Image.Resampling.BOX))[..., None], "label": index % 10}


SOURCE = CaptionedMNIST(digits=Lines())


@pytest.fixture(scope="module")
def records():
    return SOURCE.__getitems__(range(600))


def test_what_captions_say_is_seen_in_the_images(records):
    found = seen(np.stack([record["image"] for record in records]))
    said = [mentioned(record["caption"]) for record in records]
    for record, measures, values in zip(records, found, said, strict=True):
        assert measures | {"digit": DIGITS[record["label"]]} | values == measures | {"digit": values["digit"]}
        assert values["digit"] == DIGITS[record["label"]]
    counts = collections.Counter(name for values in said for name in values)
    assert counts["digit"] == 600
    assert all(0.4 < counts[name] / 600 < 0.6 for name in ("shift", "ink", "background"))
    assert all(0.1 < counts[name] / 600 < 0.6 for name in ("thickness", "slant", "width"))
    of_each = {name: {values[name] for values in said if name in values} for name in ATTRIBUTES}
    assert {name: sorted(words) for name, words in of_each.items() if name != "width"} == {
        name: sorted(words) for name, words in ATTRIBUTES.items() if name != "width"
    }


def test_phrasings_differ_and_leave_nothing_dangling(records):
    captions = [record["caption"] for record in records]
    assert {caption.split()[0] for caption in captions} >= {"a", "an", "the", "on", "in"}
    for caption in captions:
        words = caption.replace(",", " ,").split()
        assert words[0] not in (",", "and")
        assert words[-1] not in (",", "on", "in", "and", "against", "with", "a", "an", "the")
        assert ", ," not in caption
        assert "background" not in words or words[words.index("background") - 1] in BACKGROUNDS
        assert (" eight" in f" {caption}") <= ("a eight" not in caption)


def test_a_record_follows_from_the_seed_and_its_place(records):
    again = SOURCE[7]
    np.testing.assert_array_equal(again["image"], records[7]["image"])
    assert again["caption"] == records[7]["caption"]
    other = dataclasses.replace(SOURCE, seed=1).__getitems__(range(50))
    assert sum(one["caption"] != two["caption"] for one, two in zip(other, records, strict=False)) > 40
    names = {fingerprint(source) for source in (SOURCE, dataclasses.replace(SOURCE, seed=1))}
    assert len(names) == 2
    assert isinstance(SOURCE, Source)
    assert len(read_records(SOURCE, [3, 4])) == 2


@pytest.mark.parametrize("combinations", ["all", "seen", "held_out"])
def test_held_out_combinations_are_apart_from_the_seen_ones(combinations):
    source = dataclasses.replace(SOURCE, combinations=combinations)
    made = source.__getitems__(range(300))
    inks = [of["ink"] for of in seen(np.stack([record["image"] for record in made]))]
    own = [ink == tuple(INKS)[record["label"] % len(INKS)] for ink, record in zip(inks, made, strict=True)]
    share = np.mean(own)
    assert {"all": 0.08 < share < 0.27, "seen": share == 0, "held_out": share == 1}[combinations]
    assert source.name == {"all": "captioned-lines"}.get(combinations, f"captioned-lines-{combinations}")


@pytest.mark.parametrize(
    ("caption", "values"),
    [
        ("a thick red seven", {"digit": "seven", "thickness": "thick", "ink": "red"}),
        ("An 8, Upright, gray background", {"digit": "eight", "slant": "upright", "background": "gray"}),
        ("on the left a 4 with navy behind it", {"digit": "four", "shift": "on the left", "background": "navy"}),
        ("two threes", {"digit": "two"}),
        ("seven or one", {"digit": "seven"}),
        ("thinner than someone", {}),
        ("", {}),
        ("🙂 ein Baum", {}),
    ],
)  # fmt: skip
def test_values_are_read_from_any_caption(caption, values):
    assert mentioned(caption) == values


def test_an_equal_set_is_written_once_in_any_order():
    read = []

    @dataclasses.dataclass(frozen=True)
    class Counted(Lines):
        def __getitem__(self, index):
            read.append(index)
            return super().__getitem__(index)

    first = CaptionedMNIST(digits=Counted(), seed=5)
    forwards = first.__getitems__(range(len(first)))
    backwards = CaptionedMNIST(digits=Counted(), seed=5).__getitems__(range(len(first) - 1, -1, -1))
    assert sorted(read) == [0, 0, *range(len(first))], "once, but for the size of images that each set looks at"
    for one, same in zip(forwards, reversed(backwards), strict=True):
        assert one["caption"] == same["caption"]
        np.testing.assert_array_equal(one["image"], same["image"])
    forwards[0]["caption"] = "another"
    assert first[0]["caption"] == backwards[-1]["caption"]


def test_digits_without_a_hash_are_read_each_time():
    @dataclasses.dataclass  # can be changed, so that it has no hash
    class Changing:
        bright: int = 255
        name: str = "changing"

        def __len__(self):
            return 4

        def __getitem__(self, index):
            return {"image": np.full((28, 28, 1), self.bright, np.uint8), "label": index}

    digits = Changing()
    source = CaptionedMNIST(digits=digits)
    before = source[1]["image"]
    digits.bright = 0
    assert (source[1]["image"] != before).any()


def test_what_is_no_digit_is_refused():
    @dataclasses.dataclass(frozen=True)
    class Unlabelled(Lines):
        def __getitem__(self, index):
            return {"image": super().__getitem__(index)["image"]}

    with pytest.raises(DataError, match=r"record 0 of lines: .* has 1 channels and the label None"):
        CaptionedMNIST(digits=Unlabelled())[3]
    with pytest.raises(ConfigError, match="combinations = 'new' must be all, seen or held_out"):
        CaptionedMNIST(digits=Lines(), combinations="new")


def test_all_captions_of_mnist_are_true(test_data):
    digits = TFDS(dataset="mnist", split="test[:1000]", data_dir=os.fspath(test_data / "tfds"))
    records = CaptionedMNIST(digits=digits).__getitems__(range(1000))
    found = seen(np.stack([record["image"] for record in records]))
    for record, measures in zip(records, found, strict=True):
        values = mentioned(record["caption"])
        assert values.pop("digit") == DIGITS[record["label"]]
        assert values.items() <= measures.items(), record["caption"]
