"""DCGAN (Radford et al. 2016) on CIFAR-10, 32x32 colour.

    jgr data prepare cifar10
    jgr train --config=configs/gan/dcgan_cifar10.py --workdir=runs/dcgan_cifar10
    jgr evaluate runs/dcgan_cifar10

The recipe is w86763777/pytorch-gan-collections' (DCGAN_CIFAR10), which reports an Inception score of 6.01 and an FID of
42.72, of 50,000 images against the training set. Its networks have a level more, of 2x2 pixels and 1,024 and 512
channels; its discriminator has kernels of 5x5, and batch norm after LeakyReLU; its weights start by PyTorch's rule,
these as in the paper. Neither averages weights. A DCGAN may collapse late: that of PyTorch-StudioGAN, whose learning
rate does not fall, had an FID of 49.0 against the test set after 42,000 steps and of 137 after 200,000.

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
    else:
        config.data = dict(source=dict(cls="jgr.data.tfds.TFDS", dataset="cifar10", split="train"))
    real = dict(config.data)
    config.data.augment = dict(flip=True)
    adam = dict(
        rule=dict(cls="optax.adam", b1=0.5, b2=0.9),
        learning_rate=2e-4,
        schedule=dict(decay="linear"),  # to 0
    )
    networks = dict(image_size=size, channels=3)
    config.task = dict(
        cls="jgr.tasks.gan.GAN",
        generator=dict(cls="jgr.models.dcgan.Generator", width=4 if smoke else 128, **networks),
        discriminator=dict(cls="jgr.models.dcgan.Discriminator", width=4 if smoke else 64, batch_norm=True, **networks),
        loss="jgr.losses.adversarial.non_saturating",
        generator_optimizer=adam,
        discriminator_optimizer=adam,
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
