"""Spectral normalisation of a layer's weight (Miyato et al. 2018, arXiv:1802.05957)."""

from collections.abc import Callable
from functools import partial

from flax import linen as nn
from jaxtyping import Array


class SpectralNorm(nn.SpectralNorm):
    """Flax's layer with its vectors in a collection of their own: `SpectralNorm(layer)(inputs, update_stats=train)`.

    The weight is divided by sigma = v^T W u, W having one column a channel of the result (a kernel's other axes are its
    rows), u and v being constants that each pass brings nearer to the first singular vectors by one power iteration.
    With `update_stats` the pass stores its u (and sigma, to look at); without, it leaves the collection "spectral" as
    it is and iterates from the stored u all the same, so that averaged weights, too, get a sigma of their own.
    PyTorch's `torch.nn.utils.spectral_norm` differs there: outside training it divides by the sigma of the stored
    vectors.

    Flax's layer is right for kernels of `jgr.layers.Conv` and `ConvTranspose`, tables of `nn.Embed`, and its gradient;
    only its default collection is "batch_stats": an average of the parameters would then average u, which has no
    meaning, and whoever freezes batch norm would freeze u. A weight must not start as zero, since u would stay zero.
    """

    collection_name: str = "spectral"


def normalised(layer: nn.Module, spectral_norm: bool, train: bool) -> Callable[[Array], Array]:
    """The layer with spectral normalisation, or as it is; to be called in a compact method."""
    return partial(SpectralNorm(layer), update_stats=train) if spectral_norm else layer
