"""Convolutional and hierarchical VAEs on a JPEG variant of CIFAR-10, narrow and brief: for a CPU.

The variant's images were compressed again (quality 75, 4:2:0), so they are easier to code than CIFAR-10's: its numbers
compare with no published one. `cifar10_jpeg75` is to lie in TFDS_DATA_DIR, prepared as ArrayRecord.

jgr experiment experiments/cifar10_jpeg75_vae.py
python experiments/draw_curves.py results/cifar10_jpeg75_vae --metrics=vae/elbo,vae/kl --apart
"""

from jgr.jobs.study import Arm, Study

NAME = "cifar10_jpeg75"
VARIANT = {"data.source.dataset": NAME, "evaluation.data.source.dataset": NAME}


def get_study() -> Study:
    """The study."""
    return Study(
        title="VAEs on CIFAR-10 re-encoded as JPEG of quality 75: not CIFAR-10's numbers",
        arms=(
            Arm(name="conv", config="configs/vae/conv_vae_cifar10.py:small", overrides=VARIANT),
            Arm(name="hierarchical", config="configs/vae/hierarchical_vae_cifar10.py:small", overrides=VARIANT),
        ),
        notes=(
            "Bits per dimension are the bound of one sample, of 8-bit levels. JPEG has taken out much of what makes "
            "CIFAR-10's images hard to code: no number here stands beside a published one.",
            "conv: 1,500 steps of 64 images; hierarchical: 600 of 32. Both are far from converged.",
        ),
        evaluation={"seeds": (0,)},
        pictures=True,
    )
