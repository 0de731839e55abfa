"""Likelihoods of binarised MNIST beside Burda et al. 2016, Table 1, with a schedule for two CPU cores.

jgr data prepare mnist
jgr experiment experiments/mnist_likelihood.py
python experiments/draw_curves.py results/mnist_likelihood --metrics=vae/elbo,vae/kl
"""

from jgr.jobs.study import Arm, Published, Study

IWAE = "configs/vae/vae_mnist.py:iwae"
PAPER, LONG = "Burda et al. 2016, Table 1", "3,280 epochs of 20 images a step"


def get_study() -> Study:
    """The study: what is importance-weighted starts from what was trained with fewer samples."""
    five = {"task.objective.num_samples": 5, "train.num_steps": "80 epochs"}
    return Study(
        title="Log-likelihood of binarised MNIST, one stochastic layer",
        arms=(
            Arm(name="vae", config="configs/vae/vae_mnist.py", seeds=(0, 1)),
            Arm(
                name="iwae-5",
                config=IWAE,
                overrides=five | {"train.init_from.path": "runs/mnist_likelihood/vae-s0"},
            ),
            Arm(
                name="iwae-50",
                config=IWAE,
                overrides={
                    "train.num_steps": "10 epochs",
                    "train.init_from.path": "runs/mnist_likelihood/iwae-5-s0",
                },
            ),
        ),
        published=tuple(
            Published(name=name, metric="log_likelihood", value=value, source=source, note=note, arm=arm)
            for name, arm, value, source, note in (
                ("VAE", "vae", -86.76, PAPER, LONG),
                ("IWAE, 50 samples", "iwae-50", -84.78, PAPER, LONG),
                ("VAE", "vae", -86.35, "github.com/nbip/IWAE", ""),
                ("IWAE, 50 samples", "iwae-50", -84.59, "github.com/nbip/IWAE", ""),
            )
        ),
        notes=(
            "Nats of each test image by 5,000 samples over all 10,000, each binarised once by its brightness.",
            "Schedule: vae 600 epochs; iwae-5 80 more from there; iwae-50 10 more from there. 100 images a step, "
            "Adam, 1e-3, which falls as a cosine in each. iwae-5 is a step on the way, and has not been scored.",
        ),
        pictures=True,
    )
