"""Super-resolution by 2 with a small EDSR (Lim et al. 2017) on colour photographs of BSDS500.

    jgr train --config=configs/restoration/edsr_x2_bsds500.py --workdir=runs/edsr_x2
    jgr evaluate runs/edsr_x2 --step=best

17 minutes on 2 CPU cores (AMD EPYC, JAX 0.10.2) that did other work as well. With seed 0: 37.29 dB and SSIM 0.9581 on
Set5, of the luma; bicubic has 33.68, the large EDSR of 43 million parameters 38.11. With SRResNet's blocks in place
of EDSR's (`experiments/restoration.py`) it has 31.22 after 600 steps, still below bicubic.
`--config.task.network.width=64 --config.task.network.blocks=16` is the published baseline, of 1.4 million parameters.
`JGR_DATA` names the folder with `color/bsds500_train` and `sr/set5`.
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
    set5 = dict(source=dict(cls="jgr.data.folder.ImageFolder", path="$JGR_DATA/sr/set5"))
    config.data = dict(
        source=photographs if smoke else dict(bsds500, part="[:190]"),
        crop=16 if smoke else 96,  # of the enlarged image
        augment=dict(flip=True, rotate=True),
    )
    config.task = dict(
        cls="jgr.tasks.restoration.Restoration",
        network=dict(
            cls="jgr.models.edsr.EDSR",
            scale=2,  # or 3, 4: with the degradation's and the protocol's, and crop of the metrics
            width=8 if smoke else 32,
            blocks=1 if smoke else 8,
            bilinear_skip=True,
            image_range=1.0,
        ),
        degradation=dict(
            cls="jgr.degradations.degradation.Pipeline",
            steps=(
                dict(cls="jgr.degradations.resize.Downsample", scale=2),
                dict(cls="jgr.degradations.values.Quantise"),
            ),
        ),
        loss=dict(cls="jgr.losses.restoration.L1"),
        optimizer=dict(
            rule="optax.adam", learning_rate=1e-3, schedule=dict(decay="cosine", warmup="2%", end=0.01), clip_norm=1.0
        ),
    )
    config.train = dict(
        num_steps=2 if smoke else 2500,
        batch_size=4 if smoke else 16,
        log_every=1 if smoke else 50,
        checkpoint_every=1 if smoke else 250,
        sample_every=2 if smoke else 1250,
        num_samples=2 if smoke else 3,
        average=dict(half_life="3000 examples"),
    )
    metrics = dict(
        psnr=dict(cls="jgr.metrics.pairs.PSNR", color="y", crop=2),
        ssim=dict(cls="jgr.metrics.pairs.SSIM", color="y", crop=2),
    )
    config.evaluation = dict(
        data=held_out if smoke else set5,
        degradation=dict(cls="jgr.degradations.protocols.SuperResolution", scale=2),
        batch_size=1,  # images of several sizes
        seeds=(0,),  # nothing is random
        metrics=metrics,
    )
    config.validation = dict(data=held_out, batch_size=5, metrics=metrics)
    return config
