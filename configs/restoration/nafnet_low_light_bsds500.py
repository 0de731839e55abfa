"""Low light: a small NAFNet (Chen et al. 2022) brightens photographs taken too dark, with their noise.

    jgr train --config=configs/restoration/nafnet_low_light_bsds500.py --workdir=runs/nafnet_low_light
    jgr evaluate runs/nafnet_low_light --step=best

7 minutes on 2 CPU cores (AMD EPYC, JAX 0.10.2) that did other work as well. With seed 0: 25.58 dB and SSIM 0.8746; the
dark images have 8.54. Exposure is 0.1 to 0.4 of what it should be, and a noise of 2 of 255 levels follows. `JGR_DATA`
names the folder with `color/bsds500_train` and `color/bsds500_test`, of which the first 20 are scored.
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
    darkness = dict(
        cls="jgr.degradations.degradation.Pipeline",
        steps=(
            dict(
                cls="jgr.degradations.light.LowLight",
                exposure=dict(cls="jgr.degradations.parameters.Uniform", low=0.1, high=0.4),
            ),
            dict(cls="jgr.degradations.noise.GaussianNoise", sigma=2 / 255),
        ),
    )
    config.data = dict(
        source=photographs if smoke else dict(bsds500, part="[:190]"),
        crop=16 if smoke else 96,
        augment=dict(flip=True, rotate=True),
    )
    config.task = dict(
        cls="jgr.tasks.restoration.Restoration",
        network=dict(
            cls="jgr.models.nafnet.NAFNet",
            width=4 if smoke else 16,
            encoder_blocks=(1,) if smoke else (1, 1, 2),
            middle_blocks=1,
            decoder_blocks=(1,) if smoke else (1, 1, 1),
        ),
        degradation=darkness,
        loss=dict(
            cls="jgr.losses.restoration.Weighted",
            terms=dict(
                l1=dict(loss=dict(cls="jgr.losses.restoration.L1")),
                ssim=dict(loss=dict(cls="jgr.losses.restoration.SSIM"), weight=0.2),
            ),
        ),
        optimizer=dict(rule="optax.adam", learning_rate=1e-3, schedule=dict(decay="cosine", end=0.01), clip_norm=1.0),
    )
    config.train = dict(
        num_steps=2 if smoke else 1000,
        batch_size=4 if smoke else 8,
        log_every=1 if smoke else 50,
        checkpoint_every=1 if smoke else 200,
        sample_every=2 if smoke else 500,
        num_samples=2 if smoke else 3,
        average=dict(half_life="1500 examples"),
    )
    metrics = dict(psnr=dict(cls="jgr.metrics.pairs.PSNR"), ssim=dict(cls="jgr.metrics.pairs.SSIM"))
    config.evaluation = dict(
        data=held_out if smoke else dict(source=test),
        degradation=dict(cls="jgr.degradations.protocols.Seeded", degradation=darkness),
        batch_size=1,  # images of two sizes
        seeds=(0,),  # the protocol's exposure and noise do not depend on it
        metrics=metrics,
    )
    config.validation = dict(data=held_out, batch_size=5, metrics=metrics)
    return config
