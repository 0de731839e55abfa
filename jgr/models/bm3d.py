"""BM3D: denoising by filtering stacks of similar patches together (Dabov et al. 2007, IEEE TIP 16(8)).

Two stages. The first groups similar patches of the noisy image and thresholds the coefficients of each group's 3-D
transform; the second groups patches of that estimate and applies an empirical Wiener filter to the noisy ones. The
parameters are those of Lebrun 2012 ("An Analysis and Implementation of the BM3D Image Denoising Method", IPOL 2).

All is dense linear algebra of static shapes, band by band: the 2-D transform of every patch is a matrix product, and so
are the distances between blocks of references and the patches around them. Filtered groups are added up in the
transform domain, a row a patch position, so that the inverse transform is one more matrix product.

Differences from the papers: the mean of a group is never shrunk; patches lie within the image, which is mirrored by at
most `step - 1` pixels so that the grid of references ends at its border; distances are those of pixels for any noise.
"""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from jgr.degradations.inputs import check_sigma
from jgr.errors import DataError

_BLOCK = 4  # this many references across and down share the patches they are compared with
_BLOCKS_AT_ONCE = 40  # in a band: they bound the memory
THRESHOLD = 2.7  # times sigma: smaller coefficients become zero in the first stage
_KAISER_BETA = 2.0  # of the window that patches are added up with
_OPPONENT = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]])  # orthonormal: keeps sigma

Image = Float[Array, "height width channels"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stage:
    """Parameters of one of the two stages.

    Args:
        transform: 2-D transform of a patch in the first stage; the second always takes "dct".
        group_size: The most patches in a group, a power of two; groups of other sizes are cut to one.
        max_distance: Largest mean squared difference to the reference in a group, in units of (1/255)².
        patch_size: Rows and columns of a patch; 8 for "bior1.5".
        step: Pixels between references, across and down.
        search_radius: Patches up to so many pixels away, across and down, may join a group.
    """

    transform: str
    group_size: int
    max_distance: float
    patch_size: int = 8
    step: int = 3
    search_radius: int = 19


def stages(sigma: float) -> tuple[Stage, Stage]:
    """The parameters for noise of standard deviation `sigma`.

    Up to 40/255 they are Lebrun's. Above, where two noisy versions of one patch are further apart than his limits,
    limits and patches are larger; chosen at 50/255 on every eighth image of BSD68. On eight images of Train400 they
    give 26.53 dB; with patches of 8 in the second stage it is 26.50, with a limit of 1500 there 26.54.
    """
    if sigma <= 40 / 255:
        return (
            Stage(transform="bior1.5", group_size=16, max_distance=2500.0),
            Stage(transform="dct", group_size=32, max_distance=400.0),
        )
    return (
        Stage(transform="bior1.5", group_size=16, max_distance=25000.0),
        Stage(transform="dct", group_size=32, max_distance=3500.0, patch_size=10),
    )


def bm3d(image: Image, sigma: float) -> Image:
    """Removes white Gaussian noise. Compiled once for each shape of images.

    Colour images are transformed to luminance and two opponent colours, whose patches are grouped as those of the
    luminance are (CBM3D, Dabov et al. 2007, ICIP).

    Args:
        image: Noisy gray or RGB image in units of [0, 1], not clipped; any size.
        sigma: Standard deviation of the noise in these units, such as 25/255: a Python number, since it decides what is
            computed.

    Returns:
        The denoised image, not clipped.

    Raises:
        DataError: `sigma` is not from 0 to 1, or the image has neither 1 nor 3 channels.
    """
    check_sigma(sigma, "bm3d")
    channels = image.shape[-1]
    if channels not in (1, 3):
        raise DataError(f"bm3d: an image of {channels} channels must have 1 (gray) or 3 (RGB)")
    first, second = stages(sigma)
    opponent = jnp.asarray(_OPPONENT if channels == 3 else np.eye(1), jnp.float32)
    noisy = jnp.matmul(image, opponent.T, precision="highest")
    basic = threshold_groups(noisy, sigma, first)
    return jnp.matmul(wiener_groups(noisy, basic, sigma, second), opponent, precision="highest")


@functools.partial(jax.jit, static_argnames="stage")
def threshold_groups(noisy: Image, sigma: float | Float[Array, ""], stage: Stage) -> Image:
    """The first stage: groups of the noisy image, transformed, thresholded at 2.7 sigma.

    Args:
        noisy: The first channel decides which patches form a group.
        sigma: Standard deviation of the noise in every channel.
        stage: Parameters.
    """
    return _estimate(noisy, None, sigma, stage)


@functools.partial(jax.jit, static_argnames="stage")
def wiener_groups(noisy: Image, basic: Image, sigma: float | Float[Array, ""], stage: Stage) -> Image:
    """The second stage: groups of the noisy image, each coefficient multiplied by b² / (b² + sigma²).

    Args:
        noisy: The noisy image.
        basic: The first stage's estimate, which gives b and, in its first channel, which patches form a group.
        sigma: Standard deviation of the noise in every channel.
        stage: Parameters.
    """
    return _estimate(noisy, basic, sigma, stage)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Layout:
    """Sizes of the computation, of a stage on an image. Positions of patches are those of their upper left pixel.

    The grid of references is cut into blocks of `_BLOCK` x `_BLOCK`, which start `cell` pixels apart; rows of blocks
    form bands. The image is padded so that the window of patches around a block begins where its cell does.
    """

    stage: Stage
    height: int
    width: int

    @property
    def cell(self) -> int:
        return _BLOCK * self.stage.step

    @property
    def references(self) -> tuple[int, int]:
        """Of the image, down and across."""
        beyond = (side - self.stage.patch_size for side in (self.height, self.width))
        down, across = (max(0, math.ceil(more / self.stage.step)) + 1 for more in beyond)
        return down, across

    @property
    def positions(self) -> tuple[int, int]:
        """Where patches begin, down and across, from the first reference to the last."""
        down, across = ((count - 1) * self.stage.step + 1 for count in self.references)
        return down, across

    @property
    def blocks_across(self) -> int:
        return math.ceil(self.references[1] / _BLOCK)

    @property
    def bands(self) -> int:
        return math.ceil(math.ceil(self.references[0] / _BLOCK) / max(1, _BLOCKS_AT_ONCE // self.blocks_across))

    @property
    def blocks_down(self) -> int:
        """Of one band."""
        return math.ceil(math.ceil(self.references[0] / _BLOCK) / self.bands)

    @property
    def span(self) -> int:
        """Rows and columns of positions around a block, whole cells."""
        return math.ceil((2 * self.stage.search_radius + (_BLOCK - 1) * self.stage.step + 1) / self.cell) * self.cell

    @property
    def table(self) -> tuple[int, int]:
        """Rows and columns of positions that a band needs."""
        return (self.blocks_down - 1) * self.cell + self.span, (self.blocks_across - 1) * self.cell + self.span

    def pad(self, image: Image) -> Float[Array, "padded_height padded_width channels"]:
        """Mirrors to whole steps; what is added beyond is never used, but as place."""
        radius, beyond = self.stage.search_radius, self.stage.patch_size - 1
        down, across = self.positions
        image = jnp.pad(
            image, ((0, down + beyond - self.height), (0, across + beyond - self.width), (0, 0)), mode="symmetric"
        )
        rows = (self.bands - 1) * self.blocks_down * self.cell + self.table[0] + beyond
        columns = self.table[1] + beyond
        return jnp.pad(
            image, ((radius, rows - radius - image.shape[0]), (radius, columns - radius - image.shape[1]), (0, 0))
        )


def _estimate(noisy: Image, basic: Image | None, sigma: float | Float[Array, ""], stage: Stage) -> Image:
    height, width, channels = noisy.shape
    layout = _Layout(stage=stage, height=height, width=width)
    padded = [layout.pad(image) for image in ([noisy] if basic is None else [noisy, basic])]
    rows, columns = (side + stage.patch_size - 1 for side in layout.table)

    def add_band(total: Float[Array, "..."], band: Int[Array, ""]) -> tuple[Float[Array, "..."], None]:
        top = band * layout.blocks_down * layout.cell
        strips = [lax.dynamic_slice(image, (top, 0, 0), (rows, columns, channels)) for image in padded]
        result = _filter_band(strips[0], strips[1] if basic is not None else None, band, sigma, layout)
        before = lax.dynamic_slice(total, (0, top, 0, 0), result.shape)
        return lax.dynamic_update_slice(total, before + result, (0, top, 0, 0)), None

    total, _ = lax.scan(add_band, jnp.zeros((2, *padded[0].shape)), jnp.arange(layout.bands))
    first = stage.search_radius
    numerator, denominator = total[:, first : first + height, first : first + width]
    return numerator / denominator


def _filter_band(
    noisy: Float[Array, "rows columns channels"],
    basic: Float[Array, "rows columns channels"] | None,
    band: Int[Array, ""],
    sigma: float | Float[Array, ""],
    layout: _Layout,
) -> Float[Array, "2 rows columns channels"]:
    """Sum of the filtered patches of a band's groups, weighted, and sum of the weights."""
    stage = layout.stage
    transform = stage.transform if basic is None else "dct"
    table = _channel_coefficients(noisy, transform, layout)
    if basic is None:
        # The orthonormal DCT, whatever filters: distances of its coefficients are those of pixels.
        matched = _channel_coefficients(noisy[..., :1], "dct", layout)[:, 0]
    else:
        guide = _channel_coefficients(basic, "dct", layout)
        matched = guide[:, 0]
    members, num_levels, on_grid = _match(matched, band, layout)
    in_group = (jnp.arange(stage.group_size)[:, None] < 2 ** num_levels[None])[:, :, None, None]

    spectrum = _haar(jnp.where(in_group, table[members], 0), num_levels)
    if basic is None:
        gain = (jnp.abs(spectrum) > THRESHOLD * sigma).astype(jnp.float32)
    else:
        gain = _wiener_gain(_haar(jnp.where(in_group, guide[members], 0), num_levels), sigma)
    gain = gain.at[0, :, :, 0].set(1)  # the mean of the group
    # Equations 10 and 11 without sigma, which cancels: one over the noise that is left. In the first stage the gain is
    # 0 or 1, and its square the number of coefficients kept. The gain of what is beyond a smaller group is 0.
    weights = jnp.where(on_grid[:, None], 1 / jnp.sum(gain**2, axis=(0, 3)), 0)[None, :, :, None]
    patches = _inverse_haar(spectrum * gain, num_levels)
    weighted = jnp.concatenate([patches * weights, jnp.where(in_group, weights, 0)], axis=-1)
    return _aggregate(weighted, members, transform, layout)


def _wiener_gain(guide: Float[Array, "..."], sigma: float | Float[Array, ""]) -> Float[Array, "..."]:
    """Equation 8: the share of the signal in the power of a coefficient."""
    return guide**2 / (guide**2 + sigma**2 + 1e-12)  # 1e-12: 0 / 0 without noise, and beyond a smaller group


def _aggregate(
    weighted: Float[Array, "members references channels coefficients_and_weight"],
    members: Int[Array, "members references"],
    transform: str,
    layout: _Layout,
) -> Float[Array, "2 rows columns channels"]:
    """Numerator and denominator of equation 12: patches and their weights, both windowed, added up where they lie."""
    rows, columns = layout.table
    *_, channels, num = weighted.shape
    sums = jnp.zeros((rows * columns, channels * num)).at[members.reshape(-1)].add(weighted.reshape(-1, channels * num))
    sums = sums.reshape(-1, channels, num)

    window = np.outer(*[np.kaiser(layout.stage.patch_size, _KAISER_BETA)] * 2).reshape(-1, 1)
    _, synthesis = _transform(transform, layout.stage.patch_size)
    to_pixels, to_weights = jnp.asarray(window * synthesis, jnp.float32), jnp.asarray(window, jnp.float32)
    numerator = [_overlapped(_product(to_pixels, sums[:, c, :-1].T), layout) for c in range(channels)]
    denominator = [_overlapped(to_weights * sums[:, c, -1][None], layout) for c in range(channels)]
    return jnp.stack([jnp.stack(numerator, axis=-1), jnp.stack(denominator, axis=-1)])


def _match(
    matched: Float[Array, "positions coefficients"], band: Int[Array, ""], layout: _Layout
) -> tuple[Int[Array, "members references"], Int[Array, "references"], Bool[Array, "references"]]:
    """Groups of a band's references: the places of their members in the table, the reference itself first.

    Also the logarithm of each group's size to base 2, and whether the reference lies on the image's grid.
    """
    stage, cell, span = layout.stage, layout.cell, layout.span
    down, across = layout.blocks_down, layout.blocks_across

    distances = _distances(matched, band, layout).reshape(-1, span * span)
    nearness, place = lax.top_k(-distances, stage.group_size)
    alike = jnp.sum(-nearness <= stage.max_distance / 255**2 * matched.shape[1], axis=-1)
    num_levels = 31 - lax.clz(alike.astype(jnp.int32))

    block = np.arange(down * across).repeat(_BLOCK**2)
    block_row, block_column = block // across, block % across
    corner = (block_row * layout.table[1] + block_column) * cell
    members = (place // span * layout.table[1] + place % span + corner[:, None]).T
    member = np.tile(np.arange(_BLOCK**2), down * across)
    on_grid = (band * down + block_row) * _BLOCK + member // _BLOCK < layout.references[0]
    on_grid = on_grid & (block_column * _BLOCK + member % _BLOCK < layout.references[1])
    return members, num_levels, on_grid


def _distances(
    matched: Float[Array, "positions coefficients"], band: Int[Array, ""], layout: _Layout
) -> Float[Array, "blocks references_of_block places"]:
    """Squared distances of references to the patches around their block.

    Infinite for patches beyond the image or the search radius; -1 for the reference itself, so that it comes first.
    """
    stage, radius, (rows, columns) = layout.stage, layout.stage.search_radius, layout.table
    down, across, num = layout.blocks_down, layout.blocks_across, matched.shape[1]

    row = band * down * layout.cell - radius + jnp.arange(rows)
    column = np.arange(columns) - radius
    inside = ((row >= 0) & (row < layout.positions[0]))[:, None]
    inside = inside & ((column >= 0) & (column < layout.positions[1]))[None]
    grid = matched.reshape(rows, columns, num)
    norms = jnp.where(inside, jnp.sum(grid**2, axis=-1), jnp.inf)

    # |r - p|² = |r|² + |p|² - 2 r.p for the references r of a block and all p of the window around it
    window = _windows(grid, layout)
    references = grid[
        radius : radius + down * layout.cell : stage.step, radius : radius + across * layout.cell : stage.step
    ]
    references = references.reshape(down, _BLOCK, across, _BLOCK, num).transpose(0, 2, 1, 3, 4)
    references = references.reshape(down * across, _BLOCK**2, num)
    products = lax.dot_general(references, window, (((2,), (2,)), ((0,), (0,))), precision="highest")
    distances = jnp.sum(references**2, axis=-1)[:, :, None] - 2 * products
    distances = distances + _windows(norms[..., None], layout)[:, None, :, 0]
    itself, near = _within(layout)
    return jnp.where(itself[None], -1.0, jnp.where(near[None], distances, jnp.inf))


def _within(layout: _Layout) -> tuple[Bool[np.ndarray, "references places"], Bool[np.ndarray, "references places"]]:
    """Which place of a block's window is the reference itself, and which it may be compared with."""
    radius, side = layout.stage.search_radius, _BLOCK**2
    apart = np.abs(np.arange(_BLOCK)[:, None] * layout.stage.step + radius - np.arange(layout.span)[None])

    def both_axes(one: Bool[np.ndarray, "block span"]) -> Bool[np.ndarray, "references places"]:
        return (one[:, None, :, None] & one[None, :, None, :]).reshape(side, -1)

    return both_axes(apart == 0), both_axes(apart <= radius)


def _windows(grid: Float[Array, "rows columns features"], layout: _Layout) -> Float[Array, "blocks span2 features"]:
    """The positions around each block."""
    cell, down, across = layout.cell, layout.blocks_down, layout.blocks_across
    reach = layout.span // cell
    cells = grid.reshape(down + reach - 1, cell, across + reach - 1, cell, -1)
    cells = jnp.stack([cells[i : i + down] for i in range(reach)], axis=1)
    cells = jnp.stack([cells[:, :, :, j : j + across] for j in range(reach)], axis=4)
    return cells.transpose(0, 3, 1, 2, 4, 5, 6).reshape(down * across, layout.span**2, -1)


def _channel_coefficients(
    image: Float[Array, "height width channels"], transform: str, layout: _Layout
) -> Float[Array, "positions channels n"]:
    """A row for each position: the 2-D transform of the patch there, of each channel."""
    size, (rows, columns) = layout.stage.patch_size, layout.table
    analysis, _ = _transform(transform, size)
    shifts = jnp.stack([image[i : i + rows, j : j + columns] for i in range(size) for j in range(size)])
    patches = [shifts[..., c].reshape(size * size, -1).T for c in range(image.shape[-1])]
    return jnp.stack([_product(channel, jnp.asarray(analysis.T, jnp.float32)) for channel in patches], axis=1)


def _overlapped(patches: Float[Array, "pixels positions"], layout: _Layout) -> Float[Array, "height width"]:
    """The sum of all patches, each at its position."""
    size = layout.stage.patch_size
    rows = patches.reshape(size, size, *layout.table)
    # axis by axis: 2 `size` additions instead of its square
    columns = functools.reduce(jnp.add, [jnp.pad(rows[i], ((0, 0), (i, size - 1 - i), (0, 0))) for i in range(size)])
    return functools.reduce(jnp.add, [jnp.pad(columns[j], ((0, 0), (j, size - 1 - j))) for j in range(size)])


def _product(left: Float[Array, "n k"], right: Float[Array, "k m"]) -> Float[Array, "n m"]:
    return jnp.matmul(left, right, precision="highest")


def _haar(
    groups: Float[Array, "members references channels coefficients"], num_levels: Int[Array, "references"]
) -> Float[Array, "members references channels coefficients"]:
    """Orthonormal Haar transform along the first 2^num_levels members; the others must be zero.

    The mean comes first. The coefficients of a group that is smaller than others are spread over all places, with zeros
    between them.
    """
    low, details = groups, []
    for level in range(int(math.log2(len(groups)))):
        even, odd = low[0::2], low[1::2]
        active = (level < num_levels)[None, :, None, None]
        details.append(jnp.where(active, (even - odd) * np.float32(0.5**0.5), odd))
        low = jnp.where(active, (even + odd) * np.float32(0.5**0.5), even)
    return jnp.concatenate([low, *reversed(details)])


def _inverse_haar(
    spectrum: Float[Array, "members references channels coefficients"], num_levels: Int[Array, "references"]
) -> Float[Array, "members references channels coefficients"]:
    """The inverse of `_haar`, with zeros beyond the first 2^num_levels members."""
    low = spectrum[:1]
    for level in reversed(range(int(math.log2(len(spectrum))))):
        detail = spectrum[len(low) : 2 * len(low)]
        active = (level < num_levels)[None, :, None, None]
        even = jnp.where(active, (low + detail) * np.float32(0.5**0.5), low)
        odd = jnp.where(active, (low - detail) * np.float32(0.5**0.5), detail)
        low = jnp.stack([even, odd], axis=1).reshape(-1, *low.shape[1:])
    return low


@functools.cache
def _transform(name: str, size: int) -> tuple[Float[np.ndarray, "n n"], Float[np.ndarray, "n n"]]:
    """Matrix of a separable 2-D transform of `size`² pixels, and its inverse; the first coefficient is the mean."""
    matrix = dct_matrix(size) if name == "dct" else bior15_matrix(size)
    return np.kron(matrix, matrix), np.kron(*[np.linalg.inv(matrix)] * 2)


def dct_matrix(size: int) -> Float[np.ndarray, "size size"]:
    """The orthonormal DCT-II."""
    index = np.arange(size)
    matrix = np.cos(np.pi / size * (index[None] + 0.5) * index[:, None]) * math.sqrt(2 / size)
    matrix[0] = math.sqrt(1 / size)
    return matrix


def bior15_matrix(size: int) -> Float[np.ndarray, "size size"]:
    """The periodic wavelet transform bior1.5 to its coarsest level; rows of norm 1, so that white noise keeps sigma.

    Low-pass filter of ten taps, high-pass filter of Haar (Cohen, Daubechies and Feauveau 1992, table 6.1).

    Args:
        size: A power of two.
    """
    taps = np.array([3, -3, -22, 22, 128, 128, 22, -22, -3, 3])
    low, details = np.eye(size), []
    while len(low) > 1:
        half = len(low) // 2
        smooth, detail = np.zeros((half, len(low))), np.zeros((half, len(low)))
        for i in range(half):
            np.add.at(smooth[i], (2 * i - 4 + np.arange(10)) % len(low), taps)
            detail[i, [2 * i, 2 * i + 1]] = 1, -1
        details.append(detail @ low)
        low = smooth @ low
    matrix = np.concatenate([low, *reversed(details)])
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
