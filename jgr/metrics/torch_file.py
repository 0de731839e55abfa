"""Reads PyTorch state dicts without PyTorch, and without running what a pickle asks to run.

A `.pth` file is a pickle: whoever reads it with `pickle.load` runs any code in it. Here a pickle may build an ordered
dict, and tensors out of raw numbers; whatever else it names is an error.
"""

import collections
import io
import math
import os
import pickle
import reprlib
import sys
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from jgr.errors import DataError

_MAGIC = 0x1950A86A20F9469CFC6C  # first pickle of a file of torch.save before PyTorch 1.6
_PROTOCOL = 1001  # the second

_STORAGES = {
    "DoubleStorage": np.dtype(np.float64),
    "FloatStorage": np.dtype(np.float32),
    "HalfStorage": np.dtype(np.float16),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "LongStorage": np.dtype(np.int64),
    "IntStorage": np.dtype(np.int32),
    "ShortStorage": np.dtype(np.int16),
    "CharStorage": np.dtype(np.int8),
    "ByteStorage": np.dtype(np.uint8),
    "BoolStorage": np.dtype(np.bool_),
}


def read_torch_file(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The tensors of a state dict that `torch.save` wrote, in its zip format or in the older one.

    Args:
        path: A `.pth` or `.pt` file that holds a dict from names to tensors.

    Returns:
        The dict, in its order; every array with memory of its own. bfloat16 stays bfloat16 (`ml_dtypes`).

    Raises:
        DataError: The file cannot be read, is no such file or is damaged, holds something else than a dict of tensors,
            or names code that a state dict does not need.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            read = _read_zip if file.read(4) == b"PK\x03\x04" else _read_stream
            file.seek(0)
            return _state_dict(path, *read(path, file))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


# Named tuples, since a pickle may set attributes on what it is given, and cannot on these.
class _Type(NamedTuple):
    """A class of storages."""

    dtype: np.dtype[Any]


class _Storage(NamedTuple):
    """Numbers that one or more tensors look at."""

    key: str
    dtype: np.dtype[Any]
    num: int


class _Tensor(NamedTuple):
    """A view of a storage; strides count elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _read_zip(path: Path, file: io.BufferedIOBase) -> tuple[Any, dict[str, np.ndarray]]:
    """The pickled object and the storages that its tensors look at; PyTorch 1.6 and later."""
    try:
        archive = zipfile.ZipFile(file)
        entries = {entry.filename: entry for entry in archive.infolist()}
        pickles = [name for name in entries if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise DataError(f"{path} is not a PyTorch file: a zip archive without data.pkl")
        folder = pickles[0].removesuffix("data.pkl")
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values()):
            raise DataError(f"{path} is not a PyTorch file: its archive is compressed")
        unpickler = _Unpickler(path, io.BytesIO(archive.read(pickles[0])))
        value = unpickler.load_one()
        order = archive.read(f"{folder}byteorder").decode() if f"{folder}byteorder" in entries else "little"
        storages = {}
        for storage in unpickler.storages():
            name = f"{folder}data/{storage.key}"
            if name not in entries:
                raise DataError(f"{path} is damaged: it lacks {name}")
            storages[storage.key] = _numbers(path, storage, archive.read(name), order)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is damaged: {error}") from error
    return value, storages


def _read_stream(path: Path, file: io.BufferedIOBase) -> tuple[Any, dict[str, np.ndarray]]:
    """As `_read_zip`, before PyTorch 1.6: pickles one after another, then the storages' numbers."""
    try:
        recognised = _Unpickler(path, file).load_one() == _MAGIC and _Unpickler(path, file).load_one() == _PROTOCOL
    except DataError as error:
        if isinstance(error.__cause__, _ForbiddenGlobalError):
            raise
        recognised = False
    if not recognised:
        raise DataError(f"{path} is not a PyTorch file, or one of before 2017")
    system = _Unpickler(path, file).load_one()
    order = "little" if not isinstance(system, dict) or system.get("little_endian", True) else "big"
    unpickler = _Unpickler(path, file)
    value = unpickler.load_one()
    keys = _Unpickler(path, file).load_one()
    known = {storage.key: storage for storage in unpickler.storages()}
    if not isinstance(keys, list) or set(map(str, keys)) != set(known) or len(keys) != len(known):
        raise DataError(f"{path} is damaged: its list of storages does not fit its tensors")
    storages = {}
    for key in map(str, keys):
        storage = known[key]
        num = int.from_bytes(file.read(8), "little" if order == "little" else "big", signed=True)
        if num != storage.num:
            raise DataError(f"{path} is damaged: storage {key} has {num} numbers instead of {storage.num}")
        _require_room(path, file, num * storage.dtype.itemsize)
        storages[key] = _numbers(path, storage, file.read(num * storage.dtype.itemsize), order)
    return value, storages


def _require_room(path: Path, file: io.BufferedIOBase, size: int) -> None:
    """Refuses a size that the file cannot hold before memory is taken for it."""
    if size > os.fstat(file.fileno()).st_size - file.tell():
        raise DataError(f"{path} is damaged: it ends too early")


def _numbers(path: Path, storage: _Storage, content: bytes, order: str) -> np.ndarray:
    if len(content) != storage.num * storage.dtype.itemsize:
        raise DataError(
            f"{path} is damaged: storage {storage.key} has {len(content)} bytes instead of "
            f"{storage.num * storage.dtype.itemsize}"
        )
    numbers = np.frombuffer(content, storage.dtype)
    return numbers if order == sys.byteorder else numbers.byteswap()


def _state_dict(path: Path, value: Any, storages: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    if not isinstance(value, dict):
        raise DataError(f"{path} holds {_described(value)} instead of a dict of tensors")
    for name, tensor in value.items():
        if not isinstance(name, str) or not isinstance(tensor, _Tensor):
            raise DataError(f"{path} is not a state dict: {name!r} is {_described(tensor)} instead of a tensor")
    return {name: _array(path, name, tensor, storages[tensor.storage.key]) for name, tensor in value.items()}


def _array(path: Path, name: str, tensor: _Tensor, numbers: np.ndarray) -> np.ndarray:
    """The tensor's elements as an array of its own."""
    count = math.prod(tensor.shape)
    if count == 0:
        return np.empty(tensor.shape, numbers.dtype)
    last = tensor.offset + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.strides, strict=True))
    if last >= len(numbers):
        raise DataError(f"{path} is damaged: {name} reaches beyond its storage of {len(numbers)} numbers")
    if count > len(numbers):  # an expanded tensor: one small file could ask for any amount of memory
        raise DataError(f"{path}: {name} repeats the numbers of its storage; save it with .contiguous()")
    strides = [stride * numbers.itemsize for stride in tensor.strides]
    return np.array(np.lib.stride_tricks.as_strided(numbers[tensor.offset :], tensor.shape, strides), order="C")


def _described(value: object) -> str:
    return "a tensor" if isinstance(value, _Tensor) else f"a {type(value).__name__}"


class _ForbiddenGlobalError(Exception):
    """A pickle named something that a state dict does not need."""


class _Unpickler(pickle.Unpickler):
    """Builds ordered dicts, and descriptions of tensors; knows nothing else."""

    def __init__(self, path: Path, file: io.BufferedIOBase) -> None:
        super().__init__(file, encoding="utf-8")
        self._path = path
        self._storages: dict[str, _Storage] = {}
        self._allowed: dict[tuple[str, str], Any] = {
            ("collections", "OrderedDict"): collections.OrderedDict,
            ("torch._utils", "_rebuild_tensor"): _rebuild_function(),
            ("torch._utils", "_rebuild_tensor_v2"): _rebuild_function(),
            ("torch._utils", "_rebuild_parameter"): lambda tensor, requires_grad, hooks: tensor,
            **{("torch", name): _Type(dtype) for name, dtype in _STORAGES.items()},
        }

    def storages(self) -> Iterable[_Storage]:
        """Those that the pickle named, once each."""
        return self._storages.values()

    def load_one(self) -> Any:
        """The next pickle of the file.

        Raises:
            DataError: It is damaged, or names what it may not.
        """
        try:
            return self.load()
        except _ForbiddenGlobalError as error:
            raise DataError(
                f"{self._path} is not a plain state dict: it wants to import {error}, which tensors do not need and "
                "which could run any code; get the published file, or save only the tensors (model.state_dict())"
            ) from error
        except OSError:
            raise
        except Exception as error:  # a damaged pickle raises nearly anything
            raise DataError(
                f"{self._path} is damaged: {' '.join(str(error).split()) or type(error).__name__}"
            ) from error

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in of what the pickle names."""
        if (module, name) not in self._allowed:
            raise _ForbiddenGlobalError(f"{module}.{name}")
        return self._allowed[module, name]

    def persistent_load(self, identity: Any) -> _Storage:
        """A storage, from ("storage", class, key, device, elements[, view])."""
        kind, storage_type, key, _, num, *view = identity
        if kind != "storage" or not isinstance(storage_type, _Type) or not _is_count(num) or any(view):
            raise pickle.UnpicklingError(f"a storage is described by {reprlib.repr(identity)}")
        storage = _Storage(str(key), storage_type.dtype, num)
        if self._storages.setdefault(storage.key, storage) != storage:
            raise pickle.UnpicklingError(f"storage {key} is described in two ways")
        return storage


def _rebuild_function() -> Callable[..., _Tensor]:
    """A stand-in for PyTorch's functions that make a tensor; one for each file, since a pickle can set its defaults."""

    def rebuild(storage: Any, offset: Any, shape: Any, strides: Any, *unused: Any) -> _Tensor:
        fits = isinstance(storage, _Storage) and isinstance(shape, tuple) and isinstance(strides, tuple)
        if not fits or len(shape) != len(strides) or not all(map(_is_count, (offset, *shape, *strides))):
            raise pickle.UnpicklingError(f"a tensor is described by {reprlib.repr((storage, offset, shape, strides))}")
        return _Tensor(storage, offset, shape, strides)

    return rebuild


def _is_count(value: object) -> bool:
    return isinstance(value, int) and 0 <= value < 2**62
