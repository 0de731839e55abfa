r"""Digits drawn by sentences: a GAN, a conditional GAN and a VAE, each with several ways of fusion.

jgr data prepare mnist
jgr experiment experiments/captioned_mnist.py
jgr sample runs/captioned_mnist/gan-mul-10-epochs-s0 --num=8 --out=results/captioned_mnist/sentences.png \
  --text "a thick green seven leaning left" "a thin 4 on navy" "a wide green zero on gray" \
  "a narrow white one, leaning right, on the left" "a cyan 8 in the middle" \
  "a yellow five, thick, black background" "a pink 2" "three"

Rows whose name ends in "held-out" are of the same weights, asked for combinations of digit and colour that the training
never had.
"""

from typing import Any

from jgr.jobs.study import Arm, Study

FUSIONS = ("concat", "add", "mul")
RUNS = "runs/captioned_mnist"
HELD_OUT = {"train.num_steps": 0, "evaluation.data.source.combinations": "held_out"}


def _arms(name: str, config: str, overrides: dict[str, Any]) -> tuple[Arm, Arm]:
    """A training, and its weights asked for what it never had."""
    file, overrides = f"configs/text/text_{config}", overrides | {"evaluation.seeds": (0,)}
    weights = {"train.init_from.path": f"{RUNS}/{name}-s0"}
    return (
        Arm(name=name, config=file, overrides=overrides),
        Arm(name=f"{name}-held-out", config=file, overrides=overrides | HELD_OUT | weights),
    )


def get_study() -> Study:
    """The study."""
    gan, vae = "gan_captioned_mnist.py", "vae_captioned_mnist.py"
    four, six, ten = ({"train.num_steps": f"{count} epochs"} for count in (4, 6, 10))
    trainings: list[tuple[str, str, dict[str, Any]]] = [(f"gan-{fusion}", f"{gan}:{fusion}", six) for fusion in FUSIONS]
    trainings.append(("gan-mul-10-epochs", f"{gan}:mul", ten))
    trainings += [(f"cgan-{fusion}", f"{gan}:{fusion}", {**four, "task.captions.weight": 0.0}) for fusion in FUSIONS]
    trainings += [(f"vae-{fusion}", f"{vae}:{fusion}", six) for fusion in FUSIONS]
    return Study(
        title="Digits drawn by sentences, trained for minutes on two CPU cores",
        arms=tuple(arm for training in trainings for arm in _arms(*training)),
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
