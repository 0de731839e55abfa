import json
import subprocess
import sys

import numpy as np
import pytest

from jgr.data import TFDS
from jgr.data.prepare import prepare
from jgr.errors import DataError

# Builders as tfds' own are written: arrays as images, a download that is extracted, files opened through tf.io.gfile.
BUILDERS = """
import gzip, os, sys
import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core.utils.lazy_imports_utils import tensorflow as tf

ROOT = {root!r}

class Base(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.2.0")
    shape, encoding, url = None, None, "file://" + ROOT + "/pixels.gz"

    def _info(self):
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict({{
            "id": tfds.features.Text(),
            "image": tfds.features.Image(shape=self.shape, encoding_format=self.encoding),
            "label": tfds.features.ClassLabel(num_classes=5),
            "said": tfds.features.Sequence({{"by": np.int64, "text": tfds.features.Text()}}),
        }}))

    def _split_generators(self, dl_manager):
        path = dl_manager.download_and_extract(self.url)
        return {{"train": self._generate_examples(path)}}

    def _generate_examples(self, path):
        with tf.io.gfile.GFile(path, "rb") as file:
            images = np.frombuffer(file.read(), np.uint8).reshape(5, 8, 6, 3)[..., :self.shape[-1]]
        for i, image in enumerate(images):
            said = [{{"by": n, "text": "être no. %d, %d" % (i, n)}} for n in range(i)]
            yield i, {{"id": str(i), "image": image, "label": i, "said": said}}

class MiniGray(Base):
    shape = (8, 6, 1)

class MiniColour(Base):
    shape = (8, 6, 3)

class MiniJpeg(Base):
    shape, encoding = (8, 6, 3), "jpeg"

class MiniAway(Base):
    shape, url = (8, 6, 3), "http://127.0.0.1:9/away.gz"

class MiniGraph(Base):
    shape = (8, 6, 3)
    def _generate_examples(self, path):
        yield 0, {{"id": "0", "image": tf.zeros((8, 6, 3)), "label": 0, "said": []}}

from jgr.data.prepare import main
for name in sys.argv[1:]:
    main([name, "--data_dir", ROOT + "/tfds"])
assert "tensorflow" not in sys.modules
"""


def run(root, *names):
    script = root / "builders.py"
    script.write_text(BUILDERS.format(root=str(root)), encoding="utf-8")
    out = subprocess.run([sys.executable, str(script), *names], capture_output=True, text=True, check=True, timeout=120)
    return [json.loads(line) for line in out.stdout.splitlines() if line.startswith("{")]


def test_prepared_images_are_read_back(tmp_path):
    import gzip

    pixels = np.random.default_rng(0).integers(0, 256, (5, 8, 6, 3)).astype(np.uint8)
    pixels[:] = pixels[:, :1, :1]  # flat images survive JPEG to a few levels
    pixels[:, 0, 0] ^= 1
    (tmp_path / "pixels.gz").write_bytes(gzip.compress(pixels.tobytes()))
    outcomes = run(tmp_path, "mini_gray", "mini_colour", "mini_jpeg", "mini_colour", "mini_graph")
    assert outcomes[0] == {"path": str(tmp_path / "tfds/mini_gray/1.2.0")}
    assert outcomes[1] == outcomes[3]  # prepared already
    sources = {
        name: TFDS(dataset=name, split="train", data_dir=str(tmp_path / "tfds"))
        for name in ("mini_gray", "mini_colour", "mini_jpeg")
    }
    for index in range(5):
        record = sources["mini_colour"][index]
        np.testing.assert_array_equal(record["image"], pixels[record["label"]])
        record = sources["mini_gray"][index]
        np.testing.assert_array_equal(record["image"], pixels[record["label"]][..., :1])
        record = sources["mini_jpeg"][index]
        np.testing.assert_allclose(record["image"].astype(int), pixels[record["label"]].astype(int), atol=4)
    named = {
        caption: TFDS(dataset="mini_gray", split="train", data_dir=str(tmp_path / "tfds"), caption=caption)
        for caption in ("id", "said/text", "label", "said/word", "said")
    }
    for index in range(5):
        label = sources["mini_gray"][index]["label"]
        assert named["id"][index]["caption"] == str(label)
        if label:
            assert named["said/text"][index]["caption"] == f"être no. {label}, 0"
        else:
            with pytest.raises(DataError, match=f"record {index} of mini_gray-train: said/text has no text"):
                named["said/text"][index]
    for caption in ("label", "said/word", "said"):
        with pytest.raises(DataError, match=f"caption = '{caption}' of .* is no text; its features are "):
            named[caption][0]
    assert outcomes[4]["error"].startswith(
        "mini_graph: its builder needs TensorFlow itself (module 'tensorflow' has no"
    )
    assert "tfds build mini_graph --file_format=array_record" in outcomes[4]["error"]


def test_a_file_that_cannot_be_fetched_is_named(tmp_path):
    (outcome,) = run(tmp_path, "mini_away")
    message = outcome["error"]
    assert message.startswith("mini_away: could not fetch http://127.0.0.1:9/away.gz; put its files into")
    assert str(tmp_path / "tfds/downloads/manual") in message
    assert "TFDS_DATA_DIR" in message
    assert "\n" not in message


def test_manual_and_unknown_data_sets_fail_in_one_line(tmp_path):
    with pytest.raises(
        DataError, match=r"imagenet2012: put its files into \S+manual by hand.*ILSVRC2012_img_train.tar"
    ) as e:
        prepare("imagenet2012", tmp_path)
    assert "\n" not in str(e.value)
    with pytest.raises(DataError, match=r"^cifar11: tfds has no such data set; did you mean .*cifar10"):
        prepare("cifar11", tmp_path)
