"""pix2pix (Isola et al. 2017) from architectural labels to facades, 256x256, by the published recipe. Wants a GPU.

    jgr train --config=configs/image_to_image/pix2pix_facades.py --workdir=runs/pix2pix_facades
    jgr evaluate runs/pix2pix_facades

`JGR_DATA` names the folder with `facades/train` (400 pictures) and `facades/test` (106), as the authors' archive
unpacks: photographs at the left, labels at the right, which is why the direction is BtoA.

FID of the test set is 119.1 with the authors' weights and 125.0 of mmagic's training, in mmagic's table: of so few
images it is biased, and only comparable by one protocol. `jgr evaluate` compares with the one photograph that belongs
to the labels instead, by PSNR and SSIM, for which nothing is published. Neither time nor scores were measured yet.

The discriminator's loss is not halved as in the authors' code: Adam's steps do not depend on such a factor. Each of
the two updates draws a dropout of its own.
"""

from ml_collections import ConfigDict


def get_config(arg: str = "") -> ConfigDict:
    """The config; "smoke" makes it small, for tests, with drawings of scikit-image's photographs."""
    if arg not in ("", "smoke"):
        raise ValueError(f"{arg!r} must be 'smoke' or nothing")
    smoke = arg == "smoke"
    size = 16 if smoke else 256
    config = ConfigDict()
    config.seed = 0
    photographs = dict(source=dict(cls="jgr.data.photographs.Photographs"), resize=size + 2, crop=size)

    def facades(part: str) -> dict[str, str]:
        return dict(cls="jgr.data.pairs.SideBySide", path=f"$JGR_DATA/facades/{part}", direction="BtoA")

    jitter = dict(source=facades("train"), resize=286, augment=dict(crop=size, flip=True))
    config.data = photographs if smoke else jitter
    adam = dict(
        rule=dict(cls="optax.adam", b1=0.5, b2=0.999),
        learning_rate=2e-4,
        schedule=dict(decay="linear", hold="50%"),
    )
    config.task = dict(
        cls="jgr.tasks.restoration.Restoration",
        network=dict(
            cls="jgr.models.pix2pix.Generator",
            width=4 if smoke else 64,
            levels=3 if smoke else 8,
            norm="instance",  # batch norm of batches of one, by their own statistics at test time, too
        ),
        degradation=dict(cls="jgr.degradations.edges.Edges") if smoke else None,
        loss=dict(
            cls="jgr.losses.restoration.Weighted",
            # the paper's 100 is for images in [-1, 1], whose differences are twice as large
            terms=dict(l1=dict(loss=dict(cls="jgr.losses.restoration.L1"), weight=200.0)),
        ),
        optimizer=adam,
        adversarial=dict(
            discriminator=dict(
                cls="jgr.models.pix2pix.Discriminator",
                width=4 if smoke else 64,
                layers=1 if smoke else 3,  # patches of 70 pixels
                norm="instance",
            ),
            weight=1.0,
            conditional=True,
            optimizer=adam,
        ),
    )
    config.train = dict(
        num_steps=2 if smoke else "200 epochs",
        batch_size=1,
        log_every=1 if smoke else 100,
        checkpoint_every=1 if smoke else "10 epochs",
        sample_every=2 if smoke else "10 epochs",
        num_samples=2 if smoke else 8,
    )
    config.evaluation = dict(
        data=photographs if smoke else dict(source=facades("test"), resize=size),
        batch_size=4,
        seeds=(0,) if smoke else (0, 1, 2),  # of the dropout
        metrics=dict(psnr=dict(cls="jgr.metrics.pairs.PSNR"), ssim=dict(cls="jgr.metrics.pairs.SSIM")),
    )
    return config
