"""pix2pix (Isola et al. 2017) from edges to photographs, 64x64: drawings are made of BSDS500 on the fly. For a CPU.

    jgr train --config=configs/image_to_image/pix2pix_edges_bsds500.py --workdir=runs/pix2pix_edges
    jgr evaluate runs/pix2pix_edges

Drawings are Sobel slopes of the blurred gray photograph. Networks have half of the paper's width and as many levels as
64 pixels have; patches are of 34 pixels. The result is drawn, by dropout: seeds of the evaluation differ. PSNR and SSIM
compare with the one photograph that the drawing was made of, and favour what is blurred; the pictures tell more.

`JGR_DATA` names the folder with `color/bsds500_train` and `color/bsds500_test`, whose 200 photographs are scored.
21 minutes on one CPU core that was shared (AMD EPYC, JAX 0.10.2) gave 12.14 dB, noisy colours without objects
(`results/image_to_image`); one colour for all, the training photographs' mean, has 13.2 dB. There are no published
numbers for this data.
"""

from ml_collections import ConfigDict


def get_config(arg: str = "") -> ConfigDict:
    """The config; "smoke" makes it small, for tests, with scikit-image's photographs."""
    if arg not in ("", "smoke"):
        raise ValueError(f"{arg!r} must be 'smoke' or nothing")
    smoke = arg == "smoke"
    size = 16 if smoke else 64
    config = ConfigDict()
    config.seed = 0
    photographs = dict(cls="jgr.data.photographs.Photographs")
    bsds500 = dict(cls="jgr.data.folder.ImageFolder", path="$JGR_DATA/color/bsds500_train")
    test = dict(cls="jgr.data.folder.ImageFolder", path="$JGR_DATA/color/bsds500_test")
    shape = dict(resize=size + size // 2, crop=size)
    config.data = dict(source=photographs if smoke else dict(bsds500, part="[:190]"), **shape, augment=dict(flip=True))
    adam = dict(rule=dict(cls="optax.adam", b1=0.5, b2=0.999), learning_rate=2e-4)
    config.task = dict(
        cls="jgr.tasks.restoration.Restoration",
        network=dict(
            cls="jgr.models.pix2pix.Generator",
            width=4 if smoke else 32,
            levels=3 if smoke else 6,
            norm="instance",  # or "batch"; in the paper's batches of one they are the same
        ),
        degradation=dict(
            cls="jgr.degradations.degradation.Pipeline",
            steps=(
                dict(
                    cls="jgr.degradations.blur.Blur",
                    kernel=dict(cls="jgr.degradations.kernels.GaussianKernel", size=9, sigma=1.0),
                ),
                dict(cls="jgr.degradations.edges.Edges", black=0.1),
            ),
        ),
        loss=dict(
            cls="jgr.losses.restoration.Weighted",
            # the paper's 100 is for images in [-1, 1], whose differences are twice as large
            terms=dict(l1=dict(loss=dict(cls="jgr.losses.restoration.L1"), weight=200.0)),
        ),
        optimizer=adam,
        adversarial=dict(
            discriminator=dict(
                cls="jgr.models.pix2pix.Discriminator",
                width=4 if smoke else 32,
                layers=1 if smoke else 2,
                norm="instance",
            ),
            weight=1.0,
            conditional=True,
            optimizer=adam,
        ),
    )
    config.train = dict(
        num_steps=2 if smoke else 4000,
        batch_size=4,
        log_every=1 if smoke else 50,
        checkpoint_every=1 if smoke else 1000,
        sample_every=2 if smoke else 1000,
        num_samples=2 if smoke else 8,
    )
    metrics = dict(psnr=dict(cls="jgr.metrics.pairs.PSNR"), ssim=dict(cls="jgr.metrics.pairs.SSIM"))
    config.evaluation = dict(
        data=dict(source=photographs if smoke else test, **shape),
        batch_size=4 if smoke else 20,
        seeds=(0,) if smoke else (0, 1, 2),
        metrics=metrics,
    )
    config.validation = dict(
        data=dict(source=photographs if smoke else dict(bsds500, part="[190:]"), **shape),
        batch_size=4 if smoke else 10,
        metrics=metrics,
    )
    return config
