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


def _adam(network: nn.Module, rate: float, betas: tuple[float, float] = (0.9, 0.999)) -> torch.optim.Adam:
    return torch.optim.Adam(network.parameters(), lr=rate, betas=betas, fused=True)


def _steps(step: Callable[[], object], settings: Settings) -> Program:
    def run(num_steps: int) -> int:
        for _ in range(num_steps):
            step()
        if settings.device == "gpu":
            torch.cuda.synchronize()
        return num_steps

    return run


def _images(settings: Settings) -> list[Tensor]:
    """The row's, for `batches`."""
    return [torch.from_numpy(np.load(settings.images)).to(device_of(settings))]


def batches(data: Sequence[Tensor], settings: Settings, flip: bool = False) -> Iterator[list[Tensor]]:
    """Images in [0, 1], NCHW and channels last, for ever; every epoch in a random order of its own.

    Args:
        data: uint8 images, NHWC, and what else records have.
        settings: The row's.
        flip: Whether half of the images are mirrored.
    """
    images, *others = data
    while True:
        order = torch.randperm(len(images), device=images.device)
        for index in order.split(settings.batch):
            if len(index) == settings.batch:
                batch = images[index].permute(0, 3, 1, 2).float().div(255)
                if flip:
                    chosen = torch.rand(settings.batch, 1, 1, 1, device=images.device) < 0.5
                    batch = torch.where(chosen, batch.flip(-1), batch)
                yield [batch, *(other[index] for other in others)]


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
    return adversarial(
        generator,
        discriminator,
        batches(_images(settings), settings, flip),
        settings,
        latent_dim=100,
        rates=(2e-4, 2e-4),
        betas=(0.5, 0.999),
        half_life=half_life,
    )


def adversarial(
    generator: nn.Module,
    discriminator: nn.Module,
    records: Iterator[list[Tensor]],
    settings: Settings,
    *,
    latent_dim: int,
    rates: tuple[float, float],
    betas: tuple[float, float],
    hinge: bool = False,
    num_d_steps: int = 1,
    multiple: int = 1,
    half_life: int = 0,
) -> Program:
    """Discriminator, then generator against the updated discriminator, then the generator's average.

    Args:
        generator: Of latents, and of what else records have.
        discriminator: Of images, and of what else records have.
        records: Batches of real images, and of what else records have.
        settings: The row's.
        latent_dim: Length of a latent.
        rates: The generator's learning rate, and the discriminator's.
        betas: Adam's.
        hinge: Whether the loss is the hinge, else the non-saturating one.
        num_d_steps: Updates of the discriminator.
        multiple: Images of the generator's update for each record.
        half_life: Of the average, in images; 0 for none.
    """
    device = device_of(settings)
    generator, discriminator = on_device(generator, settings), on_device(discriminator, settings)
    average = copy.deepcopy(generator).requires_grad_(False) if half_life else None
    generator_adam = _adam(generator, rates[0], betas)
    discriminator_adam = _adam(discriminator, rates[1], betas)
    number = 0

    def discriminator_loss(latents: Tensor, reals: Tensor, *told: Tensor) -> Tensor:
        with torch.no_grad():
            fakes = generator(latents, *told)
        real, fake = discriminator(reals, *told), discriminator(fakes, *told)
        if hinge:
            return F.relu(1 - real).mean() + F.relu(1 + fake).mean()
        return F.softplus(-real).mean() + F.softplus(fake).mean()

    def generator_loss(latents: Tensor, *told: Tensor) -> Tensor:
        logits = discriminator(generator(latents, *told), *told)
        return -logits.mean() if hinge else F.softplus(-logits).mean()

    losses = compiled(discriminator_loss, settings), compiled(generator_loss, settings)

    def latents(count: int) -> Tensor:
        return torch.randn(count, latent_dim, device=device)

    def step() -> None:
        nonlocal number
        discriminator.requires_grad_(True)
        for _ in range(num_d_steps):
            reals, *told = next(records)
            discriminator_adam.zero_grad()
            with _autocast(settings):
                loss = losses[0](latents(settings.batch), reals, *told)
            loss.backward()
            discriminator_adam.step()
        discriminator.requires_grad_(False)
        generator_adam.zero_grad()
        told = [values.repeat_interleave(multiple, 0) for values in told]
        with _autocast(settings):
            loss = losses[1](latents(multiple * settings.batch), *told)
        loss.backward()
        generator_adam.step()
        number += 1
        if average is not None:
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
        pixels = torch.bernoulli(images.flatten(1))
        mean, log_variance = self.encoder(pixels).chunk(2, dim=1)
        logits = self.decoder(mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean))
        reconstruction = F.binary_cross_entropy_with_logits(logits, pixels, reduction="sum")
        divergence = 0.5 * torch.sum(torch.exp(log_variance) + mean**2 - 1 - log_variance)
        return (reconstruction + divergence) / len(pixels)


def mlp_vae(settings: Settings) -> Program:
    """A VAE of two hidden layers."""
    network = on_device(_VAE(784, settings.width(400), settings.width(20)), settings)
    loss_fn, records = compiled(network, settings), batches(_images(settings), settings)
    return trained(network, lambda: loss_fn(*next(records)), settings)


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
