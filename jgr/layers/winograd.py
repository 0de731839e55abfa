"""3x3 convolutions without strides by Winograd's minimal filtering (Lavin & Gray 2016, arXiv:1509.09308, section 4).

The image is cut into overlapping tiles of 6x6 pixels, which make 4x4 pixels of the result. Three linear transforms turn
tiles, kernel and result into 36 numbers a channel, between which the convolution is 36 matrix products: 2.25
multiplications a pixel of the result and pair of channels instead of 9.

    result = A^T [(G kernel G^T) (B^T image B)] A

Its two gradients are made of the same matrices: 36 matrix products between the transposes of the transforms.
"""

import dataclasses
import functools
import operator
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

TILE = 4
_WINDOW = TILE + 2
# With the usual 0, 1, -1, 2, -2 the largest rounding error is five times as large; these are near the optimum of points
# that come in pairs, and exact in binary.
_POINTS = (0.0, 0.625, -0.625, 1.5, -1.5)

Large = Float[Array, "batch large_height large_width channels"]
Small = Float[Array, "batch small_height small_width features"]
Images = Float[Array, "batch height width channels"]
Tiles = Float[Array, "36 tiles channels"]
Kernel = Float[Array, "3 3 channels features"]
Products = Float[Array, "36 channels features"]


def _matrices() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A^T, G and B^T of Toom and Cook: products of polynomials through their values at `_POINTS` and infinity."""
    others = [[other for other in _POINTS if other != point] for point in _POINTS]
    scales = [np.prod([point - other for other in rest]) for point, rest in zip(_POINTS, others, strict=True)]
    result = np.vander([*_POINTS, 0.0], TILE, increasing=True).T
    kernel = np.vander([*_POINTS, 0.0], 3, increasing=True) / np.array([*scales, 1.0])[:, None]
    image = np.zeros((_WINDOW, _WINDOW))
    for row, rest in enumerate(others):
        image[row, :-1] = np.poly(rest)[::-1]
    image[-1] = np.poly(_POINTS)[::-1]
    result[:, -1], kernel[-1] = np.eye(TILE)[-1], np.eye(3)[-1]  # infinity: the leading coefficients
    return result, kernel, image


_RESULT, _KERNEL, _IMAGE = _matrices()


@dataclasses.dataclass(frozen=True)
class Winograd:
    """The forms of `jgr.layers.conv` at a given size.

    Args:
        large: Rows and columns of the image.
        pads: Rows above and below the image, columns left and right of it.
    """

    large: tuple[int, int]
    pads: tuple[tuple[int, int], tuple[int, int]]

    def shrink(self, large: Large, kernel: Kernel) -> Small:
        """The convolution."""
        products = jnp.einsum("pnc,pcf->pnf", self._image_tiles(large), _kernel_values(kernel))
        return self._result_of(products, large.shape[0])

    def enlarge(self, small: Small, kernel: Kernel) -> Large:
        """Its gradient with respect to the image."""
        products = jnp.einsum("pnf,pcf->pnc", self._result_tiles(small), _kernel_values(kernel))
        return self._image_of(products, small.shape[0])

    def filter(self, large: Large, small: Small) -> Kernel:
        """Its gradient with respect to the kernel."""
        products = jnp.einsum("pnc,pnf->pcf", self._image_tiles(large), self._result_tiles(small))
        return _kernel_of(products)

    @property
    def small(self) -> tuple[int, int]:
        """Rows and columns of the result."""
        (rows, columns), ((top, bottom), (left, right)) = self.large, self.pads
        return rows + top + bottom - 2, columns + left + right - 2

    @property
    def tiles(self) -> tuple[int, int]:
        """Rows and columns of tiles."""
        return -(-self.small[0] // TILE), -(-self.small[1] // TILE)

    def _image_tiles(self, images: Images) -> Tiles:
        pads = [
            (low, tile * TILE + 2 - low - side)
            for side, (low, _), tile in zip(self.large, self.pads, self.tiles, strict=True)
        ]
        return self._tile_values(jnp.pad(images, ((0, 0), *pads, (0, 0))), _IMAGE)

    def _result_tiles(self, images: Images) -> Tiles:
        pads = [(0, tile * TILE - side) for side, tile in zip(self.small, self.tiles, strict=True)]
        return self._tile_values(jnp.pad(images, ((0, 0), *pads, (0, 0))), _RESULT.T)

    def _tile_values(self, images: Images, matrix: np.ndarray) -> Tiles:
        """`matrix tile matrix^T` of every tile: first all rows, then all columns, so that memory is read in order."""
        window = matrix.shape[1]
        rows = _stack(_combinations(matrix, [_every_fourth(images, 1, tap, self.tiles[0]) for tap in range(window)]), 0)
        values = _stack(_combinations(matrix, [_every_fourth(rows, 3, tap, self.tiles[1]) for tap in range(window)]), 1)
        return values.reshape(_WINDOW**2, -1, images.shape[-1])

    def _result_of(self, products: Tiles, batch: int) -> Images:
        values = products.reshape(_WINDOW, _WINDOW, batch, *self.tiles, -1)
        rows = _combinations(_RESULT, list(values))
        image = jnp.stack(
            [jnp.stack(_combinations(_RESULT, list(row)), 3) for row in map(lax.optimization_barrier, rows)], 2
        )
        image = image.reshape(batch, self.tiles[0] * TILE, self.tiles[1] * TILE, -1)
        return image[:, : self.small[0], : self.small[1]]

    def _image_of(self, products: Tiles, batch: int) -> Images:
        values = products.reshape(_WINDOW, _WINDOW, batch, *self.tiles, -1)
        columns = lax.optimization_barrier(
            _overlap(_combinations(_IMAGE.T, [values[:, tap] for tap in range(_WINDOW)]), 3)
        )
        image = _overlap(_combinations(_IMAGE.T, list(columns)), 1)
        (top, _), (left, _) = self.pads
        return image[:, top : top + self.large[0], left : left + self.large[1]]


def _kernel_values(kernel: Kernel) -> Products:
    matrix = jnp.asarray(_KERNEL, kernel.dtype)
    values = jnp.einsum("pi,qj,ijcf->pqcf", matrix, matrix, kernel, precision=lax.Precision.HIGHEST)
    return values.reshape(_WINDOW**2, *kernel.shape[2:])


def _kernel_of(products: Products) -> Kernel:
    matrix = jnp.asarray(_KERNEL, products.dtype)
    values = products.reshape(_WINDOW, _WINDOW, *products.shape[1:])
    return jnp.einsum("pi,qj,pqcf->ijcf", matrix, matrix, values, precision=lax.Precision.HIGHEST)


def _combinations(matrix: np.ndarray, terms: Sequence[Array]) -> list[Array]:
    """Weighted sums of `terms`, one for every row of weights."""
    return [
        functools.reduce(
            operator.add,
            (float(weight) * term if weight != 1 else term for weight, term in zip(row, terms, strict=True) if weight),
        )
        for row in matrix
    ]


def _every_fourth(array: Array, axis: int, first: int, number: int) -> Array:
    return lax.slice_in_dim(array, first, first + (number - 1) * TILE + 1, TILE, axis)


def _stack(arrays: Sequence[Array], axis: int) -> Array:
    """Stacked, and kept from being computed again by whatever reads it."""
    return lax.optimization_barrier(jnp.stack(arrays, axis))


def _overlap(pixels: Sequence[Array], axis: int) -> Array:
    """Tiles laid side by side along `axis`: the last two of a tile's six pixels fall on the first two of the next."""

    def shifted(array: Array, tiles: int) -> Array:
        return jnp.pad(array, [(tiles, 1 - tiles) if i == axis else (0, 0) for i in range(array.ndim)])

    phases = [
        shifted(pixels[tap], 0) + shifted(pixels[TILE + tap], 1) if tap + TILE < _WINDOW else shifted(pixels[tap], 0)
        for tap in range(TILE)
    ]
    sides = phases[0].shape
    return jnp.stack(phases, axis + 1).reshape(*sides[:axis], sides[axis] * TILE, *sides[axis + 1 :])
