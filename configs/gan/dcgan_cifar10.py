"""DCGAN (Radford et al. 2016) on CIFAR-10, 32x32 colour.

    jgr data prepare cifar10
    jgr train --config=configs/gan/dcgan_cifar10.py --workdir=runs/dcgan_cifar10
    jgr evaluate runs/dcgan_cifar10

Neither time nor scores were measured yet. Another prepared data set of the same size:

    --config.data.source.dataset=NAME --config.evaluation.data.source.dataset=NAME
"""

from ml_collections import ConfigDict


def get_config(arg: str = "") -> ConfigDict:
    """The config; "smoke" makes it small, for tests, with scikit-image's photographs instead of CIFAR-10."""
    if arg not in ("", "smoke"):
        raise ValueError(f"{arg!r} must be 'smoke' or nothing")
    smoke = arg == "smoke"
    size = 16 if smoke else 32
    config = ConfigDict()
    config.seed = 0
    if smoke:
        config.data = dict(source=dict(cls="jgr.data.photographs.Photographs"), resize=size, crop=size)
        real = dict(config.data)
    else:
        config.data = dict(
            source=dict(cls="jgr.data.tfds.TFDS", dataset="cifar10", split="train"), augment=dict(flip=True)
        )
        real = dict(source=dict(cls="jgr.data.tfds.TFDS", dataset="cifar10", split="test"))
    adam = dict(rule=dict(cls="optax.adam", b1=0.5, b2=0.999), learning_rate=2e-4)
    config.task = dict(
        cls="jgr.tasks.gan.GAN",
        generator=dict(cls="jgr.models.dcgan.Generator", image_size=size, channels=3, width=4 if smoke else 64),
        discriminator=dict(cls="jgr.models.dcgan.Discriminator", image_size=size, channels=3, width=4 if smoke else 64),
        generator_optimizer=adam,
        discriminator_optimizer=adam,
    )
    config.train = dict(
        num_steps=2 if smoke else 50_000,
        batch_size=8 if smoke else 64,
        log_every=1 if smoke else 100,
        checkpoint_every=1 if smoke else 5000,
        sample_every=2 if smoke else 1000,
        num_samples=4 if smoke else 100,
        average=dict(half_life="100000 examples"),
    )
    metrics = dict(fd_pixels=dict(cls="jgr.metrics.distribution.FrechetDistance"))
    if not smoke:  # its weights come by `jgr weights inception`; a GPU's work
        inception = dict(cls="jgr.metrics.inception.Inception", resize="tf1_bilinear")
        metrics |= dict(
            fid=dict(cls="jgr.metrics.distribution.FrechetDistance", extractor=inception),
            inception_score=dict(cls="jgr.metrics.distribution.InceptionScore", extractor=inception),
        )
    config.evaluation = dict(
        data=real, num_samples=16 if smoke else 10_000, batch_size=16 if smoke else 500, metrics=metrics
    )
    return config
