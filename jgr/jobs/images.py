"""Images to be measured: those of a folder, or of an array in a NumPy file."""

import abc
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Num
from PIL import Image

from jgr.data.decode import decode_image
from jgr.data.folder import ImageFolder
from jgr.errors import DataError
from jgr.files import disk_errors
from jgr.metrics.moments import Moments

Pixels = Num[np.ndarray, "height width channels"]


class Images(abc.ABC):
    """Some images, in an order.

    Args:
        path: Where they are; errors begin with it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @abc.abstractmethod
    def __len__(self) -> int: ...

    @abc.abstractmethod
    def key(self, index: int) -> str:
        """What an image is paired by: its file's name without ending, or its number."""

    @abc.abstractmethod
    def name(self, index: int) -> str:
        """What an error calls an image."""

    @abc.abstractmethod
    def read(self, index: int) -> Pixels:
        """An image in [0, 1] as float32, or as uint8, of 1 or 3 channels.

        Raises:
            DataError: It cannot be read, or has values that no image has.
        """


class _Files(Images):
    def __init__(self, path: Path, color: Literal["file", "rgb", "gray"]) -> None:
        super().__init__(path)
        self._folder, self._color = ImageFolder(path=str(path)), color
        keys = [self.key(index) for index in range(len(self))]
        if len(set(keys)) < len(keys):
            twice = next(key for index, key in enumerate(keys) if key in keys[:index])
            raise DataError(f"{path}: has several files called {twice}, with different endings; keep one of them")

    def __len__(self) -> int:
        return len(self._folder)

    def key(self, index: int) -> str:
        return self._folder.files[index].rpartition(".")[0]

    def name(self, index: int) -> str:
        return self._folder.record_name(index)

    def read(self, index: int) -> Pixels:
        path = Path(self.name(index))
        return decode_image(path, self._mode(path), name=str(path), orient=True)

    def _mode(self, path: Path) -> str:
        if self._color != "file":
            return self._color
        try:
            with Image.open(path) as image:
                return "gray" if image.mode in ("1", "L", "LA") or image.mode.startswith("I") else "rgb"
        except OSError as error:
            raise DataError(f"{path}: not a readable image ({error}); replace or remove it") from error


class _Rows(Images):
    def __init__(self, path: Path, array: np.ndarray, data_range: float | None) -> None:
        super().__init__(path)
        if array.ndim == 3 and array.shape[-1] == 3:
            raise DataError(f"{path}: holds {list(array.shape)}: give one RGB image as [1, height, width, 3]")
        if array.ndim == 3:
            array = array[..., None]
        if array.ndim != 4 or array.shape[-1] not in (1, 3) or not len(array):
            raise DataError(
                f"{path}: holds {array.dtype} {list(array.shape)}; it must be [n, height, width] or "
                "[n, height, width, 1 or 3]"
            )
        if array.dtype != np.uint8 and not np.issubdtype(array.dtype, np.floating):
            raise DataError(f"{path}: holds {array.dtype}; images are uint8, or floats with a known range")
        if array.dtype != np.uint8 and data_range is None:
            raise DataError(f"{path}: holds {array.dtype}: say the range of its values with --data_range=1 or 255")
        if array.dtype != np.uint8 and data_range is not None and data_range > 1.0 >= array.max():
            raise DataError(
                f"{path}: its largest value is {array.max():.4g}, so --data_range={data_range:g} would make all of it "
                "nearly black: give the range that the values have"
            )
        self._array, self._range = array, data_range

    def __len__(self) -> int:
        return len(self._array)

    def key(self, index: int) -> str:
        return str(index)

    def name(self, index: int) -> str:
        return f"{self.path}[{index}]"

    def read(self, index: int) -> Pixels:
        image: Any = self._array[index]
        if image.dtype == np.uint8:
            return image
        if not np.isfinite(image).all():
            raise DataError(f"{self.name(index)}: has values that are not finite")
        low, high, most = image.min(), image.max(), self._range or 1.0
        if low < 0 or high > most:
            raise DataError(
                f"{self.name(index)}: has values from {low:.4g} to {high:.4g}, beyond [0, {most:g}]: clip them, or "
                "give the right --data_range"
            )
        return (image / most).astype(np.float32)


def open_images(
    path: str | Path, color: Literal["file", "rgb", "gray"] = "file", data_range: float | None = None
) -> Images:
    """The images of a folder, of a `.npy` file, or of a `.npz` file with one array.

    Args:
        path: Where they are.
        color: How files are read: with the channels they have, as RGB, or as BT.601 gray.
        data_range: Range of float arrays, such as 1 or 255.

    Raises:
        DataError: There are none, or they are of a kind that cannot be measured.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        return _Files(path, color)
    arrays = _arrays(path)
    if len(arrays) != 1:
        raise DataError(f"{path}: holds {', '.join(sorted(arrays)) or 'nothing'}; it must hold one array of images")
    return _Rows(path, next(iter(arrays.values())), data_range)


class Statistics(NamedTuple):
    """Moments that were kept in a file.

    Args:
        moments: Mean and covariance.
        named: Whether the file says of which features.
    """

    moments: Moments
    named: bool


def open_statistics(path: str | Path, extractor: str) -> Statistics | None:
    """The moments in a `.npz` file of `mu` and `sigma`, as pytorch-fid, clean-fid and `save_statistics` write them.

    Args:
        path: The file.
        extractor: Whose features they must be, where the file says so.

    Returns:
        None where the path is no such file.

    Raises:
        DataError: They are no moments, or of the features of another extractor.
    """
    path = Path(path).expanduser()
    if path.suffix != ".npz" or not path.is_file():
        return None
    arrays = _arrays(path)
    if not {"mu", "sigma"} <= arrays.keys():
        return None
    if "extractor" in arrays and str(arrays["extractor"]) != extractor:
        raise DataError(f"{path}: holds statistics of {arrays['extractor']}, not of {extractor}: make them again")
    try:
        count = int(arrays["n"]) if "n" in arrays else None
        return Statistics(Moments.from_statistics(arrays["mu"], arrays["sigma"], count), "extractor" in arrays)
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: holds no statistics: {error}") from error


def _arrays(path: Path) -> dict[str, np.ndarray]:
    if path.suffix not in (".npy", ".npz"):
        raise DataError(
            f"{path}: must be a folder of images, or a .npy or .npz file"
            + ("" if path.exists() else "; it does not exist")
        )
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    with disk_errors(path, "read"):
        try:
            found = np.load(path, allow_pickle=False)
            return {"images": found} if isinstance(found, np.ndarray) else {name: found[name] for name in found.files}
        except (ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
            raise DataError(f"{path}: not a readable NumPy file of numbers ({error})") from error


def pairs(a: Images, b: Images) -> Iterator[tuple[str, Pixels, Pixels]]:
    """Each image of one set with its namesake of the other: (its name, one, other).

    Raises:
        DataError: One has no partner, or a pair differs in size or channels; the message names the files.
    """
    if len(a) != len(b):
        more, fewer = (a, b) if len(a) > len(b) else (b, a)
        known = {fewer.key(index) for index in range(len(fewer))}
        alone = next((index for index in range(len(more)) if more.key(index) not in known), len(fewer))
        raise DataError(f"{a.path} has {len(a)} images and {b.path} has {len(b)}: {more.name(alone)} has no partner")
    for index in range(len(a)):
        if a.key(index) != b.key(index):
            raise DataError(f"{a.name(index)} and {b.name(index)} should be a pair, and are called differently")
        one, other = a.read(index), b.read(index)
        if one.shape != other.shape:
            raise DataError(
                f"{a.name(index)} is {_size(one)} and {b.name(index)} is {_size(other)}: a pair must be alike"
            )
        yield a.key(index), one, other


def _size(image: Pixels) -> str:
    return f"{image.shape[1]}x{image.shape[0]} {'gray' if image.shape[2] == 1 else 'RGB'}"
