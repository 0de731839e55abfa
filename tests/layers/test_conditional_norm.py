from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jgr.layers.conditional_norm import ConditionalBatchNorm


def test_each_class_has_a_scale_and_a_bias():
    images = jax.random.normal(jax.random.key(0), (4, 2, 3, 5)) * 3 + 1
    labels = np.array([2, 0, 2, 1])
    norm = ConditionalBatchNorm()
    condition = jax.nn.one_hot(labels, 3)
    variables = norm.init(jax.random.key(1), images, condition, train=True)
    scales, biases = (np.asarray(jax.random.normal(jax.random.key(key), (3, 5)), np.float32) for key in (2, 3))
    variables["params"] = {"scale": {"kernel": scales - 1}, "bias": {"kernel": biases}}
    made, changed = norm.apply(variables, images, condition, train=True, mutable=["batch_stats"])
    pixels = np.asarray(images, np.float64)
    mean, variance = pixels.mean((0, 1, 2)), pixels.var((0, 1, 2))
    normed = (pixels - mean) / np.sqrt(variance + 1e-5)
    expected = normed * scales[labels][:, None, None] + biases[labels][:, None, None]
    np.testing.assert_allclose(made, expected, atol=1e-4)

    statistics = changed["batch_stats"]["BatchNorm_0"]
    np.testing.assert_allclose(statistics["mean"], 0.1 * mean, rtol=1e-4)
    evaluated = norm.apply(variables | changed, images, condition, train=False)
    normed = (pixels - 0.1 * mean) / np.sqrt(0.9 + 0.1 * variance + 1e-5)
    expected = normed * scales[labels][:, None, None] + biases[labels][:, None, None]
    np.testing.assert_allclose(evaluated, expected, atol=1e-4)


def test_it_starts_near_batch_norm_for_any_condition():
    images = jax.random.normal(jax.random.key(0), (8, 4, 4, 16))
    condition = jax.nn.one_hot(jnp.arange(8), 8)
    made, variables = ConditionalBatchNorm().init_with_output(jax.random.key(1), images, condition, train=True)
    normed = (images - images.mean((0, 1, 2), keepdims=True)) / images.std((0, 1, 2), keepdims=True)
    assert 0 < float(jnp.abs(made - normed).mean()) < 0.05
    assert set(variables["params"]) == {"scale", "bias"}
    assert set(variables) == {"params", "batch_stats"}


def test_its_matrices_can_be_normalised():
    images, condition = jnp.ones((2, 4, 4, 6)), jnp.eye(2, 3)
    norm = ConditionalBatchNorm(spectral_norm=True)
    variables = norm.init(jax.random.key(1), images, condition, train=True)
    apply = jax.jit(partial(norm.apply, train=True, mutable=["batch_stats", "spectral"]))
    for _ in range(20):
        _, changed = apply(variables, images, condition)
        variables |= changed
    vectors = variables["spectral"]
    for name, sigma in (
        ("scale", vectors["SpectralNorm_0"]["scale/kernel/sigma"]),
        ("bias", vectors["SpectralNorm_1"]["bias/kernel/sigma"]),
    ):
        largest = np.linalg.svd(variables["params"][name]["kernel"], compute_uv=False)[0]
        np.testing.assert_allclose(sigma, largest, rtol=0.05)
