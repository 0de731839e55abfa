"""Generative adversarial networks on MNIST, each trained for at most 30 minutes on two CPU cores.

jgr data prepare mnist
jgr experiment experiments/mnist_gan.py
"""

from jgr.jobs.study import Arm, Study


def get_study() -> Study:
    """The study."""
    return Study(
        title="GANs on MNIST, trained for minutes on two CPU cores",
        arms=(
            Arm(name="mlp-gan", config="configs/gan/mlp_gan_mnist.py"),
            Arm(name="dcgan", config="configs/gan/dcgan_mnist.py", seeds=(0, 1, 2)),
            Arm(name="lsgan", config="configs/gan/lsgan_mnist.py"),
            Arm(name="wgan-gp", config="configs/gan/wgan_gp_mnist.py"),
            Arm(name="sngan", config="configs/gan/sngan_mnist.py"),
            Arm(name="cgan", config="configs/gan/cgan_mnist.py", seeds=(0, 1, 2)),
        ),
        notes=(
            "fd_cnn-mnist is the Fréchet distance in the features of jgr's classifier of MNIST: it is no FID, and "
            "compares with numbers of the same classifier only.",
        ),
    )
