"""Folders of images with a table of captions."""

import os

import numpy as np
import pytest
from PIL import Image

from jgr.data.captioned_folder import CaptionedFolder
from jgr.data.captions import captions
from jgr.data.show import summary
from jgr.data.source import fingerprint, read_records
from jgr.data.vocabulary import Vocabulary
from jgr.errors import ConfigError, DataError

TABLE = 'file,caption\nb.png,"a cat, black"\nsub/a.png,Ein Baum 🌳\nc.png,\n'


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "sub").mkdir()
    for value, name in enumerate(("sub/a.png", "b.png", "c.png", "d.png"), start=1):
        Image.new("RGB", (4, 3), (value, 0, 0)).save(tmp_path / name)
    (tmp_path / "captions.csv").write_text(TABLE)
    return tmp_path


def test_records_are_those_of_the_table_in_its_order(folder):
    source = CaptionedFolder(path=os.fspath(folder))
    records = read_records(source, range(len(source)))
    assert [record["caption"] for record in records] == ["a cat, black", "Ein Baum 🌳", ""]
    assert [int(record["image"][0, 0, 0]) for record in records] == [2, 1, 3]
    assert source.record_name(1) == str(folder / "sub/a.png")
    assert list(captions(source)) == ["a cat, black", "Ein Baum 🌳", ""]
    assert source.name == f"{folder.name}-rgb"
    assert summary(source)["captions"] == ["a cat, black", "Ein Baum 🌳", ""]
    before = fingerprint(source)
    (folder / "captions.csv").write_text(TABLE.replace("black", "white"))
    assert fingerprint(CaptionedFolder(path=os.fspath(folder))) != before


def test_parts_of_a_drawn_order_are_apart_and_whole(folder):
    whole = CaptionedFolder(path=os.fspath(folder), seed=1)
    first, rest = (CaptionedFolder(path=os.fspath(folder), seed=1, part=part) for part in ("[:2]", "[2:]"))
    said = [[source[place]["caption"] for place in range(len(source))] for source in (whole, first, rest)]
    assert said[1] + said[2] == said[0]
    assert sorted(said[0]) == ["", "Ein Baum 🌳", "a cat, black"]
    orders = {tuple(captions(CaptionedFolder(path=os.fspath(folder), seed=seed))) for seed in range(8)}
    assert len(orders) > 1
    assert first.name == f"{folder.name}-rgb-seed1[:2]"


def test_a_file_may_be_called_by_its_name_and_columns_by_their_usual_ones(folder):
    (folder / "metadata.csv").write_text("file_name,source,text\na.png,x,one\n")
    source = CaptionedFolder(path=os.fspath(folder), captions="metadata.csv")
    assert [source[0]["caption"], int(source[0]["image"][0, 0, 0])] == ["one", 1]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("file,caption\ne.png,x\n", r"line 2: e.png is not in the folder"),
        ("file,caption\nb.png,x\nb.png,y\n", r"line 3: b.png has a caption already"),
        ("file,title\nb.png,x\n", r"has no column caption or text, only file, title"),
        ("", r"has no column file or file_name, only none"),
        ("file,caption\nb.png\n", r"line 2: has no caption"),
    ],
)
def test_what_is_wrong_in_a_table_is_told_by_line(folder, table, message):
    (folder / "captions.csv").write_text(table)
    with pytest.raises(DataError, match=message):
        len(CaptionedFolder(path=os.fspath(folder)))


def test_missing_tables_twins_and_parts(folder):
    with pytest.raises(DataError, match=r"none.csv: cannot be read as UTF-8 text"):
        len(CaptionedFolder(path=os.fspath(folder), captions="none.csv"))
    Image.new("RGB", (4, 3)).save(folder / "sub/b.png")
    source = CaptionedFolder(path=os.fspath(folder))
    assert int(source[0]["image"][0, 0, 0]) == 2  # "b.png" is a path, too
    Image.new("RGB", (4, 3)).save(folder / "a.png")
    (folder / "captions.csv").write_text("file,caption\nsub/a.png,x\na.png,y\n")
    assert len(CaptionedFolder(path=os.fspath(folder))) == 2
    with pytest.raises(ConfigError, match="part = '3' must be a slice"):
        CaptionedFolder(path=os.fspath(folder), part="3")
    with pytest.raises(DataError, match=r"has 2 records, and none is in part \[7:\]"):
        len(CaptionedFolder(path=os.fspath(folder), part="[7:]"))


def test_emoji_have_their_names(test_data):
    source = CaptionedFolder(path=os.fspath(test_data / "emoji"), seed=0, part="[:1200]")
    assert len(source) == 1200
    record = source[3]
    assert record["image"].shape == (72, 72, 3)
    assert record["image"].dtype == np.uint8
    vocabulary = Vocabulary.of(captions(source))
    assert vocabulary.decode(vocabulary.encode([record["caption"]]).ids[0]).split() == record["caption"].split()
