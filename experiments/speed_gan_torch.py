"""PyTorch's twins of jgr's larger GANs as rows of `experiments/speed.py`: as plain as `speed_torch.py`."""

from typing import Any

import torch
import torch_gan
from speed_gan import GAMES, NUM_IMAGES
from speed_rows import Program, Settings
from speed_torch import adversarial, batches, device_of
from torch import nn

_CLASSES: dict[str, tuple[Any, Any]] = {
    "sngan_cnn": (torch_gan.SNGANGenerator, torch_gan.SNGANDiscriminator),
    "sngan_resnet": (torch_gan.ResNetGenerator, torch_gan.ResNetDiscriminator),
    "stylegan2": (torch_gan.StyleGAN2Generator, torch_gan.StyleGAN2Discriminator),
}


def gan(settings: Settings) -> Program:
    """Trains the networks of the row."""
    setup, device = GAMES[settings.row], device_of(settings)
    arguments, _ = setup.arguments(settings.smoke)
    shape = (NUM_IMAGES, arguments["image_size"], arguments["image_size"], arguments["channels"])
    data = [torch.randint(256, shape, dtype=torch.uint8, device=device)]
    if "num_classes" in arguments:
        data.append(torch.randint(arguments["num_classes"], (NUM_IMAGES,), device=device))
    return adversarial(
        *untrained(settings),
        batches(data, settings, setup.flip),
        settings,
        latent_dim=arguments["latent_dim"],
        rates=setup.rates,
        betas=setup.betas,
        hinge=setup.hinge,
        num_d_steps=setup.num_d_steps,
        multiple=setup.multiple,
        half_life=setup.half_life,
    )


def untrained(settings: Settings) -> tuple[nn.Module, nn.Module]:
    """The twins of the row: generator and discriminator."""
    generator, discriminator = GAMES[settings.row].arguments(settings.smoke)
    classes = _CLASSES[settings.row]
    return classes[0](**generator), classes[1](**discriminator)
