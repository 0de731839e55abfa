from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jgr.layers import Conv, ConvTranspose
from jgr.layers.spectral import normalised

LAYERS = {
    "conv": lambda: Conv(5, (4, 4), (2, 2), name="layer"),
    "conv_transpose": lambda: ConvTranspose(5, (4, 4), (2, 2), name="layer"),
    "dense": lambda: nn.Dense(5, name="layer"),
    "patch": lambda: Conv(7, (3, 3), padding="VALID", name="layer"),  # linear in the 3x3 pixels of an image
}


class Net(nn.Module):
    kind: str

    @nn.compact
    def __call__(self, inputs, *, train):
        return normalised(LAYERS[self.kind](), True, train)(inputs)


def initial(kind, inputs):
    return jax.jit(partial(Net(kind).init, train=True))(jax.random.key(1), inputs)


def vector(variables):
    return np.asarray(variables["spectral"]["SpectralNorm_0"]["layer/kernel/u"]).ravel()


@pytest.mark.parametrize("kind", ["conv", "conv_transpose", "dense"])
def test_value_vector_and_gradient_are_pytorchs(kind):
    torch = pytest.importorskip("torch")
    inputs = jax.random.normal(jax.random.key(0), (2, 3) if kind == "dense" else (2, 6, 6, 3))
    variables = initial(kind, inputs)
    to_torch, twin = {
        "conv": (lambda w: w.transpose(3, 2, 0, 1), lambda: torch.nn.Conv2d(3, 5, 4, 2, 1)),
        "conv_transpose": (
            lambda w: w[::-1, ::-1].transpose(2, 3, 0, 1),
            lambda: torch.nn.ConvTranspose2d(3, 5, 4, 2, 1),
        ),
        "dense": (lambda w: w.T, lambda: torch.nn.Linear(3, 5)),
    }[kind]
    twin = torch.nn.utils.spectral_norm(twin())
    with torch.no_grad():
        twin.weight_orig.copy_(torch.tensor(to_torch(np.asarray(variables["params"]["layer"]["kernel"])).copy()))
        twin.bias.zero_()
        twin.weight_u.copy_(torch.tensor(vector(variables)))
    expected = twin(torch.tensor(np.asarray(inputs)).movedim(-1, 1))
    (expected**2).sum().backward()

    def loss(params):
        made, changed = Net(kind).apply({**variables, "params": params}, inputs, train=True, mutable=["spectral"])
        return (made**2).sum(), (made, changed)

    gradients, (made, changed) = jax.jit(jax.grad(loss, has_aux=True))(variables["params"])
    np.testing.assert_allclose(made, expected.detach().movedim(1, -1).numpy(), atol=1e-5)
    np.testing.assert_allclose(vector(changed), twin.weight_u.numpy(), atol=1e-6)
    gradient = twin.weight_orig.grad.numpy()
    np.testing.assert_allclose(
        to_torch(np.asarray(gradients["layer"]["kernel"])), gradient, atol=1e-5 * np.abs(gradient).max()
    )


def test_the_largest_singular_value_becomes_one():
    basis = jnp.eye(27).reshape(27, 3, 3, 3)
    variables = initial("patch", basis)
    variables["params"]["layer"]["kernel"] *= 30.0
    matrix = np.asarray(variables["params"]["layer"]["kernel"]).reshape(27, 7)
    passed = jax.jit(lambda variables: Net("patch").apply(variables, basis, train=True, mutable=["spectral"]))
    for _ in range(50):
        made, changed = passed(variables)
        variables |= changed
    made = made.reshape(27, 7)
    assert np.linalg.svd(made, compute_uv=False)[0] == pytest.approx(1.0, abs=0.05)
    np.testing.assert_allclose(made, matrix / np.linalg.svd(matrix, compute_uv=False)[0], atol=0.02)
    evaluated = Net("patch").apply(variables, basis, train=False).reshape(27, 7)
    assert np.linalg.svd(evaluated, compute_uv=False)[0] == pytest.approx(1.0, abs=0.05)


def test_only_training_moves_the_vectors_which_are_no_batch_statistics():
    inputs = jax.random.normal(jax.random.key(0), (2, 3))
    variables = initial("dense", inputs)
    assert set(variables) == {"params", "spectral"}
    _, changed = Net("dense").apply(variables, inputs, train=False, mutable=["spectral"])
    np.testing.assert_array_equal(vector(changed), vector(variables))
    _, changed = Net("dense").apply(variables, inputs, train=True, mutable=["spectral"])
    assert np.abs(vector(changed) - vector(variables)).max() > 1e-4


def test_without_it_the_layer_is_as_it_is():
    layer = nn.Dense(5)
    assert normalised(layer, False, True) is layer
