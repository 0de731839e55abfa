import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import TypeCheckError

from jgr.errors import ConfigError
from jgr.layers.fusion import KINDS, Fusion

TEXT = jax.random.normal(jax.random.key(0), (3, 5))


def drawn(shape):
    return jax.random.normal(jax.random.key(1), shape)


def fused(kind, hidden, features=4):
    layer = Fusion(kind, features)
    variables = jax.jit(layer.init)(jax.random.key(2), hidden, TEXT)
    variables = jax.tree.map(lambda leaf: leaf + 0.1, variables)  # biases, too
    return variables["params"], jax.jit(layer.apply)(variables, hidden, TEXT)


@pytest.mark.parametrize("channels", [4, 6])
@pytest.mark.parametrize("space", [(), (2, 3)])
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_its_equation_at_every_pixel(kind, space, channels):
    hidden = drawn((3, *space, channels))
    params, made = fused(kind, hidden)
    matrices = {name: np.asarray(own["kernel"], np.float64) for name, own in params.items()}
    biases = {name: np.asarray(own["bias"], np.float64) for name, own in params.items() if "bias" in own}
    assert made.shape == (3, *space, 4)
    for place in np.ndindex(made.shape[:-1]):
        h, t = (np.asarray(array, np.float64) for array in (hidden[place], TEXT[place[0]]))
        if kind == "concat":
            both = np.concatenate([matrices["features_matrix"], matrices["shift"]])
            wanted = np.concatenate([h, t]) @ both + biases["shift"]
        else:
            h = h @ matrices["features_matrix"] + biases.get("features_matrix", 0.0) if channels != 4 else h
            scale = 1 + t @ matrices["scale"] + biases["scale"] if kind in ("mul", "film") else 1.0
            shift = t @ matrices["shift"] + biases["shift"] if kind in ("add", "film") else 0.0
            wanted = h * scale + shift
        np.testing.assert_allclose(made[place], wanted, rtol=1e-5, atol=1e-6)


def test_film_alone_has_a_second_matrix_of_the_text():
    counts = {kind: sum(leaf.size for leaf in jax.tree.leaves(fused(kind, drawn((3, 4)))[0])) for kind in KINDS}
    of_text, of_features = 5 * 4 + 4, 4 * 4
    assert counts == {"concat": of_features + of_text, "add": of_text, "mul": of_text, "film": 2 * of_text}


def test_what_a_text_multiplies_has_a_bias_where_it_has_a_matrix():
    """Features of mean 0 would otherwise keep it whatever the text says."""
    params = {kind: fused(kind, drawn((3, 6)))[0] for kind in KINDS}
    assert {kind: "bias" in own["features_matrix"] for kind, own in params.items()} == {
        "concat": False,
        "add": False,
        "mul": True,
        "film": False,
    }


def test_impossible_ones_are_refused():
    with pytest.raises((ConfigError, TypeCheckError), match="sum"):  # the latter where types are checked, as in tests
        Fusion("sum", 4)
    with pytest.raises(ConfigError, match="features = 0 must be at least 1"):
        Fusion("add", 0)


def test_half_precision_stays_half():
    layer = Fusion("film", 4, dtype=jnp.bfloat16)
    made = layer.apply(layer.init(jax.random.key(0), drawn((3, 2, 2, 4)), TEXT), drawn((3, 2, 2, 4)), TEXT)
    assert made.dtype == jnp.bfloat16
