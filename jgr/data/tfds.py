"""Data sets of TensorFlow Datasets, prepared as ArrayRecord and read without TensorFlow."""

import dataclasses
import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jgr.data.decode import decode_image
from jgr.data.source import files_fingerprint
from jgr.errors import ConfigError, DataError


@dataclasses.dataclass(frozen=True, kw_only=True)
class TFDS:
    """One split of a prepared data set with the features `image` and, if it has one, `label`.

    Images are decoded by Pillow whatever else is installed, so that pixels do not depend on the environment: features
    of one channel give [height, width, 1], of three or four RGB.

    Attributes:
        dataset: `name`, `name/config`, `name:version` or `name/config:version`; the newest version when none is given.
        split: A split or a part of one, such as "train", "train[:50000]" or "train[90%:]".
        data_dir: The folder that holds prepared data sets; `$TFDS_DATA_DIR`, else `~/tensorflow_datasets`, when None.
        caption: The text feature that becomes each record's `caption`, such as "text", or "captions/text" of
            `coco_captions`; of several texts of an image the first. None for none.

    Raises:
        DataError: At first use, when the data set is not there, not stored as ArrayRecord, or has no such split or text
            feature; at a record, when it has no text.
    """

    dataset: str
    split: str
    data_dir: str | None = None
    caption: str | None = None

    def __post_init__(self) -> None:
        if not self.dataset:
            raise ConfigError("dataset = '' must name a data set, such as mnist")
        if not self.split:
            raise ConfigError("split = '' must name a split, such as train")

    @property
    def name(self) -> str:
        """The data set and the split, such as "mnist-train"."""
        return f"{self.dataset}-{self.split}"

    def __len__(self) -> int:
        return len(self._opened["records"])

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        opened = self._opened
        serialized = opened["records"].__getitems__([int(index) for index in indices])
        return [
            self._record(opened["parse"](example).features.feature, opened["color"], opened["labelled"], index)
            for index, example in zip(indices, serialized, strict=True)
        ]

    def fingerprint(self) -> str:
        """Hash of the split's files and of the records taken from each; above 2 GB in all, of names and sizes."""
        files = {}
        for part in self._opened["files"]:
            path = Path(part.filename)
            files[f"{path.name}[{part.skip}:{part.skip + part.take}]"] = path
        return files_fingerprint(files)

    def __getstate__(self) -> dict[str, Any]:
        return dataclasses.asdict(self)  # a worker process opens the files itself

    def _record(self, features: Any, color: str, labelled: bool, index: int) -> dict[str, Any]:
        name = f"record {index} of {self.name}"
        encoded = features["image"].bytes_list.value[0]
        record: dict[str, Any] = {"image": decode_image(encoded, color, name=name, orient=False)}
        if labelled:
            record["label"] = features["label"].int64_list.value[0]
        if self.caption is not None:
            texts = features[self.caption].bytes_list.value
            if not texts:
                raise DataError(f"{name}: {self.caption} has no text")
            record["caption"] = texts[0].decode()
        return record

    @functools.cached_property
    def _opened(self) -> dict[str, Any]:
        import tensorflow_datasets as tfds

        folder = builder_dir(self.dataset, self.data_dir)
        builder = tfds.builder_from_directory(folder)
        try:
            records = builder.as_data_source(self.split).data_source
            files = builder.info.splits[self.split].file_instructions
        except NotImplementedError:
            raise DataError(
                f"{folder}: stored as {builder.info.file_format.value}, not ArrayRecord; move it away and run "
                f"`jgr data prepare {self.dataset}`"
            ) from None
        except (ValueError, KeyError, AssertionError) as error:
            raise DataError(
                f"split={self.split!r}: {self.dataset} has {', '.join(sorted(builder.info.splits))} "
                f"({' '.join(str(error).split())})"
            ) from None
        features = dict(builder.info.features.items())
        image = features.get("image")
        if not isinstance(image, tfds.features.Image) or image.np_dtype not in (np.uint8, np.uint16):
            raise DataError(
                f"{folder}: has no integer feature `image`, only {', '.join(features)}; write a source for it"
            )
        if self.caption is not None and not isinstance(_feature(features, self.caption), tfds.features.Text):
            raise DataError(
                f"caption = {self.caption!r} of {folder} is no text; its features are {', '.join(features)}"
            )
        from tensorflow_datasets.proto import tf_example_pb2

        return {
            "records": records,
            "files": files,
            # TFDS's own reading of an example, with its checks of every feature, takes as long as decoding the image.
            "parse": tf_example_pb2.Example.FromString,
            "labelled": isinstance(features.get("label"), tfds.features.ClassLabel),
            "color": "gray" if image.shape[-1] == 1 else "rgb",
        }


def _feature(features: Any, path: str) -> Any:
    """The feature of a path such as "captions/text", through sequences; None where there is none."""
    name, _, rest = path.partition("/")
    found: Any = dict(features.items()).get(name) if hasattr(features, "items") else None
    while hasattr(found, "feature"):  # of a sequence
        found = found.feature
    return _feature(found, rest) if rest else found


def data_folder(data_dir: str | os.PathLike[str] | None = None) -> Path:
    """The folder of prepared data sets: `data_dir`, else `$TFDS_DATA_DIR`, else `~/tensorflow_datasets`."""
    return Path(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def builder_dir(dataset: str, data_dir: str | os.PathLike[str] | None = None) -> Path:
    """The folder of a prepared data set: `<data folder>/name[/config]/version`.

    Args:
        dataset: `name[/config][:version]`.
        data_dir: The folder to look in, see `data_folder`.

    Raises:
        DataError: It is not there, or it has several configs and none is named.
    """
    path, _, version = dataset.partition(":")
    folder = data_folder(data_dir) / path
    if version:
        found = [folder / version] if _is_prepared(folder / version) else []
    else:
        found = sorted((child for child in _folders(folder) if _is_prepared(child)), key=_version_key)
    if found:
        return found[-1]
    configs = [child.name for child in _folders(folder) if any(_is_prepared(inner) for inner in _folders(child))]
    if len(configs) == 1:
        return builder_dir(f"{path}/{configs[0]}" + (f":{version}" if version else ""), data_dir)
    if configs:
        raise DataError(
            f"{dataset}: {folder} has several configs; name one of {', '.join(f'{path}/{c}' for c in configs)}"
        )
    raise DataError(
        f"{dataset}: no prepared data set in {folder / version}; run `jgr data prepare {dataset}`, or set "
        "TFDS_DATA_DIR or data_dir to the folder that holds it"
    )


def _folders(folder: Path) -> list[Path]:
    return sorted(child for child in folder.iterdir() if child.is_dir()) if folder.is_dir() else []


def _is_prepared(folder: Path) -> bool:
    return (folder / "dataset_info.json").is_file()


def _version_key(folder: Path) -> tuple[int, ...]:
    parts = folder.name.split(".")
    return tuple(int(part) if part.isdecimal() else -1 for part in parts)
