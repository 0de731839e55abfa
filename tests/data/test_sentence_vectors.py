import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jgr.data.captioned_mnist import CaptionedMNIST
from jgr.data.captions import Captions, captions
from jgr.data.digits import Digits
from jgr.data.loader import Data
from jgr.data.sentence_vectors import read_sentence_vectors
from jgr.data.vocabulary import BOS, EOS, UNK
from jgr.errors import ConfigError
from jgr.models.text_encoders import Precomputed

SOURCE = CaptionedMNIST(digits=Digits(split="test"))


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A file of all captions, twice, the second time in capitals and with other vectors."""
    path = tmp_path_factory.mktemp("vectors") / "vectors.npz"
    said = list(captions(SOURCE))
    vectors = np.random.default_rng(0).normal(size=(2 * len(said), 5))
    np.savez(path, captions=np.array(said + [text.upper() for text in said]), vectors=vectors)
    return str(path)


def test_a_whole_caption_is_one_token_and_the_encoder_finds_its_vector(file):
    data = Data(source=SOURCE, captions=Captions(level="sentence", vectors=file))
    read = data.fit.read(SOURCE, range(20))["tokens"]
    assert read.shape == (20, 3)
    assert (read[:, 0] == BOS).all()
    assert (read[:, 2] == EOS).all()
    said, given = list(captions(SOURCE)), np.load(file)["vectors"].astype(np.float32)
    encoder = Precomputed(file, 4)
    params = encoder.init(jax.random.key(0), jnp.asarray(read), jnp.asarray(read) != 0, train=True)
    kernel = params["params"]["matrix"]["kernel"]
    assert kernel.shape == (5, 4)
    made = jax.jit(lambda ids: encoder.apply(params, ids, ids != 0, train=False))(jnp.asarray(read))
    wanted = np.stack([given[said.index(text)] for text in said[:20]]) @ np.asarray(kernel)
    np.testing.assert_allclose(made, wanted, rtol=1e-5, atol=1e-6)


def test_unknown_and_empty_captions_are_zeros_and_case_does_not_matter(file):
    vocabulary = read_sentence_vectors(file).vocabulary
    said = list(captions(SOURCE))
    ids = vocabulary.encode([said[3], said[3].upper(), "über nichts 🙂", ""]).ids
    np.testing.assert_array_equal(ids[0], ids[1])
    assert ids[2, 1] == UNK
    assert ids[3, 1] == EOS
    assert vocabulary.unknown("Über  nichts") == ["über nichts"]
    assert vocabulary.decode(ids[0]) == said[3].lower()
    encoder = Precomputed(file, 4)
    params = encoder.init(jax.random.key(0), jnp.asarray(ids), jnp.asarray(ids) != 0, train=True)
    made = np.asarray(encoder.apply(params, jnp.asarray(ids), jnp.asarray(ids) != 0, train=False))
    assert np.abs(made[0]).max() > 0
    np.testing.assert_array_equal(made[2:], 0)


def test_files_that_are_none(tmp_path):
    path = tmp_path / "mine.npz"
    with pytest.raises(ConfigError, match=r"mine\.npz: not an \.npz file with captions and vectors"):
        read_sentence_vectors(str(path))
    np.savez(path, captions=np.array(["a", "b"]))
    with pytest.raises(ConfigError, match=r"not an \.npz file with captions and vectors"):
        read_sentence_vectors(str(path))
    np.savez(path, captions=np.array(["a", "b"]), vectors=np.zeros((3, 2)))
    with pytest.raises(ConfigError, match=r"captions \[2\] of <U1 and vectors \[3, 2\] must be texts"):
        read_sentence_vectors(str(path))
    np.savez(path, captions=np.array(["a", "b"]), vectors=np.full((2, 2), np.nan))
    with pytest.raises(ConfigError, match="its vectors are not finite"):
        read_sentence_vectors(str(path))
    np.savez(path, captions=np.array(["a", "b"]), vectors=np.ones((2, 2)))
    assert read_sentence_vectors(str(path)).vectors.shape == (2, 2)  # read anew, once it has changed
    with pytest.raises(ConfigError, match="vectors are of whole captions: set level = 'word' to 'sentence'"):
        Captions(vectors=str(path))


def test_a_run_does_not_read_by_another_file_than_its_own(file, tmp_path):
    known = read_sentence_vectors(file).vocabulary
    assert Captions(level="sentence", vectors=file, vocabulary=known).of(SOURCE) == known
    other = tmp_path / "other.npz"
    np.savez(other, captions=np.array(known.tokens[::-1]), vectors=np.ones((len(known.tokens), 2)))
    with pytest.raises(ConfigError, match="has other captions, or another order, than what is known"):
        Captions(level="sentence", vectors=str(other), vocabulary=known)
