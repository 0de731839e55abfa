"""A small convolutional classifier, whose features small images are compared in."""

import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype
from jaxtyping import Array, Float

from jgr.errors import ConfigError
from jgr.images import to_signed
from jgr.layers import Conv


class ConvClassifier(nn.Module):
    """Three levels of 3x3 convolutions, halved in between, averaged over the image, then a matrix to the logits.

    Batch norm and ReLU follow every convolution. At 28x28 it has 88 thousand parameters.

    Args:
        num_classes: Number of classes.
        image_size: Rows and columns of an image: a multiple of 4.
        channels: Channels of an image.
        width: Channels of the finest level; the coarser ones have twice and four times as many.
        dtype: Of the computation; promoted from inputs and parameters when None.

    Raises:
        ConfigError: If a size is impossible, or images are of another size.
    """

    num_classes: int
    image_size: int
    channels: int = 1
    width: int = 16
    dtype: Dtype | None = None

    def __post_init__(self) -> None:
        for name in ("num_classes", "image_size", "channels", "width"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} = {getattr(self, name)} must be at least 1")
        if self.image_size % 4:
            raise ConfigError(f"image_size = {self.image_size} must be a multiple of 4: it is halved twice")
        super().__post_init__()

    def setup(self) -> None:
        """The layers, in order."""
        width, strides = self.width, (1, 2, 1, 2, 1)
        features = (width, 2 * width, 2 * width, 4 * width, 4 * width)
        self.convs = [
            Conv(count, (3, 3) if stride == 1 else (4, 4), (stride, stride), use_bias=False, dtype=self.dtype)
            for count, stride in zip(features, strides, strict=True)
        ]
        self.norms = [nn.BatchNorm(momentum=0.9, epsilon=1e-5, dtype=self.dtype) for _ in features]
        self.head = nn.Dense(self.num_classes, dtype=self.dtype)

    def __call__(
        self, images: Float[Array, "batch height width channels"], *, train: bool
    ) -> Float[Array, "batch classes"]:
        """Images in [0, 1] to float32 logits; `train` takes batch norm's statistics from the batch."""
        return self.classify(self.embed(images, train=train))

    def embed(
        self, images: Float[Array, "batch height width channels"], *, train: bool
    ) -> Float[Array, "batch features"]:
        """Images in [0, 1] to the features before the last matrix, not negative: four times `width` of them."""
        shape = (self.image_size, self.image_size, self.channels)
        if images.shape[1:] != shape:
            raise ConfigError(f"classifier: images of {images.shape[1:]}, but image_size and channels say {shape}")
        hidden = to_signed(images)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            hidden = nn.relu(norm(conv(hidden), use_running_average=not train))
        return jnp.mean(hidden, axis=(1, 2)).astype("float32")

    def classify(self, features: Float[Array, "batch features"]) -> Float[Array, "batch classes"]:
        """Features to float32 logits."""
        return self.head(features).astype("float32")
