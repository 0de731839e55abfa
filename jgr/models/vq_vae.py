"""VQ-VAE's encoder, decoder and codebook (van den Oord et al. 2017, arXiv:1711.00937).

The networks are the paper's (section 4.1) with the widths of the authors' code, Sonnet's `vqvae_example`: the finest
level has half as many channels. The codebook is learned by moving averages (appendix A.1).
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype
from jaxtyping import Array, Float, Int, Key

from jgr.errors import ConfigError
from jgr.images import to_signed
from jgr.layers import Conv, ConvTranspose
from jgr.layers.input_check import check_input
from jgr.layers.pointwise import Pointwise

Images = Float[Array, "batch height width channels"]
Features = Float[Array, "batch rows columns features"]
Moving = dict[str, Array]
"""A codebook's state: `embedding` [codes, dims], and what it is made of, moving averages: `counts` [codes] of features
nearest to each code, and their `sums` [codes, dims]."""


class Encoder(nn.Module):
    """Images halved by strided convolutions, residual blocks, and a matrix to the features that become codes.

    Args:
        embedding_dim: Length of a feature vector, that of the codebook's.
        levels: How often images are halved.
        width: Channels; the finest level has half of them.
        num_blocks: Residual blocks at the coarsest level.
        block_width: Channels inside a block.
        dtype: Of the computation; promoted from inputs and parameters when None.

    Raises:
        ConfigError: If a size is below 1, `width` is odd, or images cannot be halved so often.
    """

    embedding_dim: int = 64
    levels: int = 2
    width: int = 128
    num_blocks: int = 2
    block_width: int = 32
    dtype: Dtype | None = None

    def __post_init__(self) -> None:
        _require_positive(self, "embedding_dim", "levels", "width", "num_blocks", "block_width")
        super().__post_init__()

    @nn.compact
    def __call__(self, images: Images, *, train: bool) -> Features:
        """Images in [0, 1] to float32 features; the same with and without `train`."""
        check_input("encoder", images, images.shape[-1], 2**self.levels)
        hidden = to_signed(images)
        for level in range(self.levels):
            features = self.width if level else self.width // 2
            hidden = nn.relu(Conv(features, (4, 4), (2, 2), dtype=self.dtype)(hidden))
        hidden = Conv(self.width, (3, 3), dtype=self.dtype)(hidden)
        hidden = _residual(self, hidden)
        return Pointwise(self.embedding_dim, dtype=self.dtype)(hidden).astype("float32")


class Decoder(nn.Module):
    """Features through residual blocks, doubled by transposed convolutions to what a likelihood needs.

    Args:
        outputs: Of each pixel: of a Bernoulli or Gaussian likelihood the image's channels.
        levels: How often features are doubled.
        width: Channels; the finest hidden level has half of them.
        num_blocks: Residual blocks at the coarsest level.
        block_width: Channels inside a block.
        dtype: Of the computation; promoted from inputs and parameters when None.

    Raises:
        ConfigError: If a size is below 1, or `width` is odd.
    """

    outputs: int = 1
    levels: int = 2
    width: int = 128
    num_blocks: int = 2
    block_width: int = 32
    dtype: Dtype | None = None

    def __post_init__(self) -> None:
        _require_positive(self, "outputs", "levels", "width", "num_blocks", "block_width")
        super().__post_init__()

    @nn.compact
    def __call__(self, features: Features, *, train: bool) -> Float[Array, "batch height width outputs"]:
        """Features to float32 outputs; the same with and without `train`."""
        hidden = _residual(self, Conv(self.width, (3, 3), dtype=self.dtype)(features))
        for level in reversed(range(1, self.levels)):
            width = self.width if level > 1 else self.width // 2
            hidden = nn.relu(ConvTranspose(width, (4, 4), (2, 2), dtype=self.dtype)(hidden))
        return ConvTranspose(self.outputs, (4, 4), (2, 2), dtype=self.dtype)(hidden).astype("float32")


def _residual(network: Encoder | Decoder, hidden: Features) -> Features:
    """Blocks of ReLU, 3x3, ReLU, 1x1, each added to its input; a ReLU at the end."""
    for _ in range(network.num_blocks):
        inside = Conv(network.block_width, (3, 3), dtype=network.dtype)(nn.relu(hidden))
        hidden = hidden + Pointwise(network.width, dtype=network.dtype)(nn.relu(inside))
    return nn.relu(hidden)


def _require_positive(network: Encoder | Decoder, *names: str) -> None:
    for name in names:
        if getattr(network, name) < 1:
            raise ConfigError(f"{name} = {getattr(network, name)} must be at least 1")
    if network.width % 2:
        raise ConfigError(f"width = {network.width} must be even: the finest level has half of it")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Codebook:
    """Vectors that take the place of an encoder's features, each the mean of the features it has replaced of late.

    A code that is hardly used begins anew at a feature of the batch, drawn at random (Zeghidour et al. 2021,
    SoundStream, section III.C), as all codes do in the first step.

    Args:
        num_codes: How many there are.
        embedding_dim: Length of a vector.
        decay: Weight of the past in the moving averages, each step (appendix A.1).
        epsilon: Added to each count, which then are scaled to their former sum: Laplace smoothing, as in Sonnet's
            `VectorQuantizerEMA`. A count without any feature divides nothing by zero.
        revive_below: A code whose count is below this share of the mean begins anew with just this count: again in the
            next step, if it is not used. 0: none does, and codes unused in the first step are 0 from then on.

    Raises:
        ConfigError: If a size is below 1, `epsilon` not positive, or `decay` or `revive_below` not in [0, 1).
    """

    num_codes: int = 512
    embedding_dim: int = 64
    decay: float = 0.99
    epsilon: float = 1e-5
    revive_below: float = 0.02

    def __post_init__(self) -> None:
        for name in ("num_codes", "embedding_dim"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} = {getattr(self, name)} must be at least 1")
        for name in ("decay", "revive_below"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ConfigError(f"{name} = {getattr(self, name)} must be at least 0 and below 1")
        if not self.epsilon > 0.0:
            raise ConfigError(f"epsilon = {self.epsilon} must be positive")

    def init(self, key: Key[Array, ""]) -> Moving:
        """Random vectors, to be replaced in the first step."""
        shape = (self.num_codes, self.embedding_dim)
        return {
            "embedding": jax.random.normal(key, shape),
            "counts": jnp.zeros(self.num_codes),
            "sums": jnp.zeros(shape),
        }

    def nearest(
        self, embedding: Float[Array, "codes dims"], features: Float[Array, "batch rows columns dims"]
    ) -> Int[Array, "batch rows columns"]:
        """The code of the smallest Euclidean distance to each feature, the first of equals (equation 1)."""
        # |f - e|^2 without |f|^2, in full precision: TF32 would take another code of two that are about as near.
        products = jnp.einsum("brcd,kd->brck", features, embedding, precision=jax.lax.Precision.HIGHEST)
        norms = jnp.square(embedding).sum(axis=1).reshape(1, 1, 1, -1)
        return (norms - 2.0 * products).argmin(axis=-1)

    def updated(
        self,
        moving: Moving,
        features: Float[Array, "batch rows columns dims"],
        codes: Int[Array, "batch rows columns"],
        keys: Key[Array, "batch"],
    ) -> Moving:
        """The state after a batch, over all devices (equations 6 to 8).

        Args:
            moving: The state before.
            features: Of the encoder.
            codes: Nearest to them, by the state before.
            keys: One a record: which features revive codes follows from them.
        """
        flat, chosen = features.reshape(-1, self.embedding_dim), jax.nn.one_hot(codes.reshape(-1), self.num_codes)
        added = jnp.einsum("nk,nd->kd", chosen, flat, precision=jax.lax.Precision.HIGHEST)
        counts = self.decay * moving["counts"] + (1.0 - self.decay) * chosen.sum(axis=0)
        sums = self.decay * moving["sums"] + (1.0 - self.decay) * added

        least = self.revive_below * len(flat) / self.num_codes
        dead = counts < least
        born = self._drawn(flat, keys)
        counts = jnp.where(dead, least, counts)
        sums = jnp.where(dead[:, None], counts[:, None] * born, sums)

        total = counts.sum()
        smoothed = (counts + self.epsilon) / (total + self.num_codes * self.epsilon) * total
        embedding = jnp.where(dead[:, None], born, sums / smoothed[:, None])
        return {"embedding": embedding, "counts": counts, "sums": sums}

    def _drawn(self, flat: Float[Array, "positions dims"], keys: Key[Array, "batch"]) -> Float[Array, "codes dims"]:
        """A feature for each code, none twice where there are enough."""
        each = (len(flat) // len(keys),)
        lots = jax.vmap(lambda key: jax.random.uniform(key, each))(keys).reshape(-1)
        _, places = jax.lax.top_k(lots, min(self.num_codes, len(flat)))
        return flat[jnp.resize(places, (self.num_codes,))]
