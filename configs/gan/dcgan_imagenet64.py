"""DCGAN (Radford et al. 2016) on ImageNet (ILSVRC 2012), 64x64 colour, streamed. Wants a GPU.

    jgr data prepare imagenet2012
    jgr train --config=configs/gan/dcgan_imagenet64.py --workdir=runs/dcgan_imagenet64

Neither time nor scores were measured yet.
ImageNet cannot be downloaded without an account: the first command says which files to put where.
"""

from ml_collections import ConfigDict


def get_config(arg: str = "") -> ConfigDict:
    """The config; "smoke" makes it small, for tests, with scikit-image's photographs instead of ImageNet."""
    if arg not in ("", "smoke"):
        raise ValueError(f"{arg!r} must be 'smoke' or nothing")
    smoke = arg == "smoke"
    size = 16 if smoke else 64
    config = ConfigDict()
    config.seed = 0
    photographs = dict(cls="jgr.data.photographs.Photographs")
    config.data = dict(
        source=photographs if smoke else dict(cls="jgr.data.tfds.TFDS", dataset="imagenet2012", split="train"),
        resize=size,  # the shorter side
        crop=size,  # random in training, of the centre in evaluation
        augment=dict(flip=True),
        num_workers=0 if smoke else 8,
    )
    adam = dict(rule=dict(cls="optax.adam", b1=0.5, b2=0.999), learning_rate=2e-4)
    config.task = dict(
        cls="jgr.tasks.gan.GAN",
        generator=dict(cls="jgr.models.dcgan.Generator", image_size=size, channels=3, width=4 if smoke else 128),
        discriminator=dict(cls="jgr.models.dcgan.Discriminator", image_size=size, channels=3, width=4 if smoke else 64),
        generator_optimizer=adam,
        discriminator_optimizer=adam,
    )
    config.train = dict(
        num_steps=2 if smoke else 200_000,
        batch_size=8 if smoke else 128,
        log_every=1 if smoke else 100,
        checkpoint_every=1 if smoke else 10_000,
        sample_every=2 if smoke else 5000,
        num_samples=4 if smoke else 100,
        average=dict(half_life="500000 examples"),
    )
    validation = dict(cls="jgr.data.tfds.TFDS", dataset="imagenet2012", split="validation")
    config.evaluation = dict(
        data=dict(source=photographs if smoke else validation, resize=size, crop=size),
        num_samples=16 if smoke else 10_000,
        batch_size=16 if smoke else 250,
        # Its weights come by `jgr weights inception`. Raw pixels have 12,288 dimensions at this size: their covariance
        # is not worth its memory.
        metrics=dict(fd_pixels=dict(cls="jgr.metrics.distribution.FrechetDistance"))
        if smoke
        else dict(
            fid=dict(
                cls="jgr.metrics.distribution.FrechetDistance", extractor=dict(cls="jgr.metrics.inception.Inception")
            )
        ),
    )
    return config
