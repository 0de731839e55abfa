"""A class-conditional SNGAN with a projection discriminator (Miyato & Koyama 2018) on CIFAR-10, 32x32 colour.

    jgr data prepare cifar10
    jgr train --config=configs/gan/cgan_projection_cifar10.py --workdir=runs/cgan_projection_cifar10
    jgr evaluate runs/cgan_projection_cifar10

The generator has class-conditional batch norm. The recipe is kwotsin/mimicry's (cGAN-PD), which reports an Inception
score of 8.25 and an FID of 10.84, of 50,000 images against the training set. Its generator upsamples linearly, this
one by repeating pixels as the authors' does; the labels of its generated images are drawn uniformly, these are those
of the batch's real images. Neither averages weights or flips images.

Neither time nor scores were measured yet. Another prepared data set of the same size:

    --config.data.source.dataset=NAME --config.evaluation.data.source.dataset=NAME
"""

from ml_collections import ConfigDict


def get_config(arg: str = "") -> ConfigDict:
    """The config; "smoke" makes it small, for tests, with scikit-learn's digits instead of CIFAR-10."""
    if arg not in ("", "smoke"):
        raise ValueError(f"{arg!r} must be 'smoke' or nothing")
    smoke = arg == "smoke"
    size = 8 if smoke else 32
    config = ConfigDict()
    config.seed = 0
    if smoke:
        config.data = dict(source=dict(cls="jgr.data.digits.Digits"))
    else:
        config.data = dict(source=dict(cls="jgr.data.tfds.TFDS", dataset="cifar10", split="train"))
    real = dict(config.data)
    adam = dict(rule=dict(cls="optax.adam", b1=0.0, b2=0.9), learning_rate=2e-4)
    decaying = dict(decay="linear")  # to 0
    num_d_steps = 2 if smoke else 5
    small = dict(channels=1, widths=(4, 4)) if smoke else dict(channels=3)
    networks = dict(image_size=size, **small)
    config.task = dict(
        cls="jgr.tasks.gan.GAN",
        generator=dict(cls="jgr.models.resnet_gan.Generator", num_classes=10, **networks),
        discriminator=dict(
            cls="jgr.models.resnet_gan.Discriminator",
            head=dict(cls="jgr.layers.heads.Projection", num_classes=10, spectral_norm=True),
            **networks,
        ),
        loss="jgr.losses.adversarial.hinge",
        generator_optimizer=adam | dict(schedule=decaying),
        discriminator_optimizer=adam | dict(schedule=decaying),
        num_d_steps=num_d_steps,
        num_classes=10,
    )
    config.train = dict(
        num_steps=2 if smoke else 100_000,
        batch_size=8 if smoke else 64,
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
