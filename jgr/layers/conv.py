"""Convolutions, also strided, grouped and transposed, whose gradients, of any order, are fast on CPU too.

A convolution, its transpose and its filter gradient are the three partial derivatives of one trilinear form

    sum over (b, i, k, c, d) of  large[b, stride * i + k - pad, c] * kernel[k, c, d] * small[b, i, d]

so each is differentiated by the other two. Left to automatic differentiation, the filter gradient of a transposed
convolution, and every gradient penalty on a strided one, becomes a convolution that XLA's CPU backend runs 10 to 40
times slower (`experiments/conv_transpose.py` measures it). On CPU each form has a better formulation where XLA's is
slow: depthwise as sums of shifts, grouped as dense blocks, 3x3 by minimal filtering. Other backends get XLA's own.

Reverse mode may be nested as deep as wanted. Forward mode (`jax.jvp`, `jax.jacfwd`, `jax.hessian`) is not defined.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.dtypes import promote_dtype
from flax.typing import Dtype, Initializer
from jax import lax
from jaxtyping import Array, Float

from jgr.errors import ConfigError
from jgr.layers import depthwise
from jgr.layers.winograd import Winograd

_WINOGRAD_CHANNELS = 32  # With 16 it is slower than XLA's convolution.
_WINOGRAD_NUMBERS = 1 << 26  # It needs 2.25 times the memory of the images at least: no more than 256 MB.
_BLOCK_CHANNELS = 16  # of a block of a grouped convolution: XLA's convolutions of fewer channels are not faster

Large = Float[Array, "batch large_height large_width large_channels"]
Small = Float[Array, "batch small_height small_width small_channels"]
Kernel = Float[Array, "kernel_height kernel_width large_channels_of_a_group small_channels"]
Images = Float[Array, "batch height width channels"]
Filter = Float[Array, "kernel_height kernel_width channels_of_a_group features"]
Result = Float[Array, "batch new_height new_width features"]


@dataclasses.dataclass(frozen=True)
class _Geometry:
    """How the positions of the small image lie on the large one: at `stride * i - pad`, `high` is what is left over.

    `pads` are exact, one (low, high) an axis: `large + low + high == stride * (small - 1) + kernel`. `high` is negative
    where a strided convolution leaves the last rows out.
    """

    strides: tuple[int, int]
    pads: tuple[tuple[int, int], tuple[int, int]]
    groups: int = 1

    def large(self, small: Sequence[int], kernel: Sequence[int]) -> tuple[int, int]:
        """Rows and columns of the large image."""
        rows, columns = (
            (side - 1) * stride + k - low - high
            for side, k, stride, (low, high) in zip(small, kernel, self.strides, self.pads, strict=True)
        )
        return rows, columns

    def kernel(self, large: Sequence[int], small: Sequence[int]) -> tuple[int, int]:
        """Rows and columns of the kernel."""
        rows, columns = (
            side + low + high - stride * (steps - 1)
            for side, steps, stride, (low, high) in zip(large, small, self.strides, self.pads, strict=True)
        )
        return rows, columns


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _shrink(geometry: _Geometry, large: Large, kernel: Kernel) -> Small:
    return _dispatch(_shrink_on_cpu, _shrink_by_lax, geometry, large, kernel)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _enlarge(geometry: _Geometry, small: Small, kernel: Kernel) -> Large:
    return _dispatch(_enlarge_on_cpu, _enlarge_by_dilation, geometry, small, kernel)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _filter(geometry: _Geometry, large: Large, small: Small) -> Kernel:
    return _dispatch(_filter_on_cpu, _filter_by_lax, geometry, large, small)


_shrink.defvjp(
    lambda geometry, large, kernel: (_shrink(geometry, large, kernel), (large, kernel)),
    lambda geometry, saved, small: (_enlarge(geometry, small, saved[1]), _filter(geometry, saved[0], small)),
)
_enlarge.defvjp(
    lambda geometry, small, kernel: (_enlarge(geometry, small, kernel), (small, kernel)),
    lambda geometry, saved, large: (_shrink(geometry, large, saved[1]), _filter(geometry, large, saved[0])),
)
_filter.defvjp(
    lambda geometry, large, small: (_filter(geometry, large, small), (large, small)),
    lambda geometry, saved, kernel: (_enlarge(geometry, saved[1], kernel), _shrink(geometry, saved[0], kernel)),
)


@functools.partial(jax.jit, static_argnums=(0, 1, 2), inline=True)
def _dispatch(cpu: Callable[..., Array], default: Callable[..., Array], geometry: _Geometry, *arrays: Array) -> Array:
    """One of two formulations; inside `jit` so that equal layers of a network are traced once."""
    return lax.platform_dependent(
        *arrays, cpu=functools.partial(cpu, geometry), default=functools.partial(default, geometry)
    )


def _shrink_by_lax(geometry: _Geometry, large: Large, kernel: Kernel) -> Small:
    return lax.conv_general_dilated(
        large,
        kernel,
        geometry.strides,
        geometry.pads,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=geometry.groups,
    )


def _filter_by_lax(geometry: _Geometry, large: Large, small: Small) -> Kernel:
    return lax.conv_general_dilated(
        large,
        small,
        (1, 1),
        geometry.pads,
        rhs_dilation=geometry.strides,
        dimension_numbers=("CHWN", "IHWO", "HWNC"),
        batch_group_count=geometry.groups,
    )


def _enlarge_by_dilation(geometry: _Geometry, small: Small, kernel: Kernel) -> Large:
    """Convolution of the small image with zeros between its pixels, which accelerators have kernels for."""
    pads = [(k - 1 - low, k - 1 - high) for k, (low, high) in zip(kernel.shape[:2], geometry.pads, strict=True)]
    *sides, channels, features = kernel.shape
    groups = geometry.groups
    kernel = kernel.reshape(*sides, channels, groups, features // groups).transpose(0, 1, 4, 3, 2)
    return lax.conv_general_dilated(
        small,
        kernel.reshape(*sides, features // groups, groups * channels)[::-1, ::-1],
        (1, 1),
        pads,
        lhs_dilation=geometry.strides,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def _shrink_on_cpu(geometry: _Geometry, large: Large, kernel: Kernel) -> Small:
    if geometry.groups > 1:
        if kernel.shape[2] == 1:
            return depthwise.shrink(large, kernel, geometry.strides, geometry.pads)
        return _by_blocks(_shrink_on_cpu, geometry, large, kernel)
    if form := _winograd(geometry, large.shape[1:3], large, *kernel.shape):
        return form.shrink(large, kernel)
    return _shrink_by_lax(geometry, large, kernel)


def _enlarge_on_cpu(geometry: _Geometry, small: Small, kernel: Kernel) -> Large:
    if geometry.groups > 1:
        if kernel.shape[2] == 1:
            return depthwise.enlarge(small, kernel, geometry.strides, geometry.pads)
        return _by_blocks(_enlarge_on_cpu, geometry, small, kernel)
    if form := _winograd(geometry, geometry.large(small.shape[1:3], kernel.shape[:2]), small, *kernel.shape):
        return form.enlarge(small, kernel)
    if geometry.strides == (1, 1):
        return _enlarge_by_dilation(geometry, small, kernel)
    return _enlarge_by_phases(geometry, small, kernel)


def _filter_on_cpu(geometry: _Geometry, large: Large, small: Small) -> Kernel:
    sides = geometry.kernel(large.shape[1:3], small.shape[1:3])
    channels, features = large.shape[-1] // geometry.groups, small.shape[-1]
    if geometry.groups > 1:
        if channels == 1:
            return depthwise.filter_gradient(large, small, sides, geometry.strides, geometry.pads)
        return _filter_by_blocks(geometry, large, small)
    if form := _winograd(geometry, large.shape[1:3], large, *sides, channels, features):
        return form.filter(large, small)
    return _filter_by_lax(geometry, large, small)


def _winograd(
    geometry: _Geometry, large: Sequence[int], images: Array, rows: int, columns: int, channels: int, features: int
) -> Winograd | None:
    """The form of minimal filtering, where it is faster than XLA's convolution and of its precision."""
    if (rows, columns) != (3, 3) or geometry.strides != (1, 1) or images.dtype != jnp.float32:
        return None
    form = Winograd((large[0], large[1]), geometry.pads)
    tiles, most = images.shape[0] * form.tiles[0] * form.tiles[1], max(channels, features)
    if min(channels, features) < _WINOGRAD_CHANNELS or tiles < most or 36 * tiles * most > _WINOGRAD_NUMBERS:
        return None
    return form


def _by_blocks(
    form: Callable[[_Geometry, Array, Array], Array], geometry: _Geometry, images: Array, kernel: Kernel
) -> Array:
    """A grouped convolution as dense ones: some groups together, with zeros between them."""
    dense = dataclasses.replace(geometry, groups=1)
    *sides, channels, features = kernel.shape
    joined = _joined_groups(geometry.groups, min(channels, features // geometry.groups))
    num_blocks, depth = geometry.groups // joined, features // geometry.groups
    parts = kernel.reshape(*sides, channels, num_blocks, joined, depth)
    blocks = jnp.einsum(
        "ijcbrf,qr->bijqcrf", parts, jnp.eye(joined, dtype=kernel.dtype), precision=lax.Precision.HIGHEST
    )
    blocks = blocks.reshape(num_blocks, *sides, joined * channels, joined * depth)
    return jnp.concatenate(
        [form(dense, part, block) for part, block in zip(jnp.split(images, num_blocks, -1), blocks, strict=True)], -1
    )


def _filter_by_blocks(geometry: _Geometry, large: Large, small: Small) -> Kernel:
    dense = dataclasses.replace(geometry, groups=1)
    channels, depth = large.shape[-1] // geometry.groups, small.shape[-1] // geometry.groups
    joined = _joined_groups(geometry.groups, min(channels, depth))
    num_blocks = geometry.groups // joined
    kernels = []
    for large_part, small_part in zip(jnp.split(large, num_blocks, -1), jnp.split(small, num_blocks, -1), strict=True):
        block = _filter_on_cpu(dense, large_part, small_part)
        sides = block.shape[:2]
        own = jnp.diagonal(block.reshape(*sides, joined, channels, joined, depth), axis1=2, axis2=4)
        kernels.append(jnp.moveaxis(own, -1, -2).reshape(*sides, channels, joined * depth))
    return jnp.concatenate(kernels, -1)


def _joined_groups(groups: int, channels: int) -> int:
    """How many groups make a block of at least `_BLOCK_CHANNELS` channels, or all."""
    return next(n for n in range(1, groups + 1) if groups % n == 0 and (n * channels >= _BLOCK_CHANNELS or n == groups))


def _enlarge_by_phases(geometry: _Geometry, small: Small, kernel: Kernel) -> Large:
    """Sub-pixel convolution: every phase of the output grid as its own channels, then interleaved (Shi et al. 2016).

    It multiplies no inserted zeros. On CPU that is 2 to 3 times faster from 12x12 pixels and 16 channels on, 1.2 times
    for a whole DCGAN step at 64 pixels; on coarser grids and towards few channels the rearrangement costs its gain.
    """
    batch, *sides = small.shape[:3]
    channels, depth = kernel.shape[2:]
    (rows, columns), strides = kernel.shape[:2], geometry.strides
    taps = [-(-k // stride) for k, stride in zip((rows, columns), strides, strict=True)]  # of one phase
    pads, cuts, blocks = [], [], []
    for side, k, tap, stride, (low, high) in zip(sides, (rows, columns), taps, strides, geometry.pads, strict=True):
        large = (side - 1) * stride + k - low - high
        first, last = low // stride, -(-(low + large) // stride)  # the blocks of `stride` pixels that are not cropped
        pads.append((tap - 1 - first, last - side))
        blocks.append(last - first)
        cuts.append(slice(low - first * stride, low - first * stride + large))
    kernel = jnp.pad(
        kernel, ((0, taps[0] * strides[0] - rows), (0, taps[1] * strides[1] - columns), (0, 0), (0, 0))
    ).reshape(taps[0], strides[0], taps[1], strides[1], channels, depth)
    kernel = kernel[::-1, :, ::-1].transpose(0, 2, 1, 3, 4, 5).reshape(*taps, math.prod(strides) * channels, depth)
    phases = lax.conv_general_dilated(small, kernel, (1, 1), pads, dimension_numbers=("NHWC", "HWOI", "NHWC"))
    phases = phases.reshape(batch, *blocks, *strides, channels).transpose(0, 1, 3, 2, 4, 5)
    image = phases.reshape(batch, blocks[0] * strides[0], blocks[1] * strides[1], channels)
    return image[:, cuts[0], cuts[1]]


def conv(
    images: Images,
    kernel: Filter,
    strides: tuple[int, int] = (1, 1),
    padding: str = "SAME",
    feature_group_count: int = 1,
) -> Result:
    """Strided convolution, equal to `lax.conv_general_dilated`.

    Args:
        images: NHWC.
        kernel: HWIO: height, width, channels of a group of `images`, channels of the result.
        strides: Step in rows and columns.
        feature_group_count: Number of groups: each group of the result's channels sees its group of the images'
            channels only. As many as channels: a depthwise convolution.
        padding: "SAME": `ceil(side / stride)` positions, zeros shared between both ends, the odd one at the end;
            "VALID": positions whose window lies in the image.

    Returns:
        NHWC, of the sides that `padding` says.

    Raises:
        ConfigError: If `padding` is none of these.
    """
    geometry = []
    for side, k, stride in zip(images.shape[1:3], kernel.shape[:2], strides, strict=True):
        if _checked(padding) == "SAME":
            small = -(-side // stride)
            low = max((small - 1) * stride + k - side, 0) // 2
        else:
            small, low = (side - k) // stride + 1, 0
        geometry.append((low, (small - 1) * stride + k - side - low))
    if feature_group_count > 1 and kernel.shape[2] == 1:  # depthwise, one or several results a channel
        images = jnp.repeat(images, kernel.shape[3] // images.shape[-1], axis=-1)
        feature_group_count = images.shape[-1]
    return _shrink(_Geometry(strides, (geometry[0], geometry[1]), feature_group_count), images, kernel)


def conv_transpose(images: Images, kernel: Filter, strides: tuple[int, int], padding: str = "SAME") -> Result:
    """Transposed convolution, equal to `lax.conv_transpose`: the adjoint of `conv`, up to the kernel's layout.

    Each input pixel adds the kernel, turned by 180 degrees and weighted by the pixel, to the output at `stride` times
    its position.

    Args:
        images: NHWC.
        kernel: HWIO: height, width, channels of `images`, channels of the result, the layout of `flax.linen`. The NumPy
            array of a PyTorch `ConvTranspose2d` weight [in, out, height, width] is
            `weight[:, :, ::-1, ::-1].transpose(2, 3, 0, 1)` here; that of a Keras `Conv2DTranspose` kernel [height,
            width, out, in] is `kernel[::-1, ::-1].swapaxes(2, 3)`.
        strides: Factor of enlargement in rows and columns.
        padding: "SAME": sides are `side * stride`, and kernel 4 with stride 2 is PyTorch's `kernel_size=4, stride=2,
            padding=1`; "VALID": sides are `(side - 1) * stride + max(kernel, stride)`, nothing is cropped.

    Returns:
        NHWC, of the sides that `padding` says.

    Raises:
        ConfigError: If `padding` is none of these.
    """
    geometry = []
    for side, k, stride in zip(images.shape[1:3], kernel.shape[:2], strides, strict=True):
        large = side * stride if _checked(padding) == "SAME" else (side - 1) * stride + max(k, stride)
        low = max(k - stride, 0) // 2 if padding == "SAME" else 0
        geometry.append((low, (side - 1) * stride + k - large - low))
    return _enlarge(_Geometry(strides, (geometry[0], geometry[1])), images, kernel[::-1, ::-1].swapaxes(2, 3))


def _checked(padding: str) -> str:
    if padding not in ("SAME", "VALID"):
        raise ConfigError(f'padding = {padding!r} must be "SAME" or "VALID"')
    return padding


class Conv(nn.Module):
    """Layer of `conv`, for networks whose gradient is itself differentiated, such as a penalised discriminator.

    Args:
        features: Channels of the result.
        kernel_size: Rows and columns.
        strides: In rows and columns.
        padding: "SAME" or "VALID".
        feature_group_count: Number of groups of channels that do not see each other; as many as channels: depthwise.
        use_bias: Whether to add a bias to every channel.
        kernel_init: Of the kernel [height, width, in, out].
        bias_init: Of the bias [out].
        dtype: Of the computation; promoted from images and parameters when None.
        param_dtype: Of the parameters.

    Raises:
        ConfigError: If a size is below 1 or `padding` is none of these.
    """

    features: int
    kernel_size: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    padding: str = "SAME"
    feature_group_count: int = 1
    use_bias: bool = True
    kernel_init: Initializer = nn.initializers.lecun_normal()
    bias_init: Initializer = nn.initializers.zeros_init()
    dtype: Dtype | None = None
    param_dtype: Dtype = jnp.float32

    def __post_init__(self) -> None:
        _checked(self.padding)
        for name, sizes in (
            ("features", [self.features]),
            ("kernel_size", self.kernel_size),
            ("strides", self.strides),
            ("feature_group_count", [self.feature_group_count]),
        ):
            if min(sizes) < 1:
                raise ConfigError(f"{name} = {getattr(self, name)} must be at least 1")
        super().__post_init__()

    @nn.compact
    def __call__(self, images: Images) -> Result:
        """NHWC images to NHWC images of `features` channels."""
        groups, channels = self.feature_group_count, images.shape[-1]
        if channels % groups or self.features % groups:
            raise ConfigError(
                f"feature_group_count = {groups} must divide features = {self.features} and the {channels} channels "
                "of the images"
            )
        shape = (*self.kernel_size, channels // groups, self.features)
        kernel = self.param("kernel", self.kernel_init, shape, self.param_dtype)
        bias = self.param("bias", self.bias_init, (self.features,), self.param_dtype) if self.use_bias else None
        images, kernel, bias = promote_dtype(images, kernel, bias, dtype=self.dtype)
        result = self._convolve(images, kernel)
        return result if bias is None else result + bias.reshape(1, 1, 1, -1)

    def _convolve(self, images: Images, kernel: Filter) -> Result:
        return conv(images, kernel, self.strides, self.padding, self.feature_group_count)


class ConvTranspose(Conv):
    """Layer of `conv_transpose`: with padding "SAME" it enlarges by `strides`. Arguments as of `Conv`; no groups."""

    def __post_init__(self) -> None:
        if self.feature_group_count != 1:
            raise ConfigError(
                f"feature_group_count = {self.feature_group_count}: ConvTranspose has no groups, it must be 1"
            )
        super().__post_init__()

    def _convolve(self, images: Images, kernel: Filter) -> Result:
        return conv_transpose(images, kernel, self.strides, self.padding)
