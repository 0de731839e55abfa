"""Inception-v3 of 2015-12-05, the network that FID, KID and the Inception score are defined on.

Szegedy et al. 2016 (arXiv:1512.00567), as in TensorFlow's `inception-2015-12-05.tgz`. It differs from torchvision's
network of that name: 1008 logits, average pools leave out the padding, and the last block pools by maximum. Modules are
called as in the published PyTorch conversion of the weights (pytorch-fid's `pt_inception-2015-12-05-6726825d.pth`).
For inference only.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import traverse_util
from jax import lax
from jaxtyping import Array, Float

from jgr.errors import DataError

Features = Float[Array, "batch height width channels"]
Reduced = Float[Array, "batch new_height new_width features"]

_PRECISION = lax.Precision.HIGHEST  # the default is TF32 on GPU and bfloat16 on TPU: it moves FID


class ConvNormReLU(nn.Module):
    """A convolution without bias, batch norm by fixed statistics (epsilon 1e-3), ReLU."""

    features: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    padding: str = "SAME"

    @nn.compact
    def __call__(self, x: Features) -> Reduced:
        """The layer of the features `x`."""
        zeros, ones, shape = nn.initializers.zeros, nn.initializers.ones, (self.features,)
        kernel = self.param("kernel", nn.initializers.he_normal(), (*self.kernel, x.shape[-1], self.features))
        gamma, beta = self.param("scale", ones, shape), self.param("bias", zeros, shape)
        mean, variance = self.param("mean", zeros, shape), self.param("var", ones, shape)
        scale = gamma * lax.rsqrt(variance + 1e-3)
        x = lax.conv_general_dilated(
            x,
            kernel,
            (self.stride,) * 2,
            self.padding,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            precision=_PRECISION,
        )
        return nn.relu(x * _channels(scale) + _channels(beta - mean * scale))


class InceptionA(nn.Module):
    """35x35: branches of 1x1, 5x5, two 3x3, and a pool."""

    pool_features: int

    @nn.compact
    def __call__(self, x: Features) -> Reduced:
        """The concatenated branches."""
        five = ConvNormReLU(48, name="branch5x5_1")(x)
        five = ConvNormReLU(64, (5, 5), name="branch5x5_2")(five)
        double = ConvNormReLU(64, name="branch3x3dbl_1")(x)
        double = ConvNormReLU(96, (3, 3), name="branch3x3dbl_2")(double)
        double = ConvNormReLU(96, (3, 3), name="branch3x3dbl_3")(double)
        one = ConvNormReLU(64, name="branch1x1")(x)
        pool = ConvNormReLU(self.pool_features, name="branch_pool")(_average_pool(x))
        return jnp.concatenate([one, five, double, pool], axis=-1)


class InceptionB(nn.Module):
    """35x35 to 17x17."""

    @nn.compact
    def __call__(self, x: Features) -> Reduced:
        """The concatenated branches."""
        three = ConvNormReLU(384, (3, 3), 2, "VALID", name="branch3x3")(x)
        double = ConvNormReLU(64, name="branch3x3dbl_1")(x)
        double = ConvNormReLU(96, (3, 3), name="branch3x3dbl_2")(double)
        double = ConvNormReLU(96, (3, 3), 2, "VALID", name="branch3x3dbl_3")(double)
        return jnp.concatenate([three, double, _halving_pool(x)], axis=-1)


class InceptionC(nn.Module):
    """17x17: 7x7 convolutions as pairs of 1x7 and 7x1, once and twice."""

    width: int

    @nn.compact
    def __call__(self, x: Features) -> Reduced:
        """The concatenated branches."""
        seven = ConvNormReLU(self.width, name="branch7x7_1")(x)
        seven = ConvNormReLU(self.width, (1, 7), name="branch7x7_2")(seven)
        seven = ConvNormReLU(192, (7, 1), name="branch7x7_3")(seven)
        double = ConvNormReLU(self.width, name="branch7x7dbl_1")(x)
        double = ConvNormReLU(self.width, (7, 1), name="branch7x7dbl_2")(double)
        double = ConvNormReLU(self.width, (1, 7), name="branch7x7dbl_3")(double)
        double = ConvNormReLU(self.width, (7, 1), name="branch7x7dbl_4")(double)
        double = ConvNormReLU(192, (1, 7), name="branch7x7dbl_5")(double)
        one = ConvNormReLU(192, name="branch1x1")(x)
        pool = ConvNormReLU(192, name="branch_pool")(_average_pool(x))
        return jnp.concatenate([one, seven, double, pool], axis=-1)


class InceptionD(nn.Module):
    """17x17 to 8x8."""

    @nn.compact
    def __call__(self, x: Features) -> Reduced:
        """The concatenated branches."""
        three = ConvNormReLU(192, name="branch3x3_1")(x)
        three = ConvNormReLU(320, (3, 3), 2, "VALID", name="branch3x3_2")(three)
        seven = ConvNormReLU(192, name="branch7x7x3_1")(x)
        seven = ConvNormReLU(192, (1, 7), name="branch7x7x3_2")(seven)
        seven = ConvNormReLU(192, (7, 1), name="branch7x7x3_3")(seven)
        seven = ConvNormReLU(192, (3, 3), 2, "VALID", name="branch7x7x3_4")(seven)
        return jnp.concatenate([three, seven, _halving_pool(x)], axis=-1)


class InceptionE(nn.Module):
    """8x8: 1x3 and 3x1 side by side."""

    max_pool: bool

    @nn.compact
    def __call__(self, x: Features) -> Reduced:
        """The concatenated branches."""
        three = ConvNormReLU(384, name="branch3x3_1")(x)
        double = ConvNormReLU(448, name="branch3x3dbl_1")(x)
        double = ConvNormReLU(384, (3, 3), name="branch3x3dbl_2")(double)
        pooled = nn.max_pool(x, (3, 3), padding="SAME") if self.max_pool else _average_pool(x)
        branches = [
            ConvNormReLU(320, name="branch1x1")(x),
            ConvNormReLU(384, (1, 3), name="branch3x3_2a")(three),
            ConvNormReLU(384, (3, 1), name="branch3x3_2b")(three),
            ConvNormReLU(384, (1, 3), name="branch3x3dbl_3a")(double),
            ConvNormReLU(384, (3, 1), name="branch3x3dbl_3b")(double),
            ConvNormReLU(192, name="branch_pool")(pooled),
        ]
        return jnp.concatenate(branches, axis=-1)


class InceptionV3(nn.Module):
    """Images to the features of FID and the logits of the Inception score, in float32 at the highest precision."""

    @nn.compact
    def __call__(
        self, images: Float[Array, "batch 299 299 3"]
    ) -> tuple[Float[Array, "batch 2048"], Float[Array, "batch 1008"]]:
        """Features and logits.

        Args:
            images: RGB, resized to 299x299 and shifted to about [-1, 1] by the caller, as the protocol has it:
                `jgr.metrics.resize.inception_input`.

        Returns:
            The pooled features (`pool_3:0` of the graph), and the logits without the bias, with which the Inception
            score was published ("logits_unbiased").
        """
        x = ConvNormReLU(32, (3, 3), 2, "VALID", name="Conv2d_1a_3x3")(images)
        x = ConvNormReLU(32, (3, 3), padding="VALID", name="Conv2d_2a_3x3")(x)
        x = ConvNormReLU(64, (3, 3), name="Conv2d_2b_3x3")(x)
        x = _halving_pool(x)
        x = ConvNormReLU(80, name="Conv2d_3b_1x1")(x)
        x = ConvNormReLU(192, (3, 3), padding="VALID", name="Conv2d_4a_3x3")(x)
        x = _halving_pool(x)
        x = InceptionA(32, name="Mixed_5b")(x)
        x = InceptionA(64, name="Mixed_5c")(x)
        x = InceptionA(64, name="Mixed_5d")(x)
        x = InceptionB(name="Mixed_6a")(x)
        x = InceptionC(128, name="Mixed_6b")(x)
        x = InceptionC(160, name="Mixed_6c")(x)
        x = InceptionC(160, name="Mixed_6d")(x)
        x = InceptionC(192, name="Mixed_6e")(x)
        x = InceptionD(name="Mixed_7a")(x)
        x = InceptionE(False, name="Mixed_7b")(x)
        x = InceptionE(True, name="Mixed_7c")(x)
        features = x.mean(axis=(1, 2))
        logits = nn.Dense(1008, use_bias=False, precision=_PRECISION, name="fc")(features)
        return features, logits


_TORCH_NAMES = {
    "kernel": "conv.weight",
    "scale": "bn.weight",
    "bias": "bn.bias",
    "mean": "bn.running_mean",
    "var": "bn.running_var",
}
_UNUSED = ("AuxLogits.", "fc.bias")


def from_torch(weights: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The network's parameters from a state dict with the published PyTorch names, such as pytorch-fid's.

    `AuxLogits`, `num_batches_tracked` and the bias of the logits, which are not used, may be there or not.

    Raises:
        DataError: A key is missing, unknown or of another shape.
    """
    left = {key: np.asarray(value) for key, value in weights.items()}
    expected = jax.eval_shape(InceptionV3().init, jax.random.key(0), jnp.zeros((1, 299, 299, 3)))["params"]
    converted = {}
    for path, shape in traverse_util.flatten_dict(expected).items():
        key = "fc.weight" if path[0] == "fc" else ".".join((*path[:-1], _TORCH_NAMES[path[-1]]))
        if key not in left:
            raise DataError(f"Inception's weights lack {key}")
        value = left.pop(key)
        axes = {1: (0,), 2: (1, 0), 4: (2, 3, 1, 0)}[
            len(shape.shape)
        ]  # PyTorch has [out, in], [out, in, height, width]
        wanted = tuple(shape.shape[axes.index(axis)] for axis in range(len(axes)))
        if value.shape != wanted:
            raise DataError(f"Inception's weights: {key} has shape {value.shape}, but the network's is {wanted}")
        converted[path] = np.ascontiguousarray(value.transpose(axes), np.float32)
    unknown = [key for key in left if not key.startswith(_UNUSED) and not key.endswith(".num_batches_tracked")]
    if unknown:
        raise DataError(f"Inception's weights hold what the network has not: {', '.join(sorted(unknown)[:5])}")
    return dict(traverse_util.unflatten_dict(converted))


def _average_pool(x: Features) -> Features:
    return nn.avg_pool(x, (3, 3), padding="SAME", count_include_pad=False)


def _halving_pool(x: Features) -> Reduced:
    return nn.max_pool(x, (3, 3), (2, 2))


def _channels(values: Float[Array, "features"]) -> Float[Array, "1 1 1 features"]:
    return values[None, None, None]
