"""jgr's larger GANs as rows of `experiments/speed.py`: the whole training step of their configs."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from speed_gan import GAMES, NUM_IMAGES
from speed_jgr import CONFIGS, opened, trained
from speed_rows import Program, Settings

from jgr.config import load_config_file
from jgr.jobs.experiment import Experiment


@dataclasses.dataclass(frozen=True, kw_only=True)
class Noise:
    """A source of random pixels and labels, for as many records as it has."""

    side: int
    channels: int
    num_classes: int
    name = "noise"

    def __len__(self) -> int:
        return NUM_IMAGES

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        shape = (self.side, self.side, self.channels)
        draws = (np.random.default_rng(index) for index in indices)
        return [
            {"image": draw.integers(0, 256, shape, np.uint8), "label": int(draw.integers(self.num_classes))}
            for draw in draws
        ]


def gan(settings: Settings) -> Program:
    """Trains the networks of the row."""
    return trained(experiment(settings))


def experiment(settings: Settings) -> Experiment:
    """The row's config, with the arguments of the row's networks, on noise."""
    setup = GAMES[settings.row]
    config = load_config_file(str(CONFIGS / setup.config))
    generator, discriminator = setup.arguments(settings.smoke)
    config.task.generator.update(generator)
    config.task.discriminator.update(discriminator)
    if "num_classes" in generator:
        config.task.num_classes = generator["num_classes"]
    config.task.penalties = {}  # R1 is not due in the step that is timed
    config.data.source = dict(
        cls="speed_gan_jgr.Noise",
        side=generator["image_size"],
        channels=generator["channels"],
        num_classes=generator.get("num_classes", 1),
    )
    return opened(config, settings)
