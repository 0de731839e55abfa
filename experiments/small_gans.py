"""StyleGAN2 and R3GAN with narrow networks on MNIST at 32x32 pixels: 2,000 steps each on two CPU cores.

jgr data prepare mnist
jgr experiment experiments/small_gans.py
python experiments/draw_curves.py results/small_gans \
  --metrics=discriminator/real_logits,discriminator/fake_logits,discriminator/r1,generator/gradient_norm
"""

from jgr.jobs.study import Arm, Study


def get_study() -> Study:
    """The study."""
    return Study(
        title="StyleGAN2 and R3GAN with narrow networks, MNIST at 32x32",
        arms=(
            Arm(name="stylegan2", config="configs/gan/stylegan2_cifar10.py:small"),
            Arm(name="r3gan", config="configs/gan/r3gan_cifar10.py:small"),
        ),
        notes=(
            "2,000 steps of 32 images: about one pass over the 60,000. Neither diverges; how good they become it does "
            "not show. R1 has the weight 1 in both: with CIFAR-10's 0.01, StyleGAN2's R1 and gradients rose to the "
            "end, few classes could be told and the distance was 31.0. The published recipes are the configs without "
            "`small`.",
            "The Fréchet distance of pixels is no FID.",
        ),
        pictures=True,
    )
