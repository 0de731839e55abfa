from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jgr.errors import ConfigError
from jgr.layers import heads

FEATURES = jax.random.normal(jax.random.key(0), (4, 6))
LABELS = jnp.array([2, 0, 2, 1], jnp.int32)


def initial(head, labels=None):
    return head.init(jax.random.key(1), FEATURES, labels=labels, train=True)


def test_projection_is_the_dot_product_with_the_labels_row():
    head = heads.Projection(3)
    variables = initial(head, LABELS)
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), variables["params"])
    params["linear"]["bias"] += 0.3
    variables["params"]["linear"]["bias"] += 0.3
    expected = [
        f @ params["linear"]["kernel"][:, 0] + 0.3 + f @ params["embedding"]["embedding"][label]
        for f, label in zip(np.asarray(FEATURES, np.float64), np.asarray(LABELS), strict=True)
    ]
    np.testing.assert_allclose(head.apply(variables, FEATURES, labels=LABELS, train=False), expected, atol=1e-5)
    other = head.apply(variables, FEATURES, labels=LABELS.at[0].set(1), train=False)
    assert (np.abs(other - np.array(expected)) > 1e-3).tolist() == [True, False, False, False]


def test_projections_table_is_normalised_with_the_matrix():
    head = heads.Projection(3, spectral_norm=True)
    variables = initial(head, LABELS)
    apply = jax.jit(partial(head.apply, train=True, mutable=["spectral"]))
    for _ in range(30):
        logits, changed = apply(variables, FEATURES, labels=LABELS)
        variables |= changed
    kernel, table = (
        np.asarray(leaf) / np.linalg.svd(leaf, compute_uv=False)[0]
        for leaf in (variables["params"]["linear"]["kernel"], variables["params"]["embedding"]["embedding"])
    )
    features = np.asarray(FEATURES)
    np.testing.assert_allclose(
        logits, (features * (kernel[:, 0] + table[np.asarray(LABELS)])).sum(1), rtol=0.02, atol=0.02
    )


def test_linear_and_auxiliary_are_matrices():
    variables = initial(heads.Linear())
    expected = FEATURES @ variables["params"]["linear"]["kernel"]
    np.testing.assert_allclose(
        heads.Linear().apply(variables, FEATURES, labels=None, train=False), expected[:, 0], atol=1e-6
    )
    head = heads.Auxiliary(3)
    variables = initial(head)
    logits, classes = head.apply(variables, FEATURES, labels=LABELS, train=False)
    assert logits.shape == (4,)
    np.testing.assert_allclose(classes, FEATURES @ variables["params"]["classes"]["kernel"], atol=1e-6)


@pytest.mark.parametrize(
    "head", [heads.Linear(True), heads.Projection(3, True), heads.Auxiliary(3, True), heads.Linear(dtype=jnp.bfloat16)]
)
def test_results_are_float32_and_vectors_are_where_they_are_asked_for(head):
    labels = LABELS if isinstance(head, heads.Projection) else None
    judgement, variables = head.init_with_output(
        jax.random.key(0), FEATURES.astype(jnp.bfloat16), labels=labels, train=True
    )
    assert {leaf.dtype for leaf in jax.tree.leaves((judgement, variables))} == {jnp.dtype("float32")}
    assert ("spectral" in variables) == head.spectral_norm


def test_labels_that_would_be_lost_and_settings_that_differ_are_refused():
    with pytest.raises(ConfigError, match="would not see the labels"):
        initial(heads.Linear(), LABELS)
    with pytest.raises(ConfigError, match="Projection needs labels"):
        initial(heads.Projection(3))
    with pytest.raises(ConfigError, match="num_classes = 0"):
        heads.Auxiliary(0)
    with pytest.raises(ConfigError, match=r"spectral_norm = True, but head.spectral_norm = False"):
        heads.require_alike(True, heads.Linear())
