"""Small classifiers whose features are compared, and the files their weights are kept in."""

import dataclasses
import functools
import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array, Float, Num, UInt8

from jgr.config import Context, build
from jgr.errors import ConfigError
from jgr.images import to_float
from jgr.metrics.extractor import FeatureExtractor

SHIPPED = ("cnn-digits", "cnn-mnist")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainedClassifier(FeatureExtractor):
    """A classifier that `jgr.tasks.classification` trained: features of its method `embed`, logits of `classify`.

    Args:
        weights: "cnn-mnist" (28x28 gray) or "cnn-digits" (16x16 gray), which come with jgr, or a file that `jgr weights
            pack RUN` wrote.

    Raises:
        ConfigError: There is no such file, or it does not hold a classifier.
    """

    weights: str = "cnn-mnist"

    def __post_init__(self) -> None:
        _read(self._file)

    @property
    def name(self) -> str:
        """That of the weights' file, without its ending."""
        return Path(self.weights).stem if self.weights not in SHIPPED else self.weights

    @property
    def weights_digest(self) -> str:
        """The start of the SHA-256 of the weights' file."""
        return hashlib.sha256(_read(self._file)).hexdigest()[:6]

    def load(self) -> Any:
        """The network's variables."""
        return unpacked(_read(self._file), self.weights)[1]

    def __call__(
        self, weights: Any, images: UInt8[Array, "batch height width channels"]
    ) -> Mapping[str, Float[Array, "batch ..."]]:
        """Features before the last matrix, and logits."""
        network: Any = self._network
        try:
            features = network.apply(weights, to_float(images), train=False, method="embed")
        except ConfigError as error:
            raise ConfigError(f"{self.name}: {error}; resize the images (in a config: data.resize)") from error
        return {"features": features, "logits": network.apply(weights, features, method="classify")}

    @functools.cached_property
    def _network(self) -> nn.Module:
        return unpacked(_read(self._file), self.weights)[0]

    @property
    def _file(self) -> Any:
        if self.weights in SHIPPED:
            return files("jgr.metrics") / "data" / f"{self.weights}.npz"
        return Path(self.weights)


def packed(network: Mapping[str, Any], variables: Mapping[str, Any]) -> bytes:
    """A file of a network and its variables, from which `unpacked` makes both.

    Args:
        network: As a resolved config describes it, with `cls`.
        variables: `params` and other collections.
    """
    arrays = {"/".join(path): np.asarray(leaf) for path, leaf in flatten_dict(dict(variables)).items()}
    content = io.BytesIO()
    np.savez_compressed(content, network=np.array(json.dumps(network, sort_keys=True)), **arrays)  # type: ignore[arg-type]
    return content.getvalue()


def unpacked(content: bytes, name: str) -> tuple[nn.Module, dict[str, Any]]:
    """The network and its variables. Nothing in the file is run, and the network's class must be jgr's.

    Args:
        content: Of the file.
        name: What errors call it.

    Raises:
        ConfigError: It is no such file.
    """
    arrays: dict[str, Num[np.ndarray, "..."]] = {}
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
        network = json.loads(str(arrays.pop("network")))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ConfigError(f"{name} holds no network: {error}; make it with jgr weights pack RUN") from error
    module: Any = build(network, nn.Module, f"{name}: network", Context(trust=False))
    return module, unflatten_dict({tuple(key.split("/")): array for key, array in arrays.items()})


def _read(file: Any) -> bytes:
    if not file.is_file():
        raise ConfigError(
            f"weights = {str(file)!r}: there is no such file; it must be one of {', '.join(SHIPPED)}, or a file that "
            "jgr weights pack RUN wrote"
        )
    content: bytes = file.read_bytes()
    return content
