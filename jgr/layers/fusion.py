"""Ways to tell features of an image, or a latent, about a text."""

from typing import Literal

from flax import linen as nn
from flax.typing import Dtype
from jaxtyping import Array, Float

from jgr.errors import ConfigError

KINDS = ("concat", "add", "mul", "film")


class Fusion(nn.Module):
    """Features h, of vectors or of every pixel alike, and a text t become features of one width, whatever the kind.

    "concat" is A [h; t] + b; "add" h + P t; "mul" h * (1 + P t); "film" h * (1 + P t) + Q t (Perez et al. 2018,
    equation 1); P t and Q t have biases. "concat" is "add" after a matrix. Where h is of another width, a matrix comes
    before the others, too; that of "mul" has a bias. Without one, noise h of mean 0 keeps that mean whatever the text
    says, and a generator makes little of it: give it latents of another length.

    Args:
        kind: Which of them.
        features: Width of the result.
        dtype: Of the computation; promoted from inputs and parameters when None.

    Raises:
        ConfigError: The kind is none of these, or the width below 1.
    """

    kind: Literal["concat", "add", "mul", "film"]
    features: int
    dtype: Dtype | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"kind = {self.kind!r} must be one of {', '.join(KINDS)}")
        if self.features < 1:
            raise ConfigError(f"features = {self.features} must be at least 1")
        super().__post_init__()

    @nn.compact
    def __call__(
        self, hidden: Float[Array, "batch *space channels"], text: Float[Array, "batch dims"]
    ) -> Float[Array, "batch *space features"]:
        """Features and a text's vector to features."""
        # Before it meets the pixels: a matrix of pixels that are all told the same would be computed again for each.
        told = text.reshape(len(text), *(1 for _ in hidden.shape[1:-1]), -1)
        if self.kind == "concat" or hidden.shape[-1] != self.features:
            hidden = self._matrix("features_matrix", use_bias=self.kind == "mul")(hidden)
        elif self.dtype is not None:
            hidden = hidden.astype(self.dtype)
        if self.kind in ("concat", "add"):
            return hidden + self._matrix("shift")(told)
        hidden = hidden * (1.0 + self._matrix("scale")(told))
        return hidden if self.kind == "mul" else hidden + self._matrix("shift")(told)

    def _matrix(self, name: str, use_bias: bool = True) -> nn.Dense:
        return nn.Dense(self.features, use_bias=use_bias, dtype=self.dtype, name=name)
