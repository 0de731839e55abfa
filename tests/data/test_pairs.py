import pickle

import jax
import numpy as np
import pytest
from PIL import Image

from jgr.data import (
    Augment,
    Data,
    ImageFolder,
    Loader,
    PairedFolders,
    SideBySide,
    Source,
    UnpairedFolders,
    evaluation_batches,
    fingerprint,
)
from jgr.data.show import fitted_images, sample_images, summary
from jgr.errors import ConfigError, DataError
from jgr.rng import purpose_key

RNG = np.random.default_rng(0)


def ramp(height, width, number=0):
    """Pixels that tell their row, their column and a number."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, np.full_like(rows, number)], axis=-1).astype(np.uint8)


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def folder(path, **fields):
    return ImageFolder(path=str(path), **fields)


@pytest.fixture
def paired(tmp_path):
    """Five pairs of ramps of 9x12; a target's third channel is 100 above its image's."""
    for number in range(5):
        save(tmp_path / "in" / f"{number}.png", ramp(9, 12, number))
        save(tmp_path / "out" / f"{number}.bmp", ramp(9, 12, number + 100))
    return PairedFolders(images=folder(tmp_path / "in"), targets=folder(tmp_path / "out"))


@pytest.fixture
def unpaired(tmp_path):
    """Three images and two targets of another size."""
    for number in range(3):
        save(tmp_path / "a" / f"{number}.png", ramp(9, 12, number))
    for number in range(2):
        save(tmp_path / "b" / f"{number}.png", ramp(10, 10, number + 100))
    return UnpairedFolders(images=folder(tmp_path / "a"), targets=folder(tmp_path / "b"))


def steps(data, start, stop, **fields):
    loader = Loader(data, seed=1, **fields)
    assemble = jax.jit(loader.assemble)
    for batch in loader.batches(start, stop):
        step = {name: array[0] for name, array in batch.items()}
        yield jax.device_get(assemble(loader.arrays, step, purpose_key(1, "data")))


def is_pair(image, target):
    """Whether a ramp and its target are the same pixels."""
    image, target = (np.rint(pixels * 255) for pixels in (image, target))
    return (image[..., :2] == target[..., :2]).all() and (image[..., 2] + 100 == target[..., 2]).all()


def test_files_of_one_name_are_a_pair(paired, tmp_path):
    assert isinstance(paired, Source)
    assert (len(paired), paired.name) == (5, "in-rgb+out-rgb")
    for number in range(5):
        np.testing.assert_array_equal(paired[number]["image"], ramp(9, 12, number))
        np.testing.assert_array_equal(paired[number]["target"], ramp(9, 12, number + 100))
    assert paired.record_name(3) == str(tmp_path / "in" / "3.png")
    assert (
        len(PairedFolders(images=folder(tmp_path / "in", part="[1:]"), targets=folder(tmp_path / "out", part="[1:]")))
        == 4
    )
    gray = PairedFolders(images=folder(tmp_path / "in", color="gray"), targets=paired.targets)
    assert (gray[0]["image"].shape, gray[0]["target"].shape) == ((9, 12, 1), (9, 12, 3))


def test_the_first_file_without_its_partner_is_named(paired, tmp_path):
    save(tmp_path / "out" / "25.png", ramp(9, 12))
    with pytest.raises(DataError, match=r"out/25\.png: has no partner: .* in \S*in$"):
        len(PairedFolders(images=paired.images, targets=folder(tmp_path / "out")))
    (tmp_path / "out" / "1.bmp").unlink()
    (tmp_path / "out" / "3.bmp").unlink()
    with pytest.raises(DataError, match=r"in/1\.png: has no partner: .* in \S*out$"):
        len(PairedFolders(images=paired.images, targets=folder(tmp_path / "out")))
    save(tmp_path / "in" / "1.bmp", ramp(9, 12))
    with pytest.raises(DataError, match=r"in/1\.png: there is a file of that name with another ending"):
        len(PairedFolders(images=folder(tmp_path / "in"), targets=paired.targets))


def test_a_pair_has_one_size(paired, tmp_path):
    save(tmp_path / "out" / "2.bmp", ramp(9, 11))
    with pytest.raises(DataError, match=r"in/2\.png: its image is 9x12, but its target is 9x11; a pair must be"):
        list(evaluation_batches(Data(source=paired), batch_size=1))


def test_the_fingerprint_is_of_both_folders(paired, tmp_path):
    before = fingerprint(paired)
    assert len(before) == 16
    swapped = PairedFolders(images=paired.targets, targets=paired.images)
    save(tmp_path / "out" / "4.bmp", ramp(9, 12, 1))
    assert len({before, fingerprint(paired), fingerprint(swapped)}) == 3
    assert fingerprint(UnpairedFolders(images=paired.targets, targets=paired.images)) == fingerprint(swapped)


def test_the_fingerprint_of_a_plain_source_is_of_its_targets_too():
    class Plain:
        name = "plain-all"

        def __init__(self, level):
            self.level = level

        def __len__(self):
            return 1

        def __getitem__(self, index):
            return {"image": ramp(2, 2), "target": ramp(2, 2, self.level)}

    assert fingerprint(Plain(0)) == fingerprint(Plain(0)) != fingerprint(Plain(1))


@pytest.mark.parametrize(("direction", "first"), [("AtoB", "image"), ("BtoA", "target")])
def test_pictures_side_by_side(tmp_path, direction, first):
    halves = [RNG.integers(0, 256, (5, 4, 3)).astype(np.uint8) for _ in range(2)]
    save(tmp_path / "train" / "1.png", np.concatenate(halves, axis=1))
    source = SideBySide(path=str(tmp_path / "train"), direction=direction)
    assert source.name == f"train-rgb-{direction}"
    (second,) = {"image", "target"} - {first}
    np.testing.assert_array_equal(source[0][first], halves[0])
    np.testing.assert_array_equal(source[0][second], halves[1])
    assert fingerprint(source) == fingerprint(folder(tmp_path / "train"))
    save(tmp_path / "train" / "1.png", ramp(5, 7))
    with pytest.raises(DataError, match=r"train/1\.png: has 7 columns: it cannot be cut"):
        source[0]
    with pytest.raises(ConfigError, match="direction = 'odd' must be AtoB or BtoA"):
        SideBySide(path=".", direction="odd")


def test_unpaired_records_are_all_pairs(unpaired, tmp_path):
    assert isinstance(unpaired, Source)
    assert (len(unpaired), unpaired.name) == (6, "a-rgb-x-b-rgb")
    numbers = [
        (int(record["image"][0, 0, 2]), int(record["target"][0, 0, 2]))
        for record in map(unpaired.__getitem__, range(6))
    ]
    assert sorted(numbers) == [(image, target) for image in (0, 1, 2) for target in (100, 101)]
    assert [image for image, _ in numbers[:3]] == [0, 1, 2]
    assert unpaired.record_name(1) == f"{tmp_path / 'a' / '1.png'} with {tmp_path / 'b' / '1.png'}"
    shown = [numbers[index] for index in unpaired.covering()]
    assert [set(column) for column in zip(*shown, strict=True)] == [{0, 1, 2}, {100, 101}]
    assert len(shown) == 3
    assert len(pickle.loads(pickle.dumps(unpaired))) == 6


def test_the_random_order_pairs_every_image_with_every_other(unpaired):
    data = Data(source=unpaired, crop=4)
    (batch,) = Loader(data, seed=0, batch_size=6).batches(3, 4)
    met = batch["image"][0, 0, :, 0, 0, 2].tolist(), batch["target"][0, 0, :, 0, 0, 2].tolist()
    assert len(set(zip(*met, strict=True))) == 6


@pytest.mark.parametrize(
    ("mode", "fields"),
    [
        ("resident", dict(augment=Augment(flip=True, rotate=True, crop=6, pad=1))),
        ("streamed", dict(augment=Augment(flip=True, crop=6))),
        ("streamed", dict(crop=6, augment=Augment(flip=True, rotate=True))),
    ],
)
def test_a_pair_stays_one_whatever_is_done_to_it(paired, mode, fields):
    seen = set()
    for batch in steps(Data(source=paired, mode=mode, **fields), 0, 2, batch_size=20, batches_per_step=2):
        assert batch["image"].shape == batch["target"].shape == (2, 20, 6, 6, 3)
        assert batch["target"].dtype == np.float32
        for image, target in zip(
            batch["image"].reshape(-1, 6, 6, 3), batch["target"].reshape(-1, 6, 6, 3), strict=True
        ):
            assert is_pair(image, target)
            seen.add(image[..., :2].tobytes())
    assert len(seen) > 20  # of 80: corners, flips and turns differ between records


def test_resize_is_of_both(paired):
    (batch,) = evaluation_batches(Data(source=paired, resize=18, crop=16), batch_size=5)
    for number in range(5):
        for name, offset in (("image", 0), ("target", 100)):
            large = Image.fromarray(ramp(9, 12, number + offset)).resize((24, 18), Image.Resampling.BICUBIC)
            np.testing.assert_array_equal(batch[name][number], np.asarray(large)[1:17, 4:20])


@pytest.mark.parametrize("kind", ["paired", "unpaired"])
def test_resident_equals_streamed(request, kind):
    source = request.getfixturevalue(kind)
    runs = []
    for mode in ("resident", "streamed"):
        data = Data(source=source, mode=mode, resize=8, augment=Augment(flip=True, crop=6))
        assert Loader(data, seed=1, batch_size=4).resident == (mode == "resident")
        runs.append(list(steps(data, 2, 5, batch_size=4)))
    for resident, streamed in zip(*runs, strict=True):
        assert resident.keys() == streamed.keys() == {"image", "target", "index", "position"}
        for name in resident:
            np.testing.assert_array_equal(resident[name], streamed[name])


def test_what_lies_on_the_device_counts_both(paired, unpaired):
    for most, resident in ((5 * 2 * 9 * 12 * 3, True), (5 * 2 * 9 * 12 * 3 - 1, False)):
        assert Loader(Data(source=paired, resident_bytes=most), seed=0, batch_size=1).resident is resident
    assert not Loader(Data(source=unpaired), seed=0, batch_size=1).resident  # every image would lie there many times


def test_batch_spec_is_what_assemble_gives(paired):
    data = Data(source=paired, augment=Augment(crop=6))
    spec = Loader(data, seed=1, batch_size=4).batch_spec()
    (batch,) = steps(data, 0, 1, batch_size=4)
    assert {k: (v.shape, v.dtype) for k, v in spec.items()} == {k: (v.shape, v.dtype) for k, v in batch.items()}


def test_only_some_with_a_target_are_refused():
    class Some:
        name = "some-all"

        def __len__(self):
            return 2

        def __getitem__(self, index):
            return {"image": ramp(4, 4)} if index else {"image": ramp(4, 4), "target": ramp(4, 4)}

    with pytest.raises(DataError, match="record 1 of some-all: has no target while others have one"):
        _ = Loader(Data(source=Some()), seed=0, batch_size=1).arrays


def test_unpaired_images_that_differ_in_size_are_named(tmp_path, unpaired):
    save(tmp_path / "b" / "1.png", ramp(10, 11))
    with pytest.raises(
        DataError, match=r"b/1\.png: its target is 10x11x3, that of \S*a/0\.png with \S*b/0\.png is 10x10x3"
    ):
        list(evaluation_batches(Data(source=unpaired), batch_size=6))
    turned = UnpairedFolders(images=unpaired.targets, targets=unpaired.images)
    with pytest.raises(DataError, match=r"its target is 9x12x3, too small for config\.data\.crop=10"):
        next(evaluation_batches(Data(source=turned, crop=10), batch_size=1))


def test_show_describes_both(paired, unpaired):
    described = summary(paired)
    assert {name: described[name] for name in ("num_records", "height", "target_width", "target_channels")} == {
        "num_records": 5,
        "height": 9,
        "target_width": 12,
        "target_channels": 3,
    }
    assert described["fingerprint"] == fingerprint(paired)
    shown = sample_images(paired, 2)
    np.testing.assert_array_equal(shown[1], np.concatenate([ramp(9, 12, 2), ramp(9, 12, 102)], axis=1))
    described = summary(unpaired)
    assert (described["num_records"], described["width"], described["target_width"]) == (6, 12, 10)
    assert [image.shape for image in sample_images(unpaired, 9)] == [(9, 18, 3)] * 3  # squares of the smallest side
    fitted = fitted_images(Data(source=unpaired, crop=4), 2)
    np.testing.assert_array_equal(
        fitted[1], np.concatenate([ramp(9, 12, 1)[2:6, 4:8], ramp(10, 10, 101)[3:7, 3:7]], axis=1)
    )


def test_show_puts_gray_beside_colour(tmp_path, paired):
    source = PairedFolders(images=folder(tmp_path / "in", color="gray"), targets=paired.targets)
    (image,) = sample_images(source, 1)
    assert image.shape == (9, 24, 3)
    assert (image[:, :12, :1] == image[:, :12]).all()


@pytest.mark.parametrize(("images", "targets"), [(4, 6), (6, 4), (3, 3), (1, 5), (5, 1)])
def test_every_pair_has_one_record_and_the_first_show_all(tmp_path, images, targets):
    for number in range(max(images, targets)):
        for name, count in (("a", images), ("b", targets)):
            if number < count:
                save(tmp_path / name / f"{number}.png", ramp(4, 4, number))
    source = UnpairedFolders(images=folder(tmp_path / "a"), targets=folder(tmp_path / "b"))
    pairs = [(int(r["image"][0, 0, 2]), int(r["target"][0, 0, 2])) for r in map(source.__getitem__, range(len(source)))]
    assert sorted(pairs) == [(image, target) for image in range(images) for target in range(targets)]
    assert source.covering() == list(range(max(images, targets)))
