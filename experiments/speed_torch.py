"""PyTorch's side of the rows of `experiments/speed.py`. Each public function makes the `Program` of one row.

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


def _device(settings: Settings) -> torch.device:
    return torch.device("cuda" if settings.device == "gpu" else "cpu")


def _autocast(settings: Settings) -> torch.autocast:
    return torch.autocast(_device(settings).type, torch.bfloat16, enabled=settings.dtype == "bfloat16")


def _on_device(network: nn.Module, settings: Settings) -> Any:
    return network.to(_device(settings), memory_format=torch.channels_last)


def _compiled(function: Callable[..., Any], settings: Settings) -> Callable[..., Any]:
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
    device = _device(settings)
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
    device, batches = _device(settings), _batches(settings, flip)
    generator, discriminator = _on_device(generator, settings), _on_device(discriminator, settings)
    average = copy.deepcopy(generator).requires_grad_(False)
    generator_adam, discriminator_adam = _adam(generator, 2e-4, 0.5), _adam(discriminator, 2e-4, 0.5)
    number = 0

    def discriminator_loss(reals: Tensor, latents: Tensor) -> Tensor:
        with torch.no_grad():
            fakes = generator(latents)
        return F.softplus(-discriminator(reals)).mean() + F.softplus(discriminator(fakes)).mean()

    def generator_loss(latents: Tensor) -> Tensor:
        return F.softplus(-discriminator(generator(latents))).mean()

    losses = _compiled(discriminator_loss, settings), _compiled(generator_loss, settings)

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
    network, batches = _on_device(_VAE(784, settings.width(400), settings.width(20)), settings), _batches(settings)
    loss_fn = _compiled(network, settings)
    return _trained(network, lambda: loss_fn(next(batches)), settings)


def _trained(network: nn.Module, loss_fn: Callable[[], Tensor], settings: Settings) -> Program:
    adam = _adam(network, 1e-3)

    def step() -> None:
        adam.zero_grad()
        with _autocast(settings):
            loss = loss_fn()
        loss.backward()
        adam.step()

    return _steps(step, settings)


def dncnn(settings: Settings) -> Program:
    """The residual denoiser of Zhang et al. 2017: the network estimates the noise."""
    width, depth = settings.width(64), 4 if settings.smoke else 17
    layers: list[nn.Module] = [nn.Conv2d(1, width, 3, padding=1), nn.ReLU()]
    for _ in range(depth - 2):
        layers += [nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    network = nn.Sequential(*layers, nn.Conv2d(width, 1, 3, padding=1))
    return _denoiser(network, (settings.batch, 1, 40, 40), lambda made, clean, noise: F.mse_loss(made, noise), settings)


class _UNet(nn.Module):
    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        pairs = list(itertools.pairwise(widths))
        self.first = self._convolved(3, widths[0])
        self.shrink = nn.ModuleList(nn.Conv2d(low, high, 2, 2) for low, high in pairs)
        self.down = nn.ModuleList(self._convolved(high, high) for _, high in pairs)
        self.enlarge = nn.ModuleList(nn.ConvTranspose2d(high, low, 2, 2) for low, high in pairs[::-1])
        self.up = nn.ModuleList(self._convolved(2 * low, low) for low, _ in pairs[::-1])
        self.last = nn.Conv2d(widths[0], 3, 3, padding=1)

    @staticmethod
    def _convolved(channels: int, width: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1), nn.ReLU()
        )

    def forward(self, images: Tensor) -> Tensor:
        hidden, skips = self.first(images), []
        for shrink, down in zip(self.shrink, self.down, strict=True):
            skips.append(hidden)
            hidden = down(shrink(hidden))
        for enlarge, up in zip(self.enlarge, self.up, strict=True):
            hidden = up(torch.cat([skips.pop(), enlarge(hidden)], dim=1))
        return self.last(hidden)


def unet(settings: Settings) -> Program:
    """A U-Net that denoises."""
    network, shape = _UNet(tuple(map(settings.width, (32, 64, 128, 256)))), (settings.batch, 3, 64, 64)
    return _denoiser(network, shape, lambda made, clean, noise: F.l1_loss(made, clean), settings)


def _denoiser(network: nn.Module, shape: tuple[int, ...], loss: Callable[..., Tensor], settings: Settings) -> Program:
    network = _on_device(network, settings)
    clean = torch.rand(shape, device=_device(settings)).contiguous(memory_format=torch.channels_last)

    def denoising_loss(clean: Tensor) -> Tensor:
        noise = 25 / 255 * torch.randn_like(clean)
        return loss(network(clean + noise), clean, noise)

    loss_fn = _compiled(denoising_loss, settings)
    return _trained(network, lambda: loss_fn(clean), settings)


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
    width, device, dtype = settings.width(64), _device(settings), getattr(torch, settings.dtype)
    shape = (settings.batch, width, 64, 64)
    images, above = (
        torch.randn(shape, device=device, dtype=dtype).contiguous(memory_format=torch.channels_last) for _ in range(2)
    )
    layer = nn.Conv2d(width, width, 3, padding=1, groups=groups, bias=False)
    layer = layer.to(device, dtype, memory_format=torch.channels_last)
    images.requires_grad_(gradients)
    forward = _compiled(layer, settings)

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
    matrix = torch.randn(side, side, device=_device(settings), dtype=getattr(torch, settings.dtype))
    product = _compiled(torch.matmul, settings)
    return _steps(lambda: product(matrix, matrix), settings)
