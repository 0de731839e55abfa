import importlib.util
from pathlib import Path

import jax
import numpy as np
import pytest

from jgr.errors import DataError
from jgr.models.inception import InceptionV3, from_torch


@pytest.fixture(scope="module")
def reference():
    """tests/metrics/torch_inception.py."""
    path = Path(__file__).parents[1] / "metrics" / "torch_inception.py"
    spec = importlib.util.spec_from_file_location("torch_inception", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def weights(reference):
    return reference.random_weights(0)


@pytest.fixture(scope="module")
def outputs(reference, weights):
    images = jax.numpy.asarray(reference.random_image(1))
    features, logits = jax.jit(InceptionV3().apply)({"params": from_torch(weights)}, images)
    return np.asarray(features), np.asarray(logits)


def test_agrees_with_an_independent_pytorch_network(reference, weights, outputs):
    pytest.importorskip("torch")
    for ours, theirs in zip(outputs, reference.inception(weights, reference.random_image(1)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5 * abs(theirs).max())


def test_values_of_the_pytorch_network(outputs):
    # `inception` of tests/metrics/torch_inception.py, torch 2.15 on CPU, with weights and image cast to float64.
    features, logits = outputs
    np.testing.assert_allclose(
        features[0, [0, 1, 511, 1024, 2000, 2047]],
        [1.1904249844182881, 0.0, 3.929105473970738, 0.0, 0.9548198861931328, 0.0],
        rtol=1e-4,
    )
    np.testing.assert_allclose(features.sum(), 12216.058513988053, rtol=1e-5)
    np.testing.assert_allclose((features**2).sum(), 213701.28924552343, rtol=1e-5)
    np.testing.assert_allclose(
        logits[0, [0, 1, 500, 1007]],
        [-4.141771375442268, -3.2186419122123686, -20.149541673551084, 2.1119443197717556],
        rtol=1e-4,
    )


def test_keys_that_are_not_used_may_be_in_the_file(weights):
    unused = {"Conv2d_1a_3x3.bn.num_batches_tracked": np.int64(7), "AuxLogits.fc.bias": np.zeros(1008, np.float32)}
    assert set(from_torch(weights | unused)) == set(from_torch(weights))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Mixed_7c.branch_pool.bn.running_var": None}, "lack Mixed_7c.branch_pool.bn.running_var"),
        ({"Mixed_8a.conv.weight": np.zeros(3)}, "hold what the network has not: Mixed_8a.conv.weight"),
        (
            {"fc.weight": np.zeros((1000, 2048))},
            r"fc.weight has shape \(1000, 2048\), but the network's is \(1008, 2048\)",
        ),
        (
            {"Mixed_6b.branch7x7_2.conv.weight": np.zeros((128, 128, 7, 1))},
            r"Mixed_6b.branch7x7_2.conv.weight has shape \(128, 128, 7, 1\), but the network's is \(128, 128, 1, 7\)",
        ),
    ],
)
def test_weights_that_do_not_fit_are_named(weights, change, message):
    changed = {key: value for key, value in (weights | change).items() if value is not None}
    with pytest.raises(DataError, match=message):
        from_torch(changed)
