"""The Inception network of 2015 as a feature extractor: what FID, KID and the Inception score are defined on."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from jaxtyping import Array, Float, UInt8

from jgr.metrics import pretrained
from jgr.metrics.extractor import FeatureExtractor
from jgr.metrics.resize import inception_input
from jgr.models.inception import InceptionV3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inception(FeatureExtractor):
    """Features of 2,048 numbers and logits without bias; its weights come by `jgr weights inception`.

    Args:
        resize: How images get their 299 pixels a side: "tf1_bilinear" as FID was published (Heusel et al. 2017),
            "legacy_pytorch" as in pytorch-fid, or "clean" as in clean-fid (Parmar et al. 2022). Numbers of two resizes
            do not compare.
    """

    resize: Literal["tf1_bilinear", "legacy_pytorch", "clean"] = "tf1_bilinear"

    @property
    def is_inception(self) -> bool:
        """True, but for classes derived from it."""
        return type(self) is Inception

    @property
    def name(self) -> str:
        """inception2015."""
        return "inception2015"

    @property
    def protocol(self) -> str:
        """The network and the resize."""
        return f"{self.name}_{self.resize.replace('_', '')}"

    def load(self) -> Any:
        """The network's parameters.

        Raises:
            ConfigError: They are not on this machine; the message says how they get there.
        """
        return pretrained.load("inception")

    def __call__(
        self, weights: Any, images: UInt8[Array, "batch height width channels"]
    ) -> Mapping[str, Float[Array, "batch ..."]]:
        """Pooled features and logits of RGB images of any size; gray ones count as three equal channels."""
        features, logits = InceptionV3().apply({"params": weights}, inception_input(images, self.resize))
        return {"features": features, "logits": logits}
