"""CycleGAN (Zhu et al. 2017) from candlelight to daylight, from photographs of which none is in both sets. For a CPU.

    jgr train --config=configs/image_to_image/cyclegan_bsds500.py --workdir=runs/cyclegan_bsds500
    jgr evaluate runs/cyclegan_bsds500
    jgr restore runs/cyclegan_bsds500 WARM.jpg --out=neutral

Daylight are the first 95 training photographs of BSDS500 as they are; candlelight are the next 95 with 0.7 of their
green and 0.4 of their blue. So the truth of a warm photograph is known, and `jgr evaluate` compares with it; the
training never does. The validation does, too, for pictures and curves: with `--step=best` its pairs would have chosen
the weights.

`JGR_DATA` names the folder with `color/bsds500_train` and `color/bsds500_test`, of which the first 20 are scored.
37 minutes on one CPU core that was shared (AMD EPYC, JAX 0.10.2) gave 19.08 dB, where candlelight itself has 15.06, and
still rose (`results/image_to_image`).
"""

from ml_collections import ConfigDict


def get_config(arg: str = "") -> ConfigDict:
    """The config; "smoke" makes it small, for tests, with scikit-image's photographs as both sets."""
    if arg not in ("", "smoke"):
        raise ValueError(f"{arg!r} must be 'smoke' or nothing")
    smoke = arg == "smoke"
    config = ConfigDict()
    config.seed = 0
    photographs = dict(cls="jgr.data.photographs.Photographs")
    bsds500 = dict(cls="jgr.data.folder.ImageFolder", path="$JGR_DATA/color/bsds500_train")
    held_out = dict(source=photographs, crop=32) if smoke else dict(source=dict(bsds500, part="[190:]"), crop=192)
    test = dict(source=dict(cls="jgr.data.folder.ImageFolder", path="$JGR_DATA/color/bsds500_test", part="[:20]"))
    candlelight = dict(
        cls="jgr.degradations.protocols.Seeded",
        degradation=dict(cls="jgr.degradations.tint.Tint", factors=(1.0, 0.7, 0.4)),
    )
    config.data = dict(
        source=dict(
            cls="jgr.data.pairs.UnpairedFolders",
            images=dict(
                cls="jgr.data.degraded.Degraded",
                source=photographs if smoke else dict(bsds500, part="[95:190]"),
                protocol=candlelight,
            ),
            targets=photographs if smoke else dict(bsds500, part="[:95]"),
        ),
        crop=16 if smoke else 64,
        augment=dict(flip=True),
    )
    generator = dict(cls="jgr.models.cyclegan.Generator", width=4 if smoke else 16, blocks=1 if smoke else 4, skip=True)
    discriminator = dict(
        cls="jgr.models.pix2pix.Discriminator",
        width=4 if smoke else 32,
        layers=2,  # patches of 34 pixels
        norm="instance",
        affine=False,
    )
    adam = dict(rule=dict(cls="optax.adam", b1=0.5, b2=0.999), learning_rate=2e-4, schedule=dict(decay="linear"))
    config.task = dict(
        cls="jgr.tasks.cyclegan.CycleGAN",
        forward=generator,
        backward=generator,
        image_discriminator=discriminator,
        target_discriminator=discriminator,
        generator_optimizer=adam,
        discriminator_optimizer=adam,
        pool_size=4 if smoke else 50,
    )
    config.train = dict(
        num_steps=2 if smoke else 3000,
        batch_size=4,
        log_every=1 if smoke else 50,
        checkpoint_every=1 if smoke else 500,
        sample_every=2 if smoke else 500,
        num_samples=2 if smoke else 3,
        average=dict(half_life="1000 examples"),
    )
    metrics = dict(psnr=dict(cls="jgr.metrics.pairs.PSNR"), ssim=dict(cls="jgr.metrics.pairs.SSIM"))
    config.evaluation = dict(
        data=held_out if smoke else test,
        degradation=candlelight,
        batch_size=1,  # images of two sizes
        seeds=(0,),  # nothing is random
        metrics=metrics,
    )
    config.validation = dict(data=held_out, degradation=candlelight, batch_size=5, metrics=metrics)
    return config
