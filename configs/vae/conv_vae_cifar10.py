"""A convolutional VAE with one layer of latents on CIFAR-10, 32x32 colour, with the probability of 8-bit levels.

    jgr data prepare cifar10
    jgr train --config=configs/vae/conv_vae_cifar10.py --workdir=runs/conv_vae_cifar10
    jgr evaluate runs/conv_vae_cifar10

What one layer reaches is far from what many do, in bits per dimension of the test set: 3.35 with 15 layers of a ladder
(addtt/ladder-vae-pytorch), 2.87 with 39 million parameters (Child 2021).

Neither time nor scores were measured yet; a GPU's work. Another prepared data set of the same size:

    --config.data.source.dataset=NAME --config.evaluation.data.source.dataset=NAME

With `:small` networks are narrow, steps are 1,500, and no Inception network is needed. On a JPEG variant of CIFAR-10
that gave 6.07 bits per dimension after 20 minutes of one shared CPU core; samples show patches of colour, no objects
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
    networks = dict(
        latent_dim=4 if smoke else 128, widths=(4, 4) if smoke else (32, 64, 128) if small else (64, 128, 256)
    )
    config.task = dict(
        cls="jgr.tasks.vae.VAE",
        encoder=dict(cls="jgr.models.conv_vae.Encoder", **networks),
        decoder=dict(
            cls="jgr.models.conv_vae.Decoder",
            image_size=size,
            channels=10 * num_mixtures,  # what the likelihood needs of a pixel
            **networks,
        ),
        likelihood=dict(cls="jgr.losses.likelihoods.DiscretizedLogisticMixture", num_mixtures=num_mixtures),
        optimizer=dict(
            rule=dict(cls="optax.adam"), learning_rate=1e-3 if small else 5e-4, schedule=dict(decay="cosine")
        ),
    )
    config.train = dict(
        num_steps=2 if smoke else 1500 if small else "100 epochs",
        batch_size=8 if smoke else 64 if small else 128,
        log_every=1 if smoke else 100,
        checkpoint_every=1 if smoke else 500 if small else "5 epochs",
        sample_every=2 if smoke else 500 if small else "5 epochs",
        num_samples=4 if smoke else 100,
        average=dict(half_life="50000 examples"),
    )
    metrics = dict(
        bits_per_dim=dict(cls="jgr.metrics.records.BitsPerDimension", num_samples=1, scale=1.0),
        active_units=dict(cls="jgr.metrics.records.ActiveUnits"),
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
