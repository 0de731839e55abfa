"""Prepares a data set of TensorFlow Datasets as ArrayRecord, without TensorFlow.

tfds reads prepared sets without TensorFlow but writes them with it: images are encoded by it, and builders open files
through it. So the work is done in a process of its own (`python -m jgr.data.prepare NAME`), in which Pillow encodes
and a stand-in for `tensorflow` offers the file functions only.
"""

import argparse
import difflib
import glob
import io
import json
import logging
import os
import shutil
import subprocess
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from jgr.data.tfds import data_folder
from jgr.errors import DataError

_DOWNLOAD_RETRIES = 3  # tfds retries 10 times: minutes without a network


def prepare(name: str, data_dir: str | os.PathLike[str] | None = None) -> Path:
    """Downloads and prepares a data set, unless that is done already.

    Images that a builder gives as arrays become PNG, or JPEG of quality 95 where the data set says JPEG; images that it
    gives as files are kept byte for byte. Progress is shown on stderr.

    Args:
        name: `name[/config][:version]` as tfds knows it, such as "mnist".
        data_dir: Where prepared data sets lie, see `jgr.data.tfds.data_folder`.

    Returns:
        The data set's folder, `<data_dir>/name[/config]/version`.

    Raises:
        DataError: There is no such data set, a file cannot be downloaded or must be put in place by hand, or the
            data set's builder needs the real TensorFlow.
    """
    command = [sys.executable, "-m", "jgr.data.prepare", name, "--data_dir", str(data_folder(data_dir))]
    child = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    lines = child.stdout.strip().splitlines() or [""]
    try:
        outcome = json.loads(lines[-1])
        error = outcome.get("error")
    except (json.JSONDecodeError, AttributeError):
        error = f"{name}: preparing it ended with status {child.returncode}; its last words: {lines[-1]!r}"
    if error:
        raise DataError(error)
    return Path(outcome["path"])


def main(argv: Sequence[str] | None = None) -> int:
    """Prepares in this process and prints, as the last line, a JSON object with `path` or `error`."""
    parser = argparse.ArgumentParser(
        prog="python -m jgr.data.prepare", description="Prepare a data set as ArrayRecord."
    )
    parser.add_argument("name", help="name[/config][:version]")
    parser.add_argument("--data_dir", required=True, help="where prepared data sets lie")
    arguments = parser.parse_args(argv)
    try:
        outcome = {"path": str(_prepare_here(arguments.name, data_folder(arguments.data_dir)))}
    except DataError as error:
        outcome = {"error": str(error)}
    print(json.dumps(outcome), flush=True)
    return 1 if "error" in outcome else 0


def _prepare_here(name: str, data_dir: Path) -> Path:
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    import requests
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download import downloader
    from tensorflow_datasets.core.features import image_feature
    from tensorflow_datasets.core.utils import lazy_imports_utils

    # In the place of the module that tfds would import at first use; not in `sys.modules`, where others would find it.
    lazy_imports_utils.tensorflow.__dict__["_module"] = _tensorflow_stand_in()
    image_feature._ImageEncoder._encode_image = _encode_image
    downloader.MAX_RETRIES = _DOWNLOAD_RETRIES
    try:
        if not sys.stderr.isatty():
            tfds.disable_progress_bar()
        builder = tfds.builder(name, data_dir=str(data_dir), file_format="array_record")
    except tfds.core.DatasetNotFoundError:
        similar = difflib.get_close_matches(
            name.split("/")[0].split(":")[0], tfds.list_builders(with_community_datasets=False)
        )
        raise DataError(
            f"{name}: tfds has no such data set{'; did you mean ' + ' or '.join(similar) + '?' if similar else ''}"
        ) from None
    except Exception as error:
        raise DataError(f"{name}: {_line(error)}") from error
    manual = data_dir / "downloads" / "manual"
    instructions = builder.MANUAL_DOWNLOAD_INSTRUCTIONS
    if instructions and not _is_filled(manual) and not builder.data_path.exists():
        raise DataError(
            f"{name}: put its files into {manual} by hand, then run this command again: {_line(instructions)}"
        )
    try:
        builder.download_and_prepare()
    except (requests.exceptions.RequestException, tfds.download.DownloadError, OSError) as error:
        request = getattr(error, "request", None)
        if request is None and not isinstance(error, tfds.download.DownloadError):
            raise DataError(f"{name}: {_line(error)}") from error
        raise DataError(
            f"{name}: could not fetch {request.url if request else _line(error)}; put its files into {manual} by hand "
            "and run this command again, or set TFDS_DATA_DIR or data_dir to a folder that holds the prepared data set"
        ) from error
    except Exception as error:
        if isinstance(error, AttributeError | ImportError) and "tensorflow" in str(error):
            raise DataError(
                f"{name}: its builder needs TensorFlow itself ({_line(error)}); where that is installed, run "
                f"`tfds build {name} --file_format=array_record --data_dir={data_dir}`"
            ) from error
        raise DataError(f"{name}: {_line(error)}") from error
    return Path(builder.data_path)


def _encode_image(encoder: Any, pixels: np.ndarray) -> bytes:
    """Takes the place of `_ImageEncoder._encode_image` in tensorflow_datasets 4.9."""
    from tensorflow_datasets.core.features import image_feature

    image_feature._validate_np_array(pixels, shape=encoder.shape, dtype=encoder.np_dtype)
    if pixels.dtype == np.uint16 and pixels.shape[-1] != 1:
        raise DataError(f"images of {pixels.shape[-1]} channels of 16 bits cannot be encoded without TensorFlow")
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    file = io.BytesIO()
    if encoder.encoding_format == "jpeg":
        image.save(file, "jpeg", quality=95)  # the default of tf.io.encode_jpeg
    else:
        image.save(file, "png")
    return file.getvalue()


def _tensorflow_stand_in() -> types.ModuleType:
    """A module that offers, of `tensorflow`, the files and errors that builders and tfds itself use."""
    return _module(
        "tensorflow",
        compat=_module("tensorflow.compat", as_text=os.fsdecode),
        errors=_module(
            "tensorflow.errors",
            AbortedError=ConnectionAbortedError,
            FailedPreconditionError=OSError,
            NotFoundError=FileNotFoundError,
            PermissionDeniedError=PermissionError,
            ResourceExhaustedError=MemoryError,
            UnimplementedError=NotImplementedError,
        ),
        io=_module(
            "tensorflow.io",
            gfile=_module(
                "tensorflow.io.gfile",
                GFile=open,
                copy=lambda source, target, overwrite=False: shutil.copyfile(_local(source), target),
                exists=os.path.exists,
                glob=lambda pattern: sorted(glob.glob(pattern)),
                isdir=os.path.isdir,
                listdir=os.listdir,
                makedirs=lambda path: os.makedirs(path, exist_ok=True),
                remove=os.remove,
                rename=lambda source, target, overwrite=False: os.replace(source, target),
                rmtree=shutil.rmtree,
                walk=os.walk,
            ),
        ),
    )


def _module(name: str, **members: Any) -> types.ModuleType:
    module = types.ModuleType(name)
    vars(module).update(members)
    return module


def _local(path: str | os.PathLike[str]) -> str:
    """A local path; of other addresses, such as ftp, tfds' own downloader takes care after this error."""
    text = os.fspath(path).removeprefix("file://")
    if "://" in text:
        raise NotImplementedError(text)
    return text


def _is_filled(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def _line(message: object) -> str:
    return " ".join(str(message).split()) or type(message).__name__


if __name__ == "__main__":
    sys.exit(main())
