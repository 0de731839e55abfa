"""Inpainting of random missing pixels, half of them, with a small U-Net that sees the mask (DRUNet, Zhang et al. 2021).

    jgr train --config=configs/restoration/unet_inpainting_train400.py --workdir=runs/unet_inpainting
    jgr evaluate runs/unet_inpainting --step=best

The network corrects averages of near known pixels. 18 minutes on 2 CPU cores (AMD EPYC, JAX 0.10.2) that did other
work as well. With seed 0: 32.01 dB over all pixels of 20 images of BSD68, 29.00 over the missing ones; biharmonic
interpolation has 30.80 and 27.80.
`JGR_DATA` names the folder with `denoising/train400` and `denoising/bsd68`.
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
    bsd68 = dict(cls="jgr.data.folder.ImageFolder", path="$JGR_DATA/denoising/bsd68", color="gray", part="[:20]")
    config.data = dict(
        source=photographs if smoke else dict(train400, part="[:380]"),
        crop=48 if smoke else None,  # of photographs of several sizes; all of Train400 are 180x180
        augment=dict(flip=True, rotate=True, crop=16 if smoke else 64),
    )
    config.task = dict(
        cls="jgr.tasks.restoration.Restoration",
        network=dict(
            cls="jgr.models.filled.Filled",
            residual=True,
            network=dict(
                cls="jgr.models.unet.DRUNet",
                width=4 if smoke else 32,  # 64 in the paper
                levels=2 if smoke else 3,  # 4 in the paper
                blocks=1,  # 4 in the paper
            ),
        ),
        degradation=dict(
            cls="jgr.degradations.masks.Mask", generator=dict(cls="jgr.degradations.masks.RandomPixels", keep=0.5)
        ),
        inputs=("mask",),
        keep_known=True,
        loss=dict(cls="jgr.losses.restoration.L1"),
        optimizer=dict(
            rule="optax.adam", learning_rate=1e-3, schedule=dict(decay="cosine", warmup="2%", end=0.01), clip_norm=1.0
        ),
    )
    config.train = dict(
        num_steps=2 if smoke else 2000,
        batch_size=4 if smoke else 16,
        log_every=1 if smoke else 50,
        checkpoint_every=1 if smoke else 250,
        sample_every=2 if smoke else 1000,
        num_samples=2 if smoke else 4,
        average=dict(half_life="3000 examples"),
    )
    psnr = dict(cls="jgr.metrics.pairs.PSNR", color="gray")
    config.evaluation = dict(
        data=held_out if smoke else dict(source=bsd68),
        degradation=dict(cls="jgr.degradations.protocols.Inpainting", keep=0.5),
        batch_size=1,  # images of two sizes
        seeds=(0,),  # the protocol's masks do not depend on it
        metrics=dict(
            psnr=psnr, psnr_holes=dict(psnr, region="holes"), ssim=dict(cls="jgr.metrics.pairs.SSIM", color="gray")
        ),
    )
    config.validation = dict(data=held_out, batch_size=4, metrics=dict(psnr=psnr))
    return config
