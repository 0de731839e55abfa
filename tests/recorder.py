"""A task for tests of several processes: a GAN that reports which records and latents a step took."""

import dataclasses

import jax
import jax.numpy as jnp

from jgr.data.digits import Digits
from jgr.errors import DataError
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
        latents = self.latents(record_keys(key, batch["position"][0]))
        return state, metrics | {"records": record_sum(batch["index"], batch["position"]), "noise": bit_sum(latents)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class OneEach(Digits):
    """Data that differs from process to process."""

    name = "one-each"

    def fingerprint(self):
        return f"of process {jax.process_index()}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class HalfBroken(Digits):
    """Data of which one process cannot read a record."""

    name = "half-broken"

    def __getitem__(self, index):
        if jax.process_index() == 1 and index:  # the first is read before training
            raise DataError("record 7 of half-broken: process 1 cannot read it")
        return super().__getitem__(index)

    def fingerprint(self):
        return "of all processes"
