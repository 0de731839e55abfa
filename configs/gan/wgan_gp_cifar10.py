"""WGAN-GP (Gulrajani et al. 2017) with the convolutional networks of SNGAN on CIFAR-10, 32x32 colour.

    jgr data prepare cifar10
    jgr train --config=configs/gan/wgan_gp_cifar10.py --workdir=runs/wgan_gp_cifar10
    jgr evaluate runs/wgan_gp_cifar10

The recipe is w86763777/pytorch-gan-collections' (WGANGP_CIFAR10_CNN), which reports an Inception score of 7.66 and an
FID of 19.83, of 50,000 images against the training set. It has one update of the critic a step, where the paper has
five, and averages no weights. The critic's last matrix starts there with a standard deviation of .02, here of .016, by
Glorot's rule.

Neither time nor scores were measured yet. Another prepared data set of the same size:

    --config.data.source.dataset=NAME --config.evaluation.data.source.dataset=NAME
"""

from ml_collections import ConfigDict


def get_config(arg: str = "") -> ConfigDict:
    """The config; "smoke" makes it small, for tests, with scikit-image's photographs instead of CIFAR-10."""
    if arg not in ("", "smoke"):
        raise ValueError(f"{arg!r} must be 'smoke' or nothing")
    smoke = arg == "smoke"
    size = 8 if smoke else 32
    config = ConfigDict()
    config.seed = 0
    if smoke:
        config.data = dict(source=dict(cls="jgr.data.photographs.Photographs"), resize=size, crop=size)
    else:
        config.data = dict(source=dict(cls="jgr.data.tfds.TFDS", dataset="cifar10", split="train"))
    real = dict(config.data)
    config.data.augment = dict(flip=True)
    adam = dict(
        rule=dict(cls="optax.adam", b1=0.0, b2=0.9),
        learning_rate=2e-4,
        schedule=dict(decay="linear"),  # to 0
    )
    networks = dict(image_size=size, channels=3, width=4 if smoke else 64)
    config.task = dict(
        cls="jgr.tasks.gan.GAN",
        generator=dict(cls="jgr.models.sngan.Generator", latent_dim=100, **networks),
        discriminator=dict(
            cls="jgr.models.sngan.Discriminator",
            spectral_norm=False,
            head=dict(cls="jgr.layers.heads.Linear", spectral_norm=False),
            **networks,
        ),
        loss="jgr.losses.adversarial.wasserstein",
        penalties=dict(gp=dict(cls="jgr.losses.penalties.GradientPenalty", weight=10.0)),
        generator_optimizer=adam,
        discriminator_optimizer=adam,
        num_d_steps=1,
        generator_multiple=2,
    )
    config.train = dict(
        num_steps=2 if smoke else 100_000,
        batch_size=8 if smoke else 128,
        log_every=1 if smoke else 100,
        checkpoint_every=1 if smoke else 5000,
        sample_every=2 if smoke else 1000,
        num_samples=4 if smoke else 100,
    )
    if smoke:
        metrics = dict(fd_pixels=dict(cls="jgr.metrics.distribution.FrechetDistance"))
    else:  # its weights come by `jgr weights inception`; a GPU's work
        inception = dict(cls="jgr.metrics.inception.Inception", resize="tf1_bilinear")
        metrics = dict(
            fid=dict(cls="jgr.metrics.distribution.FrechetDistance", extractor=inception),
            inception_score=dict(cls="jgr.metrics.distribution.InceptionScore", extractor=inception),
        )
    config.evaluation = dict(
        data=real, num_samples=16 if smoke else 50_000, batch_size=16 if smoke else 500, metrics=metrics
    )
    return config
