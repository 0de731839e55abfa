"""Gated PixelCNN (van den Oord et al. 2016, "Conditional Image Generation with PixelCNN Decoders"), for codes."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype
from jaxtyping import Array, Float, Int, Key

from jgr.errors import ConfigError
from jgr.layers import Conv
from jgr.layers.pointwise import Pointwise

Labels = Int[Array, "batch"] | None
Codes = Int[Array, "batch rows columns"]
Hidden = Float[Array, "batch some_rows some_columns width"]
Past = list[Array]
"""Of the input of each convolution of a stack the last positions, which its next position needs."""

_embedding_init = nn.initializers.normal(1.0)
_place_init = nn.initializers.normal(0.02)


class PixelCNN(nn.Module):
    """The distribution of a grid of codes, each given those before it in raster order.

    Two stacks, so that no code before is out of sight (section 2.2): one goes down the rows and sees the rows above,
    the other goes along a row, sees what lies left, and listens to the first. Convolutions have weights for what they
    may see and no others, where the paper masks larger ones. Both stacks are residual, and begin with what is learned
    of each place of the grid and of the label.

    With `kernel_size` 3 a code depends on those up to `num_blocks + 1` columns beside, and one more row above or column
    left in its own row.

    Args:
        grid: Rows and columns.
        num_codes: Codes are 0 to `num_codes - 1`.
        width: Channels.
        num_blocks: Gated convolutions of each stack, after a first one without a gate.
        kernel_size: Columns that a convolution sees of a row above; odd, at least 3. Of its own row it sees the left
            half, and as many rows above.
        num_classes: Labels are 0 to `num_classes - 1`; None for none.
        dtype: Of the computation; promoted from inputs and parameters when None.

    Raises:
        ConfigError: If a size is below 1, or `kernel_size` is even or below 3.
    """

    grid: tuple[int, int]
    num_codes: int
    width: int = 64
    num_blocks: int = 6
    kernel_size: int = 3
    num_classes: int | None = None
    dtype: Dtype | None = None

    def __post_init__(self) -> None:
        for name in ("grid", "num_codes", "width", "num_blocks", "num_classes"):
            value = getattr(self, name)
            if value is not None and min(value if isinstance(value, tuple) else (value,)) < 1:
                raise ConfigError(f"{name} = {value} must be at least 1")
        if self.kernel_size < 3 or self.kernel_size % 2 == 0:
            raise ConfigError(f"kernel_size = {self.kernel_size} must be odd, and at least 3")
        super().__post_init__()

    def setup(self) -> None:
        """The layers."""

        def convolutions(sides: tuple[int, int]) -> list[Conv]:
            features = (self.width, *(2 * self.width for _ in range(self.num_blocks)))
            return [Conv(count, sides, padding="VALID", dtype=self.dtype) for count in features]

        self.embedding = nn.Embed(self.num_codes, self.width, embedding_init=_embedding_init, dtype=self.dtype)
        self.place = self.param("place", _place_init, (*self.grid, self.width))
        if self.num_classes is not None:
            self.label = nn.Embed(self.num_classes, self.width, embedding_init=_place_init, dtype=self.dtype)
        self.down = convolutions((self._reach + 1, self.kernel_size))
        self.along = convolutions((1, self._reach + 1))
        self.links = [Pointwise(2 * self.width, use_bias=False, dtype=self.dtype) for _ in range(self.num_blocks)]
        self.mixes = [Pointwise(self.width, dtype=self.dtype) for _ in range(self.num_blocks)]
        self.head = [Pointwise(count, dtype=self.dtype) for count in (2 * self.width, self.num_codes)]

    def __call__(self, codes: Codes, *, labels: Labels = None, train: bool) -> Float[Array, "batch rows columns codes"]:
        """Float32 logits of each code, given those before it; the same with and without `train`."""
        if codes.shape[1:] != self.grid:
            raise ConfigError(f"prior: codes of {codes.shape[1:]}, but grid = {self.grid}")
        embedded, places = self.embed(codes), self.at_places(labels)
        above, _ = self.go_down(_delayed(embedded, 1), places, self._no_past(embedded, 1))
        logits, _ = self.go_along(_delayed(embedded, 2), above, places, self._no_past(embedded, 2))
        return logits

    def sample(self, params: Any, keys: Key[Array, "batch"], *, labels: Labels = None) -> Codes:
        """Codes, one grid a key, drawn one after another; for that the network is computed once at each place.

        Args:
            params: The parameters: the module need not be bound.
            keys: One a grid.
            labels: One a grid, where there are classes.
        """
        (rows, columns), number = self.grid, len(keys)

        def compute(method: str, *inputs: Any) -> Any:
            return self.apply({"params": params}, *inputs, method=method)

        def draw_row(carry: Any, row: Any) -> Any:
            (previous, past), (row_number, places) = carry, row
            above, past = compute("go_down", previous, places, past)

            def draw_code(carry: Any, column: Any) -> Any:
                (previous, past), (column_number, above, places) = carry, column
                logits, past = compute("go_along", previous, above, places, past)
                position = row_number * columns + column_number
                drawn = jax.vmap(lambda key, of: jax.random.categorical(jax.random.fold_in(key, position), of))
                code = drawn(keys, logits[:, 0, 0])
                return (compute("embed", code[:, None, None]), past), code

            first = jnp.zeros_like(previous[:, :, :1])
            start = (first, self._no_past(first, 2))
            _, codes = jax.lax.scan(draw_code, start, (jnp.arange(columns), *_one_by_one((above, places), 2)))
            return (compute("embed", codes.T[:, None]), past), codes.T

        places = compute("at_places", labels)
        places = jnp.broadcast_to(places, (number, *places.shape[1:]))
        first = jnp.zeros_like(places[:, :1])
        _, codes = jax.lax.scan(draw_row, (first, self._no_past(first, 1)), (jnp.arange(rows), _one_by_one(places, 1)))
        return codes.swapaxes(0, 1)

    def embed(self, codes: Codes) -> Hidden:
        """What the stacks see of codes."""
        embedded: Array = self.embedding(codes)
        return embedded

    def at_places(self, labels: Labels) -> Hidden:
        """What is known of each place without any code; of one record where there are no labels."""
        if (labels is None) != (self.num_classes is None):
            given = "no labels" if labels is None else "labels"
            raise ConfigError(f"num_classes = {self.num_classes} of the prior, but it was given {given}")
        places = self.place[None].astype(self.dtype or "float32")
        return places if labels is None else places + self.label(labels)[:, None, None]

    def go_down(self, previous: Hidden, places: Array, past: Past) -> tuple[list[Array], Past]:
        """The stack that sees the rows above, at some rows.

        Args:
            previous: For each of these rows the embedded codes of the one above it.
            places: Of these rows.
            past: What the convolutions saw before them.

        Returns:
            What each block tells the other stack, and the past of the row that follows.
        """
        hidden, *after = self._convolved(self.down[0], previous, past[0], 1)
        hidden = hidden + places
        told = []
        for layer, seen in zip(self.down[1:], past[1:], strict=True):
            values, kept = self._convolved(layer, hidden, seen, 1)
            told.append(values)
            after.append(kept)
            hidden = hidden + _gated(values)
        return told, after

    def go_along(
        self, previous: Hidden, above: list[Array], places: Array, past: Past
    ) -> tuple[Float[Array, "batch rows columns codes"], Past]:
        """The stack that sees what lies left, at some columns, and the logits there.

        Args:
            previous: For each of these columns the embedded codes of the one left of it.
            above: What the other stack tells there.
            places: Of these columns.
            past: What the convolutions saw before them.

        Returns:
            Float32 logits, and the past of the column that follows.
        """
        hidden, *after = self._convolved(self.along[0], previous, past[0], 2)
        hidden = hidden + places
        for layer, seen, told, link, mix in zip(self.along[1:], past[1:], above, self.links, self.mixes, strict=True):
            values, kept = self._convolved(layer, hidden, seen, 2)
            after.append(kept)
            hidden = hidden + mix(_gated(values + link(told)))
        for matrix in self.head:
            hidden = matrix(nn.relu(hidden))
        return hidden.astype("float32"), after

    @property
    def _reach(self) -> int:
        return self.kernel_size // 2

    def _no_past(self, first: Hidden, axis: int) -> Past:
        """Zeros before the first row (axis 1) or column (axis 2)."""
        shape = (*first.shape[:axis], self._reach, *first.shape[axis + 1 :])
        return [jnp.zeros(shape, first.dtype) for _ in range(self.num_blocks + 1)]

    def _convolved(self, layer: Conv, hidden: Hidden, past: Array, axis: int) -> tuple[Array, Array]:
        """A convolution that along the axis sees what came before only; and the past of what follows."""
        seen = jnp.concatenate([past, hidden], axis=axis)
        after = jax.lax.slice_in_dim(seen, seen.shape[axis] - self._reach, seen.shape[axis], axis=axis)
        if axis == 1:  # of a row above all is known
            seen = jnp.pad(seen, ((0, 0), (0, 0), (self._reach, self._reach), (0, 0)))
        return layer(seen), after


def _gated(values: Array) -> Array:
    """Half of the channels, each gated by one of the other half (equation 2)."""
    signal, gate = jnp.split(values, 2, axis=-1)
    return jnp.tanh(signal) * nn.sigmoid(gate)


def _delayed(embedded: Array, axis: int) -> Array:
    """Each position's predecessor along the axis; zeros at the first."""
    last = embedded.shape[axis]
    padding = [(1, 0) if number == axis else (0, 0) for number in range(embedded.ndim)]
    return jax.lax.slice_in_dim(jnp.pad(embedded, padding), 0, last, axis=axis)


def _one_by_one(tree: Any, axis: int) -> Any:
    """Slices of length 1 along the axis, stacked along a first axis, to be scanned."""
    return jax.tree.map(lambda leaf: jnp.expand_dims(jnp.moveaxis(leaf, axis, 0), axis + 1), tree)
