import dataclasses
import multiprocessing
import subprocess
import sys

import jax
import numpy as np
import pytest
from PIL import Image

from jgr.data import TFDS, Augment, Data, Digits, ImageFolder, Loader, Photographs, evaluation_batches
from jgr.errors import ConfigError, DataError
from jgr.rng import purpose_key

KEY = purpose_key(0, "data")


class Ramps:
    """Images of given sizes whose pixels tell their place."""

    name = "ramps-all"

    def __init__(self, sizes, labels=None):
        self.sizes, self.labels = sizes, labels

    def __len__(self):
        return len(self.sizes)

    def __getitem__(self, index):
        height, width = self.sizes[index]
        image = np.stack(np.mgrid[:height, :width], axis=-1).astype(np.uint8)
        return {"image": image} if self.labels is None else {"image": image, "label": self.labels[index]}


def assert_equal(a, b):
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name])
        assert a[name].dtype == b[name].dtype


def whole(loader, start, stop):
    assemble = jax.jit(loader.assemble)
    return [
        jax.device_get(assemble(loader.arrays, {name: array[i] for name, array in batch.items()}, KEY))
        for batch in loader.batches(start, stop)
        for i in range(loader.steps_per_call)
    ]


@pytest.mark.parametrize("augment", [Augment(), Augment(flip=True, crop=6, pad=1)])
@pytest.mark.parametrize("resize", [None, 12])
def test_resident_equals_streamed(augment, resize):
    loaders = [
        Loader(
            Data(source=Digits(), mode=mode, augment=augment, resize=resize), seed=1, batch_size=50, batches_per_step=2
        )
        for mode in ("resident", "streamed")
    ]
    assert [loader.resident for loader in loaders] == [True, False]
    for resident, streamed in zip(*(whole(loader, 16, 20) for loader in loaders), strict=True):  # over an epoch's end
        assert_equal(resident, streamed)


def test_resident_equals_streamed_on_mnist(test_data):
    source = TFDS(dataset="mnist", split="train[:3000]", data_dir=str(test_data / "tfds"))
    loaders = [Loader(Data(source=source, mode=mode), seed=1, batch_size=128) for mode in ("auto", "streamed")]
    assert loaders[0].resident
    for resident, streamed in zip(*(whole(loader, 22, 25) for loader in loaders), strict=True):
        assert_equal(resident, streamed)


def test_batch_is_what_the_source_says():
    digits = Digits()
    loader = Loader(Data(source=digits), seed=0, batch_size=7, batches_per_step=3)
    (batch,) = whole(loader, 5, 6)
    np.testing.assert_array_equal(batch["position"], 5 * 21 + np.arange(21).reshape(3, 7))
    for place in np.ndindex(3, 7):
        record = digits[int(batch["index"][place])]
        expected = record["image"].astype(np.float32) / np.float32(255)
        np.testing.assert_array_max_ulp(batch["image"][place], expected, maxulp=1)  # XLA multiplies by the reciprocal
        assert batch["label"][place] == record["label"]


def test_batch_spec_is_what_assemble_gives():
    for mode in ("resident", "streamed"):
        loader = Loader(
            Data(source=Digits(), mode=mode, augment=Augment(crop=6)), seed=0, batch_size=4, batches_per_step=2
        )
        spec = loader.batch_spec()
        assert "arrays" not in vars(loader)
        (batch,) = whole(loader, 0, 1)
        assert {k: (v.shape, v.dtype) for k, v in spec.items()} == {k: (v.shape, v.dtype) for k, v in batch.items()}
        assert loader.image_shape == spec["image"].shape[2:] == (6, 6, 1)


def test_batch_spec_reads_one_record():
    read = []

    class Counting(Ramps):
        def __getitem__(self, index):
            read.append(index)
            return super().__getitem__(index)

    loader = Loader(Data(source=Counting([(4, 4)] * 100)), seed=0, batch_size=8)
    loader.batch_spec()
    assert loader.resident
    assert read == [0]


@pytest.mark.parametrize("mode", ["resident", "streamed"])
def test_starting_anywhere_gives_the_same(mode):
    data = Data(source=Digits(split="test"), mode=mode, augment=Augment(flip=True))
    loader = Loader(data, seed=3, batch_size=100, batches_per_step=2)
    run = whole(loader, 0, 6)
    for start in (1, 5):
        for a, b in zip(
            run[start:], whole(Loader(data, seed=3, batch_size=100, batches_per_step=2), start, 6), strict=True
        ):
            assert_equal(a, b)


def test_augmentation_does_not_depend_on_the_batch_size():
    data = Data(source=Digits(), augment=Augment(flip=True, crop=5))
    (large,) = whole(Loader(data, seed=0, batch_size=24), 0, 1)
    small = whole(Loader(data, seed=0, batch_size=6, batches_per_step=2), 0, 2)
    joined = np.concatenate([batch["image"].reshape(-1, 5, 5, 1) for batch in small])
    np.testing.assert_array_equal(large["image"][0], joined)


def test_worker_count_changes_nothing():
    run = {}
    for workers in (0, 2):
        data = Data(source=Photographs(), crop=8, num_workers=workers)
        run[workers] = list(Loader(data, seed=0, batch_size=2).batches(3, 8))
    for a, b in zip(run[0], run[2], strict=True):
        assert_equal(a, b)
    assert not multiprocessing.active_children()


def test_leaving_early_ends_the_workers():
    batches = Loader(Data(source=Digits(), mode="streamed", num_workers=1), seed=0, batch_size=2).batches(0, 1000)
    next(batches)
    assert multiprocessing.active_children()
    batches.close()
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("workers", [0, 1])
def test_damaged_file_is_named_from_wherever_it_is_read(tmp_path, workers):
    pixels = np.random.default_rng(0).integers(0, 256, (30, 30, 3)).astype(np.uint8)
    for name in "abc":
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    data = Data(source=ImageFolder(path=str(tmp_path)), mode="streamed", num_workers=workers, shuffle=False)
    (tmp_path / "c.png").write_bytes((tmp_path / "c.png").read_bytes()[:500])
    batches = Loader(data, seed=0, batch_size=1).batches(0, 9)
    next(batches)
    next(batches)
    with pytest.raises(DataError, match=r"^\S*c\.png: not a readable image") as caught:
        next(batches)
    assert "\n" not in str(caught.value)
    assert not multiprocessing.active_children()


def test_steps_that_come_together_are_the_same():
    data = Data(source=Digits(), mode="streamed", augment=Augment(flip=True))
    loader = Loader(data, seed=0, batch_size=6, batches_per_step=2)
    for one, among_three in zip(
        whole(loader, 6, 12), whole(dataclasses.replace(loader, steps_per_call=3), 6, 12), strict=True
    ):
        assert_equal(one, among_three)
    with pytest.raises(ValueError, match="steps 4 to 12 are no multiples of 3"):
        dataclasses.replace(loader, steps_per_call=3).batches(4, 12)
    (batch,) = loader.batches(7, 8)
    np.testing.assert_array_equal(loader.step_index(7), batch["index"][0])


def test_small_source_and_order():
    loader = Loader(Data(source=Ramps([(2, 2)] * 3), shuffle=False), seed=0, batch_size=8)
    (batch,) = whole(loader, 1, 2)
    np.testing.assert_array_equal(batch["index"], [[2, 0, 1, 2, 0, 1, 2, 0]])
    assert "label" not in batch
    shuffled = Loader(Data(source=Ramps([(2, 2)] * 3)), seed=0, batch_size=9)
    index = np.concatenate([batch["index"].reshape(-1, 3) for batch in shuffled.batches(0, 10)])
    np.testing.assert_array_equal(np.sort(index, axis=1), np.broadcast_to(np.arange(3), (30, 3)))
    assert list(shuffled.batches(4, 4)) == []


def test_host_crops_are_cuts_and_differ_between_epochs():
    source = Ramps([(9, 9), (10, 12), (8, 20)])
    loader = Loader(Data(source=source, crop=6), seed=0, batch_size=3)
    assert not loader.resident
    corners = set()
    for batch in loader.batches(0, 40):
        for index, image in zip(batch["index"][0, 0], batch["image"][0, 0], strict=True):
            top, left = (int(value) for value in image[0, 0])
            np.testing.assert_array_equal(image, source[index]["image"][top : top + 6, left : left + 6])
            corners.add((int(index), top, left))
    assert len({corner for corner in corners if corner[0] == 0}) > 10
    assert len({corner for corner in corners if corner[0] == 2}) > 20


def test_resize_is_pillows_bicubic_of_the_shorter_side():
    source = Photographs()
    image = source[1]["image"]  # 300 x 451
    (batch,) = evaluation_batches(Data(source=source, resize=100, crop=100), batch_size=8)
    expected = np.asarray(Image.fromarray(image).resize((150, 100), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(batch["image"][1], expected[:, 25:125])


def test_images_that_differ_are_named():
    source = Ramps([(9, 9), (9, 9), (9, 8)])
    message = (
        r"record 2 of ramps-all: its image is 9x8x2, that of record \d of ramps-all is 9x9x2; set config.data.crop"
    )
    for mode in ("auto", "streamed"):
        loader = Loader(Data(source=source, mode=mode, shuffle=False), seed=0, batch_size=3)
        with pytest.raises(DataError, match=message):
            whole(loader, 0, 1)
    with pytest.raises(
        DataError, match=r"record 0 of ramps-all: its image is 9x9x2, too small for config.data.crop=10"
    ):
        Loader(Data(source=source, crop=10), seed=0, batch_size=1).batch_spec()
    many = Ramps([(4, 4)] * 600 + [(4, 5)])
    with pytest.raises(DataError, match=r"record 600 of ramps-all: its image is 4x5x2"):
        _ = Loader(Data(source=many), seed=0, batch_size=1).arrays
    with pytest.raises(DataError, match="record 1 of ramps-all: has no label while others have one"):
        _ = Loader(Data(source=Ramps([(4, 4)] * 2, labels=[1, None])), seed=0, batch_size=1).arrays
    many_labels = Ramps([(4, 4)] * 600, labels=[None] * 512 + [0] * 88)
    with pytest.raises(DataError, match="has no label while others have one"):
        _ = Loader(Data(source=many_labels), seed=0, batch_size=1).arrays


def test_auto_mode_minds_the_size():
    source = Ramps([(4, 4)] * 10)  # 320 bytes
    assert Loader(Data(source=source, resident_bytes=320), seed=0, batch_size=1).resident
    assert not Loader(Data(source=source, resident_bytes=319), seed=0, batch_size=1).resident


def test_positions_must_fit_32_bits():
    loader = Loader(Data(source=Ramps([(4, 4)])), seed=0, batch_size=2**15, batches_per_step=2)
    loader.check_num_steps(2**16)
    with pytest.raises(
        ConfigError, match=r"num_steps = 65537 takes \d+ records, more than 2\*\*32; at most 65536 steps"
    ):
        loader.check_num_steps(2**16 + 1)
    (last,) = loader.batches(2**16 - 1, 2**16)
    assert last["position"].max() == 2**32 - 1


def test_evaluation_covers_the_source_once():
    digits = Digits(split="test")
    batches = list(evaluation_batches(Data(source=digits), batch_size=100))
    assert [batch["mask"].sum() for batch in batches] == [100, 100, 100, 60]
    tail = batches[-1]
    assert tail["image"].shape == (100, 8, 8, 1)
    np.testing.assert_array_equal(tail["index"], [*range(300, 360)] + [359] * 40)
    np.testing.assert_array_equal(tail["image"][75], digits[359]["image"])
    assert tail["label"][99] == digits[359]["label"]
    index = np.concatenate([batch["index"][batch["mask"]] for batch in batches])
    np.testing.assert_array_equal(index, np.arange(360))
    few = list(evaluation_batches(Data(source=digits), batch_size=100, num_records=30))
    assert len(few) == 1
    assert few[0]["mask"].sum() == 30
    with pytest.raises(ConfigError, match="num_records = 361 must be between 1 and the 360 of digits-test"):
        evaluation_batches(Data(source=digits), batch_size=100, num_records=361)


def test_evaluation_crops_the_centre_and_may_differ_in_size_one_by_one():
    source = Ramps([(9, 9), (10, 12)])
    (batch,) = evaluation_batches(Data(source=source, crop=4), batch_size=2)
    np.testing.assert_array_equal(batch["image"][:, 0, 0], [[2, 2], [3, 4]])
    sizes = [batch["image"].shape for batch in evaluation_batches(Data(source=source), batch_size=1)]
    assert sizes == [(1, 9, 9, 2), (1, 10, 12, 2)]


def test_impossible_values():
    source = Ramps([(4, 4)])
    for field, value in [("mode", "eager"), ("resize", 0), ("crop", -1), ("num_workers", -1), ("prefetch", -1)]:
        with pytest.raises(ConfigError, match=f"{field} = {value!r} must be"):
            Data(source=source, **{field: value})
    with pytest.raises(ConfigError, match=r"mode = 'resident' does not go with crop = 2"):
        Data(source=source, mode="resident", crop=2)
    with pytest.raises(ConfigError, match="batch_size = 0 must be at least 1"):
        Loader(Data(source=source), seed=0, batch_size=0)
    with pytest.raises(ConfigError, match=r"augment\.crop = 5 must fit the images' 4x4"):
        Loader(Data(source=source, augment=Augment(crop=5)), seed=0, batch_size=1).batch_spec()
    with pytest.raises(DataError, match="ramps-all: has 0 records"):
        Loader(Data(source=Ramps([])), seed=0, batch_size=1).batch_spec()


def test_no_tensorflow_and_a_quiet_end(test_data):
    """Reading through workers imports no TensorFlow, and leaving without closing leaves no traceback behind."""
    code = f"""
import sys
from jgr.data import TFDS, Data, Loader
if __name__ == "__main__":
    source = TFDS(dataset="mnist", split="test", data_dir={str(test_data / "tfds")!r})
    for workers in (0, 1):
        data = Data(source=source, mode="streamed", num_workers=workers)
        batches = Loader(data, seed=0, batch_size=4).batches(0, 1000)
        next(batches)
    assert not {{"tensorflow", "torch"}} & set(sys.modules)
    print("read")
"""
    out = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60)
    assert (out.returncode, out.stdout, out.stderr) == (0, "read\n", "")
