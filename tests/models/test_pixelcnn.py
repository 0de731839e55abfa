import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jgr.errors import ConfigError
from jgr.models.pixelcnn import PixelCNN


def params_of(prior, **labels):
    codes = jnp.zeros((len(labels.get("labels", [0])), *prior.grid), jnp.int32)
    return jax.jit(lambda key: prior.init(key, codes, **labels, train=True))(jax.random.key(0))["params"]


def forward(prior):
    return jax.jit(lambda params, codes, **labels: prior.apply({"params": params}, codes, **labels, train=True))


@pytest.mark.parametrize(
    ("grid", "kernel_size", "num_blocks"),
    [((3, 5), 3, 3), ((4, 8), 3, 1), ((4, 8), 5, 1)],  # the first sees all that lies before
)
def test_a_code_depends_on_those_before_it_within_reach_and_on_no_other(grid, kernel_size, num_blocks):
    prior = PixelCNN(grid=grid, num_codes=3, width=16, num_blocks=num_blocks, kernel_size=kernel_size)
    params, places, logits_of = params_of(prior), list(np.ndindex(*grid)), forward(prior)
    codes = jax.random.randint(jax.random.key(1), grid, 0, 2)
    changed = jnp.stack([codes.at[place].set(2) for place in places])
    # What is not a number spreads to all that depends on it, be the weight 0: a mask that only multiplies would show.
    broken = {**params, "embedding": {"embedding": params["embedding"]["embedding"].at[2].set(jnp.nan)}}
    spread = np.isnan(logits_of(broken, changed)).any(axis=-1)
    moved = np.abs(logits_of(params, changed) - logits_of(params, jnp.stack([codes] * len(places))))
    beside = kernel_size // 2 * (num_blocks + 1)
    for number, (row, column) in enumerate(places):
        for later_row, later_column in places:
            down, right = later_row - row, later_column - column
            sees = 0 < right <= beside + 1 if down == 0 else 0 < down <= beside + 1 and abs(right) <= beside
            assert spread[number, later_row, later_column] == sees
            assert (moved[number, later_row, later_column].max() > 1e-6) == sees
    if num_blocks == 3:
        np.testing.assert_array_equal(spread.sum(axis=(1, 2)), np.arange(len(places))[::-1])


def test_the_probabilities_of_all_grids_sum_to_one():
    prior = PixelCNN(grid=(2, 2), num_codes=3, width=4, num_blocks=1)
    grids = jnp.array(list(itertools.product(range(3), repeat=4)), jnp.int32).reshape(-1, 2, 2)
    logits = forward(prior)(params_of(prior), grids)
    of_codes = jnp.take_along_axis(jax.nn.log_softmax(logits), grids[..., None], axis=-1)
    probabilities = jnp.exp(of_codes.sum(axis=(1, 2, 3)))
    assert len(probabilities) == 81
    np.testing.assert_allclose(probabilities.sum(), 1.0, rtol=1e-5)
    assert probabilities.max() > 2 * probabilities.min()


def test_samples_are_those_of_a_pass_over_the_whole_grid_for_each_code():
    prior = PixelCNN(grid=(3, 4), num_codes=5, width=6, num_blocks=2, kernel_size=5, num_classes=2)
    keys, labels = jax.random.split(jax.random.key(2), 6), jnp.array([0, 1, 0, 1, 0, 1], jnp.int32)
    params = params_of(prior, labels=labels)
    params["head_1"]["kernel"] *= 3.0  # far from uniform: what lies before matters
    sampled = jax.jit(lambda p: prior.sample(p, keys, labels=labels))(params)

    codes, logits_of, draw = jnp.zeros((6, 3, 4), jnp.int32), forward(prior), jax.vmap(jax.random.categorical)
    for number, (row, column) in enumerate(np.ndindex(3, 4)):
        logits = logits_of(params, codes, labels=labels)[:, row, column]
        drawn = draw(jax.vmap(jax.random.fold_in, (0, None))(keys, number), logits)
        codes = codes.at[:, row, column].set(drawn)
    np.testing.assert_array_equal(sampled, codes)
    assert len(np.unique(codes)) == 5

    part = jax.jit(lambda p: prior.sample(p, keys[2:4], labels=labels[2:4]))(params)
    np.testing.assert_array_equal(part, sampled[2:4])


def test_labels_matter_and_are_asked_for():
    prior = PixelCNN(grid=(2, 2), num_codes=3, width=4, num_blocks=1, num_classes=2)
    labels, codes = jnp.array([0, 1], jnp.int32), jnp.zeros((2, 2, 2), jnp.int32)
    params = params_of(prior, labels=labels)
    logits = forward(prior)(params, codes, labels=labels)
    assert np.abs(logits[0] - logits[1]).min() > 0
    with pytest.raises(ConfigError, match="num_classes = 2 of the prior, but it was given no labels"):
        prior.apply({"params": params}, codes, train=True)
    with pytest.raises(ConfigError, match="num_classes = None of the prior, but it was given labels"):
        jax.eval_shape(
            lambda: PixelCNN(grid=(2, 2), num_codes=3).init(jax.random.key(0), codes, labels=labels, train=True)
        )


def test_logits_are_float32_where_the_network_computes_in_bfloat16():
    prior = PixelCNN(grid=(2, 2), num_codes=3, width=4, num_blocks=1, dtype=jnp.bfloat16)
    codes = jnp.zeros((2, 2, 2), jnp.int32)
    logits, variables = jax.eval_shape(lambda: prior.init_with_output(jax.random.key(0), codes, train=True))
    assert logits.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    keys = jax.random.split(jax.random.key(0), 3)
    assert jax.eval_shape(lambda v: prior.sample(v["params"], keys), variables).shape == (3, 2, 2)


@pytest.mark.parametrize(
    "fields",
    [{"grid": (0, 2)}, {"num_codes": 0}, {"width": 0}, {"num_blocks": 0}, {"kernel_size": 4}, {"kernel_size": 1}],
)
def test_impossible_fields_are_named(fields):
    (name,) = fields
    with pytest.raises(ConfigError, match=name):
        PixelCNN(**{"grid": (2, 2), "num_codes": 3} | fields)


def test_another_grid_is_refused():
    with pytest.raises(ConfigError, match=r"codes of \(2, 3\), but grid = \(2, 2\)"):
        PixelCNN(grid=(2, 2), num_codes=3).init(jax.random.key(0), jnp.zeros((1, 2, 3), jnp.int32), train=True)
