"""SAGAN (Zhang et al. 2019): class-conditional, with self-attention and spectral norm in both networks, on CIFAR-10.

    jgr data prepare cifar10
    jgr train --config=configs/gan/sagan_cifar10.py --workdir=runs/sagan_cifar10
    jgr evaluate runs/sagan_cifar10

The recipe is PyTorch-StudioGAN's, which reports an Inception score of 8.64 and an FID of 10.35, of 50,000 images
against the training set, and 14.0 after 90,000 steps against the test set. Its weights start orthogonal, ours by
Glorot's rule.

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
    config.data.augment = dict(flip=not smoke)
    adam = dict(rule=dict(cls="optax.adam", b1=0.5, b2=0.999, eps=1e-6), learning_rate=2e-4)
    num_d_steps = 2 if smoke else 5
    generator_widths, discriminator_widths = ((8, 8, 8), (8, 8)) if smoke else ((256,) * 4, (128,) * 4)
    networks = dict(image_size=size, channels=1 if smoke else 3, attention_side=4 if smoke else 16)
    config.task = dict(
        cls="jgr.tasks.gan.GAN",
        generator=dict(
            cls="jgr.models.resnet_gan.Generator",
            widths=generator_widths,
            num_classes=10,
            spectral_norm=True,
            **networks,
        ),
        discriminator=dict(
            cls="jgr.models.resnet_gan.Discriminator",
            widths=discriminator_widths,
            head=dict(cls="jgr.layers.heads.Projection", num_classes=10, spectral_norm=True),
            **networks,
        ),
        loss="jgr.losses.adversarial.hinge",
        generator_optimizer=adam,
        discriminator_optimizer=adam,
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
