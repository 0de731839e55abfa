"""jgr's side of the rows of `experiments/speed.py`. Each public function makes the `Program` of one row."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict
from speed_rows import Program, Settings

from jgr.config import load_config_file, resolve
from jgr.jobs.experiment import Experiment, open_experiment
from jgr.jobs.step import abstract_state, initial_state, make_loader, make_step
from jgr.layers import Conv
from jgr.tasks.update import FINITE

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Images:
    """A source: the decoded images of a .npy file, so that no row times the decoding."""

    path: str
    name = "images"

    def __len__(self) -> int:
        return len(np.load(self.path, mmap_mode="r"))

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        return [{"image": image} for image in np.load(self.path, mmap_mode="r")[list(indices)]]


def mlp_gan_mnist(settings: Settings) -> Program:
    """`configs/gan/mlp_gan_mnist.py`."""
    return _trained("gan/mlp_gan_mnist.py", settings)


def dcgan_mnist(settings: Settings) -> Program:
    """`configs/gan/dcgan_mnist.py`."""
    return _trained("gan/dcgan_mnist.py", settings)


def dcgan_cifar10(settings: Settings) -> Program:
    """`configs/gan/dcgan_cifar10.py` with the networks and the updates of `dcgan_mnist`."""
    config = _on_images("gan/dcgan_cifar10.py", settings)
    config.task.generator.width = config.task.discriminator.width
    config.task.discriminator.batch_norm = False
    config.task.generator_multiple = 1
    for optimizer in (config.task.generator_optimizer, config.task.discriminator_optimizer):
        optimizer.rule.b2 = 0.999
        optimizer.schedule.decay = "constant"
    config.train.average = dict(half_life="100000 examples")
    return trained(opened(config, settings))


def _trained(config_file: str, settings: Settings) -> Program:
    return trained(opened(_on_images(config_file, settings), settings))


def _on_images(config_file: str, settings: Settings) -> ConfigDict:
    """A config on the row's images."""
    config = load_config_file(f"{CONFIGS / config_file}{':smoke' if settings.smoke else ''}")
    config.data.source = dict(cls="speed_jgr.Images", path=settings.images)
    return config


def opened(config: ConfigDict, settings: Settings) -> Experiment:
    """The experiment of a config, with the batch and the type of the settings."""
    config.train.batch_size = settings.batch
    config.train.dtype = settings.dtype
    return open_experiment(resolve(config, Experiment))


def trained(experiment: Experiment) -> Program:
    """The training loop: the experiment's loader, its step, and the reading of the checks for finite values."""
    loader = make_loader(experiment)
    abstract = abstract_state(experiment, loader)
    step, state = make_step(experiment, loader, abstract), initial_state(experiment, loader, abstract)
    per_call, done = loader.steps_per_call, 0

    def run(num_steps: int) -> int:
        nonlocal state, done
        num_steps = -(-num_steps // per_call) * per_call
        checks = []
        for start, host_batches in enumerate(loader.batches(done, done + num_steps)):
            state, metrics = step(state, loader.arrays, host_batches, done + start * per_call)
            checks.append({name: value for name, value in metrics.items() if name.startswith(FINITE)})
        done += num_steps
        if not all(np.all(value) for check in jax.device_get(checks) for value in check.values()):
            raise FloatingPointError(f"not finite within the first {done} steps")
        jax.block_until_ready(state)
        return num_steps

    return run


def mlp_vae(settings: Settings) -> Program:
    """`configs/vae/vae_mnist.py` with other widths."""
    config = load_config_file(f"{CONFIGS / 'vae/vae_mnist.py'}")
    networks = dict(latent_dim=settings.width(20), widths=(settings.width(400),), activation="relu")
    config.task.encoder.update(networks)
    config.task.decoder.update(networks)
    config.task.optimizer.schedule = dict(decay="constant")
    # Whole multiples of the steps of a call, whatever the batch.
    with config.ignore_type():
        config.train.update(num_steps=100_000, checkpoint_every=10_000, sample_every=0)
    del config.train.average  # the other side has none
    config.data.source = dict(cls="speed_jgr.Images", path=settings.images)
    return trained(opened(config, settings))


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
    width = settings.width(64)
    layer = Conv(width, (3, 3), use_bias=False, feature_group_count=groups, dtype=settings.dtype)
    keys = jax.random.split(jax.random.key(0), 3)
    images = jax.random.normal(keys[0], (settings.batch, 64, 64, width), settings.dtype)
    above = jax.random.normal(keys[1], images.shape, settings.dtype)
    variables = layer.init(keys[2], images)

    def forward(variables: Any, images: Any, above: Any) -> Any:
        return layer.apply(variables, images)

    def backward(variables: Any, images: Any, above: Any) -> Any:
        made, pull = jax.vjp(layer.apply, variables, images)
        return made, pull(above)

    return _repeated(jax.jit(backward if gradients else forward), variables, images, above)


def matmul(settings: Settings) -> Program:
    """Of two square matrices."""
    side = settings.width(2048)
    matrix = jax.random.normal(jax.random.key(0), (side, side), settings.dtype)
    return _repeated(jax.jit(jnp.matmul), matrix, matrix)


def _repeated(function: Callable[..., Any], *arguments: Any) -> Program:
    def run(num_steps: int) -> int:
        for _ in range(num_steps):
            result = function(*arguments)
        jax.block_until_ready(result)
        return num_steps

    return run
