"""PyTorch's twins of jgr's networks for restoration as rows of `experiments/speed.py`: as plain as `speed_torch.py`."""

from typing import Any

import torch
from speed_restoration import NETWORKS, SIGMA
from speed_rows import Program, Settings
from speed_torch import compiled, device_of, on_device, trained
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (as everyone writes it)
from torch_restoration_a import EDSR, DnCNN, DRUNet, FFDNet, SRResNet
from torch_restoration_b import EncoderDecoder, NAFNet, PReNet, Restormer

_CLASSES: dict[str, Any] = {
    "dncnn": DnCNN,
    "ffdnet": FFDNet,
    "drunet": DRUNet,
    "edsr_x2": EDSR,
    "srresnet_x4": SRResNet,
    "nafnet": NAFNet,
    "restormer": Restormer,
    "prenet": PReNet,
    "encoder_decoder": EncoderDecoder,
}


def restoration(settings: Settings) -> Program:
    """Trains the network of the row."""
    setup = NETWORKS[settings.row]
    network = on_device(untrained(settings), settings)
    images, targets = (
        torch.rand(batch, channels, rows, columns, device=device_of(settings)).contiguous(
            memory_format=torch.channels_last
        )
        for batch, rows, columns, channels in setup.shapes(settings.batch, settings.smoke)
    )
    distance = F.l1_loss if setup.loss == "absolute" else F.mse_loss

    def loss(images: Tensor, targets: Tensor) -> Tensor:
        if not setup.enlarges:
            noise = SIGMA * torch.randn_like(images)
            images, targets = images + noise, noise if setup.gives_noise else images
        if setup.noise_map:
            images = torch.cat([images, torch.full_like(images[:, :1], SIGMA)], dim=1)
        made = network(images)
        return distance(made[-1] if setup.name == "prenet" else made, targets)  # its twin gives all stages

    loss_fn = compiled(loss, settings)
    return trained(network, lambda: loss_fn(images, targets), settings)


def untrained(settings: Settings) -> nn.Module:
    """The twin of the row."""
    setup = NETWORKS[settings.row]
    network: nn.Module = _CLASSES[setup.name](**setup.arguments(settings.smoke))
    return network
