"""Building blocks of networks."""

from jgr.layers.conv import Conv, ConvTranspose, conv_transpose
from jgr.layers.pixel_shuffle import pixel_shuffle, pixel_unshuffle

__all__ = ["Conv", "ConvTranspose", "conv_transpose", "pixel_shuffle", "pixel_unshuffle"]
