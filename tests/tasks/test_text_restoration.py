"""Restoration with the help of sentences: from records with captions to a restored file."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import jgr
from jgr.data.digits import Digits
from jgr.errors import ConfigError
from jgr.jobs.evaluate import evaluate
from jgr.jobs.restore import restore
from jgr.models.captioned import CodeRestorer, Restorer
from jgr.models.dncnn import DnCNN
from jgr.models.encoder_decoder import EncoderDecoder
from jgr.models.text_encoders import Recurrent
from jgr.models.unet import DRUNet

TEXT = dict(cls="jgr.models.text_encoders.Recurrent", vocabulary_size=60, features=6, embedding_dim=4)
SOURCE = dict(cls="jgr.data.captioned_mnist.CaptionedMNIST", digits=dict(cls="jgr.data.digits.Digits", split="train"))
SIZE = Digits(split="train")[0]["image"].shape[0]


def config():
    mask = dict(
        cls="jgr.degradations.masks.Mask",
        generator=dict(cls="jgr.degradations.masks.Window", size=0.5),
    )
    return dict(
        data=dict(source=SOURCE, captions=dict(size=60, length=20)),
        task=dict(
            cls="jgr.tasks.restoration.Restoration",
            captions=True,
            network=dict(
                cls="jgr.models.captioned.Restorer",
                network=dict(cls="jgr.models.unet.DRUNet", channels=3, width=4, levels=2, blocks=1),
                text_encoder=TEXT,
                fusion="film",
                width=4,
            ),
            degradation=mask,
            inputs=("mask",),
            keep_known=True,
        ),
        train=dict(num_steps=2, batch_size=8, log_every=1, checkpoint_every=2, sample_every=2, num_samples=2),
        mesh=dict(data=1),
        evaluation=dict(
            data=dict(source=SOURCE | dict(digits=dict(cls="jgr.data.digits.Digits", split="test"))),
            degradation=dict(cls="jgr.degradations.protocols.Seeded", degradation=mask),
            batch_size=20,
            seeds=(0,),
            metrics=dict(psnr=dict(cls="jgr.metrics.pairs.PSNR")),
        ),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "run"
    jgr.train(config(), path, quiet=True)
    return path


def test_it_is_trained_looked_at_and_scored(folder):
    assert (folder / "samples" / "step_00000002.png").is_file()
    (row,) = evaluate(folder, quiet=True)
    assert row["protocol"] == "psnr_rgb_u8/mask-window-s0.5-seed0"
    assert row["value"] > 0


def test_a_file_is_restored_as_its_sentence_says(folder, tmp_path):
    photo, mask = tmp_path / "photo.png", tmp_path / "mask.png"
    Image.fromarray(np.full((SIZE, SIZE, 3), 90, np.uint8)).save(photo)
    known = np.zeros((SIZE, SIZE), np.uint8)
    known[:, : SIZE // 2] = 255
    Image.fromarray(known).save(mask)

    def restored(text, name):
        done = restore(folder, photo, tmp_path / name, mask=mask, text=text, quiet=True)
        return np.asarray(Image.open(done.files[photo]))

    seven, again, eight = restored("a thick seven", "a"), restored("a thick seven", "b"), restored("an eight", "c")
    np.testing.assert_array_equal(seven, again)
    assert (seven != eight).any()
    assert (seven == eight)[:, : SIZE // 2].all()
    with pytest.raises(ConfigError, match="a caption: give --text="):
        restore(folder, photo, tmp_path / "d", mask=mask, quiet=True)


def test_the_text_reaches_every_pixel_by_every_fusion():
    images = jnp.asarray(np.random.default_rng(0).random((2, 8, 8, 4)), jnp.float32)
    tokens = jnp.array([[2, 5, 6, 3, 0], [2, 7, 3, 0, 0]])
    for fusion in ("concat", "add", "mul", "film"):
        network = Restorer(DRUNet(3, width=4, levels=2, blocks=1), Recurrent(60, 6, 4), fusion, width=4)
        assert (network.channels, network.multiple, network.scale) == (3, 2, 1)
        params = jax.jit(lambda key, network=network: network.init(key, images, labels=tokens, train=True))(
            jax.random.key(0)
        )
        apply = jax.jit(
            lambda told, network=network, params=params: network.apply(params, images, labels=told, train=False)
        )
        own, swapped = apply(tokens), apply(tokens[::-1])
        assert own.shape == (2, 8, 8, 3)
        assert (np.abs(own - swapped).max(axis=-1) > 0).all()


def test_a_code_is_told_and_with_it_all_patches_of_the_image():
    images = jnp.asarray(np.random.default_rng(0).random((2, 8, 12, 4)), jnp.float32)
    tokens = jnp.array([[2, 5, 6, 3, 0], [2, 7, 3, 0, 0]])
    network = CodeRestorer(EncoderDecoder(3, 8, 4, (4,), 32, residual=False), Recurrent(60, 6, 4))
    assert (network.channels, network.multiple, network.scale) == (3, 4, 1)
    params = jax.jit(lambda key: network.init(key, images, labels=tokens, train=True))(jax.random.key(0))
    apply = jax.jit(lambda told: network.apply(params, images, labels=told, train=False))
    own, other = apply(tokens), apply(tokens.at[1].set(tokens[0]))
    np.testing.assert_array_equal(own[0], other[0])
    assert (np.abs(own[1] - other[1]).max(axis=-1) > 0).all()


def test_a_network_without_a_code_is_refused():
    with pytest.raises(ConfigError, match="DnCNN has no code"):
        CodeRestorer(DnCNN(3), Recurrent(60, 6, 4))


def test_a_run_without_captions_refuses_a_sentence(tmp_path):
    told_none = config()
    told_none["data"] = dict(source=SOURCE)
    told_none["task"] |= dict(captions=False, network=told_none["task"]["network"]["network"])
    jgr.train(told_none, tmp_path / "run", quiet=True)
    Image.fromarray(np.zeros((SIZE, SIZE, 3), np.uint8)).save(tmp_path / "photo.png")
    Image.fromarray(np.eye(SIZE, dtype=np.uint8) * 255).save(tmp_path / "mask.png")
    with pytest.raises(ConfigError, match="told no captions"):
        restore(
            tmp_path / "run",
            tmp_path / "photo.png",
            tmp_path / "out",
            mask=tmp_path / "mask.png",
            text="a seven",
            quiet=True,
        )
    told_none["task"] |= dict(captions=True)
    with pytest.raises(ConfigError, match="read without captions"):
        jgr.train(told_none, tmp_path / "other", quiet=True)
