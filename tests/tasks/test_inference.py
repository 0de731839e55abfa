import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jgr.errors import ConfigError, DataError
from jgr.layers.padding import pad_to, pad_to_multiple
from jgr.state import TrainState
from jgr.tasks.inference import AppliedRestorer, Inference, tile_starts, tile_weights, turned, turned_back

CORNER = ((0.1, -0.3, 0.2), (0.5, 0.7, -0.1), (0.0, 0.4, -0.6))  # no symmetry
ROUND = ((0.05, 0.1, 0.05), (0.1, 0.4, 0.1), (0.05, 0.1, 0.05))


def _state(filter=CORNER):
    params = {"filter": jnp.asarray(filter, jnp.float32)}
    return TrainState(step=jnp.int32(0), params=params, model_state={}, opt_state={})


def _filtered(images, kernel):
    """Each channel correlated with the kernel, beyond the border zeros; of NumPy arrays by NumPy."""
    size, pad = kernel.shape[0], jnp.pad
    if isinstance(images, np.ndarray):
        kernel, pad = np.asarray(kernel), np.pad
    padded = pad(images, ((0, 0), (size // 2, size // 2), (size // 2, size // 2), (0, 0)))
    height, width = images.shape[1:3]
    shifts = itertools.product(range(size), range(size))
    return sum(kernel[y, x] * padded[:, y : y + height, x : x + width] for y, x in shifts)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Network:
    """Some filters in a row: a result depends on pixels at most `depth` away."""

    depth: int = 1

    def restore(self, state, batch, keys):
        images = batch["image"]
        for _ in range(self.depth):
            images = _filtered(images, state.params["filter"])
            images = images / (1 + abs(images))
        return images


@dataclasses.dataclass(frozen=True, kw_only=True)
class Blocks:
    """Means of 4x4 blocks of a grid, as a network that pools: a result depends on pixels at most 3 away."""

    multiple: int = 4

    def restore(self, state, batch, keys):
        height, width = batch["image"].shape[1:3]
        images = pad_to_multiple(batch["image"], 4)
        size, rows, columns, channels = images.shape
        means = images.reshape(size, rows // 4, 4, columns // 4, 4, channels).mean(axis=(2, 4))
        return means.repeat(4, axis=1).repeat(4, axis=2)[:, :height, :width]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Enlarged:
    """A filter, then each pixel as 2x2."""

    scale: int = 2

    def restore(self, state, batch, keys):
        return _filtered(batch["image"], state.params["filter"]).repeat(2, axis=1).repeat(2, axis=2)


class Told:
    """Uses all that a batch tells, and its keys."""

    def restore(self, state, batch, keys):
        noise = jax.vmap(jax.random.uniform)(keys)
        scale = (batch["sigma"] + noise).reshape(-1, 1, 1, 1)
        return scale * batch["image"] * batch["mask"] + batch["noise_map"]


class Blurred:
    """Each image filtered with its own kernel."""

    def restore(self, state, batch, keys):
        pairs = zip(batch["image"], batch["kernel"], strict=True)
        return jnp.concatenate([_filtered(image[None], kernel) for image, kernel in pairs])


class MeanTaken:
    """Depends on the whole image."""

    def restore(self, state, batch, keys):
        return batch["image"] - batch["image"].mean(axis=(1, 2, 3), keepdims=True)


class OnHost:
    on_host = True

    def restore(self, state, batch, keys):
        assert all(isinstance(value, np.ndarray) for value in batch.values())
        return batch["image"] * 2


def _batch(height, width, channels=2, batch=2, **more):
    images = np.random.RandomState(0).random_sample((batch, height, width, channels)).astype(np.float32)
    return {"image": images, **more}


KEYS = jax.random.split(jax.random.key(0), 2)


def _applied(task, batch, state=None, **settings):
    return AppliedRestorer(task, Inference(**settings))(state or _state(), batch, KEYS[: len(batch["image"])])


def test_by_default_it_is_the_task_itself_on_the_device():
    batch = _batch(7, 9)
    restored = _applied(Network(), batch)
    assert isinstance(restored, jax.Array)
    np.testing.assert_allclose(restored, Network().restore(_state(), batch, KEYS), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({}, ""),
        ({"tile": 256}, "tile256o32"),
        ({"ensemble": True, "overlap": 8}, "x8"),
        ({"tile": 256, "ensemble": True, "bucket": 64}, "tile256o32+x8+bucket64"),
    ],
)
def test_names(settings, name):
    assert Inference(**settings).name == name


# Tiles


@pytest.mark.parametrize("overlap", [16, 17, 18, 19])
def test_tiles_are_the_whole_image_where_the_overlap_suffices(overlap):
    """Of a network that sees 4 pixels far, a quarter of the overlap."""
    restorer = AppliedRestorer(Network(depth=4), Inference(tile=40, overlap=overlap))
    for size in [(40, 40), (41, 63), (100, 64), (64, 137)]:
        batch = _batch(*size)
        expected = Network(depth=4).restore(_state(), batch, KEYS)
        np.testing.assert_allclose(restorer(_state(), batch, KEYS), expected, atol=1e-6)
    assert restorer.compilations == 1


def test_a_smaller_overlap_than_the_network_needs_is_seen():
    """Else the test above could not fail."""
    batch = _batch(100, 64)
    expected = Network(depth=4).restore(_state(), batch, KEYS)
    assert np.abs(_applied(Network(depth=4), batch, tile=40, overlap=8) - expected).max() > 1e-3


@pytest.mark.parametrize("size", [(33, 47), (61, 32), (50, 70)])
def test_tiles_keep_to_the_grid_of_a_network_that_pools(size):
    batch = _batch(*size)
    expected = Blocks().restore(_state(), batch, KEYS)
    np.testing.assert_allclose(_applied(Blocks(), batch, tile=32, overlap=14), expected, atol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (1, 90), (70, 1), (20, 90), (12, 31)])
def test_sides_below_the_tile_are_mirrored_up_to_it(size):
    batch = _batch(*size)
    padded = {"image": pad_to(batch["image"], 32, 32)}
    expected = Network(depth=3).restore(_state(), padded, KEYS)[:, : size[0], : size[1]]
    restored = _applied(Network(depth=3), batch, tile=32, overlap=12)
    assert restored.shape == batch["image"].shape
    np.testing.assert_allclose(restored, expected, atol=1e-6)


def test_tiles_of_enlarged_images():
    batch = _batch(50, 37)
    expected = Enlarged().restore(_state(), batch, KEYS)
    assert expected.shape == (2, 100, 74, 2)
    np.testing.assert_allclose(_applied(Enlarged(), batch, tile=24, overlap=8), expected, atol=1e-6)
    np.testing.assert_allclose(_applied(Enlarged(), _batch(9, 5), tile=24, overlap=8).shape, (2, 18, 10, 2))


def test_maps_are_cut_with_the_image_and_the_rest_passes():
    mask = np.random.RandomState(1).random_sample((2, 50, 40, 1)).astype(np.float32)
    more = {
        "mask": mask,
        "noise_map": mask[..., [0, 0]] / 2,
        "sigma": np.float32([1, 2]),
        "target": np.float32([np.nan]),
    }
    batch = _batch(50, 40, **more, index=np.int32([3, 4]))
    expected = Told().restore(_state(), batch, KEYS)
    for settings in ({"tile": 16, "overlap": 4}, {"bucket": 64}, {"ensemble": True}, {"tile": 16, "ensemble": True}):
        np.testing.assert_allclose(_applied(Told(), batch, **{"overlap": 4, **settings}), expected, atol=1e-6)


def test_seams_of_a_network_that_sees_further_are_ramps():
    """The means of neighbouring tiles differ by 0.08, which a ramp of 16 pixels spreads."""
    slope = np.linspace(0.0, 1.0, 301, dtype=np.float32)
    image = np.broadcast_to(slope[None, None, :, None], (1, 64, 301, 1))
    blended = np.abs(np.diff(_applied(MeanTaken(), {"image": image}, tile=64, overlap=32), axis=2)).max()
    hard = np.abs(np.diff(_applied(MeanTaken(), {"image": image}, tile=64, overlap=0), axis=2)).max()
    assert hard > 0.1
    assert blended < 0.012


@pytest.mark.parametrize(
    ("tile", "overlap", "multiple"), [(8, 0, 1), (8, 1, 1), (8, 4, 1), (9, 4, 1), (32, 12, 4), (7, 3, 1)]
)
def test_weights_sum_to_one_exactly_and_spare_the_edges(tile, overlap, multiple):
    for side in range(tile, 5 * tile, multiple):
        starts = tile_starts(side, tile, overlap, multiple)
        assert (starts[0], starts[-1]) == (0, side - tile)
        assert not any(start % multiple for start in starts)
        assert all(after - start <= tile - overlap for start, after in itertools.pairwise(starts))
        total = np.zeros(side, np.float32)
        for start, weights in zip(starts, tile_weights(starts, tile, overlap), strict=True):
            total[start : start + tile] += weights
            assert start == 0 or not weights[: overlap // 4].any()
            assert start == side - tile or not weights[tile - overlap // 4 :].any()
        assert (total == 1.0).all()


def test_a_tile_that_fits_needs_no_seam():
    assert tile_starts(32, 32, 8) == [0]
    assert tile_starts(33, 32, 8) == [0, 1]
    assert tile_starts(57, 32, 8) == [0, 24, 25]


# The ensemble


def _by_hand(task, state, batch):
    """The mean over the eight, one image at a time, with transpositions and flips instead of turns."""
    results = []
    for number in range(len(batch["image"])):
        total = 0.0
        for transposed, up, left in itertools.product([False, True], repeat=3):

            def there(x, transposed=transposed, up=up, left=left):
                x = x.swapaxes(0, 1) if transposed else x
                x = x[::-1] if up else x
                return x[:, ::-1] if left else x

            def back(x, transposed=transposed, up=up, left=left):
                x = x[:, ::-1] if left else x
                x = x[::-1] if up else x
                return x.swapaxes(0, 1) if transposed else x

            part = {name: there(value[number])[None] for name, value in batch.items()}
            total = total + back(np.asarray(task.restore(state, part, KEYS[:1]))[0])
        results.append(total / 8)
    return np.stack(results)


@pytest.mark.parametrize("task", [Network(), Enlarged()], ids=["same_size", "enlarged"])
def test_the_ensemble_is_the_mean_over_flips_and_turns(task):
    batch = _batch(6, 9)
    expected = _by_hand(task, _state(), batch)
    np.testing.assert_allclose(_applied(task, batch, ensemble=True), expected, atol=1e-6)
    assert np.abs(expected - task.restore(_state(), batch, KEYS)).max() > 0.05  # that it does something


@pytest.mark.parametrize("size", [(8, 8), (5, 9)])
def test_an_equivariant_network_needs_no_ensemble(size):
    batch = _batch(*size)
    restorer = AppliedRestorer(Network(), Inference(ensemble=True))
    expected = Network().restore(_state(ROUND), batch, KEYS)
    np.testing.assert_allclose(restorer(_state(ROUND), batch, KEYS), expected, atol=1e-6)
    assert restorer.compilations == len(set(size))  # both ways round, unless it is square


def test_kernels_are_turned_with_their_images():
    """A filter with a kernel of no symmetry is equivariant if both turn alike."""
    kernel = np.random.RandomState(2).random_sample((2, 5, 5)).astype(np.float32)
    batch = _batch(8, 11, kernel=kernel)
    expected = Blurred().restore(_state(), batch, KEYS)
    np.testing.assert_allclose(_applied(Blurred(), batch, ensemble=True), expected, atol=1e-5)


def test_turns_are_eight_different_ones_and_undone():
    array = np.arange(24).reshape(1, 4, 6)
    assert len({turned(array, number).tobytes() for number in range(8)}) == 8
    assert all((turned_back(turned(array, number), number) == array).all() for number in range(8))
    assert turned(np.array([[[1, 2], [3, 4]]]), 1).tolist() == [[[2, 4], [1, 3]]]  # counter-clockwise


def test_tiles_and_ensemble_together():
    """Each tile is turned: one size is compiled."""
    restorer = AppliedRestorer(Network(), Inference(tile=16, overlap=4, ensemble=True))
    for size in [(30, 41), (9, 70)]:
        batch = _batch(*size)
        padded = {"image": pad_to(batch["image"], 16, 16)}
        expected = _by_hand(Network(), _state(), padded)[:, : size[0], : size[1]]
        np.testing.assert_allclose(restorer(_state(), batch, KEYS), expected, atol=1e-6)
    assert restorer.compilations == 1


# Buckets


def test_buckets_bound_what_is_compiled():
    restorer = AppliedRestorer(Network(), Inference(bucket=16))
    random = np.random.RandomState(0)
    for height, width in random.randint(1, 33, (20, 2)):
        batch = _batch(height, width)
        padded = {"image": pad_to_multiple(batch["image"], 16)}
        expected = Network().restore(_state(), padded, KEYS)[:, :height, :width]
        np.testing.assert_allclose(restorer(_state(), batch, KEYS), expected, atol=1e-6)
    assert restorer.compilations == 4


def test_buckets_are_for_images_within_a_tile():
    restorer = AppliedRestorer(Network(), Inference(bucket=16, tile=40, overlap=8))
    for size in [(5, 9), (16, 12), (33, 40), (40, 36), (41, 5), (90, 70)]:
        assert restorer(_state(), _batch(*size), KEYS).shape == (2, *size, 2)
    assert restorer.compilations == 2  # of 16x16, and of tiles


# On the host, and what is refused


@pytest.mark.parametrize("settings", [{}, {"tile": 16, "overlap": 4}, {"ensemble": True}, {"bucket": 32}])
def test_restorers_on_the_host_see_numpy(settings):
    batch = _batch(20, 33, sigma=np.float32([1, 2]))
    restorer = AppliedRestorer(OnHost(), Inference(**settings))
    restored = restorer(_state(), batch | {"image": jnp.asarray(batch["image"])}, KEYS)
    np.testing.assert_allclose(restored, batch["image"] * 2, rtol=2e-7)  # blending rounds
    assert isinstance(restored, np.ndarray)
    assert restorer.compilations == 0


@pytest.mark.parametrize("convert", [np.asarray, jnp.asarray])
@pytest.mark.parametrize("settings", [{}, {"tile": 16, "overlap": 4}])
def test_what_is_not_finite_is_named(convert, settings):
    batch = _batch(4, 5, sigma=np.float32([1, 2]))
    batch["image"][0, 1, 2] = np.nan
    batch["image"] = convert(batch["image"])
    with pytest.raises(DataError, match="image has 2 of 80 values that are not finite numbers"):
        _applied(Network(), batch, **settings)
    batch = _batch(4, 5, sigma=np.float32([1, np.inf]))
    with pytest.raises(DataError, match="sigma has 1 of 2 values"):
        _applied(Network(), batch, **settings)


def test_kernels_without_a_centre_are_not_turned():
    batch = _batch(8, 8, kernel=np.ones((2, 4, 4), np.float32))
    with pytest.raises(DataError, match=r"kernel of 4x4.*must be odd"):
        _applied(Blurred(), batch, ensemble=True)


@pytest.mark.parametrize(
    ("task", "settings", "message"),
    [
        (Network(), {"tile": 32, "overlap": 17}, "overlap = 17 must be at most half of tile = 32"),
        (Network(), {"tile": -1}, "tile = -1 must not be negative"),
        (Network(), {"overlap": -1}, "overlap = -1 must not be negative"),
        (Network(), {"bucket": -8}, "bucket = -8 must not be negative"),
        (Blocks(), {"tile": 30, "overlap": 8}, "tile = 30 must be a multiple of 4"),
        (Blocks(), {"tile": 20, "overlap": 10}, "overlap = 10 is too large for tile = 20"),
    ],
)
def test_impossible_settings_are_refused(task, settings, message):
    with pytest.raises(ConfigError, match=message):
        AppliedRestorer(task, Inference(**settings))
