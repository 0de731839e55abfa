"""The devices of a run, and what lies on which: the only place that makes meshes and shardings."""

import dataclasses
import functools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from jaxtyping import Int

from jgr.errors import ConfigError

_BATCH = ("data", "fsdp")  # a batch is cut along both axes


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mesh:
    """How a run is spread over devices: the config's section `mesh`.

    Batches are cut over all devices. Parameters, optimiser state and average are copied to every device, or, with
    `fsdp`, large arrays of them are cut along their largest axis that can be (as in Rajbhandari et al. 2020, "ZeRO").
    While a step computes, the parameters and gradients of the optimiser at work are whole. The numbers stay the same to
    float tolerance, so a run may go on with another mesh.

    Args:
        data: Copies of the state; None for as many as there are devices.
        fsdp: Devices that share one copy of the state.
        fsdp_min_size: Elements from which on an array is cut.

    Raises:
        ConfigError: A value is impossible; on first use of devices, there are too few, or some process has none.
    """

    data: int | None = None
    fsdp: int = 1
    fsdp_min_size: int = 2**14

    def __post_init__(self) -> None:
        for name in ("data", "fsdp", "fsdp_min_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} = {value} must be at least 1")

    @property
    def size(self) -> int:
        """Number of devices in use."""
        return int(self.devices.size)

    def fits(self) -> bool:
        """Whether there are the devices for it."""
        try:
            return self.size > 0
        except ConfigError:
            return False

    @functools.cached_property
    def devices(self) -> jax.sharding.Mesh:
        """JAX's mesh, with the axes "data" and "fsdp"."""
        available = jax.devices()
        data = self.data or max(len(available) // self.fsdp, 1)
        needed = data * self.fsdp
        if needed > len(available):
            raise ConfigError(
                f"config.mesh: data = {data} times fsdp = {self.fsdp} needs {needed} devices; there are "
                f"{len(available)}. Set config.mesh.data to None to use them all, or config.mesh.fsdp to a divisor"
            )
        if jax.process_count() > 1 and needed != len(available):
            raise ConfigError(
                f"config.mesh: data = {data} times fsdp = {self.fsdp} uses {needed} of {len(available)} devices; "
                f"with {jax.process_count()} processes it must use all"
            )
        # The default axis type, Explicit, refuses reshapes, gathers and covariances of sharded batches.
        return jax.make_mesh((data, self.fsdp), _BATCH, axis_types=(AxisType.Auto,) * 2, devices=available[:needed])

    def check_batch_size(self, batch_size: int, key: str) -> None:
        """Checks that a batch can be cut evenly.

        Raises:
            ConfigError: It cannot; the message begins with `key`.
        """
        if batch_size % self.size:
            lower = batch_size // self.size * self.size
            raise ConfigError(
                f"{key} = {batch_size} must be a multiple of the {self.size} devices: take "
                f"{f'{lower} or ' if lower else ''}{lower + self.size}, or set config.mesh.data"
            )

    def rounded_up(self, batch_size: int) -> int:
        """The least multiple of the number of devices that is no less."""
        return -(-batch_size // self.size) * self.size

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Where functions are called that ask for the mesh, as `gathered` does."""
        with jax.set_mesh(self.devices):
            yield

    @property
    def replicated(self) -> NamedSharding:
        """A copy on every device."""
        return NamedSharding(self.devices, PartitionSpec())

    def batch(self, axis: int = 0) -> NamedSharding:
        """A batch that is cut along `axis`."""
        return NamedSharding(self.devices, PartitionSpec(*(None,) * axis, _BATCH))

    def state(self, abstract: Any) -> Any:
        """The shardings of a state, as a tree of its form.

        Args:
            abstract: The state, or its shapes.
        """
        return jax.tree.map(lambda leaf: NamedSharding(self.devices, self._spec(leaf.shape)), abstract)

    def with_shardings(self, abstract: Any) -> Any:
        """Shapes that say where they lie, from shapes that do not: what a checkpoint is restored into."""
        return jax.tree.map(
            lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
            abstract,
            self.state(abstract),
        )

    def _spec(self, shape: tuple[int, ...]) -> PartitionSpec:
        if self.fsdp == 1 or math.prod(shape) < self.fsdp_min_size:
            return PartitionSpec()
        divisible = [axis for axis, side in enumerate(shape) if side % self.fsdp == 0]
        if not divisible:
            return PartitionSpec()
        widest = max(divisible, key=lambda axis: shape[axis])
        return PartitionSpec(*("fsdp" if axis == widest else None for axis in range(len(shape))))

    def rows(self, batch_size: int) -> Int[np.ndarray, "rows"]:
        """Which records of a batch this process must have, in order.

        Args:
            batch_size: Records of the batch, over all processes; a multiple of the number of devices.
        """
        pieces = self.batch().addressable_devices_indices_map((batch_size,)).values()
        return np.unique(np.concatenate([np.arange(batch_size)[piece] for piece in pieces if piece is not None]))

    def put_batch(self, local: dict[str, np.ndarray], batch_size: int, axis: int = 0) -> dict[str, Any]:
        """A global batch from each process's part of it.

        Args:
            local: Arrays whose `axis` holds the records `rows(batch_size)`.
            batch_size: Records over all processes.
            axis: Where the records lie.
        """
        if self.size == 1:
            return dict(local)  # the compiled function takes them as they are, which costs less
        sharding = self.batch(axis)
        if jax.process_count() == 1:
            return jax.device_put(local, sharding)
        rows = self.rows(batch_size)

        def place(array: np.ndarray) -> jax.Array:
            shape = (*array.shape[:axis], batch_size, *array.shape[axis + 1 :])

            def piece(index: Any) -> np.ndarray:
                wanted = np.arange(batch_size)[index[axis]]
                return np.take(array, np.searchsorted(rows, wanted), axis)

            return jax.make_array_from_callback(shape, sharding, piece)

        return {name: place(array) for name, array in local.items()}

    def put_replicated(self, tree: Any) -> Any:
        """Copies of equal host arrays on every device; every process must give the same."""
        return jax.tree.map(
            lambda array: jax.make_array_from_callback(array.shape, self.replicated, lambda index: array[index]), tree
        )


def gathered(tree: Any) -> Any:
    """Parameters as a network computes with them: whole on every device, however they are kept.

    Without this the compiler may cut the work along the parameters instead of the batch. Outside of `Mesh.entered` it
    changes nothing.
    """
    if jax.sharding.get_abstract_mesh().empty:
        return tree
    return jax.lax.with_sharding_constraint(tree, PartitionSpec())
