"""The larger GANs that `experiments/speed.py` times: one entry each. Imports neither JAX nor PyTorch.

A step is that of a config: updates of the discriminator, each on fresh images and latents, then one of the generator.
The images, and labels where the config has them, are noise held in memory. The networks of jgr and their PyTorch twins
(`torch_gan.py`) take the same arguments.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import speed_flops

NUM_IMAGES = 2048  # of noise


@dataclasses.dataclass(frozen=True, kw_only=True)
class Game:
    """Two networks, trained in turn.

    Args:
        name: Of the row.
        about: What it is, for the table's notes.
        batch: Real images in an update.
        config: Of jgr, in configs/.
        networks: Arguments that both networks' classes take, in both frameworks.
        generator: Further ones of the generator.
        discriminator: Further ones of the discriminator.
        smoke: Values in a smoke test, of those arguments that are other there.
        generator_layers: Operations of the layers from the arguments, forwards, an image.
        discriminator_layers: The same of the discriminator.
        label_layers: The same of layers of the discriminator that see the label alone.
        rates: Learning rate of the generator, and of the discriminator.
        betas: Adam's.
        hinge: Whether the loss is the hinge, else the non-saturating one.
        num_d_steps: Updates of the discriminator in a step.
        multiple: Images of the generator's update for each real image of a batch.
        half_life: Of the generator's average, in images; 0 for none.
        flip: Whether half of the real images are mirrored.
    """

    name: str
    about: str
    batch: int
    config: str
    networks: Mapping[str, Any]
    generator: Mapping[str, Any]
    discriminator: Mapping[str, Any]
    smoke: Mapping[str, Any]
    generator_layers: Callable[..., list[float]]
    discriminator_layers: Callable[..., list[float]]
    label_layers: Callable[..., list[float]] | None = None
    rates: tuple[float, float] = (2e-4, 2e-4)
    betas: tuple[float, float] = (0.0, 0.9)
    hinge: bool = True
    num_d_steps: int = 1
    multiple: int = 1
    half_life: int = 0
    flip: bool = False

    def arguments(self, smoke: bool) -> tuple[dict[str, Any], dict[str, Any]]:
        """Of the generator's class and of the discriminator's, on both sides."""
        generator, discriminator = (
            {name: self.smoke.get(name, value) if smoke else value for name, value in (self.networks | own).items()}
            for own in (self.generator, self.discriminator)
        )
        return generator, discriminator

    def flops(self, **form: Any) -> float:
        """Operations of a step, for each real image of a batch.

        Args:
            **form: Of the generator's operations, see `generator_layers`.
        """
        generator, discriminator = self.arguments(smoke=False)
        return speed_flops.gan_training(
            self.generator_layers(**generator, **form),
            self.discriminator_layers(**discriminator),
            self.num_d_steps,
            self.multiple,
            self.label_layers(**discriminator) if self.label_layers else (),
        )


GAMES = {
    game.name: game
    for game in (
        Game(
            name="sngan_cnn",
            about="1 update of the discriminator with spectral norm, 1 of the generator on twice the images, hinge; "
            "32x32x3",
            batch=128,
            config="gan/sngan_cnn_cifar10.py",
            networks=dict(image_size=32, channels=3, width=64),
            generator=dict(latent_dim=100),
            discriminator={},
            smoke=dict(image_size=8, width=4),
            generator_layers=speed_flops.sngan_generator,
            discriminator_layers=speed_flops.sngan_discriminator,
            multiple=2,
        ),
        Game(
            name="sngan_resnet",
            about="5 updates of the discriminator with spectral norm, 1 of the generator on twice the images, hinge; "
            "32x32x3",
            batch=64,
            config="gan/sngan_resnet_cifar10.py",
            networks=dict(image_size=32, channels=3),
            generator=dict(latent_dim=128, widths=(256,) * 4),
            discriminator=dict(widths=(128,) * 4, num_down=2),
            smoke=dict(image_size=8, widths=(4, 4), num_down=1),
            generator_layers=speed_flops.resnet_generator,
            discriminator_layers=speed_flops.resnet_discriminator,
            num_d_steps=5,
            multiple=2,
        ),
        Game(
            name="stylegan2",
            about="128 channels and styles of 128 (a quarter of the config's), labels, flips, non-saturating, average "
            "of the generator; a step without R1, which is due every 16 steps; 32x32x3",
            batch=32,
            config="gan/stylegan2_cifar10.py",
            networks=dict(image_size=32, channels=3, width=128, max_width=128, num_classes=10),
            generator=dict(latent_dim=128, style_dim=128, mapping_layers=2),
            discriminator=dict(mapping_layers=8),
            smoke=dict(image_size=8, width=4, max_width=8, latent_dim=8, style_dim=8, num_classes=3, mapping_layers=2),
            generator_layers=speed_flops.stylegan2_generator,
            discriminator_layers=speed_flops.stylegan2_discriminator,
            label_layers=speed_flops.stylegan2_labels,
            rates=(0.0025 * 4 / 5, 0.0025),
            betas=(0.0, 0.99),
            hinge=False,
            half_life=500_000,
            flip=True,
        ),
    )
}
