"""Gray Gaussian denoising at sigma 25 for a small budget: residual blocks at half resolution, on Train400.

    jgr train --config=configs/restoration/edsr_train400.py --workdir=runs/edsr_train400
    jgr evaluate runs/edsr_train400 --step=best

38 minutes on 2 CPU cores (AMD EPYC, JAX 0.10.2) that did other work as well. With seed 0: 29.00 dB and SSIM 0.8203 on
BSD68; BM3D has 28.54, DnCNN-S, of 4.6 times as many operations, 29.21. `JGR_DATA` names the folder with
`denoising/train400` and `denoising/bsd68`.
"""

from ml_collections import ConfigDict


def get_config(arg: str = "") -> ConfigDict:
    """The config; "smoke" makes it small, for tests."""
    if arg not in ("", "smoke"):
        raise ValueError(f"{arg!r} must be 'smoke' or nothing")
    smoke = arg == "smoke"
    config = ConfigDict()
    config.seed = 0
    train400 = dict(cls="jgr.data.folder.ImageFolder", path="$JGR_DATA/denoising/train400", color="gray")
    photographs = dict(cls="jgr.data.photographs.Photographs", color="gray")
    held_out = dict(source=photographs, crop=32) if smoke else dict(source=dict(train400, part="[380:]"))
    bsd68 = dict(source=dict(cls="jgr.data.folder.ImageFolder", path="$JGR_DATA/denoising/bsd68", color="gray"))
    config.data = dict(
        source=photographs if smoke else dict(train400, part="[:380]"),
        crop=48 if smoke else None,  # of photographs of several sizes; all of Train400 are 180x180
        augment=dict(flip=True, rotate=True, crop=16 if smoke else 64),
    )
    config.task = dict(
        cls="jgr.tasks.restoration.Restoration",
        network=dict(
            cls="jgr.models.edsr.EDSR",
            scale=1,
            channels=1,
            unshuffle=2,
            width=8 if smoke else 64,
            blocks=1 if smoke else 6,
            image_range=1.0,
        ),
        degradation=dict(cls="jgr.degradations.noise.GaussianNoise", sigma=25 / 255),
        loss=dict(cls="jgr.losses.restoration.L1"),
        optimizer=dict(
            rule="optax.adam", learning_rate=1e-3, schedule=dict(decay="cosine", warmup="2%", end=0.01), clip_norm=1.0
        ),
    )
    config.train = dict(
        num_steps=2 if smoke else 6000,
        batch_size=4 if smoke else 16,
        log_every=1 if smoke else 50,
        checkpoint_every=1 if smoke else 250,
        sample_every=2 if smoke else 1000,
        num_samples=2 if smoke else 4,
        average=dict(half_life="5000 examples"),
    )
    psnr = dict(cls="jgr.metrics.pairs.PSNR", color="gray")
    config.evaluation = dict(
        data=held_out if smoke else bsd68,
        degradation=dict(cls="jgr.degradations.protocols.GaussianDenoising", sigma=25 / 255),
        batch_size=1,  # images of two sizes
        seeds=(0,),  # the protocol's noise does not depend on it
        metrics=dict(psnr=psnr, ssim=dict(cls="jgr.metrics.pairs.SSIM", color="gray")),
    )
    config.validation = dict(data=held_out, batch_size=4, metrics=dict(psnr=psnr))
    return config
