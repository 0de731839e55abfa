"""Features of a set of images, gathered on the host batch by batch."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Num

from jgr.metrics.moments import Moments
from jgr.metrics.neighbours import neighbour_distances

KINDS = frozenset({"moments", "features", "logits", "labels", "class_moments"})

_NEIGHBOURS = 5  # that are computed together: density and coverage take the fifth, precision and recall the third


class FeatureSet:
    """What the metrics of one extractor keep of a set of images: moments in float64, and features where one needs them.

    Batches may come in any sizes; sets gathered apart merge. Neither changes a number beyond rounding.

    Args:
        needs: Which of `KINDS` are kept.
        chosen: For each image that will come, whether its features and logits are kept; all are when None.
    """

    def __init__(
        self, needs: frozenset[str] = frozenset({"moments"}), chosen: Bool[np.ndarray, "n"] | None = None
    ) -> None:
        if unknown := needs - KINDS:
            raise ValueError(f"needs {sorted(unknown)} are unknown: there are {', '.join(sorted(KINDS))}")
        self.n = 0
        self._width: int | None = None
        self.needs, self._chosen = needs, chosen
        self._moments = Moments()
        self._class_moments: dict[int, Moments] = {}
        self._rows: dict[str, list[Num[np.ndarray, "batch ..."]]] = {"features": [], "logits": [], "labels": []}
        self._neighbours: Float[np.ndarray, "n k"] | None = None

    @classmethod
    def of(cls, features: Num[np.ndarray, "n d"], **more: Num[np.ndarray, "n ..."]) -> "FeatureSet":
        """A set of given features, and `logits` or `labels`."""
        classes = {"class_moments"} if "labels" in more else set()
        kept = cls(frozenset({"moments", "features", *more, *classes}))
        kept.update({"features": features, **more}, np.ones(len(features), bool))
        return kept

    @classmethod
    def of_moments(cls, moments: Moments) -> "FeatureSet":
        """A set of which only mean and covariance are known."""
        kept = cls()
        kept._moments, kept._width = moments, moments.dim
        return kept

    def update(self, batch: Mapping[str, Num[np.ndarray, "batch ..."]], mask: Bool[np.ndarray, "batch"]) -> None:
        """Takes in the records where `mask` is true.

        Args:
            batch: `features` [batch, d], and `logits` and `labels` where needed.
            mask: False for fillings of the last batch.

        Raises:
            ValueError: A feature is not finite, or something needed is missing.
        """
        mask = np.asarray(mask)
        rows = {name: np.asarray(batch[name])[mask] for name in ("features", "logits", "labels") if name in batch}
        count = int(mask.sum())
        if not count:
            return
        if not np.isfinite(rows["features"]).all():
            bad = int(np.argmin(np.isfinite(rows["features"]).all(axis=1)))
            raise ValueError(f"the features of image {self.n + bad} are not finite: the images or the weights are bad")
        if self._width not in (None, rows["features"].shape[1]):
            raise ValueError(
                f"image {self.n} gives {rows['features'].shape[1]} features and those before {self._width}: this "
                "extractor needs images of one size"
            )
        self._width = rows["features"].shape[1]
        for kind in ("logits", "labels"):
            if kind in self.needs | ({"labels"} if "class_moments" in self.needs else set()) and kind not in rows:
                raise ValueError(
                    "the extractor is no classifier: it gives no logits"
                    if kind == "logits"
                    else "the images have no labels"
                )
        if "moments" in self.needs:
            self._moments.update(rows["features"], np.ones(count, bool))
        if "class_moments" in self.needs:
            for label in np.unique(rows["labels"]):
                moments = self._class_moments.setdefault(int(label), Moments())
                moments.update(rows["features"], rows["labels"] == label)
        taken = slice(None) if self._chosen is None else self._chosen[self.n : self.n + count]
        for kind, kept in self._rows.items():
            if kind in rows and kind in self.needs:
                kept.append(np.array(rows[kind] if kind == "labels" else rows[kind][taken]))
        self.n += count
        self._neighbours = None

    def merge(self, other: "FeatureSet") -> None:
        """Takes in what another set gathered, behind what is here."""
        self._moments.merge(other._moments)
        for label, moments in other._class_moments.items():
            self._class_moments.setdefault(label, Moments()).merge(moments)
        for kind, kept in self._rows.items():
            kept += other._rows[kind]
        self.n += other.n
        self._neighbours = None

    @property
    def moments(self) -> Moments:
        """Mean and covariance of the features."""
        return self._moments

    @property
    def class_moments(self) -> dict[int, Moments]:
        """Mean and covariance of the features of each class."""
        return self._class_moments

    @property
    def features(self) -> Float[np.ndarray, "n d"]:
        """The features.

        Raises:
            ValueError: There are none.
        """
        return self._kept("features")

    @property
    def logits(self) -> Float[np.ndarray, "n classes"]:
        """The logits of the classes.

        Raises:
            ValueError: There are none.
        """
        return self._kept("logits")

    @property
    def labels(self) -> Int[np.ndarray, "n"]:
        """The labels of all images.

        Raises:
            ValueError: There are none.
        """
        return self._kept("labels")

    def radii(self, k: int) -> Float[np.ndarray, "n"]:
        """Distance of each image's features to their k-th neighbour within the set; computed once for all small k."""
        if self._neighbours is None or self._neighbours.shape[1] < k:
            most = max(k, min(_NEIGHBOURS, len(self.features) - 1))
            self._neighbours = neighbour_distances(self.features, most)
        return self._neighbours[:, k - 1]

    def to_arrays(self) -> dict[str, np.ndarray]:
        """All of it as arrays by name, from which `from_arrays` makes it again, bit for bit."""
        arrays: dict[str, np.ndarray] = {"n": np.array(self.n), "needs": np.array(sorted(self.needs))}
        arrays |= {f"moments/{name}": array for name, array in self._moments.to_arrays().items()}
        for label, moments in self._class_moments.items():
            arrays |= {f"class_moments/{label}/{name}": array for name, array in moments.to_arrays().items()}
        return arrays | {f"rows/{kind}": np.concatenate(kept) for kind, kept in self._rows.items() if kept}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "FeatureSet":
        """The set that `to_arrays` was made of."""
        kept = cls(frozenset(map(str, arrays["needs"])))
        kept.n = int(arrays["n"])
        kept._moments = Moments.from_arrays(_below("moments", arrays))
        labels = {name.split("/")[1] for name in arrays if name.startswith("class_moments/")}
        kept._class_moments = {
            int(label): Moments.from_arrays(_below(f"class_moments/{label}", arrays))
            for label in sorted(labels, key=int)
        }
        for kind, rows in _below("rows", arrays).items():
            kept._rows[kind].append(rows)
        return kept

    def _kept(self, kind: str) -> Any:
        kept = self._rows[kind]
        if not kept:
            raise ValueError(f"no {kind} were kept of these images")
        if len(kept) > 1:
            self._rows[kind] = kept = [np.concatenate(kept)]
        return kept[0]


def subset(total: int, limit: int | None) -> Bool[np.ndarray, "n"] | None:
    """Which of so many images are taken where only so many may be: always the same ones, at random; None for all."""
    if limit is None or total <= limit:
        return None
    chosen = np.zeros(total, bool)
    chosen[np.random.default_rng(0).permutation(total)[:limit]] = True
    return chosen


def _below(prefix: str, arrays: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(f"{prefix}/"): arrays[name] for name in arrays if name.startswith(f"{prefix}/")}
