import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jgr.errors import ConfigError
from jgr.images import to_float
from jgr.models.classifier import ConvClassifier
from jgr.optim import Optimizer
from jgr.tasks.classification import Classification
from jgr.tasks.task import Classifier

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def task():
    network = ConvClassifier(num_classes=10, image_size=8, width=4)
    return Classification(network=network, optimizer=Optimizer(rule=optax.adam, learning_rate=1e-2))


@pytest.fixture(scope="module")
def batch():
    from sklearn.datasets import load_digits

    images = np.floor(load_digits().images[:32, ..., None] * (255 / 16) + 0.5).astype(np.uint8)
    labels = jnp.asarray(load_digits().target[:32], jnp.int32)
    return {"image": to_float(images), "label": labels, "position": jnp.arange(32, dtype=jnp.uint32)}


@pytest.mark.slow
def test_it_learns_a_batch_by_heart(task, batch):
    state = task.init(KEY, batch)
    step = jax.jit(task.step)
    one = {name: value[None] for name, value in batch.items()}
    _, first = step(state, one, KEY)
    for number in range(60):
        state, metrics = step(state, one, jax.random.fold_in(KEY, number))
    assert float(first["network/loss"]) == pytest.approx(np.log(10), abs=1.0)
    assert float(metrics["network/accuracy"]) == 1.0
    logits = task.classify(state, batch)  # by running statistics
    assert np.mean(logits.argmax(axis=-1) == batch["label"]) > 0.9
    assert isinstance(task, Classifier)


def test_the_loss_is_cross_entropy(task, batch):
    state = task.init(KEY, batch)
    _, metrics = jax.jit(task.step)(state, {name: value[None] for name, value in batch.items()}, KEY)
    variables = {"params": state.params["network"], **state.model_state["network"]}
    logits, _ = task.network.apply(variables, batch["image"], train=True, mutable=["batch_stats"])
    rows = np.asarray(logits, np.float64)
    expected = np.mean(np.log(np.exp(rows).sum(1)) - rows[np.arange(32), np.asarray(batch["label"])])
    assert float(metrics["network/loss"]) == pytest.approx(expected, rel=1e-5)


def test_what_cannot_be_classified(task, batch):
    with pytest.raises(ConfigError, match="needs records with a label"):
        task.init(KEY, {"image": batch["image"]})
    with pytest.raises(ConfigError, match=r"images of .*8, 1.*image_size and channels say"):
        task.init(KEY, {**batch, "image": jnp.zeros((2, 12, 8, 1))})
    with pytest.raises(ConfigError, match="image_size = 10 must be a multiple of 4"):
        ConvClassifier(num_classes=10, image_size=10)
    with pytest.raises(ConfigError, match=r"label_smoothing = 1\.0 must be"):
        Classification(network=task.network, label_smoothing=1.0)


def test_parameters():
    network = ConvClassifier(num_classes=10, image_size=28)
    shapes = jax.eval_shape(lambda: network.init(KEY, jnp.zeros((1, 28, 28, 1)), train=False))
    # 3x3x16 + 4x4x16x32 + 3x3x32x32 + 4x4x32x64 + 3x3x64x64, two for each of 208 features, and 65 x 10
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes["params"])) == 88_250
