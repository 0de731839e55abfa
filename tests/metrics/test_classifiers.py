import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_digits

from jgr.data.digits import Digits
from jgr.data.loader import Data, evaluation_batches
from jgr.errors import ConfigError
from jgr.metrics.classifiers import SHIPPED, TrainedClassifier, packed, unpacked


@pytest.mark.parametrize("name", SHIPPED)
def test_weights_come_with_jgr_and_are_small(name):
    extractor = TrainedClassifier(weights=name)
    assert extractor.tag == f"{name}@{extractor.digest}"
    assert len(extractor.digest) == 6
    assert extractor._file.stat().st_size < 500_000
    leaves = jax.tree.leaves(extractor.load())
    assert all(np.isfinite(leaf).all() for leaf in leaves)


def accuracy(extractor, batches):
    weights, extract = extractor.load(), jax.jit(extractor.__call__)
    right = []
    for batch in batches:
        outputs = extract(weights, batch["image"])
        assert outputs["features"].shape == (len(batch["image"]), 64)
        right.append((np.argmax(outputs["logits"], axis=1) == batch["label"])[batch["mask"]])
    return np.concatenate(right).mean()


def test_accuracy_on_digits_it_has_not_seen():
    data = Data(source=Digits(split="test"), resize=16)
    assert accuracy(TrainedClassifier(weights="cnn-digits"), evaluation_batches(data, 360)) >= 0.975


def test_accuracy_on_mnist(test_data):
    from jgr.data.tfds import TFDS

    data = Data(source=TFDS(dataset="mnist", split="test", data_dir=str(test_data / "tfds")))
    assert accuracy(TrainedClassifier(weights="cnn-mnist"), evaluation_batches(data, 1000, 4000)) >= 0.99


def test_images_of_another_size():
    extractor = TrainedClassifier(weights="cnn-mnist")
    images = jnp.asarray(load_digits().images[:2, ..., None].astype(np.uint8))
    with pytest.raises(ConfigError, match=r"cnn-mnist: classifier: images of \(8, 8, 1\).*resize the images"):
        extractor(extractor.load(), images)


def test_files_that_hold_no_network(tmp_path):
    with pytest.raises(ConfigError, match=r"there is no such file; it must be one of cnn-digits, cnn-mnist"):
        TrainedClassifier(weights="cnn-mnits")
    path = tmp_path / "mine.npz"
    np.savez(path, a=np.zeros(3))
    with pytest.raises(ConfigError, match=r"mine\.npz holds no network"):
        TrainedClassifier(weights=str(path)).load()
    path.write_bytes(b"PK\x03\x04 and then nothing")
    with pytest.raises(ConfigError, match=r"mine\.npz holds no network"):
        TrainedClassifier(weights=str(path)).load()
    np.savez(path, network=np.array({"code": 1}, dtype=object))
    with pytest.raises(ConfigError, match=r"mine\.npz holds no network"):
        TrainedClassifier(weights=str(path)).load()


def test_a_file_cannot_name_code_that_is_not_jgrs():
    content = packed({"cls": "os.system", "command": "true"}, {"params": {"a": np.zeros(1)}})
    with pytest.raises(ConfigError, match="is none of the parts of jgr"):
        unpacked(content, "mine.npz")
    network = {"cls": "jgr.models.classifier.ConvClassifier", "num_classes": 3, "image_size": 8}
    module, variables = unpacked(packed(network, {"params": {"a": {"b": np.arange(3.0)}}}), "mine.npz")
    assert module.num_classes == 3
    np.testing.assert_array_equal(variables["params"]["a"]["b"], [0.0, 1.0, 2.0])
