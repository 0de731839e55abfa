"""PyTorch twins of the networks of SNGAN and StyleGAN2, as one writes them there, to time and to test against.

Images are NCHW in [0, 1], contiguous or channels last.
"""

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (as everyone writes it)
from torch.nn.utils.parametrizations import spectral_norm


def _level_widths(image_size: int, width: int, max_width: int) -> list[int]:
    return [min(width << level, max_width) for level in range((image_size // 4).bit_length())]


def _start_normal(network: nn.Module) -> None:
    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, std=0.02)


def _start_glorot(network: nn.Module) -> None:
    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(layer.weight, math.sqrt(2) if layer.weight.shape[2:] == (3, 3) else 1.0)


def _normalise(network: nn.Module) -> None:
    for layer in list(network.modules()):
        if isinstance(layer, nn.Linear | nn.Conv2d):
            spectral_norm(layer)


class SNGANGenerator(nn.Module):
    """Miyato et al. 2018, table 3."""

    def __init__(self, image_size: int, channels: int, latent_dim: int, width: int, max_width: int = 512) -> None:
        super().__init__()
        widths = _level_widths(image_size, width, max_width)[::-1]
        side = image_size >> (len(widths) - 1)
        layers: list[nn.Module] = [
            nn.Linear(latent_dim, side * side * widths[0], bias=False),
            nn.Unflatten(1, (widths[0], side, side)),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(),
        ]
        for high, low in itertools.pairwise(widths):
            layers += [nn.ConvTranspose2d(high, low, 4, 2, 1, bias=False), nn.BatchNorm2d(low), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, channels, 3, padding=1), nn.Tanh())
        _start_normal(self)

    def forward(self, latents: Tensor) -> Tensor:
        """Latents to images."""
        return self.layers(latents) * 0.5 + 0.5


class SNGANDiscriminator(nn.Module):
    """Miyato et al. 2018, table 3, with the widths of chainer-gan-lib."""

    def __init__(self, image_size: int, channels: int, width: int, max_width: int = 512) -> None:
        super().__init__()
        widths = _level_widths(image_size, width, max_width)
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1), nn.LeakyReLU(0.1)]
        for low, high in itertools.pairwise(widths):
            layers += [nn.Conv2d(low, high, 4, 2, 1), nn.LeakyReLU(0.1)]
            layers += [nn.Conv2d(high, high, 3, padding=1), nn.LeakyReLU(0.1)]
        features = (image_size >> (len(widths) - 1)) ** 2 * widths[-1]
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(features, 1), nn.Flatten(0))
        _start_normal(self)
        _normalise(self)

    def forward(self, images: Tensor) -> Tensor:
        """Images to logits."""
        return self.layers(images * 2 - 1)


class _GeneratorBlock(nn.Module):
    def __init__(self, low: int, high: int) -> None:
        super().__init__()
        self.norm_0, self.conv_0 = nn.BatchNorm2d(low), nn.Conv2d(low, high, 3, padding=1, bias=False)
        self.norm_1, self.conv_1 = nn.BatchNorm2d(high), nn.Conv2d(high, high, 3, padding=1)
        self.shortcut = nn.Conv2d(low, high, 1)

    def forward(self, hidden: Tensor) -> Tensor:
        made = self.conv_0(F.interpolate(F.relu(self.norm_0(hidden)), scale_factor=2))
        made = self.conv_1(F.relu(self.norm_1(made)))
        return made + F.interpolate(self.shortcut(hidden), scale_factor=2)


class ResNetGenerator(nn.Module):
    """Miyato et al. 2018, table 4."""

    def __init__(self, image_size: int, channels: int, latent_dim: int, widths: Sequence[int]) -> None:
        super().__init__()
        side = image_size >> (len(widths) - 1)
        self.layers = nn.Sequential(
            nn.Linear(latent_dim, side * side * widths[0]),
            nn.Unflatten(1, (widths[0], side, side)),
            *(_GeneratorBlock(low, high) for low, high in itertools.pairwise(widths)),
            nn.BatchNorm2d(widths[-1]),
            nn.ReLU(),
            nn.Conv2d(widths[-1], channels, 3, padding=1),
            nn.Tanh(),
        )
        _start_glorot(self)

    def forward(self, latents: Tensor) -> Tensor:
        """Latents to images."""
        return self.layers(latents) * 0.5 + 0.5


class _DiscriminatorBlock(nn.Module):
    def __init__(self, low: int, high: int, down: bool, first: bool) -> None:
        super().__init__()
        self.down, self.first = down, first
        self.conv_0, self.conv_1 = nn.Conv2d(low, high, 3, padding=1), nn.Conv2d(high, high, 3, padding=1)
        self.shortcut = nn.Conv2d(low, high, 1) if down or low != high else nn.Identity()

    def forward(self, hidden: Tensor) -> Tensor:
        made = self.conv_0(hidden if self.first else F.relu(hidden))
        made = self.conv_1(F.relu(made))
        if self.down:
            made, hidden = F.avg_pool2d(made, 2), F.avg_pool2d(hidden, 2)
        return made + self.shortcut(hidden)


class ResNetDiscriminator(nn.Module):
    """Miyato et al. 2018, table 4."""

    def __init__(self, image_size: int, channels: int, widths: Sequence[int], num_down: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            *(
                _DiscriminatorBlock(low, high, number < num_down, number == 0)
                for number, (low, high) in enumerate(itertools.pairwise([channels, *widths]))
            )
        )
        self.logit = nn.Linear(widths[-1], 1)
        _start_glorot(self)
        _normalise(self)

    def forward(self, images: Tensor) -> Tensor:
        """Images to logits."""
        return self.logit(F.relu(self.blocks(images * 2 - 1)).sum((2, 3)))[:, 0]


class _Dense(nn.Module):
    """With an equalised learning rate."""

    def __init__(self, inputs: int, features: int, bias: float = 0.0, rate: float = 1.0) -> None:
        super().__init__()
        self.weight, self.gain = nn.Parameter(torch.randn(features, inputs) / rate), rate / math.sqrt(inputs)
        self.bias, self.rate = nn.Parameter(torch.full((features,), bias / rate)), rate

    def forward(self, inputs: Tensor) -> Tensor:
        return F.linear(inputs, self.weight * self.gain, self.bias * self.rate)


class _Filter(nn.Module):
    """[1, 3, 3, 1] along both axes, as a convolution of each channel."""

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
        self.register_buffer("kernel", gain * taps.outer(taps)[None, None])

    def forward(self, images: Tensor, padding: int) -> Tensor:
        channels = images.shape[1]
        return F.conv2d(images, self.kernel.expand(channels, -1, -1, -1), padding=padding, groups=channels)

    def doubled(self, images: Tensor) -> Tensor:
        """The images with zeros between pixels, filtered."""
        channels = images.shape[1]
        return F.conv_transpose2d(
            images, self.kernel.expand(channels, -1, -1, -1), stride=2, padding=1, groups=channels
        )


class _Conv(nn.Module):
    """With an equalised learning rate; halves filtered images with `down`."""

    def __init__(self, channels: int, features: int, side: int = 3, down: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(features, channels, side, side))
        self.bias, self.gain = nn.Parameter(torch.zeros(features)), 1 / math.sqrt(channels * side**2)
        self.filter = _Filter() if down else None

    def forward(self, images: Tensor) -> Tensor:
        weight = self.weight * self.gain
        if self.filter is not None:
            return F.conv2d(self.filter(images, padding=2), weight, self.bias, stride=2)
        return F.conv2d(images, weight, self.bias, padding=weight.shape[2] // 2)


class _ModulatedConv(nn.Module):
    """A group for each image, with a kernel of its own, as in the authors' code."""

    def __init__(
        self, channels: int, features: int, style_dim: int, side: int = 3, demodulate: bool = True, up: bool = False
    ) -> None:
        super().__init__()
        self.affine = _Dense(style_dim, channels, bias=1.0)
        self.weight = nn.Parameter(torch.randn(features, channels, side, side))
        self.gain, self.demodulate = 1 / math.sqrt(channels * side**2), demodulate
        self.filter = _Filter(gain=4.0) if up else None

    def forward(self, images: Tensor, styles: Tensor) -> Tensor:
        batch, channels, rows, columns = images.shape
        kernels = (self.weight * self.gain)[None] * self.affine(styles)[:, None, :, None, None]
        if self.demodulate:
            kernels = kernels * (kernels.square().sum((2, 3, 4), keepdim=True) + 1e-8).rsqrt()
        images = images.reshape(1, batch * channels, rows, columns)
        if self.filter is not None:
            made = F.conv_transpose2d(images, kernels.transpose(1, 2).flatten(0, 1), stride=2, groups=batch)
            return self.filter(made.reshape(batch, -1, *made.shape[2:]), padding=1)
        made = F.conv2d(images, kernels.flatten(0, 1), padding=kernels.shape[3] // 2, groups=batch)
        return made.reshape(batch, -1, rows, columns)


def _activated(values: Tensor) -> Tensor:
    return F.leaky_relu(values, 0.2) * math.sqrt(2)


def _scaled_to_one(vectors: Tensor) -> Tensor:
    return vectors * (vectors.square().mean(1, keepdim=True) + 1e-8).rsqrt()


class _Mapping(nn.Module):
    def __init__(self, latent_dim: int, features: int, num_layers: int, num_classes: int) -> None:
        super().__init__()
        self.num_classes, self.embed = num_classes, _Dense(num_classes, features)
        widths = [latent_dim + features, *[features] * num_layers]
        self.layers = nn.ModuleList(_Dense(low, high, rate=0.01) for low, high in itertools.pairwise(widths))

    def forward(self, latents: Tensor | None, labels: Tensor) -> Tensor:
        hidden = _scaled_to_one(self.embed(F.one_hot(labels, self.num_classes).float()))
        if latents is not None:
            hidden = torch.cat([_scaled_to_one(latents), hidden], dim=1)
        for layer in self.layers:
            hidden = _activated(layer(hidden))
        return hidden


class _StyledLayer(nn.Module):
    def __init__(self, channels: int, features: int, style_dim: int, up: bool = False) -> None:
        super().__init__()
        self.conv = _ModulatedConv(channels, features, style_dim, up=up)
        self.strength, self.bias = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(features, 1, 1))

    def forward(self, hidden: Tensor, styles: Tensor) -> Tensor:
        made = self.conv(hidden, styles)
        noise = torch.randn(len(made), 1, *made.shape[2:], device=made.device, dtype=made.dtype)
        return _activated(made + self.strength * noise + self.bias)


class _SynthesisLevel(nn.Module):
    def __init__(self, channels: int, features: int, image_channels: int, style_dim: int, is_first: bool) -> None:
        super().__init__()
        layers = [] if is_first else [_StyledLayer(channels, features, style_dim, up=True)]
        self.layers = nn.ModuleList([*layers, _StyledLayer(features, features, style_dim)])
        self.to_image = _ModulatedConv(features, image_channels, style_dim, side=1, demodulate=False)
        self.bias, self.filter = nn.Parameter(torch.zeros(image_channels, 1, 1)), _Filter(gain=4.0)

    def forward(self, hidden: Tensor, image: Tensor | None, styles: Tensor) -> tuple[Tensor, Tensor]:
        for layer in self.layers:
            hidden = layer(hidden, styles)
        added = self.to_image(hidden, styles) + self.bias
        return hidden, added if image is None else self.filter.doubled(image) + added


class StyleGAN2Generator(nn.Module):
    """Karras et al. 2020, with labels and without mixing."""

    def __init__(
        self,
        image_size: int,
        channels: int,
        latent_dim: int,
        style_dim: int,
        mapping_layers: int,
        width: int,
        max_width: int,
        num_classes: int,
    ) -> None:
        super().__init__()
        widths = _level_widths(image_size, width, max_width)[::-1]
        side = image_size >> (len(widths) - 1)
        self.mapping = _Mapping(latent_dim, style_dim, mapping_layers, num_classes)
        self.register_buffer("mean_style", torch.zeros(style_dim))
        self.constant = nn.Parameter(torch.randn(1, widths[0], side, side))
        pairs = zip([widths[0], *widths], widths, strict=False)
        self.levels = nn.ModuleList(
            _SynthesisLevel(low, high, channels, style_dim, number == 0) for number, (low, high) in enumerate(pairs)
        )

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        """Latents to images, which may leave [0, 1]."""
        styles = self.mapping(latents, labels)
        with torch.no_grad():
            self.mean_style.lerp_(styles.mean(0).to(self.mean_style.dtype), 0.005)
        hidden, image = self.constant.expand(len(latents), -1, -1, -1), None
        for level in self.levels:
            hidden, image = level(hidden, image, styles)
        return image * 0.5 + 0.5


def _with_spread(images: Tensor, group_size: int) -> Tensor:
    """One more channel: the standard deviation over a group of images, averaged."""
    batch, _, rows, columns = images.shape
    size = min(group_size, batch)
    spread = images.reshape(size, batch // size, -1).var(0, correction=0).add(1e-8).sqrt().mean(1)
    plane = spread.repeat(size).reshape(batch, 1, 1, 1).expand(-1, -1, rows, columns)
    return torch.cat([images, plane], dim=1)


class StyleGAN2Discriminator(nn.Module):
    """Karras et al. 2020, with labels, not residual, as the authors have it for CIFAR-10."""

    def __init__(
        self,
        image_size: int,
        channels: int,
        width: int,
        max_width: int,
        num_classes: int,
        mapping_layers: int,
        group_size: int = 32,
    ) -> None:
        super().__init__()
        widths = _level_widths(image_size, width, max_width)
        last, side = widths[-1], image_size >> (len(widths) - 1)
        self.from_image, self.group_size = _Conv(channels, width, side=1), group_size
        self.levels = nn.ModuleList()
        for low, high in itertools.pairwise(widths):
            self.levels += [_Conv(low, low), _Conv(low, high, down=True)]
        self.last_conv, self.dense = _Conv(last + 1, last), _Dense(side * side * last, last)
        self.projected, self.mapping = _Dense(last, last), _Mapping(0, last, mapping_layers, num_classes)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Images to logits."""
        hidden = _activated(self.from_image(images * 2 - 1))
        for layer in self.levels:
            hidden = _activated(layer(hidden))
        hidden = _activated(self.last_conv(_with_spread(hidden, self.group_size)))
        hidden = _activated(self.dense(hidden.flatten(1)))
        return (self.projected(hidden) * self.mapping(None, labels)).sum(1) / math.sqrt(hidden.shape[1])
