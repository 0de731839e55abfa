"""Digits drawn by sentences: a GAN, a conditional GAN and a VAE, each with several ways of fusion.

jgr data prepare mnist
jgr experiment experiments/captioned_mnist.py

Rows whose name ends in "held-out" are of the same weights, asked for combinations of digit and colour that the training
never had.
"""

from jgr.jobs.study import Arm, Study

FUSIONS = ("concat", "add", "mul")
RUNS = "runs/captioned_mnist"
HELD_OUT = {"train.num_steps": 0, "evaluation.data.source.combinations": "held_out"}


def get_study() -> Study:
    """The study."""
    arms = []
    for model, config, overrides in (
        ("gan", "gan", {"train.num_steps": "6 epochs"}),
        ("cgan", "gan", {"train.num_steps": "6 epochs", "task.captions.weight": 0.0}),
        ("vae", "vae", {"train.num_steps": "12 epochs"}),
    ):
        for fusion in FUSIONS:
            file, name = f"configs/text/text_{config}_captioned_mnist.py:{fusion}", f"{model}-{fusion}"
            weights = {"train.init_from.path": f"{RUNS}/{name}-s0"}
            overrides = overrides | {"evaluation.seeds": (0,)}
            arms.append(Arm(name=name, config=file, overrides=overrides))
            arms.append(Arm(name=f"{name}-held-out", config=file, overrides=overrides | HELD_OUT | weights))
    return Study(
        title="Digits drawn by sentences, trained for minutes on two CPU cores",
        arms=tuple(arms),
        notes=(
            "gan: the discriminator must refuse real images with wrong captions (Reed et al. 2016); cgan: it is told "
            "captions, and sees right ones alone; vae: q(z | x, t) and p(x | z, t).",
            "agreement of the ink is that of jgr's classifier of MNIST with the digit asked for; agreement_all the "
            "share of what captions say of thickness, slant, width, place and colours that is measured in the images. "
            "swapped: by the caption of the next image, which is what luck reaches; real: of real images.",
            "intra_fd is the mean over the digits that captions name of the Fréchet distance within each.",
        ),
        pictures=True,
    )
