"""SNGAN with the residual networks (Miyato et al. 2018, table 4) on CIFAR-10, 32x32 colour.

    jgr data prepare cifar10
    jgr train --config=configs/gan/sngan_resnet_cifar10.py --workdir=runs/sngan_resnet_cifar10
    jgr evaluate runs/sngan_resnet_cifar10

The recipe is w86763777/pytorch-gan-collections' (SNGAN_CIFAR10_RES), which reports an Inception score of 8.31 and an
FID of 14.32, of 50,000 images against the training set; kwotsin/mimicry, whose generator's batch is not doubled, 7.97
and 16.77; the paper, of fewer images, 21.7. That recipe also adds uniform noise of up to 1/256 to images in [0, 1];
this one does not. Neither averages weights or flips images.

Neither time nor scores were measured yet. Another prepared data set of the same size:

    --config.data.source.dataset=NAME --config.evaluation.data.source.dataset=NAME
"""

from ml_collections import ConfigDict


def get_config(arg: str = "") -> ConfigDict:
    """The config; "smoke" makes it small, for tests, with scikit-image's photographs instead of CIFAR-10."""
    if arg not in ("", "smoke"):
        raise ValueError(f"{arg!r} must be 'smoke' or nothing")
    smoke = arg == "smoke"
    size = 8 if smoke else 32
    config = ConfigDict()
    config.seed = 0
    if smoke:
        config.data = dict(source=dict(cls="jgr.data.photographs.Photographs"), resize=size, crop=size)
    else:
        config.data = dict(source=dict(cls="jgr.data.tfds.TFDS", dataset="cifar10", split="train"))
    real = dict(config.data)
    adam = dict(rule=dict(cls="optax.adam", b1=0.0, b2=0.9), learning_rate=2e-4)
    decaying = dict(decay="linear")  # to 0
    num_d_steps = 2 if smoke else 5
    small = dict(widths=(4, 4)) if smoke else {}
    networks = dict(image_size=size, channels=3, **small)
    config.task = dict(
        cls="jgr.tasks.gan.GAN",
        generator=dict(cls="jgr.models.resnet_gan.Generator", **networks),
        discriminator=dict(cls="jgr.models.resnet_gan.Discriminator", **networks),
        loss="jgr.losses.adversarial.hinge",
        generator_optimizer=adam | dict(schedule=decaying),
        discriminator_optimizer=adam | dict(schedule=decaying),
        num_d_steps=num_d_steps,
        generator_multiple=2,
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
