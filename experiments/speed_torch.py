"""PyTorch's side of the rows of `experiments/speed.py`. Functions of `Settings` that make a `Program` are rows.

Plain training loops as one writes them: channels last, Adam in its fused form, the data set as one uint8 tensor on the
device, gradients of the discriminator's parameters not computed where they are not needed. Nothing is read back in a
loop, no check for finite values is made.
"""

import copy
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from speed_rows import Program, Settings
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (as everyone writes it)


def device_of(settings: Settings) -> torch.device:
    """Where to compute."""
    return torch.device("cuda" if settings.device == "gpu" else "cpu")


def _autocast(settings: Settings) -> torch.autocast:
    return torch.autocast(device_of(settings).type, torch.bfloat16, enabled=settings.dtype == "bfloat16")


def on_device(network: nn.Module, settings: Settings) -> Any:
    """The network where it computes, channels last."""
    return network.to(device_of(settings), memory_format=torch.channels_last)


def compiled(function: Callable[..., Any], settings: Settings) -> Callable[..., Any]:
    """By `torch.compile` if the settings say so."""
    return torch.compile(function) if settings.compile else function


def _adam(network: nn.Module, rate: float, beta1: float = 0.9) -> torch.optim.Adam:
    return torch.optim.Adam(network.parameters(), lr=rate, betas=(beta1, 0.999), fused=True)


def _steps(step: Callable[[], object], settings: Settings) -> Program:
    def run(num_steps: int) -> int:
        for _ in range(num_steps):
            step()
        if settings.device == "gpu":
            torch.cuda.synchronize()
        return num_steps

    return run


def _batches(settings: Settings, flip: bool = False) -> Iterator[Tensor]:
    """Images in [0, 1], NCHW and channels last, for ever; every epoch in a random order of its own."""
    device = device_of(settings)
    images = torch.from_numpy(np.load(settings.images)).to(device)
    while True:
        order = torch.randperm(len(images), device=device)
        for index in order.split(settings.batch):
            if len(index) == settings.batch:
                batch = images[index].permute(0, 3, 1, 2).float().div(255)
                if flip:
                    chosen = torch.rand(settings.batch, 1, 1, 1, device=device) < 0.5
                    batch = torch.where(chosen, batch.flip(-1), batch)
                yield batch


class _Signed(nn.Module):
    """[0, 1] to [-1, 1], or back."""

    def __init__(self, back: bool = False) -> None:
        super().__init__()
        self.back = back

    def forward(self, images: Tensor) -> Tensor:
        return images * 0.5 + 0.5 if self.back else images * 2 - 1


def _mlp(widths: Sequence[int]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for low, high in itertools.pairwise(widths):
        layers += [nn.Linear(low, high), nn.LeakyReLU(0.2)]
    return layers[:-1]


def mlp_gan_mnist(settings: Settings) -> Program:
    """The networks of `jgr.models.mlp_gan`."""
    widths = (8, 8) if settings.smoke else (256, 512, 1024)
    generator = nn.Sequential(*_mlp((100, *widths, 784)), nn.Tanh(), nn.Unflatten(1, (1, 28, 28)), _Signed(back=True))
    discriminator = nn.Sequential(_Signed(), nn.Flatten(), *_mlp((784, *widths[::-1], 1)), nn.Flatten(0))
    return _gan(generator, discriminator, settings, half_life=50_000)


def dcgan_mnist(settings: Settings) -> Program:
    """The networks of `jgr.models.dcgan` at 28x28."""
    return _dcgan(28, 1, 2, settings, half_life=50_000)


def dcgan_cifar10(settings: Settings) -> Program:
    """The networks of `jgr.models.dcgan` at 32x32 in colour."""
    size, levels = (16, 2) if settings.smoke else (32, 3)
    return _dcgan(size, 3, levels, settings, half_life=100_000, flip=True)


def _dcgan(size: int, channels: int, levels: int, settings: Settings, half_life: int, flip: bool = False) -> Program:
    widths = [settings.width(64) << level for level in range(levels)]
    side, coarsest = size >> levels, widths[-1]
    made: list[nn.Module] = [
        nn.Linear(100, side * side * coarsest, bias=False),
        nn.Unflatten(1, (coarsest, side, side)),
        nn.BatchNorm2d(coarsest),
        nn.ReLU(),
    ]
    judged: list[nn.Module] = [_Signed()]
    for low, high in zip(widths[-2::-1], widths[:0:-1], strict=True):
        made += [nn.ConvTranspose2d(high, low, 4, 2, 1, bias=False), nn.BatchNorm2d(low), nn.ReLU()]
    for low, high in zip([channels, *widths], widths, strict=False):
        judged += [nn.Conv2d(low, high, 4, 2, 1), nn.LeakyReLU(0.2)]
    made += [nn.ConvTranspose2d(widths[0], channels, 4, 2, 1), nn.Tanh(), _Signed(back=True)]
    judged += [nn.Flatten(), nn.Linear(side * side * coarsest, 1), nn.Flatten(0)]
    networks = nn.Sequential(*made), nn.Sequential(*judged)
    for layer in [layer for network in networks for layer in network.modules()]:
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, std=0.02)
    return _gan(*networks, settings, half_life=half_life, flip=flip)


def _gan(
    generator: nn.Module, discriminator: nn.Module, settings: Settings, half_life: int, flip: bool = False
) -> Program:
    """Discriminator, then generator against the updated discriminator, then the generator's average."""
    device, batches = device_of(settings), _batches(settings, flip)
    generator, discriminator = on_device(generator, settings), on_device(discriminator, settings)
    average = copy.deepcopy(generator).requires_grad_(False)
    generator_adam, discriminator_adam = _adam(generator, 2e-4, 0.5), _adam(discriminator, 2e-4, 0.5)
    number = 0

    def discriminator_loss(reals: Tensor, latents: Tensor) -> Tensor:
        with torch.no_grad():
            fakes = generator(latents)
        return F.softplus(-discriminator(reals)).mean() + F.softplus(discriminator(fakes)).mean()

    def generator_loss(latents: Tensor) -> Tensor:
        return F.softplus(-discriminator(generator(latents))).mean()

    losses = compiled(discriminator_loss, settings), compiled(generator_loss, settings)

    def latents() -> Tensor:
        return torch.randn(settings.batch, 100, device=device)

    def step() -> None:
        nonlocal number
        discriminator.requires_grad_(True)
        discriminator_adam.zero_grad()
        with _autocast(settings):
            loss = losses[0](next(batches), latents())
        loss.backward()
        discriminator_adam.step()
        discriminator.requires_grad_(False)
        generator_adam.zero_grad()
        with _autocast(settings):
            loss = losses[1](latents())
        loss.backward()
        generator_adam.step()
        number += 1
        with torch.no_grad():
            decay = 2.0 ** (-1 / min(half_life / settings.batch, 0.05 * number))
            torch._foreach_lerp_(_averaged(average), _averaged(generator), 1 - decay)

    return _steps(step, settings)


def _averaged(network: nn.Module) -> list[Tensor]:
    return [tensor for tensor in (*network.parameters(), *network.buffers()) if tensor.is_floating_point()]


class _VAE(nn.Module):
    def __init__(self, pixels: int, hidden: int, latent: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(pixels, hidden), nn.ReLU(), nn.Linear(hidden, 2 * latent))
        self.decoder = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, pixels))

    def forward(self, images: Tensor) -> Tensor:
        """The loss: minus the evidence lower bound."""
        pixels = images.flatten(1)
        mean, log_variance = self.encoder(pixels).chunk(2, dim=1)
        logits = self.decoder(mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean))
        reconstruction = F.binary_cross_entropy_with_logits(logits, pixels, reduction="sum")
        divergence = 0.5 * torch.sum(torch.exp(log_variance) + mean**2 - 1 - log_variance)
        return (reconstruction + divergence) / len(pixels)


def mlp_vae(settings: Settings) -> Program:
    """A VAE of two hidden layers."""
    network, batches = on_device(_VAE(784, settings.width(400), settings.width(20)), settings), _batches(settings)
    loss_fn = compiled(network, settings)
    return trained(network, lambda: loss_fn(next(batches)), settings)


def trained(network: nn.Module, loss_fn: Callable[[], Tensor], settings: Settings) -> Program:
    """Steps of Adam on a loss."""
    adam = _adam(network, 1e-3)

    def step() -> None:
        adam.zero_grad()
        with _autocast(settings):
            loss = loss_fn()
        loss.backward()
        adam.step()

    return _steps(step, settings)


def depthwise(settings: Settings) -> Program:
    """One group a channel, forwards."""
    return _convolution(settings, settings.width(64), gradients=False)


def depthwise_grads(settings: Settings) -> Program:
    """One group a channel, with both gradients."""
    return _convolution(settings, settings.width(64), gradients=True)


def grouped(settings: Settings) -> Program:
    """16 groups, forwards."""
    return _convolution(settings, settings.width(16), gradients=False)


def grouped_grads(settings: Settings) -> Program:
    """16 groups, with both gradients."""
    return _convolution(settings, settings.width(16), gradients=True)


def _convolution(settings: Settings, groups: int, gradients: bool) -> Program:
    width, device, dtype = settings.width(64), device_of(settings), getattr(torch, settings.dtype)
    shape = (settings.batch, width, 64, 64)
    images, above = (
        torch.randn(shape, device=device, dtype=dtype).contiguous(memory_format=torch.channels_last) for _ in range(2)
    )
    layer = nn.Conv2d(width, width, 3, padding=1, groups=groups, bias=False)
    layer = layer.to(device, dtype, memory_format=torch.channels_last)
    images.requires_grad_(gradients)
    forward = compiled(layer, settings)

    def step() -> None:
        if gradients:
            torch.autograd.grad(forward(images), (images, layer.weight), above)
        else:
            with torch.no_grad():
                forward(images)

    return _steps(step, settings)


def matmul(settings: Settings) -> Program:
    """Of two square matrices."""
    side = settings.width(2048)
    matrix = torch.randn(side, side, device=device_of(settings), dtype=getattr(torch, settings.dtype))
    product = compiled(torch.matmul, settings)
    return _steps(lambda: product(matrix, matrix), settings)
