"""A task for tests of several processes: a GAN that reports which records and latents a step took."""

import dataclasses

import jax
import jax.numpy as jnp

from jgr.rng import record_keys
from jgr.tasks.gan import GAN


def record_sum(index, position):
    """A sum that tells other records, or another order, apart."""
    return jnp.sum((index.astype(jnp.uint32) + 1) * (position.astype(jnp.uint32) % 8191 + 1), dtype=jnp.uint32)


def bit_sum(latents):
    """The sum of the latents' bits as integers."""
    return jnp.sum(jax.lax.bitcast_convert_type(latents, jnp.uint32), dtype=jnp.uint32)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecordingGAN(GAN):
    def step(self, state, batch, key):
        state, metrics = super().step(state, batch, key)
        latents = self._latents(record_keys(key, batch["position"][0]))
        return state, metrics | {"records": record_sum(batch["index"], batch["position"]), "noise": bit_sum(latents)}
