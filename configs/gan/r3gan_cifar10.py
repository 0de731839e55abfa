"""R3GAN (Huang et al. 2024) on CIFAR-10 with labels, 32x32 colour.

    jgr data prepare cifar10
    jgr train --config=configs/gan/r3gan_cifar10.py --workdir=runs/r3gan_cifar10
    jgr evaluate runs/r3gan_cifar10

The paper reports an FID of 1.96, of 50,000 images against the training set, after 250 million images, which took four
days on eight L40. In its recipe (table 9) values move along a cosine while the first 20 million are seen. Here, too,
the learning rate goes from 2e-4 to 5e-5 and the probability of the augmentation from 0 to .55. The half-life of the
average rises to 5 million images in proportion. Adam's b2, there .9 to .99, is .99 throughout, and the gamma of R1 and
R2, in the paper .05 to .005, is .05: meant for the start, it is stronger than the paper's in most of the training. The
networks, of 20,781,952 and 21,280,512 parameters, compute in bfloat16 but for the coarsest level. Where the memory of
few devices does not suffice, set --config.task.discriminator_optimizer.micro_batches, and the generator's.

Neither time nor scores of the full networks were measured yet. Another prepared data set of the same size:

    --config.data.source.dataset=NAME --config.evaluation.data.source.dataset=NAME

With `r3gan_cifar10.py:small` narrow networks learn MNIST, enlarged to 32x32, in 2,000 steps: an hour on one CPU core
that was shared (`results/small_gans`). As with the paper's Stacked MNIST, gamma is 1 (there 1 to .1), the learning rate
constant, nothing augmented.
"""

from ml_collections import ConfigDict


def get_config(arg: str = "") -> ConfigDict:
    """The config; "small" is narrow, on MNIST, "smoke" for tests, on scikit-learn's digits."""
    if arg not in ("", "small", "smoke"):
        raise ValueError(f"{arg!r} must be 'small', 'smoke' or nothing")
    small, smoke = arg == "small", arg == "smoke"
    config = ConfigDict()
    config.seed = 0
    if smoke:
        config.data = dict(source=dict(cls="jgr.data.digits.Digits"))
        real = dict(config.data)
    elif small:
        config.data = dict(source=dict(cls="jgr.data.tfds.TFDS", dataset="mnist", split="train"), resize=32)
        real = dict(source=dict(cls="jgr.data.tfds.TFDS", dataset="mnist", split="test"), resize=32)
    else:
        cifar10 = dict(cls="jgr.data.tfds.TFDS", dataset="cifar10", split="train")
        config.data = dict(source=cifar10, augment=dict(flip=True))
        real = dict(source=cifar10)
    networks = dict(
        image_size=8 if smoke else 32,
        channels=1 if smoke or small else 3,
        widths=(8, 8) if smoke else (128, 64, 32, 16) if small else (768, 768, 768, 768),  # of 4x4 pixels, 8x8, …
        blocks=1 if smoke else 2,
        group_channels=16,
        num_classes=10,
    )
    burn_in = 16 if smoke else 20_000_000
    adam = dict(
        rule=dict(cls="optax.adam", b1=0.0, b2=0.99),
        learning_rate=2e-4,
        schedule=dict(decay="constant") if small else dict(decay="cosine", steps=f"{burn_in} examples", end=0.25),
    )
    gamma = 1.0 if small else 0.05
    config.task = dict(
        cls="jgr.tasks.gan.GAN",
        generator=dict(cls="jgr.models.r3gan.Generator", latent_dim=64, **networks),
        discriminator=dict(cls="jgr.models.r3gan.Discriminator", **networks),
        num_classes=10,
        loss="jgr.losses.adversarial.relativistic",
        penalties=dict(
            r1=dict(cls="jgr.losses.penalties.R1", gamma=gamma), r2=dict(cls="jgr.losses.penalties.R2", gamma=gamma)
        ),
        generator_optimizer=adam,
        discriminator_optimizer=adam,
    )
    if not small:
        config.task.augmentation = dict(
            cls="jgr.augmentations.ada.RisingAugmentation", probability=0.55, images=burn_in, color=0.5, cutout=1.0
        )
    config.train = dict(
        num_steps=2 if smoke else 2000 if small else "250000000 examples",
        batch_size=8 if smoke else 32 if small else 512,
        dtype="float32" if smoke or small else "bfloat16",
        log_every=1 if smoke else 10 if small else 100,
        checkpoint_every=1 if smoke else 500 if small else 5000,
        sample_every=2 if smoke else 500 if small else 5000,
        num_samples=4 if smoke else 100,
        average=dict(half_life="5000 examples" if small else "5000000 examples", ramp_up=0.25),
    )
    metrics = dict(fd_pixels=dict(cls="jgr.metrics.distribution.FrechetDistance"))
    if not smoke and not small:  # its weights come by `jgr weights inception`; a GPU's work
        inception = dict(cls="jgr.metrics.inception.Inception", resize="tf1_bilinear")
        metrics |= dict(
            fid=dict(cls="jgr.metrics.distribution.FrechetDistance", extractor=inception),
            inception_score=dict(cls="jgr.metrics.distribution.InceptionScore", extractor=inception),
        )
    config.evaluation = dict(
        data=real,
        num_samples=16 if smoke else 10_000 if small else 50_000,
        batch_size=16 if smoke else 500,
        metrics=metrics,
    )
    return config
