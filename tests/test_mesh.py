import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from jgr.checkpoint import Checkpointer
from jgr.errors import ConfigError
from jgr.mesh import Mesh
from jgr.state import TrainState, checksums


def test_all_devices_share_the_data_by_default():
    mesh = Mesh()
    assert dict(mesh.devices.shape) == {"data": 4, "fsdp": 1}
    assert dict(Mesh(fsdp=2).devices.shape) == {"data": 2, "fsdp": 2}
    assert Mesh(data=1).size == 1


def test_axes_are_auto_so_that_sharded_batches_can_be_reshaped_and_gathered():
    mesh = Mesh()
    assert set(mesh.devices.axis_types) == {AxisType.Auto}
    batch = jax.device_put(np.arange(32.0).reshape(8, 4), mesh.batch())
    result = jax.jit(lambda x: (x.reshape(4, 8)[jnp.array([0, 3])], x.T @ x))(batch)
    np.testing.assert_array_equal(result[0], np.arange(32.0).reshape(4, 8)[[0, 3]])


@pytest.mark.parametrize("mesh", [Mesh(data=3, fsdp=2), Mesh(fsdp=5), Mesh(data=5)])
def test_too_few_devices(mesh):
    with pytest.raises(ConfigError, match=r"config\.mesh: data = \d times fsdp = \d needs \d devices; there are 4"):
        _ = mesh.devices
    assert not mesh.fits()


def test_impossible_values():
    for name in ("data", "fsdp", "fsdp_min_size"):
        with pytest.raises(ConfigError, match=f"{name} = 0 must be at least 1"):
            Mesh(**{name: 0})
    with pytest.raises(ConfigError, match=r"batch = 10 must be a multiple of the 4 devices: take 8 or 12"):
        Mesh().check_batch_size(10, "batch")
    with pytest.raises(ConfigError, match=r"batch = 3 must be a multiple of the 4 devices: take 4, or"):
        Mesh().check_batch_size(3, "batch")


def test_a_batch_lies_in_equal_parts():
    mesh = Mesh(data=2, fsdp=2)
    local = {"x": np.arange(24).reshape(2, 4, 3)}
    put = mesh.put_batch(local, 4, axis=1)["x"]
    np.testing.assert_array_equal(put, local["x"])
    assert {shard.data.shape for shard in put.addressable_shards} == {(2, 1, 3)}
    np.testing.assert_array_equal(mesh.rows(4), np.arange(4))


@pytest.mark.parametrize(
    ("shape", "spec"),
    [
        ((16, 64), PartitionSpec(None, "fsdp")),  # the largest axis
        ((3, 3, 64, 63), PartitionSpec(None, None, "fsdp", None)),  # the largest that can be cut
        ((64, 64), PartitionSpec("fsdp", None)),  # the first of equals
        ((1023,), PartitionSpec()),  # small
        ((2049, 3), PartitionSpec()),  # no axis can be cut
        ((), PartitionSpec()),
    ],
)
def test_what_fsdp_cuts(shape, spec):
    mesh = Mesh(fsdp=4, fsdp_min_size=1024)
    leaf = jax.ShapeDtypeStruct(shape, jnp.float32)
    assert mesh.state({"leaf": leaf})["leaf"].spec == spec
    assert Mesh().state({"leaf": leaf})["leaf"].spec == PartitionSpec()


def make_state():
    keys = jax.random.split(jax.random.key(0), 3)
    return TrainState(
        step=jnp.int32(5),
        params={"net": {"w": jax.random.normal(keys[0], (64, 40)), "b": jax.random.normal(keys[1], (64,))}},
        model_state={"net": {"seen": jnp.array([True, False]), "half": jnp.ones((7, 8), jnp.bfloat16)}},
        opt_state={"net": jax.random.normal(keys[2], (64, 40))},
    )


LAYOUTS = [Mesh(data=1), Mesh(), Mesh(fsdp=4, fsdp_min_size=64), Mesh(data=2, fsdp=2, fsdp_min_size=64)]


@pytest.mark.parametrize("saved", LAYOUTS[2:])
def test_a_checkpoint_restores_bit_for_bit_into_any_layout(tmp_path, saved):
    state = make_state()
    expected = checksums(state)
    placed = jax.device_put(state, saved.state(state))
    assert checksums(placed) == expected
    with Checkpointer(tmp_path) as checkpointer:
        checkpointer.save(5, placed, position=0)
    for layout in LAYOUTS:
        with Checkpointer(tmp_path, read_only=True) as reader:
            restored, _ = reader.restore(5, layout.with_shardings(jax.eval_shape(make_state)))
        assert checksums(restored) == expected
        assert restored.params["net"]["w"].sharding == layout.state(state).params["net"]["w"]
