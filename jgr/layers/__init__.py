"""Building blocks of networks."""

from jgr.layers.conv import Conv, ConvTranspose, conv_transpose

__all__ = ["Conv", "ConvTranspose", "conv_transpose"]
