"""A hierarchical VAE (Child 2021, small) on MNIST, binarised anew each time a record is seen; a CPU's work.

    jgr data prepare mnist
    jgr train --config=configs/vae/hierarchical_vae_mnist.py --workdir=runs/hierarchical_vae_mnist
    jgr evaluate runs/hierarchical_vae_mnist

Published, in nats of the test set: a ladder VAE of 5 fully connected layers -81.74 with 5,000 samples (Sønderby et al.
2016); convolutional ones of 3, 6 and 12 layers -82.14, -80.74 and -80.50 with one sample, -79.24, -78.52 and -78.30
with 1,000 (addtt/ladder-vae-pytorch; of images binarised once, which are about 2 nats worse than these).

4 epochs, 29 minutes on one CPU core that was shared (AMD EPYC, JAX 0.10.2), gave an ELBO of -96.9 nats, a Fréchet
distance of 6.82 in the features of jgr's classifier, precision .59 and recall .70: far from converged
(`results/mnist_vae`).
"""

from ml_collections import ConfigDict


def get_config(arg: str = "") -> ConfigDict:
    """The config; "smoke" makes it small, for tests."""
    if arg not in ("", "smoke"):
        raise ValueError(f"{arg!r} must be 'smoke' or nothing")
    smoke = arg == "smoke"
    config = ConfigDict()
    config.seed = 0
    config.data = dict(
        source=dict(cls="jgr.data.tfds.TFDS", dataset="mnist", split="train[:64]" if smoke else "train"),
    )
    config.task = dict(
        cls="jgr.tasks.hierarchical_vae.HierarchicalVAE",
        network=dict(
            cls="jgr.models.vdvae.VDVAE",
            blocks=((1, 1), (14, 1)) if smoke else ((1, 2), (7, 3), (14, 2)),
            patch=2,  # a block at 28x28 would cost more than all of these together
            width=4 if smoke else 32,
            bottleneck=4 if smoke else 16,
            latent_channels=2 if smoke else 8,
            brightness=0.13,  # the training images' mean
        ),
        likelihood=dict(cls="jgr.losses.likelihoods.Bernoulli"),
        optimizer=dict(
            rule=dict(cls="optax.adamax"),
            learning_rate=2e-3,
            schedule=dict(decay="cosine", warmup=1 if smoke else 100),
            clip_norm=200.0,
        ),
        annealing=dict(steps="10%"),
    )
    config.train = dict(
        num_steps=2 if smoke else "7 epochs",
        batch_size=8 if smoke else 64,
        log_every=1 if smoke else 100,
        checkpoint_every=1 if smoke else "1 epoch",
        sample_every=2 if smoke else "1 epoch",
        num_samples=4 if smoke else 100,
        average=dict(half_life="50000 examples"),
    )
    classifier = dict(cls="jgr.metrics.classifiers.TrainedClassifier", weights="cnn-mnist")
    metrics = dict(
        elbo=dict(cls="jgr.metrics.records.LogLikelihood", num_samples=1),
        fd=dict(cls="jgr.metrics.distribution.FrechetDistance", extractor=classifier),
        precision=dict(cls="jgr.metrics.distribution.Precision", extractor=classifier),
        recall=dict(cls="jgr.metrics.distribution.Recall", extractor=classifier),
        fd_pixels=dict(cls="jgr.metrics.distribution.FrechetDistance"),
    )
    test = dict(source=dict(cls="jgr.data.tfds.TFDS", dataset="mnist", split="test[:64]" if smoke else "test"))
    config.evaluation = dict(
        data=test, num_samples=16 if smoke else 10_000, batch_size=16 if smoke else 500, metrics=metrics
    )
    return config
