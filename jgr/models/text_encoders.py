"""Encoders of texts: tokens to one vector, which does not depend on how much padding follows them.

A caption's last place in its batch and its padding are computed with all others: so a caption's vector is the same, bit
for bit, in a batch of longer ones. The transformer pads to a length of its own for that.
"""

from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype
from jaxtyping import Array, Bool, Float, Int, Key

from jgr.data.sentence_vectors import read_sentence_vectors
from jgr.errors import ConfigError
from jgr.losses.gaussian import DiagonalGaussian
from jgr.models.wrapping import computing_in

Tokens = Int[Array, "batch length"]
Mask = Bool[Array, "batch length"]

_CELLS = {"gru": nn.GRUCell, "lstm": nn.OptimizedLSTMCell}


class Recurrent(nn.Module):
    """Embeddings through a recurrent network: GRU (Cho et al. 2014) or LSTM (Hochreiter & Schmidhuber 1997).

    Args:
        vocabulary_size: Tokens are 0 to `vocabulary_size - 1`.
        features: Length of a text's vector; of two directions each makes a half.
        embedding_dim: Length of a token's.
        cell: "gru" or "lstm".
        bidirectional: Whether a second network reads from the end.
        summary: "last" for the state after a text's last token, of the second direction after its first; "mean" for
            the mean over its tokens.
        dtype: Of the computation; promoted from inputs and parameters when None.

    Raises:
        ConfigError: A size is below 1, the features are odd for two directions, or an option is none of its values.
    """

    vocabulary_size: int
    features: int = 128
    embedding_dim: int = 64
    cell: Literal["gru", "lstm"] = "gru"
    bidirectional: bool = False
    summary: Literal["last", "mean"] = "last"
    dtype: Dtype | None = None

    def __post_init__(self) -> None:
        _require_positive(self, "vocabulary_size", "features", "embedding_dim")
        if self.cell not in _CELLS:
            raise ConfigError(f"cell = {self.cell!r} must be {' or '.join(_CELLS)}")
        if self.summary not in ("last", "mean"):
            raise ConfigError(f"summary = {self.summary!r} must be 'last' or 'mean'")
        if self.bidirectional and self.features % 2:
            raise ConfigError(f"features = {self.features} must be even: each direction makes a half")
        super().__post_init__()

    @nn.compact
    def __call__(self, tokens: Tokens, mask: Mask, *, train: bool) -> Float[Array, "batch features"]:
        """Tokens, with a mask that is True at the first of each row, to vectors; the same with and without `train`."""
        lengths = mask.sum(axis=1)
        embedded = nn.Embed(self.vocabulary_size, self.embedding_dim, dtype=self.dtype, name="embedding")(tokens)
        width = self.features // (2 if self.bidirectional else 1)
        made = []
        for name in ("forwards", "backwards")[: 2 if self.bidirectional else 1]:
            read = nn.RNN(
                _CELLS[self.cell](width, dtype=self.dtype, name=name),
                return_carry=True,
                reverse=name == "backwards",
                keep_order=True,
            )
            carry, states = read(embedded, seq_lengths=lengths)
            last = carry[1] if self.cell == "lstm" else carry
            made.append(last if self.summary == "last" else masked_mean(states, mask))
        return jnp.concatenate(made, axis=-1)


class Transformer(nn.Module):
    """A small transformer (Vaswani et al. 2017; normalised as in Xiong et al. 2020), and the mean over its tokens.

    Args:
        vocabulary_size: Tokens are 0 to `vocabulary_size - 1`.
        max_length: The longest text; its places have embeddings of their own.
        features: Length of a text's vector and of every token's.
        num_layers: Of attention and two matrices.
        num_heads: Of attention.
        dtype: Of the computation; promoted from inputs and parameters when None.

    Raises:
        ConfigError: A size is below 1, the heads do not divide the features, or a batch is longer than `max_length`.
    """

    vocabulary_size: int
    max_length: int
    features: int = 128
    num_layers: int = 2
    num_heads: int = 4
    dtype: Dtype | None = None

    def __post_init__(self) -> None:
        _require_positive(self, "vocabulary_size", "max_length", "features", "num_layers", "num_heads")
        if self.features % self.num_heads:
            raise ConfigError(f"features = {self.features} must be a multiple of num_heads = {self.num_heads}")
        super().__post_init__()

    @nn.compact
    def __call__(self, tokens: Tokens, mask: Mask, *, train: bool) -> Float[Array, "batch features"]:
        """Tokens, with a mask that is True where they count, to vectors; the same with and without `train`."""
        if (length := tokens.shape[1]) > self.max_length:
            raise ConfigError(f"texts of {length} tokens, but max_length = {self.max_length}")
        tokens, mask = (jnp.pad(array, ((0, 0), (0, self.max_length - length))) for array in (tokens, mask))
        place = self.param("place", nn.initializers.normal(0.02), (self.max_length, self.features), jnp.float32)
        hidden = nn.Embed(self.vocabulary_size, self.features, dtype=self.dtype, name="embedding")(tokens)
        hidden = hidden + place.astype(hidden.dtype)[None]
        seen = mask[:, None, None, :]
        for number in range(self.num_layers):
            normed = nn.LayerNorm(dtype=self.dtype, name=f"attention_norm_{number}")(hidden)
            attention = nn.MultiHeadDotProductAttention(self.num_heads, dtype=self.dtype, name=f"attention_{number}")
            hidden = hidden + attention(normed, mask=seen)
            normed = nn.LayerNorm(dtype=self.dtype, name=f"matrices_norm_{number}")(hidden)
            wide = nn.gelu(nn.Dense(4 * self.features, dtype=self.dtype, name=f"widen_{number}")(normed))
            hidden = hidden + nn.Dense(self.features, dtype=self.dtype, name=f"narrow_{number}")(wide)
        return masked_mean(nn.LayerNorm(dtype=self.dtype, name="norm")(hidden), mask)


class Augmented(nn.Module):
    """A text's vector drawn around what an encoder makes of it, so that near ones are seen: conditioning augmentation.

    N(mean(t), variance(t)) with a matrix each (Zhang et al. 2017, StackGAN, arXiv:1612.03242, section 3.2). A GAN adds
    its KL divergence from N(0, 1) to the generator's loss: `jgr.tasks.matching.MatchingAware.divergence_weight`.

    Args:
        encoder: Any other of these.
        features: Length of a text's vector.
        dtype: Of the encoder's computation, where it does not say so itself.

    Raises:
        ConfigError: The length is below 1.
    """

    encoder: nn.Module
    features: int = 128
    dtype: Dtype | None = None

    draws: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _require_positive(self, "features")
        self.encoder = computing_in(self.dtype, self.encoder)
        super().__post_init__()

    def setup(self) -> None:
        """The matrices, as one."""
        self.matrices = nn.Dense(2 * self.features)

    def __call__(
        self, tokens: Tokens, mask: Mask, *, train: bool, keys: Key[Array, "batch"] | None = None
    ) -> Float[Array, "batch features"]:
        """Tokens to vectors drawn by the keys, or, without, to their means."""
        found = self.distribution(tokens, mask, train=train)
        if keys is None:
            return found.mean
        return found.at(jax.vmap(lambda key: jax.random.normal(key, (self.features,)))(keys))

    def distribution(self, tokens: Tokens, mask: Mask, *, train: bool) -> DiagonalGaussian:
        """What a text's vector is drawn from."""
        made = self.matrices(self.encoder(tokens, mask, train=train))
        return DiagonalGaussian.bounded(*jnp.split(made.astype("float32"), 2, axis=-1))


class Precomputed(nn.Module):
    """Vectors of whole captions that another model made, from a file, through a matrix; they are not trained.

    For `data.captions = dict(level="sentence", vectors=file)`. A caption that the file does not have, and an empty one,
    is a vector of zeros. The file's numbers are constants of every compiled function: some ten thousand captions are
    well, a million are not.

    Args:
        file: Its path; see `jgr.data.sentence_vectors`.
        features: Length of a text's vector.
        dtype: Of the computation; promoted from inputs and parameters when None.

    Raises:
        ConfigError: The length is below 1, or the file cannot be read.
    """

    file: str
    features: int = 128
    dtype: Dtype | None = None

    def __post_init__(self) -> None:
        _require_positive(self, "features")
        super().__post_init__()

    @nn.compact
    def __call__(self, tokens: Tokens, mask: Mask, *, train: bool) -> Float[Array, "batch features"]:
        """Beginning, number and end of each caption to vectors; the same with and without `train`."""
        known = read_sentence_vectors(self.file)
        special = len(known.vocabulary) - len(known.vectors)
        table = jnp.pad(jnp.asarray(known.vectors), ((special, 0), (0, 0)))
        return nn.Dense(self.features, dtype=self.dtype, name="matrix")(table[tokens[:, 1]])


def masked_mean(values: Float[Array, "batch length dims"], mask: Mask) -> Float[Array, "batch dims"]:
    """The mean over the places of a text that count; 0 where none does."""
    weights = mask[..., None].astype(values.dtype)
    total: Array = jnp.zeros_like(values[:, 0])
    for place in range(values.shape[1]):  # one after another: the sum of a longer batch is the same, bit for bit
        total = total + values[:, place] * weights[:, place]
    return total / jnp.maximum(weights.sum(axis=1), 1.0)


def _require_positive(module: nn.Module, *names: str) -> None:
    for name in names:
        if getattr(module, name) < 1:
            raise ConfigError(f"{name} = {getattr(module, name)} must be at least 1")
