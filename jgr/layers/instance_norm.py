"""Instance normalisation (Ulyanov et al. 2016, arXiv:1607.08022) without scale, bias or running statistics."""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Images = Float[Array, "batch height width channels"]
Deviations = Float[Array, "batch 1 1 channels"]


def instance_norm(images: Images, epsilon: float = 1e-5) -> Images:
    """Each channel of each image less its mean, divided by its standard deviation.

    Like `flax.linen.InstanceNorm`, but its gradient is written out: it keeps no more than the result, and the forward
    pass is the same program with a gradient and without, so that XLA computes only one of two equal ones.

    Args:
        images: NHWC.
        epsilon: Added to the variance; PyTorch's by default.

    Returns:
        Of the type of `images`; computed in float32. Reverse mode may be nested, forward mode is not defined.
    """
    return _normed(epsilon, images)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _normed(epsilon: float, images: Images) -> Images:
    return _forward(epsilon, images)[0]


def _forward(epsilon: float, images: Images) -> tuple[Images, tuple[Images, Deviations]]:
    wide = images.astype("float32")
    centred = wide - wide.mean((1, 2), keepdims=True)
    # in a second pass: a flat image has next to no variance beside its mean
    inverse = lax.rsqrt(jnp.square(centred).mean((1, 2), keepdims=True) + epsilon)
    normed = (centred * inverse).astype(images.dtype)
    return normed, (normed, inverse)


def _backward(epsilon: float, saved: tuple[Images, Deviations], slopes: Images) -> tuple[Images]:
    normed, wide = saved[0].astype("float32"), slopes.astype("float32")
    along = wide.mean((1, 2), keepdims=True) + normed * (wide * normed).mean((1, 2), keepdims=True)
    return ((saved[1] * (wide - along)).astype(slopes.dtype),)


_normed.defvjp(_forward, _backward)
