"""BigGAN (Brock et al. 2019) at the size of CIFAR-10, 32x32 colour: 9.4 and 2.4 million parameters.

    jgr data prepare cifar10
    jgr train --config=configs/gan/biggan_cifar10.py --workdir=runs/biggan_cifar10
    jgr evaluate runs/biggan_cifar10
    jgr sample runs/biggan_cifar10 --classes --truncation=0.5 --out=classes.png

The recipe is PyTorch-StudioGAN's, which reports an Inception score of 9.96 and an FID of 4.16, of 50,000 images
against the training set, and 8.1 after 100,000 steps against the test set. Its weights start orthogonal, ours by
Glorot's rule; its average of weights begins at step 1000, ours at once, over few steps at first.

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
    generator_widths, discriminator_widths = ((8, 8, 8), (8, 8)) if smoke else ((384,) * 4, (192,) * 4)
    networks = dict(image_size=size, channels=1 if smoke else 3, attention_side=4 if smoke else 16)
    config.task = dict(
        cls="jgr.tasks.gan.GAN",
        generator=dict(
            cls="jgr.models.resnet_gan.Generator",
            latent_dim=9 if smoke else 80,
            num_classes=10,
            embedding_dim=4 if smoke else 128,
            split_latents=True,
            spectral_norm=True,
            widths=generator_widths,
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
        average=dict(half_life=6931),  # steps: a decay of 0.9999
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
