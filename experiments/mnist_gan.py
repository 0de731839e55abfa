"""Generative adversarial networks on MNIST, each trained for at most half an hour on two CPU cores.

jgr data prepare mnist
jgr experiment experiments/mnist_gan.py
python experiments/draw_curves.py results/mnist_gan \
  --metrics=discriminator/real_logits,discriminator/fake_logits,discriminator/gradient_norm,generator/gradient_norm
"""

from jgr.jobs.study import Arm, Study

SIX = {"train.num_steps": "6 epochs"}
MLP = {"train.num_steps": 14_100}  # 30 epochs


def get_study() -> Study:
    """The study."""
    return Study(
        title="GANs on MNIST, trained for minutes on a CPU",
        arms=(
            Arm(name="mlp-gan", config="configs/gan/mlp_gan_mnist.py", overrides=MLP, seeds=(0, 1, 2)),
            Arm(name="dcgan", config="configs/gan/dcgan_mnist.py", overrides=SIX, seeds=(0, 1, 2)),
            Arm(name="lsgan", config="configs/gan/lsgan_mnist.py", overrides=SIX),
            Arm(name="wgan-gp", config="configs/gan/wgan_gp_mnist.py", overrides=SIX),
            Arm(name="sngan", config="configs/gan/sngan_mnist.py", overrides={"train.num_steps": "3 epochs"}),
            Arm(name="cgan", config="configs/gan/cgan_mnist.py", overrides={"train.num_steps": "9 epochs"}),
        ),
        notes=(
            "Trained for 6 epochs, mlp-gan for 30, sngan for 3, cgan for 9: less than what the configs say.",
            "fd_cnn-mnist is the Fréchet distance in the features of jgr's classifier of MNIST: it is no FID, and "
            "compares with numbers of the same classifier only.",
            "The agreement of conditional models stands beside the classifier's accuracy on real test images: see "
            "results/classifiers.",
        ),
        pictures=True,
    )
