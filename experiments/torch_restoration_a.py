"""PyTorch twins of DnCNN, FFDNet, DRUNet, EDSR and SRResNet, as one writes them there, to time and to test against.

Images are NCHW, contiguous or channels last. `as_variables` gives a twin's weights to jgr's network of the same sizes.
"""

import itertools
import re
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (as everyone writes it)


def _conv3(channels: int, features: int, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(channels, features, 3, padding=1, bias=bias)


class DnCNN(nn.Module):
    """`jgr.models.dncnn.DnCNN`: images to the noise."""

    def __init__(self, channels: int = 1, depth: int = 17, width: int = 64) -> None:
        super().__init__()
        widths = [channels, *[width] * (depth - 1), channels]
        self.conv = nn.ModuleList(_conv3(low, high, bias=False) for low, high in itertools.pairwise(widths))
        self.bn = nn.ModuleDict({str(number): nn.BatchNorm2d(width) for number in range(1, depth - 1)})

    def forward(self, images: Tensor) -> Tensor:
        """NCHW in [0, 1], noisy, to the noise."""
        hidden = F.relu(self.conv[0](images))
        for number, norm in self.bn.items():
            hidden = F.relu(norm(self.conv[int(number)](hidden)))
        return self.conv[-1](hidden)


class FFDNet(nn.Module):
    """`jgr.models.ffdnet.FFDNet`: images with their noise map to images."""

    def __init__(self, channels: int = 1, depth: int = 15, width: int = 64) -> None:
        super().__init__()
        self.channels = channels
        widths = [4 * channels + 1, *[width] * (depth - 1), 4 * channels]
        self.conv = nn.ModuleList(_conv3(low, high) for low, high in itertools.pairwise(widths))

    def forward(self, images: Tensor) -> Tensor:
        """NCHW in [0, 1], the map behind the image's channels, to images."""
        image, noise_map = images[:, : self.channels], images[:, self.channels :, ::2, ::2]
        hidden = torch.cat([F.pixel_unshuffle(image, 2), noise_map], dim=1)
        for conv in self.conv[:-1]:
            hidden = F.relu(conv(hidden))
        return F.pixel_shuffle(self.conv[-1](hidden), 2)


class _ResidualBlock(nn.Module):
    def __init__(self, width: int, bias: bool, res_scale: float = 1.0) -> None:
        super().__init__()
        self.conv0, self.conv1, self.res_scale = _conv3(width, width, bias), _conv3(width, width, bias), res_scale

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden + self.res_scale * self.conv1(F.relu(self.conv0(hidden)))


class DRUNet(nn.Module):
    """`jgr.models.unet.DRUNet`: images with their noise map to images."""

    def __init__(self, channels: int = 1, width: int = 64, levels: int = 4, blocks: int = 4) -> None:
        super().__init__()
        widths = [width << level for level in range(levels)]
        pairs = list(itertools.pairwise(widths))

        def stage(features: int) -> nn.Sequential:
            return nn.Sequential(*(_ResidualBlock(features, bias=False) for _ in range(blocks)))

        self.head, self.tail = _conv3(channels + 1, width, bias=False), _conv3(width, channels, bias=False)
        self.down, self.up = (nn.ModuleList(map(stage, widths[:-1])) for _ in range(2))
        self.body = stage(widths[-1])
        self.shrink = nn.ModuleList(nn.Conv2d(low, high, 2, 2, bias=False) for low, high in pairs)
        self.enlarge = nn.ModuleList(nn.ConvTranspose2d(high, low, 2, 2, bias=False) for low, high in pairs)

    def forward(self, images: Tensor) -> Tensor:
        """NCHW in [0, 1], the map behind the image's channels, to images."""
        hidden = self.head(images)
        skips = [hidden]
        for down, shrink in zip(self.down, self.shrink, strict=True):
            hidden = shrink(down(hidden))
            skips.append(hidden)
        hidden = self.body(hidden)
        for up, enlarge in zip(reversed(self.up), reversed(self.enlarge), strict=True):
            hidden = up(enlarge(hidden + skips.pop()))
        return self.tail(hidden + skips.pop())


class EDSR(nn.Module):
    """`jgr.models.edsr.EDSR`: images to images `scale` times as large."""

    def __init__(
        self,
        scale: int = 2,
        channels: int = 3,
        width: int = 64,
        blocks: int = 16,
        res_scale: float = 1.0,
        unshuffle: int = 1,
        bilinear_skip: bool = False,
        image_range: float = 255.0,
    ) -> None:
        super().__init__()
        self.scale, self.unshuffle, self.bilinear_skip = scale, unshuffle, bilinear_skip
        self.image_range = image_range
        self.factors = _factors(scale)
        mean = [0.4488, 0.4371, 0.4040] if channels == 3 else [0.0] * channels
        self.register_buffer("mean", torch.tensor(mean).reshape(1, -1, 1, 1), persistent=False)
        self.head = _conv3(channels * unshuffle**2, width)
        self.block = nn.ModuleList(_ResidualBlock(width, True, res_scale) for _ in range(blocks))
        self.body = _conv3(width, width)
        self.enlarge = nn.ModuleList(_conv3(width, width * factor**2) for factor in self.factors)
        self.tail = _conv3(width, channels * unshuffle**2)

    def forward(self, images: Tensor) -> Tensor:
        """NCHW in [0, 1] to images."""
        first = hidden = self.head(F.pixel_unshuffle((images - self.mean) * self.image_range, self.unshuffle))
        for block in self.block:
            hidden = block(hidden)
        hidden = first + self.body(hidden)
        for enlarge, factor in zip(self.enlarge, self.factors, strict=True):
            hidden = F.pixel_shuffle(enlarge(hidden), factor)
        made = F.pixel_shuffle(self.tail(hidden), self.unshuffle) / self.image_range
        if self.scale == 1:
            return images + made
        if self.bilinear_skip:
            return F.interpolate(images, scale_factor=self.scale, mode="bilinear", align_corners=False) + made
        return self.mean + made


class SRResNet(nn.Module):
    """`jgr.models.edsr.SRResNet`: images to images `scale` times as large."""

    def __init__(self, scale: int = 4, channels: int = 3, width: int = 64, blocks: int = 16) -> None:
        super().__init__()
        self.blocks, self.factors = blocks, _factors(scale)
        self.head, self.head_prelu = nn.Conv2d(channels, width, 9, padding=4), nn.PReLU()
        for number in range(blocks):
            self._add_normed(f"block{number}_0", width)
            self.add_module(f"block{number}_prelu", nn.PReLU())
            self._add_normed(f"block{number}_1", width)
        self._add_normed("body", width)
        for number, factor in enumerate(self.factors):
            self.add_module(f"enlarge{number}", _conv3(width, width * factor**2))
            self.add_module(f"enlarge{number}_prelu", nn.PReLU())
        self.tail = nn.Conv2d(width, channels, 9, padding=4)

    def _add_normed(self, name: str, width: int) -> None:
        self.add_module(f"{name}_conv", _conv3(width, width))
        self.add_module(f"{name}_norm", nn.BatchNorm2d(width))

    def _normed(self, name: str, hidden: Tensor) -> Tensor:
        return getattr(self, f"{name}_norm")(getattr(self, f"{name}_conv")(hidden))

    def forward(self, images: Tensor) -> Tensor:
        """NCHW in [0, 1] to images."""
        first = hidden = self.head_prelu(self.head(images))
        for number in range(self.blocks):
            made = getattr(self, f"block{number}_prelu")(self._normed(f"block{number}_0", hidden))
            hidden = hidden + self._normed(f"block{number}_1", made)
        hidden = first + self._normed("body", hidden)
        for number, factor in enumerate(self.factors):
            hidden = F.pixel_shuffle(getattr(self, f"enlarge{number}")(hidden), factor)
            hidden = getattr(self, f"enlarge{number}_prelu")(hidden)
        return self.tail(hidden) * 0.5 + 0.5


def _factors(scale: int) -> list[int]:
    return [3] if scale == 3 else [2] * (scale.bit_length() - 1)


def as_variables(network: nn.Module) -> dict[str, Any]:
    """A twin's weights as the variables of jgr's network: "params", and "batch_stats" where there is batch norm."""
    variables: dict[str, Any] = {}
    for path, module in network.named_modules():
        # "up.0.1.conv0" is "up0_1/conv0" there
        names = re.sub(r"(\d)\.(\d+)", r"\1_\2", re.sub(r"([a-z])\.(\d+)", r"\1\2", path)).split(".")
        if isinstance(module, nn.ConvTranspose2d):
            arrays = {"params": {"kernel": module.weight.flip(2, 3).permute(2, 3, 0, 1)}}
        elif isinstance(module, nn.Conv2d):
            arrays = {"params": {"kernel": module.weight.permute(2, 3, 1, 0)}}
        elif isinstance(module, nn.BatchNorm2d):
            arrays = {
                "params": {"scale": module.weight},
                "batch_stats": {"mean": module.running_mean, "var": module.running_var},
            }
        elif isinstance(module, nn.PReLU):
            arrays = {"params": {"negative_slope": module.weight[0]}}
        else:
            continue
        if getattr(module, "bias", None) is not None:
            arrays["params"]["bias"] = module.bias
        for collection, leaves in arrays.items():
            tree = variables.setdefault(collection, {})
            for name in names:
                tree = tree.setdefault(name, {})
            tree.update({name: leaf.detach().numpy().copy() for name, leaf in leaves.items()})
    return variables
