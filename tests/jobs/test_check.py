import re

import jax
import pytest

from jgr.config import resolve
from jgr.errors import ConfigError
from jgr.jobs.check import check
from jgr.jobs.experiment import Experiment, open_experiment
from jgr.jobs.step import abstract_state, initial_state, make_loader


def mlp_gan(batch_size=4, width=7, image_size=8, half_life=100):
    """Latents of 5 through one hidden layer, and 8x8 digits through one of 6 to the logit."""
    return {
        "data": {"source": {"cls": "jgr.data.digits.Digits", "split": "train"}},
        "task": {
            "cls": "jgr.tasks.gan.GAN",
            "generator": {
                "cls": "jgr.models.mlp_gan.Generator",
                "image_size": image_size,
                "latent_dim": 5,
                "widths": (width,),
            },
            "discriminator": {"cls": "jgr.models.mlp_gan.Discriminator", "image_size": 8, "widths": (6,)},
        },
        "train": {"num_steps": "2 epochs", "batch_size": batch_size, "average": {"half_life": half_life}},
    }


GENERATOR = 5 * 7 + 7 + 7 * 64 + 64
DISCRIMINATOR = 64 * 6 + 6 + 6 + 1


def numbers(report, label):
    """The first number of every line that starts with a label."""
    found = re.findall(rf"^ *{label} .*?([\d,]+)(?: \(.*\))?$", report, re.MULTILINE)
    return [int(number.replace(",", "")) for number in found]


def test_counts_are_those_of_the_matrices():
    report = check(mlp_gan())
    *networks, state_bytes = numbers(report, "total")
    assert networks == [DISCRIMINATOR, GENERATOR]
    assert re.search(r"^Dense_0/kernel +5x7 +float32 +35$", report, re.MULTILINE)
    assert re.search(r"^Dense_1/bias +64 +float32 +64$", report, re.MULTILINE)
    parameters = 4 * (GENERATOR + DISCRIMINATOR)
    assert numbers(report, "params") == [parameters]
    # Adam keeps two moments of every parameter; each optimiser counts its own steps and its schedule's, in int32
    assert numbers(report, "opt_state") == [2 * parameters + 4 * 4]
    assert numbers(report, "ema") == [4 * GENERATOR]
    assert state_bytes == 3 * parameters + 4 * 4 + 4 * GENERATOR + 4
    assert "digits-train: 1437 records, images 8x8x1" in report
    assert "719 of 4 images: 2.001 epochs" in report  # an epoch is over when its last record was shown: 2 * 1437 / 4
    assert "discriminator/loss" in report
    assert "finite/" not in report


@pytest.mark.parametrize("half_life", [0, 100])
def test_bytes_are_those_of_the_arrays(half_life):
    config = mlp_gan(half_life=half_life)
    config["task"]["generator"] = {"cls": "jgr.models.dcgan.Generator", "image_size": 8, "width": 3, "latent_dim": 5}
    experiment = open_experiment(resolve(config, Experiment))
    loader = make_loader(experiment)
    state, report = initial_state(experiment, loader, abstract_state(experiment, loader)), check(config)
    assert numbers(report, "total")[-1] == sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    for part in ("params", "model_state", "opt_state", "ema"):
        expected = sum(leaf.nbytes for leaf in jax.tree.leaves(getattr(state, part)))
        assert numbers(report, part) == ([expected] if expected else [])


def test_nothing_is_computed():
    """A batch of 256 TB and a network of 28 TB are described at once."""
    report = check(mlp_gan(batch_size=10**12, width=10**11))
    assert numbers(report, "total")[1] == 10**11 * (5 + 1 + 64) + 64
    assert numbers(report, "ema") == [4 * (10**11 * 70 + 64)]


def test_the_compiled_step_tells_its_temporary_memory():
    report = check(mlp_gan(), compile_step=True)
    assert re.search(r"temporary memory of one step compiled for one device: [\d,]+ \([\d.]+ KiB\)", report)
    assert "temporary memory" not in check(mlp_gan())


def test_a_config_that_cannot_work():
    with pytest.raises(ConfigError, match=r"config.task.generator makes images of 16x16x1 but the data has 8x8x1"):
        check(mlp_gan(image_size=16))
    with pytest.raises(ConfigError, match=r"config.train.batch_size"):
        check(mlp_gan(batch_size=0))
