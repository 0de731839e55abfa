"""Convolution whose kernel depends on a style (Karras et al. 2020, StyleGAN2, arXiv:1912.04958, section 2.2)."""

import math

import jax.numpy as jnp
from flax import linen as nn
from flax.linen.dtypes import promote_dtype
from flax.typing import Dtype
from jax import lax
from jaxtyping import Array, Float

from jgr.errors import ConfigError
from jgr.layers.equalized import EqualizedDense, same_conv
from jgr.layers.fir import conv_upsampled

Images = Float[Array, "batch height width channels"]
Result = Float[Array, "batch new_height new_width features"]


def modulated_conv(
    images: Images,
    kernel: Float[Array, "rows columns channels features"],
    scales: Float[Array, "batch channels"],
    *,
    demodulate: bool = True,
    upsample: bool = False,
) -> Result:
    """Each image convolved with a kernel of its own.

    Image b's kernel is the given one times its scales by input channel (equation 1), with `demodulate` divided by its
    norm for each output channel, root of the sum of squares + 1e-8 (equation 3). A scale by channel may as well be
    applied to the images, before and after, which is what happens here: one convolution of the whole batch with one
    kernel. Kernels of their own make it a grouped convolution with a group for each image; the gradient of XLA's takes
    30 times as long on CPU.

    Args:
        images: NHWC.
        kernel: HWIO, square, of odd sides.
        scales: Of the channels of each image, float32.
        demodulate: Whether the result's expected variance is made 1.
        upsample: Whether the convolution is one of the images upsampled; see `jgr.layers.fir.conv_upsampled`.

    Returns:
        NHWC of the sides of `images`, twice those with `upsample`.
    """
    modulated = images * scales.astype(images.dtype).reshape(len(images), 1, 1, -1)
    shared = kernel.astype(images.dtype)
    result = conv_upsampled(modulated, shared) if upsample else same_conv(modulated, shared)
    if not demodulate:
        return result
    energies = jnp.square(kernel.astype(jnp.float32)).sum((0, 1))
    norms = jnp.matmul(jnp.square(scales.astype(jnp.float32)), energies, precision=lax.Precision.HIGHEST)
    return result * lax.rsqrt(norms + 1e-8).astype(result.dtype).reshape(len(images), 1, 1, -1)


class ModulatedConv(nn.Module):
    """`modulated_conv` with equalised learning rate and its own affine map of styles to scales, of mean 1 at first.

    Args:
        features: Channels of the result.
        kernel_size: Rows and columns, odd.
        demodulate: See `modulated_conv`.
        upsample: See `modulated_conv`.
        dtype: Of the convolution; promoted from images and parameters when None.

    Raises:
        ConfigError: If a size is impossible.
    """

    features: int
    kernel_size: int = 3
    demodulate: bool = True
    upsample: bool = False
    dtype: Dtype | None = None

    def __post_init__(self) -> None:
        if self.features < 1:
            raise ConfigError(f"features = {self.features} must be at least 1")
        if self.kernel_size < 1 or self.kernel_size % 2 == 0:
            raise ConfigError(f"kernel_size = {self.kernel_size} must be odd")
        super().__post_init__()

    @nn.compact
    def __call__(self, images: Images, styles: Float[Array, "batch style"]) -> Result:
        """NHWC images and a float32 style for each to NHWC images of `features` channels."""
        scales = EqualizedDense(images.shape[-1], bias=1.0, name="affine")(styles)
        shape = (self.kernel_size, self.kernel_size, images.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.normal(1.0), shape, jnp.float32)
        (images,) = promote_dtype(images, dtype=self.dtype)
        return modulated_conv(
            images,
            kernel * (1 / math.sqrt(math.prod(shape[:3]))),
            scales,
            demodulate=self.demodulate,
            upsample=self.upsample,
        )
