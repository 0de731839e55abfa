import dataclasses

import numpy as np
import pytest

import jgr
from jgr.data.loader import Data
from jgr.errors import DataError
from jgr.jobs.experiment import check_records
from jgr.losses.likelihoods import Bernoulli
from jgr.models import mlp_gan
from jgr.models.mlp_vae import Decoder, Encoder
from jgr.tasks.gan import GAN
from jgr.tasks.vae import VAE


@dataclasses.dataclass(frozen=True, kw_only=True)
class TwoSizes:
    """Photographs, one upright."""

    name = "two-sizes"

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return {"image": np.full((4, 6, 1) if index else (6, 4, 1), 255 * index, np.uint8)}


def vae(binarisation):
    return VAE(
        encoder=Encoder(latent_dim=2),
        decoder=Decoder(image_size=8, latent_dim=2),
        likelihood=Bernoulli(binarisation=binarisation),
    )


class NotToBeRead(TwoSizes):
    """A source whose records are not wanted."""

    def __getitem__(self, index):
        raise AssertionError("read")


def test_tasks_that_accept_all_records_are_shown_none():
    check_records(
        GAN(generator=mlp_gan.Generator(image_size=8), discriminator=mlp_gan.Discriminator(image_size=8)),
        Data(source=NotToBeRead()),
    )


def test_records_of_several_sizes_are_looked_at_one_by_one():
    check_records(vae("none"), Data(source=TwoSizes()))


def test_data_that_a_task_cannot_learn_from_is_named_before_anything_is_written(tmp_path):
    config = {
        "data": {"source": {"cls": "jgr.data.digits.Digits"}},
        "task": {
            "cls": "jgr.tasks.vae.VAE",
            "encoder": {"cls": "jgr.models.mlp_vae.Encoder", "latent_dim": 2},
            "decoder": {"cls": "jgr.models.mlp_vae.Decoder", "latent_dim": 2, "image_size": 8},
            "likelihood": {"cls": "jgr.losses.likelihoods.Bernoulli", "binarisation": "none"},
        },
        "train": {"num_steps": 1, "batch_size": 4},
    }
    with pytest.raises(DataError, match=r"digits-all.*value .* gives probabilities to 0 and 1"):
        jgr.train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
