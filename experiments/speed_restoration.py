"""The networks for restoration that `experiments/speed.py` times: one entry each. Imports neither JAX nor PyTorch.

A step draws Gaussian noise of `SIGMA`, adds it to constant images, and fits what the network makes of them to the
images; networks that enlarge get constant small images and no noise. Those of jgr and their PyTorch twins
(`torch_restoration_a.py`, `torch_restoration_b.py`) take the same arguments.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal

import speed_flops

SIGMA = 25 / 255


@dataclasses.dataclass(frozen=True, kw_only=True)
class Network:
    """One network, trained.

    Args:
        name: Of the row.
        about: What it is, for the table's notes.
        batch: Images in a step.
        side: Rows and columns of the network's input; 16 in a smoke test.
        loss: "absolute" or "squared" differences, their mean.
        sizes: Arguments that both frameworks' classes take; among them "channels".
        smoke: Those that are other in a smoke test.
        layers_of: Operations of the layers from `side` and `sizes`, forwards, an image.
        noise_map: Whether the input has a further channel with the noise's standard deviation.
        gives_noise: Whether the network's result is the noise.
    """

    name: str
    about: str
    batch: int
    side: int
    loss: Literal["absolute", "squared"]
    sizes: Mapping[str, Any]
    smoke: Mapping[str, Any]
    layers_of: Callable[..., list[float]]
    noise_map: bool = False
    gives_noise: bool = False

    @property
    def enlarges(self) -> bool:
        """Whether the result has more pixels than the input."""
        return "scale" in self.sizes

    def arguments(self, smoke: bool) -> dict[str, Any]:
        """Of the class, on both sides."""
        return {**self.sizes, **(self.smoke if smoke else {})}

    def shapes(self, batch: int, smoke: bool) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Of the images, NHWC and without the noise map, and of the result."""
        side, channels = self._side(smoke), self.sizes["channels"]
        enlarged = side * self.sizes.get("scale", 1)
        return (batch, side, side, channels), (batch, enlarged, enlarged, channels)

    def layers(self, smoke: bool = False) -> list[float]:
        """Operations of the layers, forwards, an image; the first needs no gradient of its input."""
        sizes = {name: size for name, size in self.arguments(smoke).items() if name != "patch_size"}
        return self.layers_of(self._side(smoke), **sizes)

    def flops(self, smoke: bool = False) -> float:
        """Operations of a step an image."""
        return speed_flops.training(self.layers(smoke))

    def _side(self, smoke: bool) -> int:
        return 16 if smoke else self.side


NETWORKS = {
    network.name: network
    for network in (
        Network(
            name="dncnn",
            about="DnCNN: 17 convolutions 3x3 of 64 channels, batch norm and ReLU, squared error of the noise; 40x40x1",
            batch=32,
            side=40,
            loss="squared",
            sizes=dict(channels=1, depth=17, width=64),
            smoke=dict(depth=3, width=4),
            layers_of=speed_flops.dncnn,
            gives_noise=True,
        ),
        Network(
            name="ffdnet",
            about="FFDNet: 15 convolutions 3x3 of 64 channels at half resolution, squared error; 64x64x1 and noise map",
            batch=16,
            side=64,
            loss="squared",
            sizes=dict(channels=1, depth=15, width=64),
            smoke=dict(depth=3, width=4),
            layers_of=speed_flops.ffdnet,
            noise_map=True,
        ),
        Network(
            name="drunet",
            about="DRUNet: 4 levels of 32 to 256 channels (half the paper's), 4 residual blocks a level and way, L1; "
            "64x64x1 and noise map",
            batch=8,
            side=64,
            loss="absolute",
            sizes=dict(channels=1, width=32, levels=4, blocks=4),
            smoke=dict(width=4, levels=3, blocks=1),
            layers_of=speed_flops.drunet,
            noise_map=True,
        ),
        Network(
            name="edsr_x2",
            about="EDSR baseline: 16 residual blocks of 64 channels, L1; 48x48x3 to 96x96x3",
            batch=4,
            side=48,
            loss="absolute",
            sizes=dict(scale=2, channels=3, width=64, blocks=16),
            smoke=dict(width=4, blocks=1),
            layers_of=speed_flops.edsr,
        ),
        Network(
            name="srresnet_x4",
            about="SRResNet: 16 residual blocks of 64 channels with batch norm, squared error; 24x24x3 to 96x96x3",
            batch=8,
            side=24,
            loss="squared",
            sizes=dict(scale=4, channels=3, width=64, blocks=16),
            smoke=dict(width=4, blocks=1),
            layers_of=speed_flops.srresnet,
        ),
        Network(
            name="nafnet",
            about="NAFNet: width 32, 12 blocks (GoPro's setting with 4 instead of 28 at level four), squared error; "
            "64x64x3",
            batch=8,
            side=64,
            loss="squared",
            sizes=dict(channels=3, width=32, encoder_blocks=(1, 1, 1, 4), middle_blocks=1, decoder_blocks=(1, 1, 1, 1)),
            smoke=dict(width=2, encoder_blocks=(1, 0), middle_blocks=1, decoder_blocks=(0, 1)),
            layers_of=speed_flops.nafnet,
        ),
        Network(
            name="restormer",
            about="Restormer: width 24 (half the paper's), blocks (1, 2, 2, 2) and 1 of refinement, L1; 64x64x3",
            batch=4,
            side=64,
            loss="absolute",
            sizes=dict(
                channels=3, width=24, blocks=(1, 2, 2, 2), refinement_blocks=1, heads=(1, 2, 4, 8), expansion=2.66
            ),
            smoke=dict(width=4, blocks=(0, 1, 1), heads=(1, 1, 1)),
            layers_of=speed_flops.restormer,
        ),
        Network(
            name="prenet",
            about="PReNet: 6 stages of an LSTM and 5 residual blocks of 32 channels, squared error of the last stage; "
            "64x64x3",
            batch=4,
            side=64,
            loss="squared",
            sizes=dict(channels=3, width=32, stages=6, blocks=5),
            smoke=dict(width=4, stages=2, blocks=1),
            layers_of=speed_flops.prenet,
        ),
        Network(
            name="encoder_decoder",
            about="encoder-decoder: 3 levels of 32 to 128 channels, batch norm, code of 256, squared error; 32x32x3",
            batch=64,
            side=32,
            loss="squared",
            sizes=dict(channels=3, patch_size=32, widths=(32, 64, 128), bottleneck=256),
            smoke=dict(patch_size=16, widths=(4, 6), bottleneck=8),
            layers_of=speed_flops.encoder_decoder,
        ),
    )
}
