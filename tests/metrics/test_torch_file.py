import collections
import io
import os
import pickle
import struct
import zipfile

import numpy as np
import pytest

from jgr.errors import DataError
from jgr.metrics.torch_file import read_torch_file

MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps({"little_endian": True}, 2)


class _Global:
    """Pickles as the call of `name` with `arguments`, whatever may be called so."""

    def __init__(self, name, *arguments):
        self.name, self.arguments = name, arguments


class _Pickler(pickle._Pickler):
    """Writes calls of functions that are not there, and storages, as PyTorch does."""

    def save(self, value, save_persistent_id=True):
        if isinstance(value, _Global):
            module, _, name = value.name.rpartition(".")
            self.write(f"c{module}\n{name}\n".encode())
            if value.arguments:
                self.save(value.arguments)
                self.write(b"R")
        elif isinstance(value, tuple) and value[:1] == ("storage",):
            super().save(value, save_persistent_id=False)
            self.write(b"Q")
        else:
            super().save(value, save_persistent_id)


def _pickled(value):
    file = io.BytesIO()
    _Pickler(file, 2).dump(value)
    return file.getvalue()


def _tensor(num=4, offset=0, shape=(4,), strides=(1,), key="0", storage="torch.FloatStorage"):
    identity = ("storage", _Global(storage), key, "cpu", num)
    return _Global("torch._utils._rebuild_tensor_v2", identity, offset, shape, strides, False, {})


def _zip_file(path, value, **storages):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", value if isinstance(value, bytes) else _pickled(value))
        for key, content in storages.items():
            archive.writestr(f"archive/data/{key}", content)
    return path


def _stream_file(path, value, storages=()):
    content = (
        MAGIC + (value if isinstance(value, bytes) else _pickled(value)) + pickle.dumps([k for k, *_ in storages], 2)
    )
    for _, num, numbers in storages:
        content += struct.pack("<q", num) + numbers
    path.write_bytes(content)
    return path


FOUR = np.arange(4, dtype=np.float32).tobytes()


@pytest.mark.parametrize("zipped", [True, False])
def test_what_torch_saves_is_read(tmp_path, zipped):
    torch = pytest.importorskip("torch")
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    tensors = {
        "weight": torch.randn(3, 4, 5),
        "transposed": base.T,
        "row": base[1],
        "corner": base[2:, ::2],
        "flag": torch.tensor([True, False]),
        "num_batches_tracked": torch.tensor(7),
        "empty": torch.zeros(0, 3),
        "channels_last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "parameter": torch.nn.Parameter(torch.randn(2)),
        **{str(dtype): torch.arange(3).to(dtype) for dtype in (torch.float64, torch.float16, torch.int32, torch.uint8)},
    }
    path = tmp_path / "tensors.pth"
    torch.save(tensors, path, _use_new_zipfile_serialization=zipped)
    read = read_torch_file(path)
    assert list(read) == list(tensors)
    for name, tensor in tensors.items():
        expected = tensor.detach().numpy()
        assert read[name].dtype == expected.dtype
        np.testing.assert_array_equal(read[name], expected)
        assert read[name].flags.owndata
        assert read[name].flags.writeable


@pytest.mark.parametrize("zipped", [True, False])
def test_a_modules_state_dict_with_its_metadata_is_read(tmp_path, zipped):
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)).bfloat16()
    torch.save(module.state_dict(), tmp_path / "module.pth", _use_new_zipfile_serialization=zipped)
    read = read_torch_file(tmp_path / "module.pth")
    assert set(read) == set(module.state_dict())
    np.testing.assert_array_equal(read["0.weight"].astype(np.float32), module[0].weight.detach().float().numpy())


def test_a_hand_made_file_of_either_format_is_read(tmp_path):
    value = collections.OrderedDict(a=_tensor(), b=_tensor(offset=1, shape=(2, 1), strides=(2, 1)))
    for path in (
        _zip_file(tmp_path / "zip.pth", value, **{"0": FOUR}),
        _stream_file(tmp_path / "stream.pth", value, [("0", 4, FOUR)]),
    ):
        read = read_torch_file(path)
        np.testing.assert_array_equal(read["a"], [0, 1, 2, 3])
        np.testing.assert_array_equal(read["b"], [[1], [3]])


MALICIOUS = {
    "os.system": _Global("os.system", "touch ran"),
    "posix.system": {"weight": _Global("posix.system", "touch ran")},
    "builtins.eval": [_Global("builtins.eval", "open('ran', 'w')")],
    "builtins.getattr": _Global("builtins.getattr", 1, "real"),
    "torch.load": _Global("torch.load", "other.pth"),
    "torch._utils._rebuild_tensor_v2.__globals__": _Global("torch._utils._rebuild_tensor_v2.__globals__"),
    "collections.namedtuple": _Global("collections.namedtuple", "name", "fields"),
    "numpy.core.multiarray._reconstruct": _Global("numpy.core.multiarray._reconstruct", 1),
}


@pytest.mark.parametrize("form", ["zip", "stream", "pickle"])
@pytest.mark.parametrize("wanted", MALICIOUS)
def test_code_is_refused_by_name_and_not_run(tmp_path, monkeypatch, form, wanted):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "weights.pth"
    if form == "zip":
        _zip_file(path, MALICIOUS[wanted])
    elif form == "stream":
        _stream_file(path, MALICIOUS[wanted])
    else:
        path.write_bytes(_pickled(MALICIOUS[wanted]))
    with pytest.raises(DataError, match=f"weights.pth is not a plain state dict: it wants to import {wanted},"):
        read_torch_file(path)
    assert os.listdir(tmp_path) == ["weights.pth"]


def test_every_way_of_naming_code_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = b"\x8c\x02os\x8c\x06system"
    for code in (
        b"\x80\x04" + text + b"\x93\x8c\x09touch ran\x85R.",  # STACK_GLOBAL, REDUCE
        b"(S'touch ran'\nios\nsystem\n.",  # INST
        b"(cos\nsystem\nS'touch ran'\no.",  # OBJ
        b"cos\nsystem\n)\x81.",  # NEWOBJ
        b"\x82\x01.",  # EXT1
    ):
        path = _zip_file(tmp_path / "weights.pth", code)
        with pytest.raises(DataError, match=r"weights\.pth"):
            read_torch_file(path)
        assert os.listdir(tmp_path) == ["weights.pth"]


def test_a_tensor_cannot_be_changed_after_its_check(tmp_path):
    # BUILD sets attributes: a negative offset would read memory outside the file.
    described = _pickled(_tensor())[:-1]
    for state in ({"offset": -(2**20)}, (None, {"offset": -(2**20)}), [None, -(2**20), (4,), (1,)]):
        path = _zip_file(tmp_path / "w.pth", described + _pickled(state)[2:-1] + b"b.", **{"0": FOUR})
        with pytest.raises(DataError, match=r"w\.pth is damaged"):
            read_torch_file(path)


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (_tensor(offset=1), "reaches beyond its storage of 4 numbers"),
        (_tensor(shape=(2, 3), strides=(1, 1)), "repeats the numbers"),
        (_tensor(shape=(10**12,), strides=(0,)), "repeats the numbers"),
        (_tensor(offset=-1), "is damaged: a tensor is described by"),
        (_tensor(strides=(-1,)), "is damaged: a tensor is described by"),
        (_tensor(shape=(2, 2)), "is damaged: a tensor is described by"),
        (_tensor(num=5), "storage 0 has 16 bytes instead of 20"),
        (_tensor(num=2**60), "storage 0 has 16 bytes instead of"),
        (_tensor(key="1"), "it lacks archive/data/1"),
        (_tensor(storage="torch.ComplexFloatStorage"), "wants to import torch.ComplexFloatStorage"),
        ({"step": 3}, "'weight' is a dict instead of a tensor"),
    ],
)
def test_tensors_that_do_not_fit_their_file_are_named(tmp_path, tensor, message):
    path = _zip_file(tmp_path / "weights.pth", {"weight": tensor}, **{"0": FOUR})
    with pytest.raises(DataError, match=f"weights.pth.*{message}"):
        read_torch_file(path)


def test_files_that_are_no_state_dicts_are_named(tmp_path):
    contents = {
        "empty": (b"", "is not a PyTorch file"),
        "text": (b"<!DOCTYPE html><html>not found</html>", "is not a PyTorch file"),
        "png": (b"\x89PNG\r\n\x1a\n" + bytes(100), "is not a PyTorch file"),
        "list": (MAGIC + _pickled([1]) + _pickled([]), "holds a list instead of a dict"),
        "lying": (
            MAGIC + _pickled({"a": _tensor(num=2**40)}) + _pickled(["0"]) + struct.pack("<q", 2**40),
            "too early",
        ),
    }
    for name, (content, message) in contents.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(DataError, match=f"{name}.*{message}"):
            read_torch_file(path)
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(DataError, match=r"a zip archive without data\.pkl"):
        read_torch_file(tmp_path / "other.zip")
    with pytest.raises(DataError, match=r"absent\.pth cannot be read: No such file"):
        read_torch_file(tmp_path / "absent.pth")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_cut_anywhere_is_an_error(tmp_path, zipped):
    value, path = {"a": _tensor(), "b": _tensor(key="1")}, tmp_path / "whole.pth"
    if zipped:
        _zip_file(path, value, **{"0": FOUR, "1": FOUR})
    else:
        _stream_file(path, value, [("0", 4, FOUR), ("1", 4, FOUR)])
    whole = path.read_bytes()
    assert len(read_torch_file(path)) == 2
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"whole\.pth"):
            read_torch_file(path)
