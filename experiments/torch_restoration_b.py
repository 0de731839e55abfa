"""PyTorch twins of jgr's networks for restoration: NAFNet, Restormer, PReNet and the encoder-decoder.

Written from the papers as one writes them in PyTorch. Layers have jgr's names, so that `load` can give a twin jgr's
weights; tests compare the two, and `experiments/speed.py` times them beside each other.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (as everyone writes it)


def load(network: nn.Module, variables: Mapping[str, Any]) -> None:
    """Gives a twin the weights of jgr's network.

    Args:
        network: The twin.
        variables: "params" and, where there is batch norm, "batch_stats", as nested dicts of arrays.
    """
    names = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}
    weights: dict[str, Tensor] = {}

    def walk(prefix: str, tree: Mapping[str, Any]) -> None:
        for name, value in tree.items():
            if isinstance(value, Mapping):
                walk(f"{prefix}{name}.", value)
                continue
            tensor = torch.tensor(np.asarray(value))
            if name == "kernel":
                tensor = tensor.permute(3, 2, 0, 1) if tensor.ndim == 4 else tensor.T
            weights[prefix + names.get(name, name)] = tensor

    for collection in variables.values():
        walk("", collection)
    own = {name: tensor for name, tensor in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    if set(own) != set(weights):
        raise KeyError(f"weights that only one side has: {sorted(set(own) ^ set(weights))}")
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(weights[name].reshape(tensor.shape))


class _ChannelNorm(nn.Module):
    """Over the channels of each pixel; without the mean taken off and without a bias if `bias_free`."""

    def __init__(self, width: int, epsilon: float, bias_free: bool = False) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.weight = nn.Parameter(torch.ones(width))
        if not bias_free:
            self.bias = nn.Parameter(torch.zeros(width))
        self.bias_free = bias_free

    def forward(self, hidden: Tensor) -> Tensor:
        pixels = hidden.permute(0, 2, 3, 1)
        if self.bias_free:
            deviation = torch.sqrt(pixels.var(-1, keepdim=True, unbiased=False) + self.epsilon)
            return (pixels / deviation * self.weight).permute(0, 3, 1, 2)
        return F.layer_norm(pixels, pixels.shape[-1:], self.weight, self.bias, self.epsilon).permute(0, 3, 1, 2)


class _NAFBlock(nn.Module):
    """Chen et al. 2022, figure 3d."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = _ChannelNorm(width, 1e-6), _ChannelNorm(width, 1e-6)
        self.enlarge_1, self.enlarge_2 = nn.Conv2d(width, 2 * width, 1), nn.Conv2d(width, 2 * width, 1)
        self.depthwise = nn.Conv2d(2 * width, 2 * width, 3, padding=1, groups=2 * width)
        self.attention = nn.Conv2d(width, width, 1)
        self.shrink_1, self.shrink_2 = nn.Conv2d(width, width, 1), nn.Conv2d(width, width, 1)
        self.beta, self.gamma = (nn.Parameter(torch.zeros(1, width, 1, 1)) for _ in range(2))

    def forward(self, hidden: Tensor) -> Tensor:
        left, right = self.depthwise(self.enlarge_1(self.norm_1(hidden))).chunk(2, dim=1)
        made = left * right
        made = made * self.attention(F.adaptive_avg_pool2d(made, 1))
        hidden = hidden + self.shrink_1(made) * self.beta
        left, right = self.enlarge_2(self.norm_2(hidden)).chunk(2, dim=1)
        return hidden + self.shrink_2(left * right) * self.gamma


class NAFNet(nn.Module):
    """Chen et al. 2022."""

    def __init__(
        self,
        channels: int = 3,
        width: int = 32,
        encoder_blocks: tuple[int, ...] = (1, 1, 1, 28),
        middle_blocks: int = 1,
        decoder_blocks: tuple[int, ...] = (1, 1, 1, 1),
    ) -> None:
        super().__init__()
        self.counts, self.middle_blocks = list(zip(encoder_blocks, decoder_blocks[::-1], strict=True)), middle_blocks
        self.first = nn.Conv2d(channels, width, 3, padding=1)
        for level, (down, up) in enumerate(self.counts):
            fine = width << level
            self._add_blocks(f"encoder_{level}", down, fine)
            self._add_blocks(f"decoder_{level}", up, fine)
            self.add_module(f"down_{level}", nn.Conv2d(fine, 2 * fine, 2, 2))
            self.add_module(f"up_{level}", nn.Conv2d(2 * fine, 4 * fine, 1, bias=False))
        self._add_blocks("middle", middle_blocks, width << len(self.counts))
        self.last = nn.Conv2d(width, channels, 3, padding=1)

    def _add_blocks(self, stage: str, count: int, width: int) -> None:
        for number in range(count):
            self.add_module(f"{stage}_{number}", _NAFBlock(width))

    def _blocks(self, hidden: Tensor, stage: str, count: int) -> Tensor:
        for number in range(count):
            hidden = self.get_submodule(f"{stage}_{number}")(hidden)
        return hidden

    def forward(self, images: Tensor) -> Tensor:
        """Degraded images, NCHW in [0, 1], to restored ones."""
        hidden, skips = self.first(images), []
        for level, (count, _) in enumerate(self.counts):
            skips.append(self._blocks(hidden, f"encoder_{level}", count))
            hidden = self.get_submodule(f"down_{level}")(skips[-1])
        hidden = self._blocks(hidden, "middle", self.middle_blocks)
        for level, (_, count) in reversed(list(enumerate(self.counts))):
            hidden = F.pixel_shuffle(self.get_submodule(f"up_{level}")(hidden), 2) + skips[level]
            hidden = self._blocks(hidden, f"decoder_{level}", count)
        return images + self.last(hidden)


class _ChannelAttention(nn.Module):
    """Zamir et al. 2022, section 3.1."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = nn.Conv2d(width, 3 * width, 1, bias=False)
        self.depthwise = nn.Conv2d(3 * width, 3 * width, 3, padding=1, groups=3 * width, bias=False)
        self.project = nn.Conv2d(width, width, 1, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        parts = self.depthwise(self.qkv(hidden)).chunk(3, dim=1)
        query, key, value = (part.flatten(2).unflatten(1, (self.heads, -1)) for part in parts)
        query, key = F.normalize(query, dim=-1), F.normalize(key, dim=-1)
        weights = (query @ key.transpose(-2, -1) * self.temperature).softmax(dim=-1)
        return self.project((weights @ value).reshape(hidden.shape))


class _GatedFeedForward(nn.Module):
    """Zamir et al. 2022, section 3.2."""

    def __init__(self, width: int, expansion: float) -> None:
        super().__init__()
        wide = int(width * expansion)
        self.enlarge = nn.Conv2d(width, 2 * wide, 1, bias=False)
        self.depthwise = nn.Conv2d(2 * wide, 2 * wide, 3, padding=1, groups=2 * wide, bias=False)
        self.shrink = nn.Conv2d(wide, width, 1, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        gate, made = self.depthwise(self.enlarge(hidden)).chunk(2, dim=1)
        return self.shrink(F.gelu(gate) * made)


class _TransformerBlock(nn.Module):
    """Zamir et al. 2022, figure 2."""

    def __init__(self, width: int, heads: int, expansion: float, bias_free: bool) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = (_ChannelNorm(width, 1e-5, bias_free) for _ in range(2))
        self.attention, self.feed_forward = _ChannelAttention(width, heads), _GatedFeedForward(width, expansion)

    def forward(self, hidden: Tensor) -> Tensor:
        hidden = hidden + self.attention(self.norm_1(hidden))
        return hidden + self.feed_forward(self.norm_2(hidden))


class Restormer(nn.Module):
    """Zamir et al. 2022."""

    def __init__(
        self,
        channels: int = 3,
        width: int = 48,
        blocks: tuple[int, ...] = (4, 6, 6, 8),
        refinement_blocks: int = 4,
        heads: tuple[int, ...] = (1, 2, 4, 8),
        expansion: float = 2.66,
        bias_free: bool = True,
    ) -> None:
        super().__init__()
        self.counts, self.refinement_blocks = blocks, refinement_blocks
        self.first = nn.Conv2d(channels, width, 3, padding=1, bias=False)

        def add_blocks(stage: str, count: int, level: int, wide: int) -> None:
            for number in range(count):
                self.add_module(f"{stage}_{number}", _TransformerBlock(wide, heads[level], expansion, bias_free))

        for level, count in enumerate(blocks[:-1]):
            fine = width << level
            out = fine if level else 2 * fine
            add_blocks(f"encoder_{level}", count, level, fine)
            add_blocks(f"decoder_{level}", count, level, out)
            self.add_module(f"down_{level}", nn.Conv2d(fine, fine // 2, 3, padding=1, bias=False))
            self.add_module(f"up_{level}", nn.Conv2d(2 * fine, 4 * fine, 3, padding=1, bias=False))
            if level:
                self.add_module(f"reduce_{level}", nn.Conv2d(2 * fine, fine, 1, bias=False))
        add_blocks("middle", blocks[-1], len(blocks) - 1, width << len(blocks) - 1)
        wide = width if len(blocks) == 1 else 2 * width
        add_blocks("refinement", refinement_blocks, 0, wide)
        self.last = nn.Conv2d(wide, channels, 3, padding=1, bias=False)

    def _blocks(self, hidden: Tensor, stage: str, count: int) -> Tensor:
        for number in range(count):
            hidden = self.get_submodule(f"{stage}_{number}")(hidden)
        return hidden

    def forward(self, images: Tensor) -> Tensor:
        """Degraded images, NCHW in [0, 1], to restored ones."""
        hidden, skips = self.first(images), []
        *finer, coarsest = self.counts
        for level, count in enumerate(finer):
            skips.append(self._blocks(hidden, f"encoder_{level}", count))
            hidden = F.pixel_unshuffle(self.get_submodule(f"down_{level}")(skips[-1]), 2)
        hidden = self._blocks(hidden, "middle", coarsest)
        for level, count in reversed(list(enumerate(finer))):
            hidden = torch.cat([F.pixel_shuffle(self.get_submodule(f"up_{level}")(hidden), 2), skips[level]], dim=1)
            if level:
                hidden = self.get_submodule(f"reduce_{level}")(hidden)
            hidden = self._blocks(hidden, f"decoder_{level}", count)
        return images + self.last(self._blocks(hidden, "refinement", self.refinement_blocks))


class PReNet(nn.Module):
    """Ren et al. 2019, with an LSTM, a GRU or no cell; gates of one cell are parts of one convolution."""

    def __init__(
        self,
        channels: int = 3,
        width: int = 32,
        stages: int = 6,
        blocks: int = 5,
        cell: str | None = "lstm",
        share_blocks: bool = False,
    ) -> None:
        super().__init__()
        self.width, self.stages, self.blocks, self.cell, self.share_blocks = width, stages, blocks, cell, share_blocks
        self.first = nn.Conv2d(2 * channels, width, 3, padding=1)
        if cell:
            self.gates = nn.Conv2d(2 * width, (4 if cell == "lstm" else 2) * width, 3, padding=1)
        if cell == "gru":
            self.candidate = nn.Conv2d(2 * width, width, 3, padding=1)
        for number in range(2 if share_blocks else 2 * blocks):
            self.add_module(f"block_convs_{number}", nn.Conv2d(width, width, 3, padding=1))
        self.last = nn.Conv2d(width, channels, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """The restored images of all stages, [stages, batch, channels, height, width]."""
        hidden = images.new_zeros(len(images), self.width, *images.shape[2:])
        cell, restored = torch.zeros_like(hidden), [images]
        for _ in range(self.stages):
            made = F.relu(self.first(torch.cat([images, restored[-1]], dim=1)))
            if self.cell == "lstm":
                write, forget, candidate, read = self.gates(torch.cat([made, hidden], dim=1)).chunk(4, dim=1)
                cell = torch.sigmoid(forget) * cell + torch.sigmoid(write) * torch.tanh(candidate)
                made = hidden = torch.sigmoid(read) * torch.tanh(cell)
            elif self.cell == "gru":
                update, reset = torch.sigmoid(self.gates(torch.cat([made, hidden], dim=1))).chunk(2, dim=1)
                candidate = torch.tanh(self.candidate(torch.cat([reset * hidden, made], dim=1)))
                made = hidden = (1 - update) * hidden + update * candidate
            for number in range(self.blocks):
                first = 0 if self.share_blocks else 2 * number
                inner = F.relu(self.get_submodule(f"block_convs_{first}")(made))
                inner = F.relu(self.get_submodule(f"block_convs_{first + 1}")(inner))
                made = F.relu(inner + made)
            restored.append(images + self.last(made))
        return torch.stack(restored[1:])


class EncoderDecoder(nn.Module):
    """A convolutional autoencoder of patches with a vector as code; images are of the patches' size."""

    def __init__(
        self,
        channels: int = 3,
        patch_size: int = 32,
        widths: tuple[int, ...] = (32, 64, 128),
        bottleneck: int = 256,
        residual: bool = True,
    ) -> None:
        super().__init__()
        self.widths, self.side, self.residual = widths, patch_size >> len(widths), residual
        low = channels
        for level, width in enumerate(widths):
            above = widths[min(level + 1, len(widths) - 1)]
            self._add_conv(f"down_{level}", low, width)
            self._add_conv(f"up_{level}", above, width)
            low = width
        features = self.side**2 * widths[-1]
        self.encode, self.decode = nn.Linear(features, bottleneck), nn.Linear(bottleneck, features)
        self.last = nn.Conv2d(widths[0], channels, 3, padding=1)

    def _add_conv(self, name: str, channels: int, width: int) -> None:
        self.add_module(f"conv_{name}", nn.Conv2d(channels, width, 3, padding=1, bias=False))
        self.add_module(f"norm_{name}", nn.BatchNorm2d(width))

    def _convolved(self, hidden: Tensor, name: str) -> Tensor:
        return F.relu(self.get_submodule(f"norm_{name}")(self.get_submodule(f"conv_{name}")(hidden)))

    def forward(self, images: Tensor) -> Tensor:
        """Degraded images, NCHW in [0, 1], to restored ones."""
        hidden = images
        for level in range(len(self.widths)):
            hidden = F.max_pool2d(self._convolved(hidden, f"down_{level}"), 2)
        hidden = hidden.permute(0, 2, 3, 1)  # the order of jgr's rows of the matrices
        shape = hidden.shape
        hidden = F.relu(self.decode(F.relu(self.encode(hidden.flatten(1)))))
        hidden = hidden.reshape(shape).permute(0, 3, 1, 2)
        for level in reversed(range(len(self.widths))):
            hidden = self._convolved(F.interpolate(hidden, scale_factor=2, mode="nearest"), f"up_{level}")
        residual = self.last(hidden)
        return images + residual if self.residual else residual
