"""The very deep VAE (Child 2021), smaller, on CIFAR-10, 32x32 colour, with the probability of 8-bit levels.

    jgr data prepare cifar10
    jgr train --config=configs/vae/hierarchical_vae_cifar10.py --workdir=runs/hierarchical_vae_cifar10
    jgr evaluate runs/hierarchical_vae_cifar10

6.07 million parameters. The paper's, with 39 million, reaches 2.87 bits per dimension of the test set (Child 2021)
after about a million steps; a ladder VAE of 15 layers 3.35 (addtt/ladder-vae-pytorch). The paper's decoder has
blocks=((1, 1), (4, 3), (8, 6), (16, 11), (32, 22)), width=384 and bottleneck=96, and its encoder 33 blocks.

Neither time nor scores were measured yet; a GPU's work. Another prepared data set of the same size:

    --config.data.source.dataset=NAME --config.evaluation.data.source.dataset=NAME

With `:small` networks are narrow, steps are 600, and no Inception network is needed. On a JPEG variant of CIFAR-10
that gave 5.39 bits per dimension after 17 minutes of one shared CPU core; samples show textures, no objects
(`results/cifar10_jpeg75_vae`).
"""

from ml_collections import ConfigDict


def get_config(arg: str = "") -> ConfigDict:
    """The config; "small" is narrow and brief, "smoke" for tests, of scikit-image's photographs."""
    if arg not in ("", "small", "smoke"):
        raise ValueError(f"{arg!r} must be 'small', 'smoke' or nothing")
    small, smoke = arg == "small", arg == "smoke"
    size = 8 if smoke else 32
    num_mixtures = 2 if smoke else 10
    config = ConfigDict()
    config.seed = 0
    if smoke:
        config.data = dict(source=dict(cls="jgr.data.photographs.Photographs"), resize=size, crop=size)
        test = dict(config.data)
    else:
        config.data = dict(source=dict(cls="jgr.data.tfds.TFDS", dataset="cifar10", split="train"))
        test = dict(source=dict(cls="jgr.data.tfds.TFDS", dataset="cifar10", split="test"))
    dims = 3 * size**2
    blocks = ((1, 1), (4, 2), (8, 4), (16, 7), (32, 10))
    if small:
        blocks = ((1, 1), (4, 2), (8, 3), (16, 3), (32, 2))
    if smoke:
        blocks = ((1, 1), (8, 1))
    config.task = dict(
        cls="jgr.tasks.hierarchical_vae.HierarchicalVAE",
        network=dict(
            cls="jgr.models.vdvae.VDVAE",
            blocks=blocks,
            channels=3,
            outputs=10 * num_mixtures,  # what the likelihood needs of a pixel
            width=4 if smoke else 48 if small else 192,
            bottleneck=4 if smoke else 16 if small else 48,
            latent_channels=2 if smoke else 16,
        ),
        likelihood=dict(cls="jgr.losses.likelihoods.DiscretizedLogisticMixture", num_mixtures=num_mixtures),
        optimizer=dict(
            rule=dict(cls="optax.adamw", b1=0.9, b2=0.9, weight_decay=0.01),
            learning_rate=1e-3 if small else 2e-4,
            schedule=dict(warmup=1 if smoke else 100),
            clip_norm=200.0 * dims,  # openai/vdvae: 200, and 400 below, of a loss for each pixel and channel
        ),
        skip_norm=400.0 * dims,
    )
    config.train = dict(
        num_steps=2 if smoke else 600 if small else 300_000,
        batch_size=8 if smoke else 32,
        log_every=1 if smoke else 100,
        checkpoint_every=1 if smoke else 500 if small else 10_000,
        sample_every=2 if smoke else 500 if small else 10_000,
        num_samples=4 if smoke else 100,
        average=dict(half_life="220000 examples"),  # a decay of 0.9999 a step
    )
    metrics = dict(
        bits_per_dim=dict(cls="jgr.metrics.records.BitsPerDimension", num_samples=1, scale=1.0),
    )
    if smoke:
        metrics |= dict(fd_pixels=dict(cls="jgr.metrics.distribution.FrechetDistance"))
    elif not small:  # its weights come by `jgr weights inception`
        inception = dict(cls="jgr.metrics.inception.Inception", resize="tf1_bilinear")
        metrics |= dict(fid=dict(cls="jgr.metrics.distribution.FrechetDistance", extractor=inception))
    config.evaluation = dict(
        data=test, num_samples=16 if smoke else 10_000, batch_size=16 if smoke else 500, metrics=metrics
    )
    return config
