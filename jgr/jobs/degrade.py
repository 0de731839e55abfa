"""Degrades the records of an evaluation, and says how."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jgr.data.source import Source, record_name
from jgr.degradations.degradation import Degradation
from jgr.degradations.inputs import check_image
from jgr.degradations.protocol import Protocol
from jgr.errors import DataError
from jgr.jobs.experiment import Evaluation
from jgr.tasks.task import Task


class Degrader:
    """What an evaluation does to records before they are restored: on the host by a protocol, or on the device.

    Args:
        evaluation: May name a degradation.
        task: Else what it was trained to undo.
    """

    def __init__(self, evaluation: Evaluation, task: Task) -> None:
        self._protocol = evaluation.degradation if isinstance(evaluation.degradation, Protocol) else None
        self._on_device: Any = evaluation.degradation if isinstance(evaluation.degradation, Degradation) else None
        self._name = self._protocol.name if self._protocol is not None else _keyed(self._on_device)
        if evaluation.degradation is None and hasattr(task, "degrade"):
            self._on_device = task.degrade
            known = getattr(task, "degradation", None)
            self._name = _keyed(known)

    @property
    def name(self) -> str:
        """What protocols call it; nothing where records are restored as they are."""
        return self._name

    def on_host(self, source: Source, batch: Mapping[str, Any]) -> dict[str, Any]:
        """A host batch as the protocol degrades it; unchanged without one.

        Raises:
            DataError: An image does not fit the protocol; the message names it.
        """
        if self._protocol is None:
            return dict(batch)
        records = []
        for index, image in zip(batch["index"].tolist(), batch["image"], strict=True):
            try:
                records.append(self._checked(self._protocol(image)))
            except DataError as error:
                raise DataError(f"{record_name(source, index)}: {error}") from error
        return {**batch, **{name: np.stack([record[name] for record in records]) for name in records[0]}}

    def _checked(self, record: dict[str, Any]) -> dict[str, Any]:
        """A protocol's record, if it is one.

        Raises:
            DataError: It lacks its image or its target, or these are no pixels.
        """
        for name in ("image", "target"):
            if name not in record:
                raise DataError(f"protocol {self._name} gives no {name}, only {', '.join(record)}")
            check_image(np.asarray(record[name]), f"{name} of protocol {self._name}")
        return record

    def on_device(self, batch: Mapping[str, Any], keys: Any) -> dict[str, Any]:
        """A batch of floats as the degradation on the device makes it; pure."""
        if self._on_device is None:
            return dict(batch)
        return dict(self._on_device(batch, keys))


def _keyed(degradation: Any) -> str:
    """How a degradation on the device is told from protocols: what it draws follows from keys."""
    return f"{degradation.name}-keyed" if isinstance(degradation, Degradation) else ""
