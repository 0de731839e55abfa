"""Deblurring: a small NAFNet (Chen et al. 2022) against one Gaussian blur with noise, in colour.

    jgr train --config=configs/restoration/nafnet_deblurring_bsds500.py --workdir=runs/nafnet_deblurring
    jgr evaluate runs/nafnet_deblurring --step=best

21 minutes on 2 CPU cores (AMD EPYC, JAX 0.10.2) that did other work as well. With seed 0: 29.25 dB and SSIM 0.8285;
Wiener has 28.15 and 0.7863, Richardson-Lucy 27.98 and 0.7835, the blurred images 26.16. The blur has sigma 1.6 pixels,
the noise 2 of 255 levels. `JGR_DATA` names the folder with `color/bsds500_train` and `color/bsds500_test`, of which the
first 20 are scored.
"""

from ml_collections import ConfigDict


def get_config(arg: str = "") -> ConfigDict:
    """The config; "smoke" makes it small, for tests."""
    if arg not in ("", "smoke"):
        raise ValueError(f"{arg!r} must be 'smoke' or nothing")
    smoke = arg == "smoke"
    config = ConfigDict()
    config.seed = 0
    photographs = dict(cls="jgr.data.photographs.Photographs")
    bsds500 = dict(cls="jgr.data.folder.ImageFolder", path="$JGR_DATA/color/bsds500_train")
    held_out = dict(source=photographs, crop=32) if smoke else dict(source=dict(bsds500, part="[190:]"), crop=192)
    test = dict(cls="jgr.data.folder.ImageFolder", path="$JGR_DATA/color/bsds500_test", part="[:20]")
    kernel = dict(cls="jgr.degradations.kernels.GaussianKernel", size=9 if smoke else 15, sigma=1.6)
    config.data = dict(
        source=photographs if smoke else dict(bsds500, part="[:190]"),
        crop=16 if smoke else 96,
        augment=dict(flip=True, rotate=True),
    )
    config.task = dict(
        cls="jgr.tasks.restoration.Restoration",
        network=dict(
            cls="jgr.models.nafnet.NAFNet",  # GoPro's setting: width 32, encoder_blocks (1, 1, 1, 28)
            width=4 if smoke else 16,
            encoder_blocks=(1,) if smoke else (1, 1, 2),
            middle_blocks=1,
            decoder_blocks=(1,) if smoke else (1, 1, 1),
        ),
        degradation=dict(
            cls="jgr.degradations.degradation.Pipeline",
            steps=(
                dict(cls="jgr.degradations.blur.Blur", kernel=kernel),
                dict(cls="jgr.degradations.noise.GaussianNoise", sigma=2 / 255),
            ),
        ),
        loss=dict(cls="jgr.losses.restoration.PSNR"),
        optimizer=dict(
            rule=dict(cls="optax.adamw", b1=0.9, b2=0.9, weight_decay=1e-3),  # as the authors
            learning_rate=1e-3,
            schedule=dict(decay="cosine", end=1e-4),
            clip_norm=0.01,
        ),
    )
    config.train = dict(
        num_steps=2 if smoke else 2400,
        batch_size=4 if smoke else 8,
        log_every=1 if smoke else 50,
        checkpoint_every=1 if smoke else 400,
        sample_every=2 if smoke else 1200,
        num_samples=2 if smoke else 3,
        average=dict(half_life="1500 examples"),
    )
    metrics = dict(psnr=dict(cls="jgr.metrics.pairs.PSNR"), ssim=dict(cls="jgr.metrics.pairs.SSIM"))
    config.evaluation = dict(
        data=held_out if smoke else dict(source=test),
        degradation=dict(
            cls="jgr.degradations.protocols.Deblurring",
            kernel=kernel,
            sigma=2 / 255,
            boundary="reflect",  # as in training: beyond a border that wraps around lies what no network sees
        ),
        batch_size=1,  # images of two sizes
        seeds=(0,),  # the protocol's noise does not depend on it
        metrics=metrics,
    )
    config.validation = dict(data=held_out, batch_size=5, metrics=metrics)
    return config
