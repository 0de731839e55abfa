"""PReNet, progressive recurrent networks (Ren et al. 2019, arXiv:1901.09221)."""

from collections.abc import Mapping
from typing import Any, Literal

import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype
from jaxtyping import Array, Float

from jgr.errors import ConfigError
from jgr.layers import Conv
from jgr.layers.input_check import check_input

Images = Float[Array, "batch height width channels"]
Inputs = Float[Array, "batch height width inputs"]
Hidden = Float[Array, "batch height width features"]
Memory = tuple[Hidden, ...]  # hidden state, and the cell state of an LSTM

_STATES: Mapping[str | None, int] = {"lstm": 2, "gru": 1, None: 0}  # of each cell

VARIANTS: Mapping[str, Mapping[str, Any]] = {  # parameters of the networks for colour
    "PReNet": {"cell": "lstm"},  # 168,963
    "PReNet_GRU": {"cell": "gru"},  # 150,499
    "PReNet_r": {"cell": "lstm", "share_blocks": True},  # 94,979
    "PRN": {"cell": None},  # 95,107
    "PRN_r": {"cell": None, "share_blocks": True},  # 21,123
}


class PReNet(nn.Module):
    """One small network applied `stages` times, to the degraded image beside what the stage before made of it.

    A stage is a convolution, a recurrent cell, residual blocks and a convolution whose result is added to the degraded
    image. The authors' ablations PReNet_LSTM and PReNet_GRU give that result alone; these always add.

    The cells have one 3x3 convolution a gate, on the input beside the hidden state, and no constant is added to the
    forget gate: not those of `flax.linen`. PyTorch's gates are parts of one kernel here: input, forget, cell, output of
    the LSTM (the authors' i, f, g, o), update and reset of the GRU (z, b).

    Args:
        channels: Channels of the image; further channels of the input are conditions, which every stage sees.
        width: Channels of the hidden layers.
        stages: How often the network is applied.
        blocks: Residual blocks of a stage.
        cell: The recurrent cell; None for none (PRN).
        share_blocks: Whether the blocks of a stage are one block applied several times.
        dtype: Of the computation; promoted from inputs and parameters when None.
        remat: Whether the gradient computes each stage again instead of keeping what it needs: less memory, more time.

    Raises:
        ConfigError: If a size is below 1, the cell is none of these, or images do not fit.
    """

    channels: int = 3
    width: int = 32
    stages: int = 6
    blocks: int = 5
    cell: Literal["lstm", "gru"] | None = "lstm"
    share_blocks: bool = False
    dtype: Dtype | None = None
    remat: bool = False

    def __post_init__(self) -> None:
        for name in ("channels", "width", "stages", "blocks"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} = {getattr(self, name)} must be at least 1")
        if self.cell not in _STATES:
            raise ConfigError(f'cell = {self.cell!r} must be "lstm", "gru" or None')
        super().__post_init__()

    @property
    def multiple(self) -> int:
        """What the sides of images must be a multiple of."""
        return 1

    @property
    def radius(self) -> int:
        """How many pixels away the farthest pixel lies that one depends on."""
        stage = 2 + 2 * self.blocks
        if self.cell == "lstm":
            stage += 1
        if self.cell == "gru":  # two convolutions, one after the other; the first stage's state is 0, and so is reset's
            return self.stages * (stage + 2) - 1
        return self.stages * stage

    def setup(self) -> None:
        """The layers, which all stages share."""

        def conv(features: int) -> Conv:
            return Conv(features, (3, 3), dtype=self.dtype)

        self.first = conv(self.width)
        if self.cell == "lstm":
            self.gates = conv(4 * self.width)
        elif self.cell == "gru":
            self.gates = conv(2 * self.width)
            self.candidate = conv(self.width)
        self.block_convs = [conv(self.width) for _ in range(2 if self.share_blocks else 2 * self.blocks)]
        self.last = conv(self.channels)

    def __call__(self, images: Inputs, *, train: bool) -> Images:
        """Degraded images in [0, 1], with conditions, to restored float32 images; `train` changes nothing."""
        return self.all_stages(images, train=train)[-1]

    def all_stages(self, images: Inputs, *, train: bool) -> Float[Array, "stages batch height width channels"]:
        """The images that every stage gives, for losses on all of them; the last are those of `__call__`."""
        check_input("PReNet", images, self.channels)
        stage = nn.remat(_stage) if self.remat else _stage
        zeros = jnp.zeros((*images.shape[:3], self.width), self.dtype or images.dtype)
        memory: Memory = (zeros,) * _STATES[self.cell]
        restored = [images[..., : self.channels].astype("float32")]
        for _ in range(self.stages):  # not a scan: on CPU convolutions in a loop are slow
            made, memory = stage(self, images, restored[-1], memory)
            restored.append(made)
        return jnp.stack(restored[1:])


def _stage(network: PReNet, images: Inputs, restored: Images, memory: Memory) -> tuple[Images, Memory]:
    hidden = nn.relu(network.first(jnp.concatenate([images, restored.astype(images.dtype)], axis=-1)))
    if network.cell == "lstm":
        memory = _lstm(network, hidden, *memory)
        hidden = memory[0]
    elif network.cell == "gru":
        hidden = _gru(network, hidden, *memory)
        memory = (hidden,)
    convs = network.block_convs
    for number in range(network.blocks):
        first = 0 if network.share_blocks else 2 * number
        made = nn.relu(convs[first + 1](nn.relu(convs[first](hidden))))  # a ReLU before the sum, too
        hidden = nn.relu(made + hidden)
    residual = network.last(hidden).astype("float32")
    return images[..., : network.channels].astype("float32") + residual, memory


def _lstm(network: PReNet, inputs: Hidden, hidden: Hidden, cell: Hidden) -> tuple[Hidden, Hidden]:
    gates = network.gates(jnp.concatenate([inputs, hidden], axis=-1))
    write, forget, candidate, read = jnp.split(gates, 4, axis=-1)
    cell = nn.sigmoid(forget) * cell + nn.sigmoid(write) * nn.tanh(candidate)
    return nn.sigmoid(read) * nn.tanh(cell), cell


def _gru(network: PReNet, inputs: Hidden, hidden: Hidden) -> Hidden:
    gates = nn.sigmoid(network.gates(jnp.concatenate([inputs, hidden], axis=-1)))
    update, reset = jnp.split(gates, 2, axis=-1)
    candidate = nn.tanh(network.candidate(jnp.concatenate([reset * hidden, inputs], axis=-1)))  # the state first
    return (1 - update) * hidden + update * candidate
