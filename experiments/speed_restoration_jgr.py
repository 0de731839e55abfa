"""jgr's networks for restoration as rows of `experiments/speed.py`."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from speed_restoration import NETWORKS, SIGMA, Network
from speed_rows import Program, Settings

from jgr.models.dncnn import DnCNN
from jgr.models.edsr import EDSR, SRResNet
from jgr.models.encoder_decoder import EncoderDecoder
from jgr.models.ffdnet import FFDNet
from jgr.models.nafnet import NAFNet
from jgr.models.prenet import PReNet
from jgr.models.restormer import Restormer
from jgr.models.unet import DRUNet
from jgr.rng import step_key

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
    update, state, arrays = training_step(settings)
    update = jax.jit(update, donate_argnums=0)

    def run(num_steps: int) -> int:
        nonlocal state
        for _ in range(num_steps):
            state, _ = update(state, *arrays)
        jax.block_until_ready(state)
        return num_steps

    return run


def training_step(settings: Settings) -> tuple[Callable[..., Any], Any, tuple[Any, ...]]:
    """A step, not compiled; its first argument, which is its first result, too; and its further arguments.

    The first argument is a tuple of the step's number, parameters, other variables and the optimiser's state.
    """
    setup = NETWORKS[settings.row]
    network = _CLASSES[setup.name](**setup.arguments(settings.smoke), dtype=settings.dtype)
    shape, enlarged = setup.shapes(settings.batch, settings.smoke)
    key, optimizer = jax.random.key(0), optax.adam(1e-3)
    images, targets = (jax.random.uniform(key, of) for of in (shape, enlarged))
    variables = dict(jax.jit(lambda key: network.init(key, _inputs(setup, images), train=True))(key))
    params = variables.pop("params")

    def loss_fn(params: Any, variables: Any, images: Any, targets: Any, key: Any) -> Any:
        if not setup.enlarges:
            noise = SIGMA * jax.random.normal(key, shape)
            images, targets = images + noise, noise if setup.gives_noise else images
        made, variables = network.apply(
            {"params": params, **variables}, _inputs(setup, images), train=True, mutable=list(variables)
        )
        return jnp.mean(abs(made - targets) if setup.loss == "absolute" else (made - targets) ** 2), variables

    def update(state: Any, images: Any, targets: Any, key: Any) -> Any:
        number, params, variables, opt_state = state
        (value, variables), gradients = jax.value_and_grad(loss_fn, has_aux=True)(
            params, variables, images, targets, step_key(key, number)
        )
        changes, opt_state = optimizer.update(gradients, opt_state, params)
        return (number + 1, optax.apply_updates(params, changes), variables, opt_state), value

    return update, (jnp.int32(0), params, variables, optimizer.init(params)), (images, targets, key)


def _inputs(setup: Network, images: Any) -> Any:
    """With the map of the noise, where the network wants one."""
    if not setup.noise_map:
        return images
    return jnp.concatenate([images, jnp.full_like(images[..., :1], SIGMA)], axis=-1)
