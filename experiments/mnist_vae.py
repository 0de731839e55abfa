"""VAEs on binarised MNIST: likelihood and samples side by side, trained for minutes on two CPU cores.

jgr data prepare mnist
jgr experiment experiments/mnist_vae.py
python experiments/draw_curves.py results/mnist_vae --metrics=vae/elbo,vae/kl
"""

from jgr.jobs.study import Arm, Study

VAE = "configs/vae/vae_mnist.py"
BOUND = {"evaluation.metrics.log_likelihood.num_samples": 1000}
SHORT = BOUND | {"train.num_steps": "50 epochs"}


def get_study() -> Study:
    """The study."""
    betas = (0.25, 2.0, 4.0)
    return Study(
        title="VAEs on binarised MNIST: likelihood and samples",
        arms=(
            Arm(name="vae", config=VAE, overrides=SHORT),
            *(
                Arm(name=f"beta-{beta:g}", config=VAE, overrides=SHORT | {"task.objective.beta": beta})
                for beta in betas
            ),
            Arm(name="conditional", config=f"{VAE}:conditional", overrides=SHORT),
            Arm(
                name="conditional-beta-3",
                config=f"{VAE}:conditional",
                overrides=BOUND | {"train.num_steps": "150 epochs", "task.objective.beta": 3.0},
            ),
            Arm(name="mixture", config=f"{VAE}:mixture", overrides=SHORT),
            Arm(name="two-stage", config=f"{VAE}:two_stage", overrides=SHORT),
            Arm(name="vq-vae", config="configs/vae/vq_vae_mnist.py", overrides={"train.num_steps": "6 epochs"}),
            Arm(
                name="hierarchical",
                config="configs/vae/hierarchical_vae_mnist.py",
                overrides={"train.num_steps": "4 epochs"},
            ),
        ),
        notes=(
            "Bounds of log-likelihood are in nats, of 1,000 samples where the model has them, of test images that are "
            "binarised once by their brightness; that of vq-vae is of the one grid of codes that its encoder names.",
            "Samples are expected images, not binarised, against test images as they are. fd_cnn-mnist is the Fréchet "
            "distance in the features of jgr's classifier of MNIST: it is no FID.",
            "50 epochs, conditional-beta-3 150, vq-vae 6, hierarchical 4: fewer than the configs say.",
            "mixture and two-stage are the VAE with samples from another model of its latents, so their likelihoods "
            "are those of a VAE.",
        ),
        pictures=True,
    )
