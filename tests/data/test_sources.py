import hashlib
import logging
import pickle
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from jgr.data import TFDS, Digits, ImageFolder, Photographs, Source, fingerprint
from jgr.data.source import read_records
from jgr.data.tfds import builder_dir
from jgr.errors import ConfigError, DataError

RNG = np.random.default_rng(0)


def test_digits():
    from sklearn.datasets import load_digits

    everything, train, test = Digits(), Digits(split="train"), Digits(split="test")
    assert isinstance(everything, Source)
    assert (len(everything), len(train), len(test)) == (1797, 1437, 360)
    assert (everything.name, train.name) == ("digits-all", "digits-train")
    raw = load_digits()
    images = np.stack([record["image"] for record in read_records(everything, range(1797))])
    np.testing.assert_array_equal(np.rint(images[..., 0] * (16 / 255)), raw.images)
    assert images.max() == 255
    assert everything[0]["image"][0, 3, 0] == 207  # 13 * 255 / 16 = 207.19
    assert [everything[i]["label"] for i in (0, 1, 1796)] == raw.target[[0, 1, 1796]].tolist()
    np.testing.assert_array_equal(test[0]["image"], everything[1437]["image"])
    with pytest.raises(ConfigError, match="split = 'valid' must be one of all, train, test"):
        Digits(split="valid")


def test_photographs():
    photographs = Photographs()
    shapes = [photographs[i]["image"].shape for i in range(len(photographs))]
    assert shapes[0] == (512, 512, 3)
    assert len(set(shapes)) > 3
    assert all(shape[2] == 3 for shape in shapes)
    assert len(fingerprint(photographs)) == 16


def test_fingerprint_of_a_plain_source_is_that_of_its_records():
    class Plain:
        name = "plain-all"

        def __init__(self, images):
            self.images = images

        def __len__(self):
            return len(self.images)

        def __getitem__(self, index):
            return {"image": self.images[index]}

    images = RNG.integers(0, 256, (3, 2, 2, 1)).astype(np.uint8)
    same, changed, transposed = Plain(images.copy()), Plain(images.copy()), Plain(images.reshape(3, 4, 1, 1))
    changed.images[2, 0, 0, 0] ^= 1
    assert fingerprint(same) == fingerprint(Plain(images))
    assert len({fingerprint(source) for source in (same, changed, transposed)}) == 3
    with pytest.raises(DataError, match="record 0 of plain-all: its image is float32"):
        fingerprint(Plain(images.astype(np.float32)))


def test_folder_reads_every_format_in_order(tmp_path):
    pixels = RNG.integers(0, 256, (5, 7, 3)).astype(np.uint8)
    for suffix in ("png", "bmp", "tiff", "webp"):
        options = {"lossless": True} if suffix == "webp" else {}
        Image.fromarray(pixels).save(tmp_path / f"b.{suffix}", **options)
    Image.fromarray(pixels).save(tmp_path / "a.JPG", "jpeg", quality=95, subsampling=0)
    (tmp_path / "inner").mkdir()
    Image.fromarray(pixels).save(tmp_path / "inner" / "c.png")
    (tmp_path / ".hidden.png").write_bytes(b"no image")
    (tmp_path / "notes.txt").write_text("no image")
    folder = ImageFolder(path=str(tmp_path))
    assert folder.files == ("a.JPG", "b.bmp", "b.png", "b.tiff", "b.webp", "inner/c.png")
    assert ImageFolder(path=str(tmp_path), recursive=False).files == folder.files[:-1]
    assert folder.name == f"{tmp_path.name}-rgb"
    for index in range(1, 6):
        np.testing.assert_array_equal(folder[index]["image"], pixels)
    assert "label" not in folder[0]


def test_folder_gray_is_bt601(tmp_path):
    pixels = RNG.integers(0, 256, (5, 7, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    gray = ImageFolder(path=str(tmp_path), color="gray")[0]["image"]
    assert gray.shape == (5, 7, 1)
    np.testing.assert_allclose(gray[..., 0], pixels @ np.array([0.299, 0.587, 0.114]), atol=0.51)
    Image.fromarray(gray[..., 0]).save(tmp_path / "a.png")
    np.testing.assert_array_equal(ImageFolder(path=str(tmp_path))[0]["image"], gray.repeat(3, axis=2))


def test_folder_unusual_images(tmp_path):
    deep = np.array([[0, 128, 129, 257, 65535]], np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    Image.fromarray(deep).save(tmp_path / "deep.tif")
    alpha = np.array([[[200, 0, 100, 255], [200, 0, 100, 0]]], np.uint8)
    Image.fromarray(alpha).save(tmp_path / "alpha.png")
    palette = Image.fromarray(np.array([[0, 1]], np.uint8), mode=None).convert("P")
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.save(tmp_path / "palette.png")
    upright = Image.fromarray(np.array([[0, 255]], np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees clockwise to be upright
    upright.save(tmp_path / "turned.png", exif=exif)
    folder = ImageFolder(path=str(tmp_path))
    image = {name: folder[i]["image"] for i, name in enumerate(folder.files)}
    for name in ("deep.png", "deep.tif"):
        np.testing.assert_array_equal(image[name][..., 0], [[0, 0, 1, 1, 255]])
    np.testing.assert_array_equal(image["alpha.png"], [[[200, 0, 100], [255, 255, 255]]])
    np.testing.assert_array_equal(image["palette.png"], [[[10, 20, 30], [40, 50, 60]]])
    np.testing.assert_array_equal(image["turned.png"][..., 0], [[0], [255]])
    Image.fromarray(np.zeros((2, 2), np.float32)).save(tmp_path / "real.tiff")
    again = ImageFolder(path=str(tmp_path))
    with pytest.raises(DataError, match=r"real.tiff: it has 32-bit pixels \(Pillow mode F\)"):
        again[again.files.index("real.tiff")]


def test_folder_damaged_file(tmp_path, caplog):
    pixels = RNG.integers(0, 256, (40, 40, 3)).astype(np.uint8)
    for name in ("a", "b", "c"):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    whole = (tmp_path / "b.png").read_bytes()
    (tmp_path / "b.png").write_bytes(whole[: len(whole) // 2])
    stop = ImageFolder(path=str(tmp_path))
    assert len(stop) == 3
    with pytest.raises(DataError, match=r"b\.png: not a readable image .*; replace or remove it$") as caught:
        stop[1]
    assert "\n" not in str(caught.value)
    with caplog.at_level(logging.WARNING):
        skip = ImageFolder(path=str(tmp_path), on_error="skip")
        assert skip.files == ("a.png", "c.png")
        assert skip.skipped == ("b.png",)
        assert len(skip) == 2
    (message,) = [record.getMessage() for record in caplog.records]
    assert "skipped 1 of 3 images that do not decode: b.png" in message
    assert fingerprint(skip) != fingerprint(stop)
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "c.png").write_bytes(whole[:-200])
    with pytest.raises(DataError, match="none of its 3 images decodes"):
        len(ImageFolder(path=str(tmp_path), on_error="skip"))


def test_folder_labels(tmp_path):
    for name in ("dog/x.png", "cat/z.png", "cat/deep/y.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((2, 2), np.uint8)).save(tmp_path / name)
    folder = ImageFolder(path=str(tmp_path), labels="folder")
    assert folder.classes == ("cat", "dog")
    assert [folder[i]["label"] for i in range(3)] == [0, 0, 1]
    Image.fromarray(np.zeros((2, 2), np.uint8)).save(tmp_path / "loose.png")
    with pytest.raises(DataError, match=r"loose\.png: lies in no class folder"):
        len(ImageFolder(path=str(tmp_path), labels="folder"))


def test_folder_mistakes(tmp_path):
    with pytest.raises(DataError, match=r"nowhere: no such folder"):
        len(ImageFolder(path=str(tmp_path / "nowhere")))
    with pytest.raises(DataError, match=r"holds no image \(\.bmp"):
        len(ImageFolder(path=str(tmp_path)))
    with pytest.raises(ConfigError, match="recursive=False"):
        ImageFolder(path=str(tmp_path), labels="folder", recursive=False)


@pytest.mark.parametrize("field", ["color", "on_error", "labels"])
def test_folder_values(field):
    with pytest.raises(ConfigError, match=f"{field} = 'odd' must be"):
        ImageFolder(**{"path": ".", field: "odd"})


def test_folder_of_real_images(test_data):
    folder = ImageFolder(path=str(test_data / "denoising" / "bsd68"), color="gray")
    assert len(folder) == 68
    assert {folder[i]["image"].shape for i in range(0, 68, 8)} <= {(321, 481, 1), (481, 321, 1)}


def test_tfds_reads_mnist(test_data):
    train = TFDS(dataset="mnist", split="train", data_dir=str(test_data / "tfds"))
    assert isinstance(train, Source)
    assert (len(train), train.name) == (60000, "mnist-train")
    records = train.__getitems__([0, 59999, 0])
    assert records[0]["image"].shape == (28, 28, 1)
    np.testing.assert_array_equal(records[0]["image"], train[0]["image"])
    np.testing.assert_array_equal(records[0]["image"], records[2]["image"])
    assert 0 <= records[1]["label"] <= 9
    assert len(pickle.dumps(train)) < 1000  # workers open the files themselves
    assert len(pickle.loads(pickle.dumps(train))) == 60000
    part = TFDS(dataset="mnist:3.0.1", split="train[10:20]", data_dir=str(test_data / "tfds"))
    assert len(part) == 10
    np.testing.assert_array_equal(part[0]["image"], train[10]["image"])
    assert fingerprint(part) != fingerprint(train)


def test_tfds_mnist_has_the_published_class_counts(test_data):
    test = TFDS(dataset="mnist", split="test", data_dir=str(test_data / "tfds"))
    labels = [record["label"] for record in test.__getitems__(range(10000))]
    # Published counts of the test digits 0 to 9.
    assert np.bincount(labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_tfds_reads_jpeg_colour(test_data):
    source = TFDS(dataset="cifar10_jpeg75", split="test", data_dir=str(test_data / "tfds"))
    assert source[3]["image"].shape == (32, 32, 3)


def test_tfds_mistakes(test_data, tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with pytest.raises(
        DataError, match=rf"mnist: no prepared data set in {tmp_path}/mnist; run `jgr data prepare mnist`"
    ):
        len(TFDS(dataset="mnist", split="train"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(test_data / "tfds"))
    with pytest.raises(DataError, match=r"split='valid': mnist has test, train"):
        len(TFDS(dataset="mnist", split="valid"))
    with pytest.raises(DataError, match=r"mnist:9.9.9: no prepared data set"):
        len(TFDS(dataset="mnist:9.9.9", split="train"))
    with pytest.raises(ConfigError, match="split = '' must name a split"):
        TFDS(dataset="mnist", split="")


def test_builder_dir_finds_configs_and_the_newest_version(tmp_path):
    for name in ("one/2.0.0", "one/10.0.0", "two/a/1.0.0", "three/a/1.0.0", "three/b/1.0.0"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "dataset_info.json").write_text("{}")
    assert builder_dir("one", tmp_path) == tmp_path / "one/10.0.0"
    assert builder_dir("one:2.0.0", tmp_path) == tmp_path / "one/2.0.0"
    assert builder_dir("two", tmp_path) == tmp_path / "two/a/1.0.0"
    assert builder_dir("three/b:1.0.0", tmp_path) == tmp_path / "three/b/1.0.0"
    with pytest.raises(DataError, match=r"three: .* has several configs; name one of three/a, three/b"):
        builder_dir("three", tmp_path)


def test_importing_is_light():
    heavy = ("tensorflow", "tensorflow_datasets", "grain", "sklearn", "skimage", "array_record")
    names = "Data, Digits, ImageFolder, Loader, Photographs, TFDS"
    code = f"import sys; from jgr.data import {names}; print([name for name in {heavy} if name in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_file_fingerprint_is_sha256_of_names_sizes_and_contents(tmp_path):
    Image.fromarray(np.zeros((2, 2), np.uint8)).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    expected = hashlib.sha256(f"a.png {len(data)}\n".encode() + data).hexdigest()[:16]
    assert fingerprint(ImageFolder(path=str(tmp_path))) == expected
