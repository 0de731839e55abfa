import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jgr.errors import ConfigError
from jgr.models.vq_vae import Codebook, Decoder, Encoder


def shapes(module, inputs):
    return jax.eval_shape(lambda key: module.init_with_output(key, inputs, train=True), jax.random.key(0))


def num_parameters(module, inputs):
    variables = shapes(module, inputs)[1]
    assert set(variables) == {"params"}
    return sum(leaf.size for leaf in jax.tree.leaves(variables))


def test_parameters_are_those_of_sonnets_example():
    """examples/vqvae_example.ipynb of google-deepmind/sonnet: 128 hidden units, 2 blocks of 32."""
    blocks = 2 * (3 * 3 * 128 * 32 + 32 + 32 * 128 + 128)
    strided = (4 * 4 * 3 * 64 + 64) + (4 * 4 * 64 * 128 + 128)
    encoder = strided + (3 * 3 * 128 * 128 + 128) + blocks + (128 * 64 + 64)
    assert num_parameters(Encoder(), jnp.zeros((2, 32, 32, 3))) == encoder
    transposed = (4 * 4 * 128 * 64 + 64) + (4 * 4 * 64 * 3 + 3)
    decoder = (3 * 3 * 64 * 128 + 128) + blocks + transposed
    assert num_parameters(Decoder(outputs=3), jnp.zeros((2, 8, 8, 64))) == decoder


@pytest.mark.parametrize(("levels", "sides"), [(1, (6, 2)), (2, (12, 20)), (3, (8, 24))])
def test_any_resolution_that_can_be_halved(levels, sides):
    features, _ = shapes(Encoder(embedding_dim=5, levels=levels, width=4), jnp.zeros((2, *sides, 3)))
    assert features.shape == (2, sides[0] >> levels, sides[1] >> levels, 5)
    outputs, _ = shapes(Decoder(outputs=7, levels=levels, width=4), jnp.zeros(features.shape))
    assert outputs.shape == (2, *sides, 7)
    assert features.dtype == outputs.dtype == jnp.float32


def test_other_resolutions_and_impossible_fields_are_refused():
    with pytest.raises(ConfigError, match="encoder: images of 6x8, but the sides must be multiples of 4"):
        shapes(Encoder(), jnp.zeros((2, 6, 8, 1)))
    for module, name in (
        (Encoder, "embedding_dim"),
        (Encoder, "levels"),
        (Decoder, "outputs"),
        (Decoder, "num_blocks"),
    ):
        with pytest.raises(ConfigError, match=f"{name} = 0 must be at least 1"):
            module(**{name: 0})
    with pytest.raises(ConfigError, match="width = 7 must be even"):
        Decoder(width=7)


CODEBOOK = Codebook(num_codes=6, embedding_dim=3, decay=0.9, epsilon=1e-3, revive_below=0.1)
RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(4, 2, 3, 3)).astype(np.float32)  # 24 of them: 4 a code on average
MOVING = {
    "embedding": RNG.normal(size=(6, 3)).astype(np.float32),
    "counts": np.array([5.0, 3.0, 0.1, 4.0, 0.2, 6.0], np.float32),
    "sums": RNG.normal(size=(6, 3)).astype(np.float32),
}
CODES = RNG.permutation(np.repeat([0, 1, 3, 4, 5], [8, 7, 3, 1, 5])).reshape(4, 2, 3)
KEYS = jax.random.split(jax.random.key(3), 4)


def updated(codebook=CODEBOOK, keys=KEYS, moving=MOVING, codes=CODES):
    moving = jax.tree.map(jnp.asarray, moving)
    after = jax.jit(codebook.updated)(moving, jnp.asarray(FEATURES), jnp.asarray(codes, jnp.int32), keys)
    return jax.tree.map(np.asarray, after)


def test_the_nearest_code_is_that_of_brute_force():
    features = RNG.normal(size=(5, 4, 4, 7)).astype(np.float32)
    embedding = RNG.normal(size=(33, 7)).astype(np.float32)
    found = Codebook(num_codes=33, embedding_dim=7).nearest(jnp.asarray(embedding), jnp.asarray(features))
    distances = np.linalg.norm(features[..., None, :].astype(np.float64) - embedding, axis=-1)
    np.testing.assert_array_equal(found, distances.argmin(axis=-1))
    tied = jnp.array([[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    assert int(Codebook(num_codes=3, embedding_dim=2).nearest(tied, jnp.zeros((1, 1, 1, 2)))[0, 0, 0]) == 1


def test_moving_averages_are_those_of_a_loop():
    after, flat, codes = updated(), FEATURES.reshape(-1, 3).astype(np.float64), CODES.reshape(-1)
    counts, sums = np.zeros(6), np.zeros((6, 3))
    for code in range(6):
        own = flat[codes == code]
        counts[code] = 0.9 * MOVING["counts"][code] + 0.1 * len(own)
        sums[code] = 0.9 * MOVING["sums"][code] + 0.1 * own.sum(axis=0)
    dead = counts < 0.1 * 24 / 6
    assert dead.tolist() == [False, False, True, False, True, False]  # one unused, one hardly used
    counts[dead] = 0.1 * 24 / 6
    np.testing.assert_allclose(after["counts"], counts, rtol=1e-6)
    for code in np.flatnonzero(~dead):
        np.testing.assert_allclose(after["sums"][code], sums[code], rtol=1e-5, atol=1e-6)
        smoothed = (counts[code] + 1e-3) / (counts.sum() + 6 * 1e-3) * counts.sum()
        np.testing.assert_allclose(after["embedding"][code], sums[code] / smoothed, rtol=1e-5, atol=1e-6)


def test_a_hardly_used_code_begins_anew_at_a_feature_of_the_batch():
    after, flat = updated(), FEATURES.reshape(-1, 3)
    places = [int(np.flatnonzero((flat == after["embedding"][code]).all(axis=1))[0]) for code in (2, 4)]
    assert places[0] != places[1]
    for code in (2, 4):
        np.testing.assert_allclose(after["sums"][code], 0.4 * after["embedding"][code], rtol=1e-6)

    again, other = updated(), updated(keys=jax.random.split(jax.random.key(4), 4))
    np.testing.assert_array_equal(after["embedding"], again["embedding"])
    assert not np.array_equal(after["embedding"][[2, 4]], other["embedding"][[2, 4]])
    np.testing.assert_array_equal(after["embedding"][[0, 1, 3, 5]], other["embedding"][[0, 1, 3, 5]])

    codes = np.zeros_like(CODES)
    codes[0, 0, 0] = 2  # used once: it stays; and code 4 begins anew again
    later = updated(moving=after, codes=codes)
    assert later["counts"][2] == pytest.approx(0.9 * 0.4 + 0.1)
    blend = (0.9 * 0.4 * after["embedding"][2] + 0.1 * FEATURES[0, 0, 0]) / (0.9 * 0.4 + 0.1)
    np.testing.assert_allclose(later["embedding"][2], blend, rtol=5e-3)
    assert later["counts"][4] == pytest.approx(0.4)
    again = updated(moving=after, codes=codes, keys=jax.random.split(jax.random.key(5), 4))
    assert not np.array_equal(again["embedding"][4], later["embedding"][4])


def test_without_revival_an_unused_code_stays():
    still = Codebook(num_codes=6, embedding_dim=3, decay=0.9, revive_below=0.0)
    after = updated(still)
    np.testing.assert_allclose(after["sums"][2], 0.9 * MOVING["sums"][2], rtol=1e-6)
    np.testing.assert_allclose(after["embedding"][2], MOVING["sums"][2] / MOVING["counts"][2], rtol=1e-3)


def test_all_codes_begin_at_features_also_where_there_are_fewer_features_than_codes():
    many = Codebook(num_codes=30, embedding_dim=3, revive_below=0.9)
    moving = many.init(jax.random.key(0))
    codes = many.nearest(moving["embedding"], jnp.asarray(FEATURES))
    after = updated(many, moving=moving, codes=codes)
    flat = {tuple(row) for row in FEATURES.reshape(-1, 3).tolist()}
    assert {tuple(row) for row in after["embedding"].tolist()} == flat


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_codes": 0}, "num_codes = 0 must be at least 1"),
        ({"embedding_dim": -1}, "embedding_dim = -1 must be at least 1"),
        ({"decay": 1.0}, "decay = 1.0 must be at least 0 and below 1"),
        ({"revive_below": -0.1}, "revive_below = -0.1 must be at least 0 and below 1"),
        ({"epsilon": 0.0}, "epsilon = 0.0 must be positive"),
    ],
)
def test_impossible_codebooks(fields, message):
    with pytest.raises(ConfigError, match=message):
        Codebook(**fields)
