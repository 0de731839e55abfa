"""Sources of images, the order of their records, and the loader that feeds them to a device.

Importing this package is light: a name is loaded when it is first asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jgr.data.augment import Augment as Augment
    from jgr.data.digits import Digits as Digits
    from jgr.data.folder import ImageFolder as ImageFolder
    from jgr.data.loader import Data as Data
    from jgr.data.loader import Loader as Loader
    from jgr.data.loader import evaluation_batches as evaluation_batches
    from jgr.data.order import record_index as record_index
    from jgr.data.pairs import PairedFolders as PairedFolders
    from jgr.data.pairs import SideBySide as SideBySide
    from jgr.data.pairs import UnpairedFolders as UnpairedFolders
    from jgr.data.photographs import Photographs as Photographs
    from jgr.data.source import Source as Source
    from jgr.data.source import fingerprint as fingerprint
    from jgr.data.tfds import TFDS as TFDS

_MODULES = {
    "Augment": "augment",
    "Data": "loader",
    "Digits": "digits",
    "ImageFolder": "folder",
    "Loader": "loader",
    "PairedFolders": "pairs",
    "Photographs": "photographs",
    "SideBySide": "pairs",
    "Source": "source",
    "TFDS": "tfds",
    "UnpairedFolders": "pairs",
    "evaluation_batches": "loader",
    "fingerprint": "source",
    "record_index": "order",
}
__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
