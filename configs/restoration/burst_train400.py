"""Burst denoising: one image from several shots by a hand that shakes, with noise of sigma 50, gray, on Train400.

    jgr train --config=configs/restoration/burst_train400.py --workdir=runs/burst
    jgr evaluate runs/burst

An argument says how many shots there are, 4 unless it does, and how the network is told: as a set by "attention", as
here, as a set whose "mean" counts, or "stacked" as channels: "burst_train400.py:8,stacked". Shots of a set are aligned
first. "average" is no network but the mean of the shots, after each was moved to where it fits best.

results/burst, on BSD68, dB of 1, 2, 4 and 8 shots: 24.88, 25.66, 26.86, 28.34; averages 14.91, 17.58, 20.37, 23.20; 8
stacked as they come 24.99. "mean" is not measured yet.
`JGR_DATA` names the folder with `denoising/train400` and `denoising/bsd68`.
"""

from ml_collections import ConfigDict

WAYS = ("attention", "mean", "stacked", "average")


def get_config(arg: str = "") -> ConfigDict:
    """The config; a number of shots, one of `WAYS`, and "smoke" makes it small, for tests: "4,stacked"."""
    words = [word for word in arg.split(",") if word]
    if unknown := [word for word in words if word not in (*WAYS, "smoke") and not word.isdigit()]:
        raise ValueError(f"{unknown[0]!r} must be a number of shots, {', '.join(WAYS)} or smoke")
    smoke = "smoke" in words
    count = next((int(word) for word in words if word.isdigit()), 4)
    way = next((word for word in words if word in WAYS), "attention")
    config = ConfigDict()
    config.seed = 0
    train400 = dict(cls="jgr.data.folder.ImageFolder", path="$JGR_DATA/denoising/train400", color="gray")
    photographs = dict(cls="jgr.data.photographs.Photographs", color="gray")
    bsd68 = dict(source=dict(cls="jgr.data.folder.ImageFolder", path="$JGR_DATA/denoising/bsd68", color="gray"))
    config.data = dict(
        source=photographs if smoke else train400,
        crop=48 if smoke else None,  # of photographs of several sizes; all of Train400 are 180x180
        augment=dict(flip=True, rotate=True, crop=16 if smoke else 40),
    )
    network = dict(
        cls="jgr.models.unet.DRUNet",
        channels=1,
        width=4 if smoke else 24,
        levels=2 if smoke else 3,
        blocks=1,
    )
    shots = dict(
        cls="jgr.models.burst.ShotSet",
        network=network,
        width=4 if smoke else 16,
        depth=1 if smoke else 2,
        pooling=way,
        heads=2 if smoke else 4,
        align=2,
    )
    degradation = dict(
        cls="jgr.degradations.burst.Burst",
        degradation=dict(cls="jgr.degradations.noise.GaussianNoise", sigma=50 / 255),
        count=count,
        motion=2,
    )
    if way == "average":
        config.task = dict(cls="jgr.tasks.baseline.Baseline", method=dict(cls="jgr.models.classical.ShotAverage"))
        config.train = dict(num_steps=0, batch_size=1)
    else:
        config.task = dict(
            cls="jgr.tasks.restoration.Restoration",
            network=network if way == "stacked" else shots,
            degradation=degradation,
            inputs=("shots",),
            loss=dict(cls="jgr.losses.restoration.L2"),
            optimizer=dict(
                rule="optax.adam",
                learning_rate=1e-3,
                schedule=dict(decay="cosine", warmup="2%", end=0.01),
                clip_norm=1.0,
            ),
        )
        config.train = dict(
            num_steps=2 if smoke else 2000,
            batch_size=4 if smoke else 8,
            log_every=1 if smoke else 50,
            checkpoint_every=1 if smoke else 500,
            sample_every=2 if smoke else 1000,
            num_samples=2 if smoke else 4,
            average=dict(half_life="3000 examples"),
        )
    config.evaluation = dict(
        data=dict(source=photographs, crop=32) if smoke else bsd68,
        degradation=dict(cls="jgr.degradations.protocols.Seeded", degradation=degradation),
        batch_size=1,  # images of two sizes
        seeds=(0,),  # the protocol's bursts do not depend on it
        metrics=dict(
            psnr=dict(cls="jgr.metrics.pairs.PSNR", color="gray"), ssim=dict(cls="jgr.metrics.pairs.SSIM", color="gray")
        ),
    )
    return config
