"""StyleGAN2 (Karras et al. 2020) on CIFAR-10 with labels, 32x32 colour, as its authors have it for this data set.

    jgr data prepare cifar10
    jgr train --config=configs/gan/stylegan2_cifar10.py --workdir=runs/stylegan2_cifar10
    jgr evaluate runs/stylegan2_cifar10

StudioGAN reports an Inception score of 10.17 and an FID of 3.78 for it, of 50,000 images against the training set, and
its log of one training FIDs of 36.0, 19.9, 9.7 and 4.8 after 10,000, 20,000, 40,000 and 100,000 steps. The networks
have that log's 20,215,315 and 23,089,664 parameters. Its layers of 8 pixels and more compute in half precision, for
which there is --config.train.dtype=bfloat16.

Neither time nor scores were measured yet. Another prepared data set of the same size:

    --config.data.source.dataset=NAME --config.evaluation.data.source.dataset=NAME

With `stylegan2_cifar10.py:small` narrow networks learn to draw MNIST's digits by class, enlarged to 32x32, in 2,000
steps: 20 to 33 minutes on one CPU core that was shared (`results/small_gans`).
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
        width=4 if smoke else 32 if small else 512,
        max_width=8 if smoke else 64 if small else 512,
        num_classes=10,
    )
    styles = 8 if smoke else 64 if small else 512
    config.task = dict(
        cls="jgr.tasks.gan.GAN",
        generator=dict(
            cls="jgr.models.stylegan2.Generator",
            latent_dim=styles,
            style_dim=styles,
            mapping_layers=2,
            mixing=0.0,  # 0.9 for other data sets
            **networks,
        ),
        discriminator=dict(
            cls="jgr.models.stylegan2.Discriminator",
            residual=False,  # "orig"; True for other data sets
            mapping_layers=2 if smoke else 8,
            group_size=32,
            **networks,
        ),
        num_classes=10,
        loss="jgr.losses.adversarial.non_saturating",
        # 0.01: the authors' for CIFAR-10. MNIST's steeper edges let R1 and gradients grow with it: 1, as R3GAN's has.
        penalties=dict(r1=dict(cls="jgr.losses.penalties.R1", gamma=1.0 if small else 0.01, interval=16)),
        # 4 / 5: the authors rescale this Adam for updates of the path length, every four steps, though they make none
        # for this data set. The discriminator's is rescaled for R1's updates by the task.
        generator_optimizer=dict(rule=dict(cls="optax.adam", b1=0.0, b2=0.99 ** (4 / 5)), learning_rate=0.0025 * 4 / 5),
        discriminator_optimizer=dict(rule=dict(cls="optax.adam", b1=0.0, b2=0.99), learning_rate=0.0025),
    )
    config.train = dict(
        num_steps=2 if smoke else 2000 if small else 200_000,
        batch_size=8 if smoke else 32 if small else 64,
        log_every=1 if smoke else 10 if small else 100,
        checkpoint_every=1 if smoke else 500 if small else 5000,
        sample_every=2 if smoke else 500 if small else 1000,
        num_samples=4 if smoke else 100,
        average=dict(half_life="500000 examples", ramp_up=0.05),
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
