import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import TypeCheckError

from jgr.errors import ConfigError
from jgr.models.text_encoders import Recurrent, Transformer, masked_mean

ENCODERS = {
    "gru": Recurrent(9, 6, 4),
    "lstm": Recurrent(9, 6, 4, cell="lstm"),
    "mean": Recurrent(9, 6, 4, summary="mean"),
    "bidirectional": Recurrent(9, 6, 4, bidirectional=True),
    "bidirectional-mean": Recurrent(9, 6, 4, cell="lstm", bidirectional=True, summary="mean"),
    "transformer": Transformer(9, max_length=12, features=8, num_layers=2, num_heads=2),
}
TEXTS = [[2, 5, 6, 3], [2, 3], [2, 7, 7, 8, 5, 3]]


def padded(texts, length):
    ids = np.zeros((len(texts), length), np.int32)
    for row, text in zip(ids, texts, strict=True):
        row[: len(text)] = text
    return jnp.asarray(ids), jnp.asarray(ids != 0)


@functools.cache
def variables(name):
    drawn = jax.jit(functools.partial(ENCODERS[name].init, train=True))(jax.random.key(0), *padded(TEXTS, 6))
    return jax.tree.map(lambda leaf: leaf + 0.05, drawn)


def encoded(name, texts, length):
    return np.asarray(
        jax.jit(functools.partial(ENCODERS[name].apply, train=False))(variables(name), *padded(texts, length))
    )


@pytest.mark.parametrize("name", ENCODERS)
def test_padding_changes_no_bit(name):
    short = encoded(name, TEXTS, 6)
    assert np.isfinite(short).all()
    np.testing.assert_array_equal(encoded(name, TEXTS, 12), short)


@pytest.mark.parametrize("name", ENCODERS)
def test_what_stands_behind_the_end_is_not_read(name):
    ids, mask = padded(TEXTS, 8)
    apply = jax.jit(functools.partial(ENCODERS[name].apply, train=False))
    other = apply(variables(name), jnp.where(mask, ids, 4), mask)
    np.testing.assert_array_equal(other, apply(variables(name), ids, mask))


@pytest.mark.parametrize("name", ENCODERS)
def test_order_and_every_token_matter(name):
    made = encoded(name, [[2, 5, 6, 3], [2, 6, 5, 3], [2, 5, 7, 3], [4, 5, 6, 3]], 6)
    gaps = np.abs(made[:1] - made[1:]).max(axis=1)
    assert (gaps > 1e-4).all(), gaps


def test_a_gru_ends_in_the_state_after_its_last_token():
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), variables("gru")["params"])
    cell = params["forwards"]
    sigmoid = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
    wanted = []
    for text in TEXTS:
        state = np.zeros(6)
        for token in text:
            x = params["embedding"]["embedding"][token]
            of = lambda gate, x=x: x @ cell[f"i{gate}"]["kernel"] + cell[f"i{gate}"]["bias"]  # noqa: E731
            reset = sigmoid(of("r") + state @ cell["hr"]["kernel"])
            update = sigmoid(of("z") + state @ cell["hz"]["kernel"])
            new = np.tanh(of("n") + reset * (state @ cell["hn"]["kernel"] + cell["hn"]["bias"]))
            state = (1 - update) * new + update * state
        wanted.append(state)
    np.testing.assert_allclose(encoded("gru", TEXTS, 6), wanted, rtol=1e-5, atol=1e-6)


def test_the_second_direction_reads_from_the_end():
    forwards, backwards = np.split(encoded("bidirectional", [[2, 5, 6, 3], [2, 5, 6, 7]], 6), 2, axis=1)
    other_forwards, other_backwards = np.split(encoded("bidirectional", [[4, 5, 6, 3], [4, 5, 6, 7]], 6), 2, axis=1)
    # The last token moves the first direction at once and the second by what is left of it; both are told apart.
    assert np.abs(forwards[0] - forwards[1]).max() > np.abs(backwards[0] - backwards[1]).max()
    assert np.abs(backwards - other_backwards).max() > np.abs(forwards - other_forwards).max()


def test_the_mean_is_of_what_counts():
    values = jnp.arange(12.0).reshape(2, 3, 2)
    mask = jnp.array([[True, True, False], [False, False, False]])
    np.testing.assert_array_equal(masked_mean(values, mask), [[1.0, 2.0], [0.0, 0.0]])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Recurrent(9, 0), "features = 0 must be at least 1"),
        (lambda: Recurrent(9, cell="rnn"), "rnn"),
        (lambda: Recurrent(9, summary="max"), "max"),
        (lambda: Recurrent(9, 5, bidirectional=True), "features = 5 must be even"),
        (lambda: Transformer(9, 4, features=6), "features = 6 must be a multiple of num_heads = 4"),
        (lambda: encoded("transformer", TEXTS, 13), "texts of 13 tokens, but max_length = 12"),
    ],
)
def test_impossible_ones_are_refused(make, message):
    with pytest.raises((ConfigError, TypeCheckError), match=message):  # the latter where types are checked, as in tests
        make()
